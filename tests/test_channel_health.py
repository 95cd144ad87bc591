"""A channel's page tells what waits there, and how fetching from its provider fares."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from campaigns.models import Campaign
from channels import audience_sync, fetching, health
from channels.models import Channel, ChannelFetch, PlatformAudienceMember
from tests import factories as make
from tests.channel_rows import make_brand, make_channel

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def fares(channel: Channel, now: Any) -> health.Health:
    (found,) = health.of_channels([channel], now)
    return found


def page(client: Client, channel: Channel) -> str:
    return " ".join(
        client.get(reverse("channels:channel", args=[channel.pk])).content.decode().replace("\n", " ").split()
    )


@pytest.fixture
def social() -> Channel:
    """An ad account with three people held and two wanted; one of those held is wanted no more."""
    channel = make_channel("meta", "social", brand=make_brand())
    audience = audience_sync.audience_for(channel, 7, "Buyers")
    before = timezone.now() - 5 * HOUR
    for n, person in enumerate(make.customers(5)):
        PlatformAudienceMember.objects.create(
            audience=audience, customer_id=person, wanted=n != 0, held=n < 3, changed_at=before
        )
    return channel


def test_messages_count_as_waiting_when_dispatch_would_take_them(as_marketer: Client) -> None:
    now = timezone.now()
    channel = make.channel()
    due = make.campaign([channel], now=now)
    make.released(due, make.customers(3), due_at=now - 2 * HOUR)
    make.released(due, make.customers(2), due_at=now + HOUR)
    paused = make.campaign([channel], now=now, state="paused")
    make.released(paused, make.customers(4), due_at=now - 3 * HOUR)
    Channel.objects.filter(pk=channel.pk).update(
        state="paused"
    )  # what waits there goes on once it is resumed
    waits = health.queues(fares(channel, now), now)
    assert waits.messages == (3, now - 2 * HOUR)
    told = as_marketer.get(f"/api/v1/channels/{channel.pk}/health/").json()
    assert told["messages_due"] == 3
    assert 'Messages that are due and not handed over</td><td class="num">3<' in page(as_marketer, channel)
    due.channel_plans.update(paused_at=now)
    assert health.queues(fares(channel, now), now).messages == (0, None)
    Campaign.objects.update(state="running")
    assert health.queues(fares(channel, now), now).messages == (4, now - 3 * HOUR)


def test_who_waits_to_be_taken_out_is_told_with_since_when_and_at_once_where_it_cannot_be(
    social: Channel, as_marketer: Client
) -> None:
    now = timezone.now()
    found = fares(social, now)
    waits = health.queues(found, now)
    assert (waits.to_take_out[0], waits.to_add[0]) == (1, 2)
    assert "1 person waits to be taken out" in " ".join(found.troubles), "five hours are too long"
    Channel.objects.filter(pk=social.pk).update(state="paused")
    assert "Who must leave its audiences is still taken out" in page(as_marketer, social)
    Channel.objects.filter(pk=social.pk).update(state="active")
    PlatformAudienceMember.objects.update(changed_at=now)
    assert fares(social, now).troubles == []
    Channel.objects.filter(pk=social.pk).update(state="stopped", state_reason="token expired")
    social.refresh_from_db()
    stopped, trouble = fares(social, now).troubles
    assert "token expired" in stopped
    assert trouble.startswith("1 person waits to be taken out of the platform's audiences, since 20")
    shown = page(as_marketer, social)
    assert "The platform still holds them" in shown
    assert trouble in page(as_marketer, social).replace("&#x27;", "'")
    assert as_marketer.get(f"/api/v1/channels/{social.pk}/health/").json()["to_take_out"] == 1


def test_a_fetch_that_fails_for_hours_is_a_trouble_in_the_providers_words(
    social: Channel, as_marketer: Client
) -> None:
    now = timezone.now()
    kinds = [(one.kind, one.row) for one in health.fetches(social)]
    assert kinds == [("reports", None), ("balances", None)]
    fetching.succeeded("reports", social, now - 9 * HOUR)
    fetching.failed("reports", social, "(#17) User request limit reached", now - 4 * HOUR)
    fetching.failed("balances", social, "(#10) not permitted", now - HOUR, final=True)
    fetching.failed("balances", social, "(#10) not permitted", now, final=True)
    troubles = fares(social, now).troubles
    assert [text for text in troubles if "cannot be fetched" in text] == [
        f"Daily reports cannot be fetched since {timezone.localtime(now - 4 * HOUR):%Y-%m-%d %H:%M}: "
        "(#17) User request limit reached"
    ]
    shown = page(as_marketer, social)
    assert "(#10) not permitted" in shown
    assert "failing since <time" in shown
    fetching.succeeded("reports", social, now)
    assert not any("Daily reports" in text for text in fares(social, now).troubles)
    assert "(#17) User request limit reached" in page(as_marketer, social), (
        "the last failure stays, as what was"
    )
    ChannelFetch.objects.filter(kind="reports").update(
        missed=[{"from": "2026-03-02", "until": "2026-03-09", "why": ""}]
    )
    assert "Missing: 2026-03-02 to 2026-03-09" in page(as_marketer, social)
    told = as_marketer.get(f"/api/v1/channels/{social.pk}/health/").json()["fetches"]
    assert [one["kind"] for one in told] == ["reports", "balances"]
    assert told[0]["missed"] == [{"first": "2026-03-02", "last": "2026-03-09", "why": ""}]
    assert told[1]["error"] == "(#10) not permitted"


def test_a_channel_nothing_is_fetched_from_says_nothing_of_it(as_marketer: Client) -> None:
    shown = page(as_marketer, make_channel())
    assert "Fetched from the provider" not in shown
    assert "People to be taken out" not in shown
