"""What dead workers, deadlines and silence of providers leave: every touch comes to an end."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from campaigns import exits, lateness, settlement, spending
from campaigns.queries import sweep as queries
from campaigns.queries.settle import Settled
from campaigns.retrying import steadily
from campaigns.settlement import Told
from campaigns.vocabulary import Cause
from channels.models import Channel

CLAIMS_AT_ONCE = 200
HELD_AT_ONCE = 5000
CONFIRM_GRACE = timedelta(days=3)
"""How long after its deadline a held touch waits for the report of what the employee did."""


@dataclass(frozen=True, slots=True)
class Swept:
    unknown: int  # attempts that may have been handed over when their worker died
    returned: int  # attempts that were not; their touches are planned again
    unconfirmed: int
    overdue: int  # touches closed at their deadline
    leases: int  # budget leases returned


def sweep(now: datetime) -> Swept:
    """Close what nobody else will. Safe to run at any time, by any number of sweepers."""
    unknown, returned = _claims(now)
    exits.from_stops(now)
    return Swept(unknown, returned, _unconfirmed(now), lateness.close_overdue(now), spending.expire(now))


def _claims(now: datetime) -> tuple[int, int]:
    counts = {"unknown": 0, "withdrawn": 0}
    while True:
        seen, settled = steadily(lambda: _some_claims(now))
        settlement.give_back(settled, now)
        for row in settled:
            if row.after == "unknown":
                counts["unknown"] += 1
            elif row.after == "throttled":
                counts["withdrawn"] += 1
        if seen < CLAIMS_AT_ONCE:
            return counts["unknown"], counts["withdrawn"]


def _some_claims(now: datetime) -> tuple[int, list[Settled]]:
    """Claims are locked first, so that their workers, if alive, can begin no further call; then looked at."""
    with transaction.atomic():
        claims = queries.expired_claims(now, CLAIMS_AT_ONCE)
        called = {token: set(ids) for token, _channel, ids in claims}
        channels = {channel_id for _token, channel_id, _ids in claims} | set(queries.recorded_channels(now))
        facts = []
        for channel_id in sorted(channels):
            for campaign_id, attempt_id, token in queries.abandoned(channel_id, list(called), now):
                if token in called and attempt_id not in called[token]:
                    facts.append(
                        Told(
                            campaign_id, attempt_id, "withdrawn", now, code="never_handed_over", again_at=now
                        )
                    )
                else:
                    facts.append(Told(campaign_id, attempt_id, "unknown", now, code="worker_lost"))
        settled = settlement.apply_within(facts, now) if facts else []
        queries.forget(list(called))
    return len(claims), settled


def _unconfirmed(now: datetime) -> int:
    """Tasks nobody confirmed in time: gaps of the employee. A report that comes later still counts."""
    done = 0
    for channel_id in Channel.objects.values_list("pk", flat=True):
        while held := queries.unconfirmed(channel_id, now, CONFIRM_GRACE, HELD_AT_ONCE):
            facts = [
                Told(campaign_id, attempt_id, "expired", now, code="not_reported", cause=Cause.UNCONFIRMED)
                for campaign_id, attempt_id in held
            ]
            moved = settlement.apply(facts, now)
            done += len(moved)
            if not moved:
                break
    return done
