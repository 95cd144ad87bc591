"""Letting go: unsent touches released, members that leave or wait, audiences that drop a person.

Locks are taken in one order: contact states by customer, members, touches by key. A claim that holds a touch
never waits for a contact state, so whoever waits for it here gets it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection

# Members of a person are under every id the person ever had.
LEAVE = """
WITH given AS MATERIALIZED (
    SELECT DISTINCT ON (campaign_id, customer_id) t.campaign_id, c.id AS customer_id, t.reason
    FROM unnest(%(campaigns)s::bigint[], %(customers)s::bigint[], %(reasons)s::text[])
        AS t (campaign_id, customer_id, reason)
    JOIN audiences_customer c ON c.id = t.customer_id OR c.merged_into_id = t.customer_id
    ORDER BY campaign_id, customer_id
),
states AS MATERIALIZED (
    SELECT customer_id FROM audiences_contactstate WHERE customer_id IN (SELECT customer_id FROM given)
    ORDER BY customer_id FOR NO KEY UPDATE
),
members AS MATERIALIZED (
    SELECT m.campaign_id, m.customer_id, given.reason
    FROM given JOIN campaigns_member m ON m.campaign_id = given.campaign_id AND m.customer_id = given.customer_id
    WHERE m.state = ANY (%(from_states)s) AND (SELECT count(*) FROM states) >= 0
    ORDER BY m.campaign_id, m.customer_id
    FOR NO KEY UPDATE OF m
),
left_members AS (
    UPDATE campaigns_member m SET state = %(to_state)s, reason = left(x.reason, 24), state_at = %(now)s
    FROM members x WHERE m.campaign_id = x.campaign_id AND m.customer_id = x.customer_id
),
unsent AS MATERIALIZED (
    SELECT t.campaign_id, t.id
    FROM members x JOIN campaigns_touch t ON t.campaign_id = x.campaign_id AND t.customer_id = x.customer_id
    WHERE t.state = 'planned'
    ORDER BY t.campaign_id, t.id
    FOR NO KEY UPDATE OF t
),
released AS (
    UPDATE campaigns_touch t SET state = 'released', reason = %(cause)s, state_at = %(now)s
    FROM unsent u WHERE t.campaign_id = u.campaign_id AND t.id = u.id
),
dropped AS (
    UPDATE channels_platformaudiencemember pm SET wanted = false, changed_at = %(now)s, lease_until = NULL, error = ''
    FROM channels_platformaudience a JOIN members x ON x.campaign_id = a.campaign_id
    WHERE pm.audience_id = a.id AND pm.customer_id = x.customer_id AND pm.wanted
)
SELECT (SELECT count(*) FROM members), (SELECT count(*) FROM unsent)
"""

RELEASE = """
WITH unsent AS MATERIALIZED (
    SELECT t.campaign_id, t.id FROM campaigns_touch t
    WHERE t.campaign_id = %(campaign)s AND t.state = 'planned'
      AND (%(customers)s::bigint[] IS NULL OR t.customer_id = ANY (%(customers)s::bigint[]))
    ORDER BY t.id LIMIT %(limit)s
    FOR NO KEY UPDATE
)
UPDATE campaigns_touch t SET state = %(state)s, reason = %(cause)s, state_at = %(now)s
FROM unsent u WHERE t.campaign_id = u.campaign_id AND t.id = u.id AND t.campaign_id = %(campaign)s
"""

# Of people who opted out: what is planned on channels of that medium and brand, in every campaign.
OPTED_OUT = """
WITH given AS MATERIALIZED (
    SELECT DISTINCT c.id AS customer_id, ch.id AS channel_id
    FROM unnest(%(customers)s::bigint[], %(brands)s::bigint[], %(media)s::text[]) AS t (customer_id, brand_id, medium)
    JOIN audiences_customer c ON c.id = t.customer_id OR c.merged_into_id = t.customer_id
    JOIN channels_channel ch ON (t.medium = '' OR ch.medium = t.medium) AND (t.brand_id IS NULL OR ch.brand_id = t.brand_id)
),
states AS MATERIALIZED (
    SELECT customer_id FROM audiences_contactstate WHERE customer_id IN (SELECT customer_id FROM given)
    ORDER BY customer_id FOR NO KEY UPDATE
),
unsent AS MATERIALIZED (
    SELECT t.campaign_id, t.id
    FROM given JOIN campaigns_touch t ON t.customer_id = given.customer_id AND t.channel_id = given.channel_id
    WHERE t.state = 'planned' AND (SELECT count(*) FROM states) >= 0
    ORDER BY t.campaign_id, t.id
    FOR NO KEY UPDATE OF t
)
UPDATE campaigns_touch t SET state = 'gap', reason = 'opted_out', state_at = %(now)s
FROM unsent u WHERE t.campaign_id = u.campaign_id AND t.id = u.id
"""

# Orders as conversions. An order counts once, for members who had entered before it was placed.
BUYERS = """
SELECT m.campaign_id, m.customer_id
FROM audiences_order o
JOIN audiences_customer bought ON bought.id = o.customer_id
JOIN audiences_customer c ON c.id = coalesce(bought.merged_into_id, bought.id)
    OR c.merged_into_id = coalesce(bought.merged_into_id, bought.id)
JOIN campaigns_member m ON m.customer_id = c.id
JOIN campaigns_campaign k ON k.id = m.campaign_id
WHERE o.received_at > %(since)s AND o.paid > o.returned
  AND k.state IN ('running', 'paused', 'scheduled') AND k.exit_on ? 'conversion'
  AND (o.brand_id IS NULL OR o.brand_id = k.brand_id)
  AND o.placed_at >= m.entered_at AND m.state IN ('active', 'waiting')
GROUP BY m.campaign_id, m.customer_id
ORDER BY m.campaign_id, m.customer_id
"""

# A touch that was under way when its campaign was stopped, and came back unsent.
STOPPED = """
SELECT c.id FROM campaigns_campaign c
WHERE c.state IN ('finished', 'reviewed') AND c.finished_at > %(now)s::timestamptz - interval '1 day'
  AND EXISTS (SELECT FROM campaigns_touch t WHERE t.campaign_id = c.id AND t.state = 'planned')
ORDER BY c.id
"""

STAGE_CHANGED = """
SELECT m.campaign_id, m.customer_id
FROM campaigns_member m
JOIN campaigns_campaign k ON k.id = m.campaign_id AND k.state IN ('running', 'paused') AND k.exit_on ? 'stage_change'
JOIN audiences_customer c ON c.id = m.customer_id
WHERE m.state IN ('active', 'waiting') AND NOT m.held_out AND c.stage <> m.stage
ORDER BY m.campaign_id, m.customer_id LIMIT %(limit)s
"""


def leave(
    campaigns: Sequence[int],
    customers: Sequence[int],
    reasons: Sequence[str],
    *,
    from_states: Sequence[str],
    to_state: str,
    cause: str,
    now: datetime,
) -> tuple[int, int]:
    """(members that left, touches released): members in one of ``from_states`` go to ``to_state``."""
    with connection.cursor() as cursor:
        cursor.execute(
            LEAVE,
            {
                "campaigns": list(campaigns), "customers": list(customers), "reasons": list(reasons),
                "from_states": list(from_states), "to_state": to_state, "cause": cause, "now": now,
            },
        )  # fmt: skip
        row = cursor.fetchone()
    return (row[0], row[1])


def release(
    campaign_id: int, customers: Sequence[int] | None, state: str, cause: str, now: datetime, limit: int
) -> int:
    """Up to ``limit`` planned touches of a campaign (of these customers), closed."""
    return _run(
        RELEASE,
        {
            "campaign": campaign_id, "customers": None if customers is None else list(customers), "state": state,
            "cause": cause, "now": now, "limit": limit,
        },
    )  # fmt: skip


def opted_out(
    customers: Sequence[int], brands: Sequence[int | None], media: Sequence[str], now: datetime
) -> int:
    """Planned touches of these people on channels of the medium and brand they opted out of, as gaps."""
    return _run(
        OPTED_OUT, {"customers": list(customers), "brands": list(brands), "media": list(media), "now": now}
    )


def buyers(since: datetime) -> list[tuple[int, int]]:
    """(campaign, member) of people who bought, told since then, in campaigns that a conversion ends."""
    return _rows(BUYERS, {"since": since})


def stopped(now: datetime) -> list[int]:
    """Campaigns that ended in the last day and have touches planned."""
    return [row[0] for row in _rows(STOPPED, {"now": now})]


def stage_changed(limit: int) -> list[tuple[int, int]]:
    """(campaign, member) of people whose stage is another one than at entry, where that ends it for them."""
    return _rows(STAGE_CHANGED, {"limit": limit})


def _run(sql: str, params: Mapping[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.rowcount


def _rows(sql: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()
