"""What is overdue, and why it is not fired late.

A touch may be late because its channel is slow: a backlog, which goes on. Or because nothing could send for
a while, and then its hour has passed:

- *its campaign, channel or channel plan stood still* for more than :data:`LATENESS` (a pause): each overdue
  touch moves to the same time of day on the next day that lies before its deadline, or else is a gap;
- *the whole installation stood still* for that long (an outage, or a database restored from a copy, whose
  touches may have gone out already): campaigns with overdue touches are paused with that reason, until a
  person has looked and resumes them. Then the first rule holds.

Clocks in the database tell the cases apart; each is turned while its pair may send. A machine whose clock
jumps ahead looks like an outage; so for :data:`STEADY` after one no deadline is held against anybody.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from campaigns.models import Clock
from campaigns.queries import lateness as queries
from campaigns.vocabulary import Cause

LATENESS = timedelta(hours=1)
STEADY = timedelta(minutes=15)
TURNED_EVERY = timedelta(minutes=1)
RETIMED_AT_ONCE = 20_000
EVERYTHING = "dispatch"
AGAIN = "dispatch again"  # since when things run after an outage


def watch(now: datetime) -> int:
    """Turn the clocks; pause or re-time what stood still. Returns how many touches were moved or closed.

    Called before anything is claimed.
    """
    with transaction.atomic():
        clock = Clock.objects.filter(name=EVERYTHING).first()
        if clock is not None and now - clock.at > LATENESS:
            reason = _(
                "Nothing was sent between %(since)s and %(until)s (UTC). Was this database restored from a copy? "
                "Look at what is overdue; if you resume, it moves to the next day or becomes a gap."
            ) % {"since": f"{clock.at:%Y-%m-%d %H:%M}", "until": f"{now:%Y-%m-%d %H:%M}"}
            queries.pause_overdue(now, LATENESS, str(reason))
            queries.turn_clock(AGAIN, now)
        if clock is None or abs(now - clock.at) > TURNED_EVERY:
            queries.turn_clock(EVERYTHING, now)
        stood_still = queries.turn_clocks(now, TURNED_EVERY, LATENESS)
    return sum(_retime(campaign_id, channel_id, now) for campaign_id, channel_id, _since in stood_still)


def begin_clock(campaign_id: int, channel_id: int, now: datetime) -> None:
    """A pair that stands still before it ever could send has stood still since now."""
    Clock.objects.get_or_create(name=f"dispatch:{campaign_id}:{channel_id}", defaults={"at": now})


def _retime(campaign_id: int, channel_id: int, now: datetime) -> int:
    """The clock is turned last: a kill half-way leaves the rest to the next watch."""
    done = 0
    while moved := queries.retime(campaign_id, channel_id, now, LATENESS, Cause.DEADLINE, RETIMED_AT_ONCE):
        done += moved
    queries.turn_clock(f"dispatch:{campaign_id}:{channel_id}", now)
    return done


def close_overdue(now: datetime) -> int:
    """Touches past their deadline that no claim will see are gaps, with the cause that last held them.

    Not just after an outage, which may be no more than a clock that jumped.
    """
    watch(now)
    again = Clock.objects.filter(name=AGAIN).first()
    if again is not None and abs(now - again.at) < STEADY:
        return 0
    done = 0
    for channel_id in queries.planned_channels():
        while closed := queries.close_overdue(channel_id, now, RETIMED_AT_ONCE):
            done += closed
    return done
