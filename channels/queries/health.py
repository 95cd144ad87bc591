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
),
to_go AS (
    SELECT channel_id, sum(n) AS n, min(since) AS since FROM (
        SELECT a.channel_id, count(*) AS n, min(m.changed_at) AS since
        FROM channels_platformaudience a
        JOIN channels_platformaudiencemember m ON m.audience_id = a.id AND m.held AND NOT m.wanted
        WHERE a.channel_id = ANY(%(channels)s) GROUP BY a.channel_id
        UNION ALL
        SELECT a.channel_id, count(*), min(r.created_at)
        FROM channels_platformaudience a JOIN channels_platformremoval r ON r.audience_id = a.id
        WHERE a.channel_id = ANY(%(channels)s) GROUP BY a.channel_id
    ) either GROUP BY channel_id
)
SELECT shown.id, coalesce(accepted, 0), coalesce(held, 0), coalesce(refused, 0), coalesce(throttled, 0),
       coalesce(unknown, 0), coalesce(bad_signatures, 0),
       (SELECT received_at FROM channels_inboxevent event WHERE event.channel_id = shown.id
        ORDER BY received_at DESC LIMIT 1),
       (SELECT count(*) FROM channels_inboxevent event WHERE event.channel_id = shown.id AND event.state = 'new'),
       (SELECT count(*) FROM channels_inboxevent event WHERE event.channel_id = shown.id AND event.state = 'poison'),
       coalesce(to_go.n, 0), to_go.since
FROM shown LEFT JOIN outcomes ON outcomes.channel_id = shown.id LEFT JOIN to_go ON to_go.channel_id = shown.id
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

TO_ADD = """
SELECT count(*), min(m.changed_at)
FROM channels_platformaudience a
JOIN channels_platformaudiencemember m ON m.audience_id = a.id AND m.wanted <> m.held AND m.wanted
WHERE a.channel_id = %(channel)s
"""


def summary(channel_ids: Sequence[int], since: datetime) -> list[tuple[Any, ...]]:
    """One row a channel: what was handed over since, the last event, how many wait or are set aside, and who is to
    be taken out of audiences, since when."""
    with connection.cursor() as cursor:
        cursor.execute(SUMMARY, {"channels": list(channel_ids), "since": since})
        return list(cursor.fetchall())


def to_add(channel_id: int) -> tuple[int, datetime | None]:
    """People wanted in audiences of a channel whom the platform does not hold, and since when."""
    with connection.cursor() as cursor:
        cursor.execute(TO_ADD, {"channel": channel_id})
        n, since = cursor.fetchone()
        return int(n), since


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
