"""Clocks of dispatch, and touches that are too late to go as they were planned."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

# Pairs (campaign, channel) that may send, with when they last could; a new pair begins now.
TURN = """
WITH sending AS MATERIALIZED (
    SELECT p.campaign_id, p.channel_id, 'dispatch:' || p.campaign_id || ':' || p.channel_id AS name
    FROM campaigns_channelplan p
    JOIN campaigns_campaign c ON c.id = p.campaign_id AND c.state = 'running'
        AND (c.starts_at IS NULL OR c.starts_at <= %(now)s)
    JOIN channels_channel ch ON ch.id = p.channel_id AND ch.state = 'active'
    WHERE p.paused_at IS NULL
),
stale AS MATERIALIZED (
    SELECT s.*, k.at FROM sending s LEFT JOIN campaigns_clock k USING (name)
    WHERE k.at IS NULL OR k.at NOT BETWEEN %(now)s::timestamptz - %(every)s AND %(now)s::timestamptz + %(every)s
    ORDER BY name
),
turned AS (
    INSERT INTO campaigns_clock (name, at, value)
    SELECT name, %(now)s, 0 FROM stale WHERE at IS NULL OR at >= %(now)s::timestamptz - %(lateness)s
    ON CONFLICT (name) DO UPDATE SET at = excluded.at
)
SELECT campaign_id, channel_id, at FROM stale WHERE at < %(now)s::timestamptz - %(lateness)s
ORDER BY campaign_id, channel_id
"""

TURN_ONE = """
INSERT INTO campaigns_clock (name, at, value) VALUES (%(name)s, %(now)s, 0)
ON CONFLICT (name) DO UPDATE SET at = excluded.at
"""

# The same time of day in the person's zone, on the first day that is not past; within the deadline, or not at all.
RETIME = """
WITH overdue AS MATERIALIZED (
    SELECT t.campaign_id, t.id, t.due_at, t.deadline_at, t.deferred, m.zone,
           ceil(extract(epoch FROM %(now)s::timestamptz - t.due_at) / 86400)::integer AS days
    FROM campaigns_touch t
    JOIN campaigns_member m ON m.campaign_id = t.campaign_id AND m.customer_id = t.customer_id
    WHERE t.campaign_id = %(campaign)s AND t.channel_id = %(channel)s AND t.state = 'planned'
      AND t.due_at < %(now)s::timestamptz - %(lateness)s
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF t SKIP LOCKED
),
again AS MATERIALIZED (
    SELECT o.*,
           CASE WHEN first.at >= %(now)s THEN first.at ELSE second.at END AS again_at
    FROM overdue o
    CROSS JOIN LATERAL (
        SELECT ((o.due_at AT TIME ZONE o.zone) + o.days * interval '1 day') AT TIME ZONE o.zone
    ) AS first (at)
    CROSS JOIN LATERAL (
        SELECT ((o.due_at AT TIME ZONE o.zone) + (o.days + 1) * interval '1 day') AT TIME ZONE o.zone
    ) AS second (at)
)
UPDATE campaigns_touch t
SET state = CASE WHEN a.again_at < t.deadline_at THEN 'planned' ELSE 'gap' END,
    reason = CASE WHEN a.again_at < t.deadline_at THEN '' ELSE coalesce(nullif(t.deferred, ''), %(cause)s) END,
    due_at = CASE WHEN a.again_at < t.deadline_at THEN a.again_at ELSE t.due_at END,
    state_at = CASE WHEN a.again_at < t.deadline_at THEN t.state_at ELSE %(now)s END
FROM again a
WHERE t.campaign_id = a.campaign_id AND t.id = a.id AND t.campaign_id = %(campaign)s
"""

# Running campaigns with something so overdue that it must not go without somebody having looked.
PAUSE_OVERDUE = """
UPDATE campaigns_campaign c SET state = 'paused', state_reason = %(reason)s, updated_at = %(now)s
WHERE c.state = 'running' AND EXISTS (
    SELECT FROM campaigns_channelplan p
    CROSS JOIN LATERAL (
        SELECT FROM campaigns_touch t
        WHERE t.campaign_id = c.id AND t.channel_id = p.channel_id AND t.state = 'planned'
          AND t.due_at < %(now)s::timestamptz - %(lateness)s
        LIMIT 1
    ) AS overdue
    WHERE p.campaign_id = c.id
)
"""

CLOSE_OVERDUE = """
WITH overdue AS MATERIALIZED (
    SELECT t.campaign_id, t.id, t.deferred, c.state, p.paused_at IS NOT NULL OR ch.state <> 'active' AS stopped
    FROM campaigns_touch t
    JOIN campaigns_campaign c ON c.id = t.campaign_id
    JOIN channels_channel ch ON ch.id = t.channel_id
    LEFT JOIN campaigns_channelplan p ON p.campaign_id = t.campaign_id AND p.channel_id = t.channel_id
    WHERE t.state = 'planned' AND t.due_at <= %(now)s AND t.deadline_at <= %(now)s AND t.channel_id = %(channel)s
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF t SKIP LOCKED
)
UPDATE campaigns_touch t
SET state = 'gap', state_at = %(now)s,
    reason = CASE WHEN o.deferred <> '' THEN o.deferred WHEN o.stopped THEN 'channel_stopped' ELSE 'deadline' END
FROM overdue o WHERE t.campaign_id = o.campaign_id AND t.id = o.id
"""

# Those a change took out too: what was under way there comes back later.
CHANNELS_OF_TOUCHES = "SELECT DISTINCT channel_id FROM campaigns_approved_ordinal ORDER BY channel_id"


def turn_clocks(now: datetime, every: timedelta, lateness: timedelta) -> list[tuple[int, int, datetime]]:
    """Clocks of all that may send, turned; (campaign, channel, since when) of those that stood still too long."""
    with connection.cursor() as cursor:
        params: dict[str, Any] = {"now": now, "every": every, "lateness": lateness}
        cursor.execute(TURN, params)
        return cursor.fetchall()


def turn_clock(name: str, now: datetime) -> int:
    """One clock, set to now."""
    return _run(TURN_ONE, {"name": name, "now": now})


def retime(
    campaign_id: int, channel_id: int, now: datetime, lateness: timedelta, cause: str, limit: int
) -> int:
    """Up to ``limit`` touches overdue by more than ``lateness``, moved to another day or closed as gaps."""
    return _run(
        RETIME,
        {
            "campaign": campaign_id,
            "channel": channel_id,
            "now": now,
            "lateness": lateness,
            "cause": cause,
            "limit": limit,
        },
    )


def pause_overdue(now: datetime, lateness: timedelta, reason: str) -> int:
    """Running campaigns with touches overdue by more than ``lateness``, paused."""
    return _run(PAUSE_OVERDUE, {"now": now, "lateness": lateness, "reason": reason[:254]})


def close_overdue(channel_id: int, now: datetime, limit: int) -> int:
    """Up to ``limit`` planned touches of a channel whose deadline has passed, closed with their cause."""
    return _run(CLOSE_OVERDUE, {"channel": channel_id, "now": now, "limit": limit})


def planned_channels() -> list[int]:
    """Channels that stand in any campaign's plan."""
    with connection.cursor() as cursor:
        cursor.execute(CHANNELS_OF_TOUCHES)
        return [row[0] for row in cursor.fetchall()]


def _run(sql: str, params: Mapping[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.rowcount
