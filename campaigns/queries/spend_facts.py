"""What campaigns know of money by channel: what was handed over by day, and budgets in flight."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import connection

# The same attempts that the ledger takes as incurred, by the day they went out.
OWN_USE = """
SELECT a.channel_id, (coalesce(a.sent_at, a.started_at) AT TIME ZONE %(zone)s)::date AS day, sum(a.parts), sum(a.cost)
FROM unnest(%(channels)s::integer[], %(since)s::timestamptz[]) AS wanted (channel_id, since)
JOIN campaigns_attempt a ON a.channel_id = wanted.channel_id
WHERE a.state IN ('accepted', 'delivered', 'unknown', 'bounced')
  AND coalesce(a.sent_at, a.started_at) >= wanted.since
GROUP BY 1, 2 ORDER BY 1, 2
"""

# Messages are spent as they go out; a platform's spend is what it reports. A flight spends evenly.
FLIGHTS = """
WITH flying AS (
    SELECT b.id, b.campaign_id, b.channel_id, b.currency, b.amount, b.spent,
           greatest(0, least(1, extract(epoch FROM %(until)s - c.starts_at)
                             / nullif(extract(epoch FROM c.ends_at - c.starts_at), 0))) AS elapsed
    FROM campaigns_budget b JOIN campaigns_campaign c ON c.id = b.campaign_id
    WHERE b.channel_id IS NOT NULL AND c.state IN ('running', 'paused') AND c.starts_at < %(until)s
),
reported AS (
    SELECT newest.campaign_id, newest.channel_id, sum(newest.spend) AS spend
    FROM (
        SELECT DISTINCT ON (r.channel_id, r.day, r.placement) r.campaign_id, r.channel_id, r.spend
        FROM channels_dailyreport r JOIN channels_channel h ON h.id = r.channel_id AND h.price_model <> 'per_message'
        WHERE r.day <= %(day)s AND r.channel_id IN (SELECT channel_id FROM flying)
        ORDER BY r.channel_id, r.day, r.placement, r.version DESC
    ) newest
    WHERE newest.campaign_id IS NOT NULL
    GROUP BY 1, 2
)
SELECT f.channel_id, f.currency, sum(f.amount), sum(f.spent + coalesce(r.spend, 0)), sum(f.amount * f.elapsed)
FROM flying f LEFT JOIN reported r USING (campaign_id, channel_id)
GROUP BY 1, 2 ORDER BY 1, 2
"""


def own_use(
    channels: Sequence[int], since: Sequence[datetime], zone: str
) -> list[tuple[int, date, int, Decimal]]:
    """(channel, day, parts, cost) of what was handed over since, each channel from its own moment."""
    return _rows(OWN_USE, {"channels": list(channels), "since": list(since), "zone": zone})


def flights(day: date, until: datetime) -> list[tuple[int, str, Decimal, Decimal, Decimal]]:
    """(channel, currency, amount, spent, expected) of budgets of campaigns in flight at the end of a day."""
    return _rows(FLIGHTS, {"day": day, "until": until})


def _rows(sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())
