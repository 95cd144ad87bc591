"""What ends a campaign for a person, and what is let go with it.

An exit is final: the member has exited, what is unsent is released on all channels, and platforms are asked
to drop the person. What was handed over already is not recalled.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction

from campaigns.models import Clock
from campaigns.queries import exits as queries
from campaigns.retrying import steadily
from campaigns.vocabulary import RELEASE_CAUSES, Cause, MemberState, TouchState

RELEASED_AT_ONCE = 50_000
LOOKED_BACK = timedelta(minutes=10)
"""Orders are looked at again for so long, since a transaction that began earlier may commit later."""
STAGES_AT_ONCE = 20_000
CONVERSION, STAGE_CHANGE = "conversion", "stage_change"
OPEN_MEMBERS = (MemberState.ACTIVE, MemberState.WAITING)


def exit_members(leaving: Iterable[tuple[int, int, str]], now: datetime) -> int:
    """(campaign, customer, why) of people for whom it ends; returns how many members exited."""
    return _leave(leaving, MemberState.EXITED, Cause.EXIT, OPEN_MEMBERS, now)


def wait_members(silent: Iterable[tuple[int, int]], now: datetime) -> int:
    """(campaign, customer) of people who did not react: they wait for the next good occasion."""
    leaving = [(campaign_id, customer_id, "silence") for campaign_id, customer_id in silent]
    return _leave(leaving, MemberState.WAITING, Cause.SILENCE, (MemberState.ACTIVE,), now)


def _leave(
    leaving: Iterable[tuple[int, int, str]], state: str, cause: str, from_states: Sequence[str], now: datetime
) -> int:
    rows = list(leaving)
    if not rows:
        return 0
    campaigns, customers, reasons = zip(*rows, strict=True)

    def work() -> int:
        with transaction.atomic():
            members, _touches = queries.leave(
                campaigns, customers, reasons, from_states=from_states, to_state=state, cause=cause, now=now
            )
            return members

    return work() if connection.in_atomic_block else steadily(work)


def release_touches(campaign_id: int, customer_ids: Sequence[int] | None, cause: str, now: datetime) -> int:
    """Let go of what is unsent, of some customers or of all; returns how many touches.

    A cause that is no rule's letting-go (:data:`RELEASE_CAUSES`) makes them gaps.
    """
    state = TouchState.RELEASED if cause in RELEASE_CAUSES else TouchState.GAP
    done = 0
    while True:

        def work() -> int:
            with transaction.atomic():
                return queries.release(campaign_id, customer_ids, state, cause, now, RELEASED_AT_ONCE)

        some = work() if connection.in_atomic_block else steadily(work)
        done += some
        if some < RELEASED_AT_ONCE:
            return done


def opted_out(people: Iterable[tuple[int, int | None, str]], now: datetime) -> int:
    """(customer, brand or None, medium or '') of people who opted out: what is unsent there is a gap.

    In every campaign, whatever its state. The next claim would find the same.
    """
    rows = list(people)
    if not rows:
        return 0
    customers, brands, media = zip(*rows, strict=True)

    def work() -> int:
        with transaction.atomic():
            return queries.opted_out(customers, brands, media, now)

    return work() if connection.in_atomic_block else steadily(work)


def from_stops(now: datetime) -> int:
    """Touches that were under way when their campaign was stopped and came back unsent are let go."""
    return sum(
        release_touches(campaign_id, None, Cause.CAMPAIGN_STOPPED, now)
        for campaign_id in queries.stopped(now)
    )


def from_orders(now: datetime) -> int:
    """People who bought leave the campaigns that a conversion ends; returns how many members exited."""
    clock, _made = Clock.objects.get_or_create(name="orders", defaults={"at": now - timedelta(days=1)})
    done = exit_members(
        (
            (campaign_id, customer_id, CONVERSION)
            for campaign_id, customer_id in queries.buyers(clock.at - LOOKED_BACK)
        ),
        now,
    )
    Clock.objects.filter(name="orders").update(at=now)
    return done


def from_stages(now: datetime) -> int:
    """People whose stage changed leave the campaigns that end with it: their touches were meant for another."""
    done = 0
    while changed := queries.stage_changed(STAGES_AT_ONCE):
        done += _leave(
            [(campaign_id, customer_id, STAGE_CHANGE) for campaign_id, customer_id in changed],
            MemberState.ENDED, Cause.STAGE_CHANGE, OPEN_MEMBERS, now,
        )  # fmt: skip
        if len(changed) < STAGES_AT_ONCE:
            break
    return done
