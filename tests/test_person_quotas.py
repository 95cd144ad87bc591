"""What a platform lets one person get is exact in the claim: under four workers, over months, and while it is lowered."""

import datetime as dt
import random
import threading
import time
from collections import defaultdict
from typing import Any

import pytest
from django.db import connection, connections

from audiences.models import ContactState
from campaigns import dispatch, person_quotas, pressure
from campaigns.models import Attempt, Clock, Touch
from campaigns.vocabulary import Cause
from channels.adapters.base import Outcome, Sent
from channels.models import PlatformRule
from tests import factories as make
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.test_pressure import broken_promises, in_threads
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)
MONTH_ENDS = dt.datetime(2026, 3, 31, 16, 0, tzinfo=dt.UTC)  # April begins in Shanghai
MONTH = "messages_a_customer_a_month"
LIVE = ("accepted", "delivered", "unknown", "held", "recorded")


def rule(key: str, value: Any, medium: str = "email", **fields: Any) -> PlatformRule:
    fields = {"valid_from": dt.date(2026, 1, 1), "source": "The platform's page"} | fields
    return PlatformRule.objects.create(medium=medium, key=key, value=value, **fields)


def contacts() -> dict[tuple[int, int], list[dt.datetime]]:
    """(customer, channel) → when messages that may have arrived were begun."""
    found = defaultdict(list)
    rows = Attempt.objects.filter(state__in=LIVE).order_by("started_at")
    for customer, channel, at in rows.values_list("customer_id", "channel_id", "started_at"):
        found[customer, channel].append(at)
    return found


@pytest.mark.parametrize("seed", range(2))
def test_four_workers_two_campaigns_and_random_answers_never_give_anybody_one_more_a_month(seed: int) -> None:
    def answer(message: Any) -> Sent | Outcome:
        share = random.Random(f"{seed}/{message.attempt_id}").random()
        if share < 0.15:
            return Sent(message.attempt_id, Outcome.REFUSED, code="550")
        if share < 0.3:
            return Sent(message.attempt_id, Outcome.THROTTLED, retry_after=60)
        return Outcome.UNKNOWN if share < 0.35 else Outcome.ACCEPTED

    rule(MONTH, 4)
    limited = make.channel(wire=Wire(answer, batch_size=7))
    free = make.channel("sms", wire=Wire(answer, batch_size=5))
    people = make.customers(40, ("email", "sms"))
    for _campaign in range(2):
        found = make.campaign([limited, free], touches=4, gap_hours=1, days=70)
        make.released(found, people, touches=4, every=2 * HOUR)
    for turn in range(14):
        at = NOW + turn * 2 * HOUR
        make.ran_until(at)
        in_threads(
            4,
            lambda n, at=at: dispatch.dispatch_channel(
                (limited, free)[n % 2].pk, now=at, worker=f"w{n}", seconds=5
            ),
        )
    counted = contacts()
    assert max(len(times) for (_person, channel), times in counted.items() if channel == limited.pk) == 4
    assert max(len(times) for (_person, channel), times in counted.items() if channel == free.pk) > 4
    waiting = Touch.objects.filter(channel_id=limited.pk, state="planned", deferred=Cause.PLATFORM_RULE)
    assert waiting.exists()
    for turn in range(1, 4):
        at = MONTH_ENDS + turn * 2 * HOUR
        make.ran_until(at)
        in_threads(4, lambda n, at=at: dispatch.dispatch_channel(limited.pk, now=at, worker=f"w{n}"))
    months: dict[tuple[int, bool], int] = defaultdict(int)
    for (person, channel), times in contacts().items():
        for at in times:
            if channel == limited.pk:
                months[person, at >= MONTH_ENDS] += 1
    assert max(months.values()) == 4
    assert any(april for _person, april in months), "a new month is a new quota, not a rolling window"
    assert broken_promises(MONTH_ENDS + 6 * HOUR) == []


def test_a_quota_lowered_while_four_workers_run_gives_nobody_one_more() -> None:
    """The moment of the change is a place in the order of claims: after it nobody beyond the new number is claimed."""
    slow = lambda message: time.sleep(0.001) or Outcome.ACCEPTED  # noqa: E731
    channel = make.channel(wire=Wire(slow, batch_size=10))
    start = dt.datetime.now(dt.UTC)
    people = make.customers(150)
    quota = rule(MONTH, 20)
    for _campaign in range(2):
        found = make.campaign([channel], touches=8, gap_hours=0, now=start)
        make.released(found, people, touches=8, every=dt.timedelta(0), due_at=start - MINUTE)
    stop = threading.Event()

    def work(_n: int) -> None:
        while not stop.is_set():
            dispatch.dispatch_channel(channel.pk, seconds=0.3, limit=100)

    def lower() -> None:
        try:
            while Attempt.objects.count() < 200:
                time.sleep(0.01)
            quota.value = 6
            quota.save()
            with connection.cursor() as cursor:
                cursor.execute("SELECT clock_timestamp()")
                lowered.append(cursor.fetchone()[0])
            until, seen = time.monotonic() + 20, -1  # a busy machine is given time to go on
            while time.monotonic() < until and seen != (seen := Attempt.objects.count()):
                time.sleep(2)
        finally:
            stop.set()
            connections.close_all()

    lowered: list[dt.datetime] = []
    other = threading.Thread(target=lower)
    other.start()
    in_threads(4, work)
    other.join()
    (at,) = lowered
    before: dict[int, int] = defaultdict(int)
    after: dict[int, int] = defaultdict(int)
    for (person, _channel), times in contacts().items():
        for moment in times:
            (before if moment <= at else after)[person] += 1
    assert sum(after.values()) > 0, "the workers went on after the change"
    assert [person for person, n in after.items() if before[person] + n > 6] == []
    assert max(before.values()) > 0
    assert broken_promises(dt.datetime.now(dt.UTC)) == []


@pytest.mark.parametrize(
    ("key", "value", "free_at"),
    [
        ("messages_a_customer_a_day", 1, dt.datetime(2026, 3, 2, 16, 0, tzinfo=dt.UTC)),
        ("messages_a_customer_a_week", 1, dt.datetime(2026, 3, 8, 16, 0, tzinfo=dt.UTC)),
        (MONTH, 1, MONTH_ENDS),
        ("messages_a_number_in_24_hours", 1, NOW + DAY + dt.timedelta(seconds=5)),
    ],
)
def test_each_kind_of_quota_frees_when_its_own_period_ends(
    key: str, value: Any, free_at: dt.datetime
) -> None:
    wire = Wire()
    rule(key, value)
    channel = make.channel(wire=wire)
    person = make.customers(1)
    found = make.campaign([channel], touches=2, gap_hours=0, days=60)
    make.released(found, person, touches=2, every=dt.timedelta(0))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    dispatch.dispatch_channel(channel.pk, now=NOW + MINUTE)
    second = Touch.objects.get(state="planned")
    assert second.deferred == Cause.PLATFORM_RULE
    assert second.due_at <= min(free_at, NOW + MINUTE + DAY)
    make.ran_until(free_at)
    Touch.objects.filter(pk=second.pk).update(due_at=free_at - MINUTE)
    dispatch.dispatch_channel(channel.pk, now=free_at - dt.timedelta(seconds=1))
    assert len(wire.log) == 1
    Touch.objects.filter(state="planned").update(due_at=free_at)
    dispatch.dispatch_channel(channel.pk, now=free_at + dt.timedelta(seconds=1))
    assert len(wire.log) == 2


def test_a_wecom_customer_may_have_as_many_messages_as_the_month_has_days() -> None:
    rule(MONTH, "days_in_month", "wecom")
    channel = make.channel("wecom")
    for now, touches in ((NOW, 31), (MONTH_ENDS, 30), (dt.datetime(2028, 2, 5, tzinfo=dt.UTC), 29)):
        (period,) = person_quotas.of_channel(channel, now, person_quotas.rules(now)).periods
        assert period.touches == touches


def test_the_row_that_wins_is_the_one_the_rules_page_says() -> None:
    from channels import platform_rules

    rule(MONTH, 9)
    rule(MONTH, 8, valid_from=dt.date(2026, 2, 1))
    channel = make.channel()
    rule(MONTH, 7, adapter=channel.adapter)
    rule(MONTH, 6, adapter=channel.adapter, valid_from=dt.date(2026, 3, 3))
    for now, value in ((NOW, 7), (NOW + DAY, 6)):
        (period,) = person_quotas.of_channel(channel, now, person_quotas.rules(now)).periods
        assert (
            period.touches
            == value
            == platform_rules.rule_value("email", MONTH, channel=channel, on=now.date())
        )
    rule(MONTH, 2, channel=channel)
    (period,) = person_quotas.of_channel(channel, NOW, person_quotas.rules(NOW)).periods
    assert period.touches == 2


def test_a_rule_of_today_counts_contacts_that_were_forgotten_before_it() -> None:
    """Contacts are kept for a week; a quota of the month makes them known again before anybody is claimed."""
    wire = Wire()
    channel = make.channel(wire=wire)
    people = make.customers(3)
    first = make.campaign([channel], days=60)
    make.released(first, people)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    later = NOW + 20 * DAY
    ContactState.objects.update(
        recent_attempts=[], recent_channels=[], recent_at=[], complete_since=later - 7 * DAY
    )
    Clock.objects.update_or_create(name="pressure", defaults={"at": later, "value": 168})
    rule(MONTH, 1)
    second = make.campaign([channel], days=60)
    make.released(second, people, due_at=later)
    make.ran_until(later)
    dispatch.dispatch_channel(channel.pk, now=later)
    assert len(wire.log) == 3, "nobody got a second one in March"
    assert make.states(second) == {"planned": 3}
    assert pressure.known_hours() >= 31 * 24


def test_a_refused_message_takes_no_place_of_the_quota() -> None:
    answers = iter([Outcome.REFUSED])
    rule(MONTH, 1)
    channel = make.channel(wire=Wire(lambda message: next(answers, Outcome.ACCEPTED)))
    person = make.customers(1)
    one, other = (make.campaign([channel]) for _ in range(2))
    make.released(one, person)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    make.released(other, person)
    dispatch.dispatch_channel(channel.pk, now=NOW + MINUTE)
    assert make.states(other) == {"sent": 1}


def test_a_deadline_before_the_period_ends_is_a_gap_of_the_platforms_rule() -> None:
    rule(MONTH, 1)
    channel = make.channel()
    person = make.customers(1)
    found = make.campaign([channel], touches=2, gap_hours=0)
    make.released(found, person, touches=2, every=dt.timedelta(0), deadline_at=NOW + 3 * HOUR)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    dispatch.dispatch_channel(channel.pk, now=NOW + MINUTE)
    make.ran_until(NOW + 3 * HOUR)
    dispatch.sweep(NOW + 3 * HOUR)
    assert make.states(found) == {"sent": 1, f"gap:{Cause.PLATFORM_RULE}": 1}


def test_contacts_are_kept_no_longer_where_no_channel_has_such_a_quota() -> None:
    rule(MONTH, 4, "wecom")
    assert pressure.kept_hours(NOW) == pressure.SHORTEST_KEPT
    make.channel("wecom")
    assert pressure.kept_hours(NOW) > 31 * 24
