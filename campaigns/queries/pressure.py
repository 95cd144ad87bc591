"""Statements over recent contacts: when a place frees, and what is rebuilt from attempts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from django.db import connection

POLICY_LOCK = 7301441903  # the number in migration 0004


class Window(Protocol):
    """What the SQL needs of a rule; all of them integers from our own rows, so they are written out."""

    @property
    def touches(self) -> int: ...
    @property
    def hours(self) -> int: ...
    @property
    def channels(self) -> Sequence[int] | None: ...


def frees_at_sql(rules: Sequence[Window], state: str = "s", now: str = "%(now)s") -> str:
    """When the customer of a contact state may be contacted again: NULL means now, infinity never.

    A place is taken when a window holds ``touches`` contacts; it frees when the touches-th newest leaves.
    """
    waits = [_one(rule, state, now) for rule in rules]
    if not waits:
        return "NULL::timestamptz"
    return waits[0] if len(waits) == 1 else f"greatest({', '.join(waits)})"


def _one(rule: Window, state: str, now: str) -> str:
    if rule.touches <= 0:
        return "'infinity'::timestamptz"
    counted = "" if rule.channels is None else f"AND e.channel = ANY ('{_array(rule.channels)}'::integer[]) "
    return (
        f"CASE WHEN cardinality({state}.recent_at) >= {int(rule.touches)} THEN ("
        f"SELECT e.at + interval '{int(rule.hours)} hours' "
        f"FROM unnest({state}.recent_at, {state}.recent_channels) AS e(at, channel) "
        f"WHERE e.at > {now}::timestamptz - interval '{int(rule.hours)} hours' {counted}"
        f"ORDER BY e.at DESC OFFSET {int(rule.touches) - 1} LIMIT 1) END"
    )


def _array(numbers: Sequence[int]) -> str:
    return "{" + ",".join(str(int(number)) for number in numbers) + "}"


# A contact that was in the arrays keeps its time; what is missing comes from attempts that may have reached
# the person, and from touches of campaigns that ran elsewhere. Contacts of the absorbed are the survivor's.
REBUILD = """
WITH incomplete AS MATERIALIZED (
    SELECT customer_id, recent_attempts, recent_channels, recent_at
    FROM audiences_contactstate
    WHERE complete_since > %(since)s AND customer_id > %(after)s
    ORDER BY customer_id LIMIT %(limit)s
    FOR NO KEY UPDATE
),
persons AS (
    SELECT customer_id AS survivor_id, customer_id FROM incomplete
    UNION ALL
    SELECT i.customer_id, c.id FROM incomplete i JOIN audiences_customer c ON c.merged_into_id = i.customer_id
),
known AS (
    SELECT i.customer_id, e.attempt, e.channel, e.at
    FROM incomplete i, unnest(i.recent_attempts, i.recent_channels, i.recent_at) AS e(attempt, channel, at)
),
sent AS (
    SELECT p.survivor_id AS customer_id, a.id AS attempt, a.channel_id AS channel,
           coalesce(a.sent_at, a.started_at) AS at
    FROM persons p JOIN campaigns_attempt a ON a.customer_id = p.customer_id
    WHERE (a.started_at > %(since)s::timestamptz - interval '1 day' OR a.sent_at > %(since)s)
      AND coalesce(a.sent_at, a.started_at) > %(since)s
      AND a.campaign_id NOT IN (SELECT id FROM campaigns_campaign WHERE kind = 'imported')  -- known by their touches
      AND a.state IN ('recorded', 'accepted', 'held', 'delivered', 'unknown')
    UNION ALL
    SELECT p.survivor_id, -t.id, t.channel_id, t.state_at
    FROM persons p
    JOIN campaigns_touch t ON t.customer_id = p.customer_id
    JOIN campaigns_campaign c ON c.id = t.campaign_id AND c.kind = 'imported'
    WHERE t.state IN ('sent', 'delivered') AND t.state_at > %(since)s
),
contacts AS (
    SELECT * FROM known WHERE at > %(since)s
    UNION ALL
    SELECT s.* FROM sent s
    WHERE NOT EXISTS (SELECT FROM known k WHERE k.customer_id = s.customer_id AND k.attempt = s.attempt)
),
rebuilt AS MATERIALIZED (
    SELECT i.customer_id,
           coalesce(array_agg(c.attempt ORDER BY c.at, c.attempt) FILTER (WHERE c.at IS NOT NULL), '{}') AS attempts,
           coalesce(array_agg(c.channel ORDER BY c.at, c.attempt) FILTER (WHERE c.at IS NOT NULL), '{}') AS channels,
           coalesce(array_agg(c.at ORDER BY c.at, c.attempt) FILTER (WHERE c.at IS NOT NULL), '{}') AS at
    FROM incomplete i LEFT JOIN contacts c USING (customer_id)
    GROUP BY i.customer_id
)
UPDATE audiences_contactstate s
SET recent_attempts = r.attempts, recent_channels = r.channels, recent_at = r.at, complete_since = %(since)s
FROM rebuilt r WHERE s.customer_id = r.customer_id
RETURNING s.customer_id
"""

# Older ones are left out, and the state says since when it is complete.
COUNT_IMPORTED = """
WITH told AS MATERIALIZED (
    SELECT coalesce(c.merged_into_id, c.id) AS customer_id, t.id, t.channel_id, t.state_at
    FROM campaigns_touch t JOIN audiences_customer c ON c.id = t.customer_id
    WHERE t.campaign_id = %(campaign)s AND t.state IN ('sent', 'delivered')
),
locked AS MATERIALIZED (
    SELECT customer_id, recent_attempts FROM audiences_contactstate
    WHERE customer_id IN (SELECT customer_id FROM told)
    ORDER BY customer_id FOR NO KEY UPDATE
),
added AS MATERIALIZED (
    SELECT l.customer_id,
           coalesce(array_agg(-t.id ORDER BY t.id) FILTER (WHERE t.state_at > %(since)s), '{}') AS attempts,
           coalesce(array_agg(t.channel_id ORDER BY t.id) FILTER (WHERE t.state_at > %(since)s), '{}') AS channels,
           coalesce(array_agg(t.state_at ORDER BY t.id) FILTER (WHERE t.state_at > %(since)s), '{}') AS at,
           bool_or(t.state_at <= %(since)s) AS older
    FROM locked l JOIN told t USING (customer_id)
    WHERE NOT -t.id = ANY (l.recent_attempts)
    GROUP BY l.customer_id
)
UPDATE audiences_contactstate s
SET recent_attempts = s.recent_attempts || a.attempts,
    recent_channels = s.recent_channels || a.channels,
    recent_at = s.recent_at || a.at,
    complete_since = CASE WHEN a.older THEN greatest(s.complete_since, %(since)s) ELSE s.complete_since END
FROM added a WHERE s.customer_id = a.customer_id
"""


def hold_policy() -> None:
    """The contact policy stays as it is until this transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [POLICY_LOCK])


def rebuild(since: datetime, after: int, limit: int) -> int | None:
    """Up to ``limit`` contact states after this customer, not complete since ``since``, are made so.

    The last customer of them, to go on after; None when there was nobody left.
    """
    with connection.cursor() as cursor:
        cursor.execute(REBUILD, {"since": since, "after": after, "limit": limit})
        return max((row[0] for row in cursor.fetchall()), default=None)


def count_imported(campaign_id: int, since: datetime) -> int:
    """Customers with touches of an imported campaign get those after ``since`` among their recent contacts."""
    return _run(COUNT_IMPORTED, {"campaign": campaign_id, "since": since})


def _run(sql: str, params: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.rowcount
