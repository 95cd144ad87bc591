"""Budgets in SQL: leased in chunks, in short transactions, always locked in the order of their ids."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

# All budgets that bind the campaign's channel give the same chunk, or what the scarcest of them has left.
LEASE = """
WITH bound AS MATERIALIZED (
    SELECT id, greatest(0, amount - spent - leased) AS left_over FROM campaigns_budget
    WHERE campaign_id = %(campaign)s AND (channel_id IS NULL OR channel_id = %(channel)s)
    ORDER BY id FOR NO KEY UPDATE
),
chunk AS (SELECT least(%(wanted)s::numeric, min(left_over)) AS amount FROM bound),
taken AS (
    UPDATE campaigns_budget b SET leased = b.leased + chunk.amount
    FROM bound, chunk WHERE b.id = bound.id
    RETURNING b.id
),
held AS MATERIALIZED (
    SELECT budget_id, min(id) AS id FROM campaigns_budgetlease
    WHERE worker = %(purse)s AND expires_at > %(now)s AND budget_id IN (SELECT id FROM bound)
    GROUP BY budget_id
),
grown AS (
    UPDATE campaigns_budgetlease l SET amount = l.amount + chunk.amount, expires_at = %(until)s
    FROM held, chunk WHERE l.id = held.id
    RETURNING l.budget_id
),
opened AS (
    INSERT INTO campaigns_budgetlease (budget_id, worker, amount, expires_at)
    SELECT taken.id, %(purse)s, chunk.amount, %(until)s FROM taken, chunk
    WHERE taken.id NOT IN (SELECT budget_id FROM held)
)
SELECT chunk.amount, (SELECT count(*) FROM bound), (SELECT count(*) FROM grown) FROM chunk
"""

GIVE_BACK = """
WITH unused AS MATERIALIZED (
    SELECT l.id, l.budget_id, l.amount FROM campaigns_budgetlease l
    WHERE {whose}
    ORDER BY l.id FOR UPDATE {skip}
),
bound AS MATERIALIZED (
    SELECT id FROM campaigns_budget WHERE id IN (SELECT budget_id FROM unused) ORDER BY id FOR NO KEY UPDATE
),
returned AS (
    UPDATE campaigns_budget b SET leased = greatest(0, b.leased - u.amount)
    FROM (SELECT budget_id, sum(amount) AS amount FROM unused GROUP BY budget_id) u
    JOIN bound ON bound.id = u.budget_id
    WHERE b.id = u.budget_id
)
DELETE FROM campaigns_budgetlease l USING unused WHERE l.id = unused.id
"""
CLOSE = GIVE_BACK.format(whose="l.worker = %(purse)s", skip="")
EXPIRE = GIVE_BACK.format(whose="l.expires_at <= %(now)s", skip="SKIP LOCKED")


def lease(
    campaign_id: int, channel_id: int, purse: str, wanted: Decimal, now: datetime, until: datetime
) -> tuple[Decimal, int]:
    """(what was leased, how many budgets bind): taken from every budget of the campaign's channel."""
    row = _run(
        LEASE,
        {
            "campaign": campaign_id,
            "channel": channel_id,
            "purse": purse,
            "wanted": wanted,
            "now": now,
            "until": until,
        },
    )
    return (row[0] or Decimal(0), row[1]) if row else (Decimal(0), 0)


def close(purse: str) -> int:
    """The leases of one purse, ended: what is unused returns to the budgets."""
    return _count(CLOSE, {"purse": purse})


def expire(now: datetime) -> int:
    """Leases whose time is up, ended: what is unused returns to the budgets."""
    return _count(EXPIRE, {"now": now})


def _run(sql: str, params: Mapping[str, Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()


def _count(sql: str, params: Mapping[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.rowcount
