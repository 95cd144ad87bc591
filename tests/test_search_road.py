"""Search, from a campaign to the ledger: planned, pushed, limited, reported and posted over each real adapter."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Max, Sum

from audiences.models import Consent, Identity
from campaigns import rounds, steering
from campaigns.models import Campaign, Touch
from campaigns.planner import make_plan
from campaigns.release import release
from channels import audience_sync, daily_reports, flights
from channels.accounts import release_adapters
from channels.models import Channel, DailyReport, PlatformAudience
from channels.sandbox.server import Sandbox
from reports.accruals import post_incurred
from reports.coverage import coverage
from reports.models import LedgerEntry
from tests import factories as make
from tests import plan_rows as rows
from tests.sandbox_fixture import start_sandbox
from tests.search_accounts import baidu_settings, google_settings, microsoft_settings

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = 320


@dataclass(frozen=True)
class Platform:
    """One platform: how to connect, and whether a person has to tie list and campaign there."""

    name: str
    config: dict[str, Any]
    settings: Callable[[Sandbox], tuple[dict[str, Any], dict[str, str]]]
    kind: str
    tied: bool = True


PLATFORMS = [
    Platform("google_ads", {"grpc": True, "minimum_audience": 20}, google_settings, "email"),
    Platform("microsoft_ads", {"minimum_audience": 20}, microsoft_settings, "email"),
    Platform("baidu", {"minimum_audience": 20, "rotates": True}, baidu_settings, "phone", tied=False),
]


@pytest.fixture(autouse=True)
def _connections() -> Iterator[None]:
    yield
    release_adapters()


def connect(platform: Platform, running: Sandbox) -> Channel:
    told, secrets = platform.settings(running)
    return make.channel(
        "search", adapter=platform.name, settings=told, credentials=secrets, price_model="cpc",
        unit_price=Decimal("2"), currency="CNY",
    )  # fmt: skip


def permitted(platform: Platform, channel: Channel) -> list[Any]:
    people = rows.customers(PEOPLE, ("search",), identities=())
    Identity.objects.bulk_create(
        Identity(
            customer=person, kind=platform.kind,
            value=f"+86139{person.pk:08d}" if platform.kind == "phone" else f"c{person.pk}@example.com",
        )
        for person in people
    )  # fmt: skip
    for person in people:
        Consent.objects.create(
            customer=person, brand=channel.brand, medium="search", purpose="upload", status="granted", source="test",
            occurred_at=rows.NOON, received_at=rows.NOON,
        )  # fmt: skip
    return people


def steer(at: dt.datetime) -> None:
    steering.steer(at)
    for audience_id in audience_sync.waiting(at):
        assert audience_sync.sync(audience_id, at).error == ""
    steering.steer(at)


def booked(campaign: Campaign) -> Decimal:
    """What the ledger holds for the campaign's media."""
    entries = LedgerEntry.objects.filter(campaign_id=campaign.pk, account="media_cost", side="debit")
    return entries.aggregate(total=Sum("amount"))["total"] or Decimal(0)


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)
def test_a_search_campaign_goes_from_plan_to_ledger(platform: Platform, tmp_path: Path) -> None:
    config = {platform.name: platform.config}
    with start_sandbox(tmp_path, vendors=config) as running:
        side: Any = running.vendors[platform.name]
        channel = connect(platform, running)
        people = permitted(platform, channel)
        begins = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)
        campaign = rows.campaign(
            people, [channel], 2, days=7, round_days=7, starts_at=begins, plans={"budget": Decimal(1400)}
        )
        plan = make_plan(campaign, user=None, now=begins)
        rounds.write_rounds(campaign, 1)
        release(campaign, plan, now=begins)
        Campaign.objects.filter(pk=campaign.pk).update(state="running")
        assert Touch.objects.count() == 2 * PEOPLE, "a person-targeted channel plans touches for each person"

        at = Touch.objects.filter(ordinal=1).aggregate(last=Max("due_at"))["last"]
        steer(at)
        audience = PlatformAudience.objects.get()
        assert side.members.members[audience.external_id].keys()
        assert len(side.members.members[audience.external_id]) == PEOPLE
        assert set(Touch.objects.filter(ordinal=1).values_list("state", flat=True)) == {"unobserved"}

        assert flights.waiting(at) == [audience.pk]
        assert flights.apply(audience.pk, at) == ""
        audience = PlatformAudience.objects.get()
        assert flights.unheld_cap(audience) == (2, 7), "nobody claims a cap on searches"
        assert flights.beyond(audience) == ([] if platform.tied else ["starts_on", "ends_on"])
        assert flights.waiting(at + dt.timedelta(hours=1)) == []

        if not platform.tied:
            running.call(side.aim, audience.flight_reference, audience.external_id)
        today = dt.date.fromisoformat(audience.known_flight["starts_on"])
        running.call(side.deliver, audience.flight_reference, today, 0.5)
        noon = dt.datetime.combine(today, dt.time(4), tzinfo=dt.UTC)
        assert daily_reports.fetch(channel, noon, days=2) == 1
        row = DailyReport.objects.get()
        assert (row.campaign_id, row.placement) == (campaign.pk, audience.flight_reference)
        assert 0 < row.spend <= 200
        assert row.spend == 2 * Decimal(row.clicks or 0)
        assert post_incurred(noon) == (1, [])
        assert post_incurred(noon) == (0, [])
        assert booked(campaign) == row.spend

        running.call(
            side.deliver, audience.flight_reference, today
        )  # the day goes on, and its figures settle
        assert daily_reports.fetch(channel, noon, days=2) == 1
        settled = DailyReport.objects.get(version=2)
        assert settled.spend > row.spend
        post_incurred(noon)
        assert booked(campaign) == settled.spend

        told = coverage(Campaign.objects.get(pk=campaign.pk))
        assert (sum(told.over.values()), told.total.gaps.total(), told.total.reached) == (0, 0, 0)
        assert told.total.unobserved == PEOPLE, "what the platform showed to whom is not known"
        (line,) = told.channels
        assert line.reported is not None
        assert (line.reported.spend, line.reported.clicks) == (settled.spend, settled.clicks)

        stored = Channel.objects.get().credentials
        assert stored["access_token"], "one worker fetches the token, the others find it"
        if platform.config.get("rotates"):
            assert stored["refresh_token"] == "refresh-0001", "the old one would be taken no more"

        Campaign.objects.update(state="finished")
        steer(at + dt.timedelta(days=8))
        assert len(side.members.members[audience.external_id]) == 0, "at the end everybody is taken out"
