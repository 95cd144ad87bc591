"""A campaign by hand: the list goes out as a file, what was done comes back as a file, coverage adds up."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audiences import jobs
from audiences.vocabulary import Medium
from campaigns import lifecycle, manual, responses
from campaigns.dispatch.loop import dispatch_channel
from campaigns.models import Campaign, Touch
from campaigns.planner.plan import make_plan
from channels.accounts import save_channel
from channels.models import Channel
from reports.accruals import post_incurred
from reports.coverage import coverage
from reports.roi import roi
from tests.import_files import counts, load
from tests.plan_rows import brand, campaign, customers

pytestmark = pytest.mark.django_db(transaction=True)


def test_letters_are_listed_reported_and_covered(make_user: Callable[..., Any], as_marketer: Client) -> None:
    now = timezone.now()
    channel = save_channel(
        Channel(
            brand=brand(), name="Letters", medium=Medium.MAIL, adapter="manual", unit_price=Decimal("1.2")
        )
    )
    people = [*customers(20, ["mail"]), *customers(5, ["mail"], consents=[])]
    found = campaign(
        people, [channel], 1, starts_at=now - dt.timedelta(minutes=1), gap=0, budget=Decimal(1000),
        holdout_share=Decimal(0), created_by=make_user("marketer", "marketer"),
    )  # fmt: skip
    make_plan(found, user=make_user("marketer"), now=now)
    version = lifecycle.submit(found, make_user("marketer"), now)
    job = lifecycle.approve(version, make_user("approver", "approver"), "approver", "", now)
    assert job is not None
    jobs.run(job.pk)
    lifecycle.start_due(timezone.now())
    found = Campaign.objects.get(pk=found.pk)
    assert found.state == "running"

    dispatch_channel(channel.pk, worker="test", limit=100)
    listed = list(manual.held_list(channel, found.pk))
    assert len(listed) == 20
    page = as_marketer.get(f"/campaigns/{found.pk}/channels/{channel.pk}/list.csv")
    assert page.status_code == 200

    at = timezone.now().isoformat(timespec="seconds")
    rows = [f"Letters,{row.reference},{'bounced' if n < 2 else 'sent'},{at}" for n, row in enumerate(listed)]
    batch = load("receipts", "\n".join(["channel,reference,outcome,occurred_at", *rows]))
    assert counts(batch) == (20, 0, 0, 0)
    responses.drain(1000)
    states = sorted(Touch.objects.filter(campaign_id=found.pk).values_list("state", flat=True))
    assert states == ["gap"] * 2 + ["sent"] * 18
    report = coverage(found)
    assert (report.total.target, report.total.reached, report.over_total) == (25, 18, 0)
    assert dict(report.total.gaps) == {"no_consent": 5, "bounced": 2}
    assert report.total.adds_up
    post_incurred(timezone.now())
    # What came back costs only what its receipt says, and these said nothing.
    assert roi(found, timezone.now()).full_cost == Decimal("21.6000")
