"""What a platform lets one person get: so many messages of a channel a day, week or month, kept by the claim itself.

Read within the claim, while the policy is held: a quota changes between claims, and whoever claims after it keeps it.
Days, weeks and months are those of the calendar in the installation's zone; they do not roll. The contacts of a
whole period are kept for that (:mod:`campaigns.pressure`).
"""

import calendar
import datetime as dt
import json
from dataclasses import dataclass, field

from audiences.days import begins, day_of
from campaigns.queries import person_quotas as queries
from campaigns.queries.person_quotas import Period, Row
from channels import platform_rules
from channels.models import Channel

QUOTAS = {
    "messages_a_customer_a_day": "day",
    "messages_a_customer_a_week": "week",
    "messages_a_customer_a_month": "month",
    "messages_a_number_in_24_hours": "",  # on end
}
LONGEST = {"": 24, "day": 25, "week": 7 * 24 + 1, "month": 31 * 24 + 1}  # hours; clocks are put back


@dataclass(frozen=True, slots=True)
class OnEnd:
    """At most ``touches`` in any ``hours`` on end."""

    touches: int
    hours: int
    channels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PersonQuotas:
    """What holds for one channel now. ``hours``: of contacts that must be known to count by it."""

    channel_id: int
    periods: list[Period] = field(default_factory=list)
    windows: list[OnEnd] = field(default_factory=list)
    hours: int = 0

    def frees_sql(self) -> str:
        return queries.frees_sql(self.channel_id, self.periods, self.windows)

    def __bool__(self) -> bool:
        return bool(self.periods or self.windows)


def rules(now: dt.datetime) -> list[Row]:
    """Rules in force now or later that some channel keeps: inside :func:`campaigns.pressure.hold_policy` they stay so."""
    return queries.rows(list(QUOTAS), day_of(now))


def of_channel(channel: Channel, now: dt.datetime, rows: list[Row]) -> PersonQuotas:
    """The quotas in force on a channel, of :func:`rules`."""
    found = PersonQuotas(channel.pk)
    hours = 0
    for key, period in QUOTAS.items():
        touches = _touches(_winning(channel, key, rows, day_of(now)), period, now)
        if touches is None:
            continue
        hours = max(hours, LONGEST[period])
        if period:
            found.periods.append(Period(touches, *edges(now, period)))
        else:
            found.windows.append(OnEnd(touches, 24, (channel.pk,)))
    return PersonQuotas(channel.pk, found.periods, found.windows, hours)


def kept_hours(rows: list[Row]) -> int:
    """How long contacts must be kept for the quotas of all channels, those that are to come included."""
    return max((LONGEST[QUOTAS[row.key]] for row in rows), default=0)


def edges(now: dt.datetime, period: str) -> tuple[dt.datetime, dt.datetime]:
    """When the day, week or month begins that ``now`` is in, and when the next one does."""
    day = day_of(now)
    if period == "month":
        day = day.replace(day=1)
        following = (day + dt.timedelta(days=32)).replace(day=1)
    elif period == "week":
        day -= dt.timedelta(days=day.weekday())
        following = day + dt.timedelta(days=7)
    else:
        following = day + dt.timedelta(days=1)
    return begins(day), begins(following)


def _winning(channel: Channel, key: str, rows: list[Row], day: dt.date) -> Row | None:
    """As :func:`channels.platform_rules.rows_in_force` chooses."""
    notices = platform_rules.is_for_notices(channel) and key in platform_rules.OF_MASS_MESSAGES
    places = {"", platform_rules.country_of(channel)}
    fitting = [
        row
        for row in rows
        if row.key == key
        and row.medium == channel.medium
        and row.valid_from <= day
        and row.country in places
        and (row.channel_id == channel.pk or (row.channel_id is None and not notices))
        and (row.channel_id is not None or row.adapter in ("", channel.adapter))
    ]
    return max(
        fitting,
        key=lambda row: (row.channel_id is not None, row.adapter, row.country, row.valid_from, row.id),
        default=None,
    )


def _touches(row: Row | None, period: str, now: dt.datetime) -> int | None:
    if row is None:
        return None
    value = json.loads(row.value) if isinstance(row.value, str) else row.value
    day = day_of(now)
    days = calendar.monthrange(day.year, day.month)[1]
    return platform_rules.messages_a_month(value, days) if period == "month" else int(value)
