"""Calls of a provider, where its platform limits them: so many a minute and a day, over all workers on all machines.

Calls are taken right before they are made, with the channel's row locked, and counted by the second: in any sixty
seconds no more begin than the rule in force says. A day is one of the installation's zone. Channels without such a
rule are not counted.
"""

import datetime as dt
from dataclasses import dataclass

from django.db import connection, transaction
from django.utils.translation import gettext as _

from audiences.days import ONE, begins, day_of
from channels import platform_rules
from channels.adapters.base import AdapterError
from channels.models import Channel, ChannelCalls

FIELDS = ("day", "of_day", "recent_at", "recent_n")
KEYS = ("recipients_a_call", "calls_a_minute", "calls_a_day")
SECOND = dt.timedelta(seconds=1)
KEPT = 62 * SECOND  # a call begins within a second of being taken, and is counted by the whole second
MANY = 2**31 - 1
NOTHING = 60.0  # seconds until a limit of no calls at all is looked at again


@dataclass(frozen=True, slots=True)
class Limits:
    """What the platform's rules in force say of its calls; None: nothing."""

    recipients: int | None = None  # in one call
    a_minute: int | None = None
    a_day: int | None = None

    @property
    def counted(self) -> bool:
        return self.a_minute is not None or self.a_day is not None


@dataclass(frozen=True, slots=True)
class Taken:
    """``n`` calls may begin now; when 0, ask again after ``wait_seconds``."""

    n: int
    wait_seconds: float
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Used:
    """Calls counted in the last minute and today."""

    minute: int
    day: int


def limits(channel: Channel, now: dt.datetime) -> Limits:
    """The rules in force: read again every few seconds, since admins change them and dates pass."""
    told = platform_rules.rule_values(
        channel.medium, KEYS, channel=channel, country=platform_rules.country_of(channel), on=day_of(now)
    )
    recipients, a_minute, a_day = (int(told[key]) if key in told else None for key in KEYS)
    return Limits(recipients, a_minute, a_day)


def take(channel_id: int, wanted: int, limit: Limits, now: dt.datetime | None = None) -> Taken:
    """Up to ``wanted`` calls, counted. Without ``now`` the database's clock is used."""
    with transaction.atomic():
        row, at = _locked(channel_id, now)
        left, wait = _room(row, limit, at)
        n = max(0, min(wanted, left))
        if n:
            _add(row, n, at)
            row.save(update_fields=FIELDS)
    return Taken(n, 0.0 if n else wait, at)


def room(channel_id: int, limit: Limits, now: dt.datetime | None = None) -> Taken:
    """How many calls might begin now, without taking them; nobody waits for the row."""
    at = now or _clock()
    row = ChannelCalls.objects.filter(pk=channel_id).first() or ChannelCalls(pk=channel_id, day=day_of(at))
    return Taken(*_room(row, limit, at), at)


def ended(channel_id: int, taken: Taken, now: dt.datetime | None = None) -> None:
    """A ``send`` came back: its last calls may have begun only now, so they are counted as of now."""
    with transaction.atomic():
        row, at = _locked(channel_id, now)
        if at - taken.at < SECOND or not taken.n:
            return
        begun = taken.at.replace(microsecond=0)
        if begun in row.recent_at:
            place = row.recent_at.index(begun)
            row.recent_n[place] -= min(taken.n, row.recent_n[place])
        _add(row, taken.n, at, again=True)
        row.save(update_fields=FIELDS)


def spend(channel: Channel, now: dt.datetime | None = None) -> None:
    """One call that is no message: an audience, a flight, a report. Raises :class:`AdapterError` where none is left."""
    limit = limits(channel, now or _clock())
    if not limit.counted:
        return
    taken = take(channel.pk, 1, limit, now)
    if not taken.n:
        raise AdapterError(
            _("The platform's limit of calls is reached."), code="calls", retryable=True,
            retry_after=taken.wait_seconds,
        )  # fmt: skip


def used(channel_id: int, now: dt.datetime) -> Used:
    row = ChannelCalls.objects.filter(pk=channel_id).first()
    if row is None:
        return Used(0, 0)
    return Used(sum(_lately(row, now).values()), row.of_day if row.day == day_of(now) else 0)


def _locked(channel_id: int, now: dt.datetime | None) -> tuple[ChannelCalls, dt.datetime]:
    """The row, and the present read after it is locked: whoever waited must not judge by an old time."""
    rows = ChannelCalls.objects.select_for_update(no_key=True).filter(pk=channel_id)
    row = rows.first()
    if row is None:
        day = day_of(now or _clock())
        ChannelCalls.objects.bulk_create([ChannelCalls(pk=channel_id, day=day)], ignore_conflicts=True)
        row = rows.get()
    return row, now or _clock()


def _room(row: ChannelCalls, limit: Limits, now: dt.datetime) -> tuple[int, float]:
    """Calls that may begin, and seconds until one more may."""
    found, wait = MANY, 0.0
    if limit.a_minute is not None:
        lately = _lately(row, now)
        found = limit.a_minute - sum(lately.values())
        wait = _until_over(lately, 1 - found, now) if limit.a_minute else NOTHING
    if limit.a_day is not None:
        left = limit.a_day - (row.of_day if row.day == day_of(now) else 0)
        if left < found:
            found, wait = left, (begins(day_of(now) + ONE) - now).total_seconds()
    return max(0, found), wait


def _until_over(lately: dict[dt.datetime, int], n: int, now: dt.datetime) -> float:
    """Seconds until the ``n`` oldest calls are out of the minute."""
    for at, calls in lately.items():
        n -= calls
        if n <= 0:
            return max(0.001, (at + KEPT - now).total_seconds())
    return 0.0


def _lately(row: ChannelCalls, now: dt.datetime) -> dict[dt.datetime, int]:
    """Second → calls, of those that may have begun within the last minute."""
    pairs = zip(row.recent_at, row.recent_n, strict=True)
    return {at: n for at, n in pairs if n and at + KEPT > now}


def _add(row: ChannelCalls, n: int, now: dt.datetime, *, again: bool = False) -> None:
    """Count calls as of now; ``again``: the day has counted them before."""
    lately, second, day = _lately(row, now), now.replace(microsecond=0), day_of(now)
    lately[second] = lately.get(second, 0) + n
    row.recent_at, row.recent_n = list(lately), list(lately.values())
    row.of_day = row.of_day + (0 if again else n) if row.day == day else n
    row.day = day


def _clock() -> dt.datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        at: dt.datetime = cursor.fetchone()[0]
        return at.astimezone(dt.UTC)
