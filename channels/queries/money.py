"""Daily reports and wallets in SQL."""

from datetime import date
from typing import Any

from django.db import connection

# The current version of each channel, day and placement.
CURRENT = """
SELECT DISTINCT ON (channel_id, day, placement) *
FROM channels_dailyreport
WHERE day BETWEEN %(first)s AND %(last)s AND (%(channel)s::bigint IS NULL OR channel_id = %(channel)s)
ORDER BY channel_id, day, placement, version DESC
"""

SHEET = f"""
WITH current AS ({CURRENT})
SELECT day, channel_id, currency, sum(spend), sum(exposures), sum(clicks), count(*), max(version), max(fetched_at)
FROM current GROUP BY day, channel_id, currency ORDER BY day DESC, channel_id, currency
"""

TOTALS = f"""
WITH current AS ({CURRENT})
SELECT channel_id, currency, sum(spend), sum(exposures), sum(clicks)
FROM current GROUP BY channel_id, currency ORDER BY channel_id, currency
"""

WALLETS = """
SELECT channel_id, unit,
       sum(amount) FILTER (WHERE kind = 'opening'),
       sum(amount) FILTER (WHERE kind = 'top_up'),
       sum(amount) FILTER (WHERE kind = 'bonus'),
       sum(amount) FILTER (WHERE kind = 'transfer_in'),
       sum(amount) FILTER (WHERE kind = 'cash_consumption'),
       sum(amount) FILTER (WHERE kind = 'bonus_consumption'),
       sum(amount) FILTER (WHERE kind = 'transfer_out'),
       sum(amount) FILTER (WHERE kind = 'refund'),
       sum(amount) FILTER (WHERE kind = 'adjustment'),
       sum(CASE WHEN kind IN ('opening', 'top_up', 'bonus', 'transfer_in', 'adjustment') THEN amount ELSE -amount END)
FROM channels_walletentry
WHERE day <= %(last)s AND (%(channel)s::bigint IS NULL OR channel_id = %(channel)s)
GROUP BY channel_id, unit ORDER BY channel_id, unit
"""

STATEMENTS = """
SELECT DISTINCT ON (channel_id, unit) channel_id, unit, day, balance, source,
       CASE WHEN source = 'api' THEN counted ELSE (SELECT sum(
            CASE WHEN kind IN ('opening', 'top_up', 'bonus', 'transfer_in', 'adjustment') THEN amount ELSE -amount END)
        FROM channels_walletentry entry
        WHERE entry.channel_id = statement.channel_id AND entry.unit = statement.unit AND entry.day <= statement.day)
       END, fetched_at
FROM channels_walletstatement statement
WHERE day <= %(last)s AND (%(channel)s::bigint IS NULL OR channel_id = %(channel)s)
ORDER BY channel_id, unit, day DESC, fetched_at DESC, version DESC
"""

# By kind on one day, and what went out on the days before it, for each wallet.
DAY = """
SELECT channel_id, unit,
       coalesce(sum(amount) FILTER (WHERE day = %(day)s AND kind = 'top_up'), 0),
       coalesce(sum(amount) FILTER (WHERE day = %(day)s AND kind = 'bonus'), 0),
       coalesce(sum(amount) FILTER (WHERE day = %(day)s AND kind = 'cash_consumption'), 0)
           - coalesce(sum(amount) FILTER (WHERE day = %(day)s AND kind = 'adjustment' AND source_key LIKE 'use:%%'), 0),
       coalesce(sum(amount) FILTER (WHERE day = %(day)s AND kind = 'bonus_consumption'), 0),
       coalesce(sum(amount) FILTER (WHERE kind IN ('cash_consumption', 'bonus_consumption')), 0)
           - coalesce(sum(amount) FILTER (WHERE kind = 'adjustment' AND source_key LIKE 'use:%%'), 0)
FROM channels_walletentry
WHERE day BETWEEN %(first)s AND %(day)s
GROUP BY channel_id, unit
"""


def _all(sql: str, **params: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def sheet(first: date, last: date, channel_id: int | None) -> list[tuple[Any, ...]]:
    """One row a day, channel and currency, of the current versions."""
    return _all(SHEET, first=first, last=last, channel=channel_id)


def totals(first: date, last: date, channel_id: int | None) -> list[tuple[Any, ...]]:
    """One row a channel and currency over the span."""
    return _all(TOTALS, first=first, last=last, channel=channel_id)


def wallets(last: date, channel_id: int | None) -> list[tuple[Any, ...]]:
    """One row a channel and unit: sums by kind and what is left, up to a day."""
    return _all(WALLETS, last=last, channel=channel_id)


def statements(last: date, channel_id: int | None) -> list[tuple[Any, ...]]:
    """The newest balance told of each channel and unit, with what our entries say for the same day, or said when it was
    fetched; and when it came."""
    return _all(STATEMENTS, last=last, channel=channel_id)


def day(day: date, first: date) -> list[tuple[Any, ...]]:
    """One row a channel and unit: top-up, bonus, cash and bonus consumption of a day; consumption since ``first``."""
    return _all(DAY, day=day, first=first)
