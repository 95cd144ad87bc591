"""Consumption that follows from reports and from our own sending, as wallet entries."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import connection

# A wallet is an account with at least one entry somebody loaded; what we accrue begins with its first day.
WALLETS = """
SELECT e.channel_id, e.unit, min(e.day) FILTER (WHERE e.source <> 'accrued'), bool_or(e.source = 'accrued'),
       h.price_model, h.currency
FROM channels_walletentry e JOIN channels_channel h ON h.id = e.channel_id
GROUP BY e.channel_id, e.unit, h.price_model, h.currency
HAVING bool_or(e.source <> 'accrued')
ORDER BY e.channel_id, e.unit
"""

REPORTED = """
SELECT channel_id, currency, day, sum(spend) FROM (
    SELECT DISTINCT ON (r.channel_id, r.day, r.placement) r.channel_id, r.day, r.currency, r.spend
    FROM channels_dailyreport r
    WHERE r.channel_id = ANY (%(channels)s) AND r.day >= %(first)s
    ORDER BY r.channel_id, r.day, r.placement, r.version DESC
) newest GROUP BY 1, 2, 3
"""

# Only the difference to what is entered is written, as an entry of its own: entries never change. A day of which
# somebody loaded the consumption counts as loaded. Less than before is an adjustment to our favour.
ACCRUE = """
WITH told AS (
    SELECT * FROM unnest(%(channel)s::bigint[], %(unit)s::text[], %(day)s::date[], %(amount)s::numeric[])
        AS told (channel_id, unit, day, amount)
),
known AS (
    SELECT told.*,
           EXISTS (SELECT FROM channels_walletentry e WHERE e.channel_id = told.channel_id AND e.unit = told.unit
                     AND e.day = told.day AND e.kind IN ('cash_consumption', 'bonus_consumption')
                     AND e.source <> 'accrued') AS loaded,
           coalesce(sum(CASE e.kind WHEN 'cash_consumption' THEN e.amount ELSE -e.amount END), 0) AS entered,
           count(e.id) AS n
    FROM told LEFT JOIN channels_walletentry e ON e.channel_id = told.channel_id AND e.unit = told.unit
        AND e.day = told.day AND e.source = 'accrued' AND e.source_key LIKE 'use:%%'
    GROUP BY told.channel_id, told.unit, told.day, told.amount
),
due AS (
    SELECT *, round(CASE WHEN loaded THEN 0 ELSE amount END, 4) - entered AS difference FROM known
)
INSERT INTO channels_walletentry (channel_id, day, kind, unit, amount, source, source_key, created_at)
SELECT channel_id, day, CASE WHEN difference > 0 THEN 'cash_consumption' ELSE 'adjustment' END, unit, abs(difference),
       'accrued', 'use:' || unit || ':' || day || ':' || (n + 1), %(now)s
FROM due WHERE difference <> 0
ON CONFLICT (channel_id, source_key) DO NOTHING
"""

LAPSE = """
WITH told AS (
    SELECT * FROM unnest(
        %(channel)s::bigint[], %(entry)s::bigint[], %(day)s::date[], %(amount)s::numeric[], %(unit)s::text[]
    ) AS told (channel_id, entry_id, day, amount, unit)
),
known AS (
    SELECT told.*, coalesce(sum(-e.amount), 0) AS entered, count(e.id) AS n
    FROM told LEFT JOIN channels_walletentry e ON e.channel_id = told.channel_id AND e.source = 'accrued'
        AND e.source_key LIKE 'lapse:' || told.entry_id || ':%%'
    GROUP BY told.channel_id, told.entry_id, told.day, told.amount, told.unit
)
INSERT INTO channels_walletentry (channel_id, day, kind, unit, amount, source, source_key, created_at)
SELECT channel_id, day, 'adjustment', unit, entered - amount, 'accrued', 'lapse:' || entry_id || ':' || (n + 1), %(now)s
FROM known WHERE amount <> entered
ON CONFLICT (channel_id, source_key) DO NOTHING
"""


def wallets() -> list[tuple[int, str, date, bool, str, str]]:
    """(channel, unit, first day, accrued before, price model, currency) of every wallet."""
    return _rows(WALLETS, {})


def reported(channels: Sequence[int], first: date) -> list[tuple[int, str, date, Decimal]]:
    """(channel, currency, day, spend) by the newest versions of reports."""
    return _rows(REPORTED, {"channels": list(channels), "first": first})


def accrue(rows: Sequence[tuple[int, str, date, Decimal]], now: datetime) -> int:
    """Consumption by channel, unit and day, as far as it is not entered yet; entries written."""
    channel, unit, day, amount = (list(column) for column in zip(*rows, strict=True))
    return _run(ACCRUE, {"channel": channel, "unit": unit, "day": day, "amount": amount, "now": now})


def lapse(rows: Sequence[tuple[int, int, date, Decimal, str]], now: datetime) -> int:
    """What of a package expired unused, as far as it is not entered yet; entries written."""
    channel, entry, day, amount, unit = (list(column) for column in zip(*rows, strict=True))
    return _run(
        LAPSE, {"channel": channel, "entry": entry, "day": day, "amount": amount, "unit": unit, "now": now}
    )


def _rows(sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def _run(sql: str, params: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.rowcount
