"""How channels fare, read from their counts and their inbox."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

SUMMARY = """
WITH shown AS (SELECT unnest(%(channels)s::bigint[]) AS id),
outcomes AS (
    SELECT channel_id,
           sum(n) FILTER (WHERE name = 'accepted') AS accepted,
           sum(n) FILTER (WHERE name = 'held') AS held,
           sum(n) FILTER (WHERE name = 'refused') AS refused,
           sum(n) FILTER (WHERE name = 'throttled') AS throttled,
           sum(n) FILTER (WHERE name = 'unknown') AS unknown,
           sum(n) FILTER (WHERE name = 'bad_signature') AS bad_signatures
    FROM channels_channelcount
    WHERE hour >= %(since)s AND channel_id = ANY(%(channels)s)
    GROUP BY channel_id
)
SELECT shown.id, coalesce(accepted, 0), coalesce(held, 0), coalesce(refused, 0), coalesce(throttled, 0),
       coalesce(unknown, 0), coalesce(bad_signatures, 0),
       (SELECT received_at FROM channels_inboxevent event WHERE event.channel_id = shown.id
        ORDER BY received_at DESC LIMIT 1),
       (SELECT count(*) FROM channels_inboxevent event WHERE event.channel_id = shown.id AND event.state = 'new'),
       (SELECT count(*) FROM channels_inboxevent event WHERE event.channel_id = shown.id AND event.state = 'poison')
FROM shown LEFT JOIN outcomes ON outcomes.channel_id = shown.id
"""

HOURS = """
SELECT hours.hour,
       coalesce(sum(n) FILTER (WHERE name IN ('accepted', 'held')), 0),
       coalesce(sum(n) FILTER (WHERE name IN ('refused', 'throttled', 'unknown')), 0)
FROM generate_series(date_trunc('hour', %(since)s::timestamptz), date_trunc('hour', %(now)s::timestamptz), '1 hour')
     AS hours (hour)
LEFT JOIN channels_channelcount counted ON counted.hour = hours.hour AND counted.channel_id = %(channel)s
GROUP BY hours.hour ORDER BY hours.hour
"""

CAUSES = """
SELECT name, sum(n) FROM channels_channelcount
WHERE channel_id = %(channel)s AND hour >= %(since)s AND name NOT IN ('accepted', 'held', 'refused', 'throttled', 'unknown')
  AND name NOT LIKE '%%click:%%'
GROUP BY name ORDER BY sum(n) DESC, name LIMIT 20
"""


def summary(channel_ids: Sequence[int], since: datetime) -> list[tuple[Any, ...]]:
    """One row a channel: what was handed over since, the last event, how many wait or are set aside."""
    with connection.cursor() as cursor:
        cursor.execute(SUMMARY, {"channels": list(channel_ids), "since": since})
        return list(cursor.fetchall())


def hours(channel_id: int, since: datetime, now: datetime) -> list[tuple[datetime, int, int]]:
    """Every hour of a span with what went and what did not."""
    with connection.cursor() as cursor:
        cursor.execute(HOURS, {"channel": channel_id, "since": since, "now": now})
        return [(hour, int(went), int(failed)) for hour, went, failed in cursor.fetchall()]


def causes(channel_id: int, since: datetime) -> list[tuple[str, int]]:
    """What went wrong, by cause, the most frequent first."""
    with connection.cursor() as cursor:
        cursor.execute(CAUSES, {"channel": channel_id, "since": since})
        return [(name, int(n)) for name, n in cursor.fetchall()]
