"""Responses in SQL: whose each one is, stored once, and whom it concerns."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

# By our own signed link, by the message it answers, or by the person who sent it; in this order. One who is
# known by name only answers the last thing we sent on that channel; who likes a post to many answers that post. Each
# way is gone through once for all events: joined row by row, a batch of n events took n² steps.
RESOLVE = """
WITH told AS MATERIALIZED (
    SELECT e.*, CASE WHEN e.reference ~ '^attempt-[0-9]{1,18}$' THEN substr(e.reference, 9)::bigint END AS own,
           CASE WHEN e.detail->>'source' IN ('unsubscribe link', 'preference centre')
               AND e.detail->>'customer_id' ~ '^[0-9]{1,18}$' THEN (e.detail->>'customer_id')::bigint END AS told_customer
    FROM channels_inboxevent e WHERE e.id = ANY (%(ids)s)
),
linked AS MATERIALIZED (
    SELECT told.id, t.campaign_id, t.id AS touch_id, t.customer_id
    FROM told JOIN campaigns_touch t ON t.campaign_id = told.campaign_id AND t.id = told.touch_id
),
answered AS MATERIALIZED (
    SELECT DISTINCT ON (id) id, campaign_id, touch_id, customer_id FROM (
        SELECT told.id, a.campaign_id, a.touch_id, a.customer_id, 1 AS way
        FROM told
        JOIN campaigns_provider_reference r ON r.channel_id = told.channel_id AND r.reference = told.reference
        JOIN campaigns_attempt a ON a.campaign_id = r.campaign_id AND a.id = r.attempt_id
        WHERE told.reference <> ''
        UNION ALL
        SELECT told.id, a.campaign_id, a.touch_id, a.customer_id, 2
        FROM told JOIN campaigns_attempt a ON a.id = told.own AND a.channel_id = told.channel_id
    ) found ORDER BY id, way
),
known AS MATERIALIZED (
    SELECT told.id, i.customer_id
    FROM told JOIN audiences_identity i
        ON i.kind = told.identity_kind AND i.issuer = told.identity_issuer AND i.value = told.identity_value
    WHERE told.identity_value <> ''
),
whose AS MATERIALIZED (
    SELECT told.id, told.channel_id, told.occurred_at,
           told.detail ? 'broadcast' AS of_post, CASE WHEN told.detail ? 'broadcast' THEN told.campaign_id
           ELSE coalesce(l.campaign_id, a.campaign_id) END AS campaign_id, coalesce(l.touch_id, a.touch_id) AS touch_id,
           coalesce(l.customer_id, a.customer_id, k.customer_id, told.told_customer) AS customer_id
    FROM told
    LEFT JOIN linked l USING (id)
    LEFT JOIN answered a ON a.id = told.id
    LEFT JOIN known k ON k.id = told.id
)
SELECT w.id, coalesce(c.merged_into_id, c.id), coalesce(w.campaign_id, last.campaign_id), coalesce(w.touch_id, last.touch_id)
FROM whose w
JOIN audiences_customer c ON c.id = w.customer_id
LEFT JOIN LATERAL (
    SELECT a.campaign_id, a.touch_id FROM campaigns_attempt a
    WHERE w.touch_id IS NULL AND NOT w.of_post AND a.customer_id IN (c.id, w.customer_id) AND a.channel_id = w.channel_id
      AND a.started_at <= w.occurred_at AND a.started_at > w.occurred_at - interval '14 days'
      AND a.state IN ('accepted', 'delivered', 'unknown', 'held')
    ORDER BY a.started_at DESC LIMIT 1
) AS last ON true
"""

STORE = """
INSERT INTO campaigns_response (
    customer_id, campaign_id, touch_id, channel_id, kind, occurred_at, received_at, machine, value, currency, source,
    source_key, detail
)
SELECT given.customer_id, given.campaign_id, given.touch_id, e.channel_id, e.response, e.occurred_at, e.received_at,
       e.machine, e.value, e.currency, 'channel:' || e.channel_id, e.dedupe_key, e.detail
FROM unnest(%(ids)s::bigint[], %(customers)s::bigint[], %(campaigns)s::bigint[], %(touches)s::bigint[])
    AS given (id, customer_id, campaign_id, touch_id)
JOIN channels_inboxevent e ON e.id = given.id
ORDER BY e.id
ON CONFLICT (source, source_key) DO NOTHING
RETURNING id
"""

# What people themselves did; a receipt is no reaction, and a scanner is nobody.
REACTED = """
WITH reactions AS (
    SELECT r.campaign_id, c.id AS customer_id, max(r.occurred_at) AS at
    FROM campaigns_response r
    JOIN audiences_customer c ON c.id = r.customer_id OR c.merged_into_id = r.customer_id
    WHERE r.id = ANY (%(ids)s) AND r.campaign_id IS NOT NULL AND NOT r.machine
      AND r.kind NOT IN ('exposure', 'delivered', 'opt_out', 'complaint', 'return')
    GROUP BY r.campaign_id, c.id
),
members AS MATERIALIZED (
    SELECT m.campaign_id, m.customer_id, x.at FROM reactions x
    JOIN campaigns_member m ON m.campaign_id = x.campaign_id AND m.customer_id = x.customer_id
    ORDER BY m.campaign_id, m.customer_id FOR NO KEY UPDATE OF m
)
UPDATE campaigns_member m
SET last_response_at = greatest(m.last_response_at, x.at),
    state = CASE WHEN m.state = 'waiting' THEN 'active' ELSE m.state END,
    reason = CASE WHEN m.state = 'waiting' THEN '' ELSE m.reason END,
    state_at = CASE WHEN m.state = 'waiting' THEN %(now)s ELSE m.state_at END
FROM members x WHERE m.campaign_id = x.campaign_id AND m.customer_id = x.customer_id
"""

OPT_OUTS = """
SELECT r.customer_id, r.kind, r.occurred_at, ch.brand_id, ch.medium, r.source, coalesce(r.detail->>'source', ''),
       r.detail->'withdrawn'
FROM campaigns_response r LEFT JOIN channels_channel ch ON ch.id = r.channel_id
WHERE r.id = ANY (%(ids)s) AND r.kind IN ('opt_out', 'complaint') AND NOT r.machine
ORDER BY r.customer_id, r.occurred_at
"""

# An act that names its campaign ends that one; buying, leaving and complaining end every one that says so.
EXITS = """
SELECT DISTINCT m.campaign_id, m.customer_id, r.kind
FROM campaigns_response r
JOIN audiences_customer c ON c.id = r.customer_id OR c.merged_into_id = r.customer_id
JOIN campaigns_member m ON m.customer_id = c.id
JOIN campaigns_campaign k ON k.id = m.campaign_id
WHERE r.id = ANY (%(ids)s) AND NOT r.machine AND m.state IN ('active', 'waiting')
  AND k.state IN ('scheduled', 'running', 'paused') AND k.exit_on ? r.kind
  AND r.occurred_at >= m.entered_at
  AND (r.campaign_id IS NULL OR r.campaign_id = m.campaign_id
       OR r.kind IN ('conversion', 'redemption', 'opt_out', 'complaint'))
"""

CUSTOMERS = (
    "SELECT DISTINCT customer_id FROM campaigns_response WHERE id = ANY (%(ids)s) ORDER BY customer_id"
)


class Whose(NamedTuple):
    """Whose an event is."""

    event_id: int
    customer_id: int
    campaign_id: int | None
    touch_id: int | None


def resolve(event_ids: Sequence[int]) -> list[Whose]:
    """The customers of inbox events, as far as they are known, with the touch each one answers."""
    return [Whose(*row) for row in _rows(RESOLVE, {"ids": list(event_ids)})]


def store(whose: Sequence[Whose]) -> list[int]:
    """Ids of the responses that were not stored before."""
    if not whose:
        return []
    ids, customers, campaigns, touches = (list(column) for column in zip(*whose, strict=True))
    rows = _rows(STORE, {"ids": ids, "customers": customers, "campaigns": campaigns, "touches": touches})
    return [row[0] for row in rows]


def customers_of(response_ids: Sequence[int]) -> list[int]:
    """Customers of these responses, in customer order."""
    return [row[0] for row in _rows(CUSTOMERS, {"ids": list(response_ids)})]


def reacted(response_ids: Sequence[int], now: datetime) -> int:
    """Members who did something themselves: their silence begins anew."""
    with connection.cursor() as cursor:
        cursor.execute(REACTED, {"ids": list(response_ids), "now": now})
        return cursor.rowcount


def opt_outs(response_ids: Sequence[int]) -> list[tuple[Any, ...]]:
    """(customer, kind, when, brand, medium, source, told by, withdrawn) of those who want no more."""
    rows = _rows(OPT_OUTS, {"ids": list(response_ids)})
    return [(*row[:-1], json.loads(row[-1]) if row[-1] else None) for row in rows]  # jsonb comes as its text


def exits(response_ids: Sequence[int]) -> list[tuple[int, int, str]]:
    """(campaign, customer, kind) of members for whom these responses end a campaign."""
    return [(row[0], row[1], row[2]) for row in _rows(EXITS, {"ids": list(response_ids)})]


def _rows(sql: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()
