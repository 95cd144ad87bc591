"""Rows behind the figures of the ROI page."""

from collections.abc import Iterator
from typing import Any

from django.db import connection

from reports.queries.outcomes import REVENUE

CREDITS = """
SELECT k.id, o.number, o.placed_at, coalesce(c.merged_into_id, c.id) AS customer_id, c.name, k.channel_id, k.touch_id,
       k.share, k.amount
FROM reports_attributioncredit k
JOIN audiences_order o ON o.id = k.order_id
JOIN audiences_customer c ON c.id = o.customer_id
WHERE k.run_id = %(run)s AND (%(channel)s::int IS NULL OR k.channel_id = %(channel)s) AND k.id > %(after)s
ORDER BY k.id
"""

# The same people and orders as the lift statement, one row a person.
LIFT_PEOPLE = (
    """
WITH person AS (
    SELECT coalesce(c.merged_into_id, c.id) AS person, min(m.entered_at) AS entered_at,
           bool_or(m.held_out) AS held_out, bool_and(m.held_out) AS all_held_out, min(m.stage) AS stage
    FROM campaigns_member m
    JOIN audiences_customer c ON c.id = m.customer_id
    WHERE m.campaign_id = %(campaign)s
    GROUP BY 1
)
SELECT p.person, c.name, p.stage, coalesce(b.orders, 0) AS orders, coalesce(b.revenue, 0) AS revenue
FROM person p
JOIN audiences_customer c ON c.id = p.person
LEFT JOIN LATERAL (
    SELECT count(*) AS orders, sum("""
    + REVENUE
    + """) AS revenue
    FROM (
        SELECT p.person AS id UNION ALL SELECT a.id FROM audiences_customer a WHERE a.merged_into_id = p.person
    ) same
    JOIN audiences_order o ON o.customer_id = same.id
    WHERE o.placed_at >= greatest(p.entered_at, %(start)s) AND o.placed_at < %(end)s AND o.currency = %(currency)s
) b ON true
WHERE p.held_out = p.all_held_out AND p.held_out = %(held_out)s AND p.person > %(after)s
ORDER BY p.person
"""
)


def _rows(sql: str, parameters: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql + " LIMIT %(limit)s", parameters | {"limit": limit})
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def credits_page(run_id: int, channel_id: int | None, after: int, limit: int) -> list[dict[str, Any]]:
    """Credits of a run after an id: order, person, channel, touch, share, amount."""
    return _rows(CREDITS, {"run": run_id, "channel": channel_id, "after": after}, limit)


def every_credit(run_id: int, channel_id: int | None, step: int = 5000) -> Iterator[dict[str, Any]]:
    """All credits of a run, a page at a time."""
    after = 0
    while rows := credits_page(run_id, channel_id, after, step):
        yield from rows
        after = rows[-1]["id"]


def lift_page(parameters: dict[str, Any], after: int, limit: int) -> list[dict[str, Any]]:
    """People of one side of a lift measurement after a person's id, with orders and revenue."""
    return _rows(LIFT_PEOPLE, parameters | {"after": after}, limit)


def every_lift_person(parameters: dict[str, Any], step: int = 5000) -> Iterator[dict[str, Any]]:
    """All people of one side, a page at a time."""
    after = 0
    while rows := lift_page(parameters, after, step):
        yield from rows
        after = rows[-1]["person"]
