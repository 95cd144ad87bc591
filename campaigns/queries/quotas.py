"""How many messages of a day are taken, on channels that have a limit."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from django.db import connection

OPEN = """
INSERT INTO campaigns_day_count (channel_id, campaign_id, day, taken)
SELECT %(channel)s, campaign, %(day)s, 0 FROM unnest(%(campaigns)s::bigint[]) AS campaign
ORDER BY campaign
ON CONFLICT (channel_id, day, campaign_id) DO NOTHING
"""
HOLD = """
SELECT campaign_id, taken FROM campaigns_day_count
WHERE channel_id = %(channel)s AND day = %(day)s AND campaign_id = ANY (%(campaigns)s::bigint[])
ORDER BY campaign_id FOR NO KEY UPDATE
"""
# Locked in the order of a claim.
ADD = """
WITH locked AS MATERIALIZED (
    SELECT campaign_id, t.n FROM campaigns_day_count c
    JOIN unnest(%(campaigns)s::bigint[], %(numbers)s::integer[]) AS t (campaign_id, n) USING (campaign_id)
    WHERE c.channel_id = %(channel)s AND c.day = %(day)s
    ORDER BY c.campaign_id FOR NO KEY UPDATE OF c
)
UPDATE campaigns_day_count c SET taken = greatest(0, c.taken + l.n) FROM locked l
WHERE c.channel_id = %(channel)s AND c.day = %(day)s AND c.campaign_id = l.campaign_id
"""

TAKEN = "SELECT campaign_id, taken FROM campaigns_day_count WHERE channel_id = %(channel)s AND day = %(day)s"
# Counted by the hour, so that a page never walks through attempts.
STARTED = """
SELECT coalesce(sum(n), 0) FROM channels_channelcount
WHERE channel_id = %(channel)s AND hour >= %(begin)s AND hour < %(end)s AND name IN ('accepted', 'held', 'unknown')
"""


def taken(channel_id: int, day: date) -> dict[int, int]:
    """Campaign (0: the channel) → messages claimed on that day, of what is limited."""
    with connection.cursor() as cursor:
        cursor.execute(TAKEN, {"channel": channel_id, "day": day})
        return dict(cursor.fetchall())


def started(channel_id: int, begin: datetime, end: datetime) -> int:
    """Messages handed over in a span of whole hours, limited or not."""
    with connection.cursor() as cursor:
        cursor.execute(STARTED, {"channel": channel_id, "begin": begin, "end": end})
        return int(cursor.fetchone()[0])


def hold(channel_id: int, day: date, campaigns: Sequence[int]) -> dict[int, int]:
    """Campaign → messages taken on that day; the counts are locked until the transaction ends."""
    params: dict[str, Any] = {"channel": channel_id, "day": day, "campaigns": sorted(campaigns)}
    with connection.cursor() as cursor:
        cursor.execute(OPEN, params)
        cursor.execute(HOLD, params)
        return dict(cursor.fetchall())


def add(channel_id: int, day: date, campaigns: Sequence[int], numbers: Sequence[int]) -> int:
    """Counts of these campaigns, changed by these numbers."""
    with connection.cursor() as cursor:
        cursor.execute(
            ADD, {"channel": channel_id, "day": day, "campaigns": list(campaigns), "numbers": list(numbers)}
        )
        return cursor.rowcount
