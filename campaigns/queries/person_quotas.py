"""Platforms' quotas of messages a person, as a claim reads them and as it counts."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from django.db import connection

from campaigns.queries.pressure import Window, frees_at_sql

# Rules that are not over, of a channel somebody has: those of the future are told too, since their contacts are kept.
ROWS = """
SELECT r.id, r.key, r.value, r.medium, r.adapter, r.channel_id, r.country, r.valid_from
FROM channels_platformrule r
WHERE r.key = ANY (%(keys)s) AND (r.valid_to IS NULL OR r.valid_to >= %(day)s) AND EXISTS (
    SELECT FROM channels_channel c
    WHERE c.medium = r.medium AND c.state <> 'archived' AND r.adapter IN ('', c.adapter)
      AND (r.channel_id IS NULL OR r.channel_id = c.id))
"""


class Row(NamedTuple):
    id: int
    key: str
    value: Any
    medium: str
    adapter: str
    channel_id: int | None
    country: str
    valid_from: date


def rows(keys: Sequence[str], day: date) -> list[Row]:
    """Rules of these keys that hold on a day or later, and that some channel has to keep."""
    with connection.cursor() as cursor:
        cursor.execute(ROWS, {"keys": list(keys), "day": day})
        return [Row._make(row) for row in cursor.fetchall()]


class Period(NamedTuple):
    """At most ``touches`` contacts on a channel from ``begins`` on, until ``ends``."""

    touches: int
    begins: datetime
    ends: datetime


def frees_sql(channel_id: int, periods: Sequence[Period], windows: Sequence[Window], state: str = "s") -> str:
    """When the person of a contact state may have another message by quotas: NULL means now.

    Places held for somebody's confirmation lie beyond the period's end, and count.
    """
    waits = [_one(period, int(channel_id), state) for period in periods]
    if windows:
        waits.append(frees_at_sql(windows, state))
    if not waits:
        return "NULL::timestamptz"
    return waits[0] if len(waits) == 1 else f"greatest({', '.join(waits)})"


def _one(period: Period, channel: int, state: str) -> str:
    touches, ends = int(period.touches), f"'{period.ends.isoformat()}'::timestamptz"
    if touches <= 0:
        return ends
    return (
        f"CASE WHEN cardinality({state}.recent_at) >= {touches} AND ("
        f"SELECT count(*) FROM unnest({state}.recent_at, {state}.recent_channels) AS e(at, channel) "
        f"WHERE e.at >= '{period.begins.isoformat()}'::timestamptz AND e.channel = {channel}"
        f") >= {touches} THEN {ends} END"
    )
