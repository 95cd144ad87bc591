"""Costs that are known but not yet in the ledger."""

from typing import Any

from django.db import connection

UNPOSTED_TOUCH_COST = """
WITH incurred AS (
    SELECT a.campaign_id, a.channel_id, ch.currency,
           (coalesce(a.sent_at, a.started_at) AT TIME ZONE c.zone)::date AS day,
           sum(a.cost) AS cost, count(*) AS attempts
    FROM campaigns_attempt a
    JOIN campaigns_campaign c ON c.id = a.campaign_id
    JOIN channels_channel ch ON ch.id = a.channel_id
    WHERE a.state IN ('accepted', 'delivered', 'unknown', 'bounced') AND a.cost > 0
      AND (%(campaign)s::bigint IS NULL OR a.campaign_id = %(campaign)s)
    GROUP BY 1, 2, 3, 4
), posted AS (
    SELECT e.campaign_id, e.channel_id, e.service_date AS day,
           sum((e.amount + e.residual) * CASE e.side WHEN 'debit' THEN 1 ELSE -1 END) AS cost,
           count(DISTINCT e.document_id) AS times
    FROM reports_ledgerentry e
    JOIN reports_sourcedocument d ON d.id = e.document_id
    WHERE d.kind = 'delivery_record' AND e.account = 'message_fees'
      AND (%(campaign)s::bigint IS NULL OR e.campaign_id = %(campaign)s)
    GROUP BY 1, 2, 3
)
SELECT i.campaign_id, i.channel_id, i.currency, i.day, i.cost - coalesce(p.cost, 0) AS difference, i.attempts,
       coalesce(p.times, 0) + 1 AS posting
FROM incurred i
LEFT JOIN posted p USING (campaign_id, channel_id, day)
WHERE i.cost <> coalesce(p.cost, 0)
ORDER BY 1, 2, 4
"""

UNPOSTED_PLATFORM_SPEND = """
WITH newest AS (
    SELECT DISTINCT ON (r.channel_id, r.day, r.placement)
           r.id, r.channel_id, r.day, r.placement, r.version, r.currency, r.spend, r.source,
           r.campaign_id
    FROM channels_dailyreport r
    JOIN channels_channel ch ON ch.id = r.channel_id
    -- A channel paid by the message posts what was handed over; its reports are for reconciliation only.
    WHERE ch.price_model <> 'per_message'
    ORDER BY r.channel_id, r.day, r.placement, r.version DESC
), posted AS (
    SELECT e.channel_id, e.service_date AS day, d.detail ->> 'placement' AS placement,
           e.campaign_id, e.currency,
           sum((e.amount + e.residual) * CASE e.side WHEN 'debit' THEN 1 ELSE -1 END) AS spend,
           count(DISTINCT e.document_id) AS times
    FROM reports_ledgerentry e
    JOIN reports_sourcedocument d ON d.id = e.document_id
    WHERE d.kind = 'platform_report' AND e.account = 'media_cost'
    GROUP BY 1, 2, 3, 4, 5
)
-- A full join: spend that moved to another campaign, or a placement that vanished, is taken back.
SELECT coalesce(n.campaign_id, p.campaign_id), coalesce(n.channel_id, p.channel_id), n.id, n.version,
       coalesce(n.currency, p.currency), coalesce(n.day, p.day), coalesce(n.placement, p.placement),
       coalesce(n.spend, 0) - coalesce(p.spend, 0) AS difference, coalesce(n.source, ''),
       coalesce(p.times, 0) + 1 AS posting
FROM newest n
FULL JOIN posted p ON p.channel_id = n.channel_id AND p.day = n.day AND p.placement = n.placement
    AND p.currency = n.currency AND coalesce(p.campaign_id, 0) = coalesce(n.campaign_id, 0)
WHERE coalesce(n.spend, 0) <> coalesce(p.spend, 0)
ORDER BY 2, 6, 7
"""

SPEND_OF_CAMPAIGN = """
SELECT e.channel_id, e.account, e.stage, e.currency,
       sum(e.amount * CASE e.side WHEN 'debit' THEN 1 ELSE -1 END) AS amount,
       sum(e.functional_amount * CASE e.side WHEN 'debit' THEN 1 ELSE -1 END) AS functional_amount,
       sum(e.residual * CASE e.side WHEN 'debit' THEN 1 ELSE -1 END) AS residual,
       count(*) AS lines
FROM reports_ledgerentry e
WHERE e.campaign_id = %(campaign)s AND e.stage IN ('accrued', 'invoiced')
  AND e.account IN ('media_cost', 'message_fees', 'agency', 'incentives', 'creative', 'other_cost')
GROUP BY 1, 2, 3, 4
ORDER BY 1 NULLS LAST, 2, 3
"""


def rows(sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """All rows of a statement whose result is small."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def unposted_touch_cost(campaign_id: int | None = None) -> list[tuple[Any, ...]]:
    """(campaign, channel, currency, day, cost, attempts, nth posting): fees as incurred less as posted."""
    return rows(UNPOSTED_TOUCH_COST, {"campaign": campaign_id})


def unposted_platform_spend() -> list[tuple[Any, ...]]:
    """(campaign, channel, report id, version, currency, day, placement, difference, source,
    nth posting) of newest versions."""
    return rows(UNPOSTED_PLATFORM_SPEND, {})


def spend_of_campaign(campaign_id: int) -> list[tuple[Any, ...]]:
    """(channel, account, stage, currency, amount, functional amount, residual, lines): its full cost so far."""
    return rows(SPEND_OF_CAMPAIGN, {"campaign": campaign_id})
