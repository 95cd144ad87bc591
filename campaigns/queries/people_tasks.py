"""Tasks of people in SQL: one for each held touch of a call, one for each placement."""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection, transaction

# Employees of the channel share them evenly; without employees anybody may take them. A channel worked by hand is
# worked by its employees whatever its medium: visits of a store, an event, letters.
CALLS = """
WITH held AS (
    SELECT a.campaign_id, a.touch_id, a.channel_id, a.customer_id, t.deadline_at, c.name AS campaign, p.name AS person,
           row_number() OVER (PARTITION BY a.channel_id ORDER BY a.id) AS turn
    FROM campaigns_attempt a
    JOIN campaigns_touch t ON t.campaign_id = a.campaign_id AND t.id = a.touch_id
    JOIN channels_channel ch ON ch.id = a.channel_id AND (
        ch.medium = ANY (%(media)s)
        OR ch.adapter = 'manual'
            AND EXISTS (SELECT FROM channels_employee e WHERE e.channel_id = ch.id AND e.left_at IS NULL))
    JOIN campaigns_campaign c ON c.id = a.campaign_id
    JOIN audiences_customer p ON p.id = a.customer_id
    WHERE a.state = 'held' AND NOT EXISTS (
        SELECT FROM campaigns_peopletask x WHERE x.campaign_id = a.campaign_id AND x.touch_id = a.touch_id
          AND (x.state = 'open' OR x.settles_at IS NOT NULL))
    ORDER BY a.id LIMIT %(limit)s
),
staff AS (
    SELECT id, channel_id, row_number() OVER (PARTITION BY channel_id ORDER BY id) - 1 AS turn,
           count(*) OVER (PARTITION BY channel_id) AS n
    FROM channels_employee WHERE left_at IS NULL
)
INSERT INTO campaigns_peopletask
    (campaign_id, touch_id, channel_id, customer_id, employee_id, title, note, due_at, state, outcome)
SELECT h.campaign_id, h.touch_id, h.channel_id, h.customer_id, s.id,
       left(h.campaign || ': ' || coalesce(nullif(h.person, ''), '#' || h.customer_id), 200), '', h.deadline_at, 'open', ''
FROM held h LEFT JOIN staff s ON s.channel_id = h.channel_id AND s.turn = h.turn %% s.n
"""

PLACEMENTS = """
INSERT INTO campaigns_peopletask (campaign_id, channel_id, title, note, due_at, state, outcome)
SELECT c.id, p.channel_id, left(c.name || ': ' || ch.name, 200), '', coalesce(c.starts_at, %(now)s), 'open', ''
FROM campaigns_campaign c
JOIN campaigns_channelplan p ON p.campaign_id = c.id
JOIN channels_channel ch ON ch.id = p.channel_id AND ch.observability = 'placement'
WHERE c.state IN ('scheduled', 'running') AND NOT EXISTS (
    SELECT FROM campaigns_peopletask x WHERE x.campaign_id = c.id AND x.channel_id = p.channel_id AND x.touch_id IS NULL)
"""

# Two makers at once would both find no task: the second one waits, and then finds it.
ALONE = "SELECT pg_advisory_xact_lock(730144197)"

EXPIRED = """
UPDATE campaigns_peopletask x SET state = 'expired', done_at = %(now)s
WHERE x.state = 'open' AND x.touch_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM campaigns_touch t WHERE t.campaign_id = x.campaign_id AND t.id = x.touch_id AND t.state = 'held')
"""

# Also one whose deadline has passed meanwhile: what was reported counts.
HELD_OF = """
SELECT campaign_id, id FROM campaigns_attempt
WHERE campaign_id = %(campaign)s AND touch_id = %(touch)s AND state IN ('held', 'expired', 'unknown')
ORDER BY n DESC LIMIT 1
"""


def make_calls(media: Sequence[str], limit: int) -> int:
    """A task for each held touch of these media that has none."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(ALONE)
        cursor.execute(CALLS, {"media": list(media), "limit": limit})
        return cursor.rowcount


def make_placements(now: datetime) -> int:
    """A task for each placement of a campaign about to run."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(ALONE)
        cursor.execute(PLACEMENTS, {"now": now})
        return cursor.rowcount


def expire(now: datetime) -> int:
    """Open tasks whose touch came to an end otherwise."""
    with connection.cursor() as cursor:
        cursor.execute(EXPIRED, {"now": now})
        return cursor.rowcount


def held_attempt(campaign_id: int, touch_id: int) -> tuple[int, int] | None:
    """(campaign, attempt) that waits for somebody's word about this touch."""
    with connection.cursor() as cursor:
        cursor.execute(HELD_OF, {"campaign": campaign_id, "touch": touch_id})
        row = cursor.fetchone()
    return (row[0], row[1]) if row else None
