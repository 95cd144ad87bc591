"""Statements over stages and scores."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.db import connection

RESTAGE = """
WITH matching AS MATERIALIZED ({matching}),
best AS (
    SELECT DISTINCT ON (customer_id) customer_id, stage FROM matching ORDER BY customer_id, position DESC
),
due AS (
    SELECT c.id, coalesce(b.stage, 'prospect') AS stage
    FROM audiences_customer c LEFT JOIN best b ON b.customer_id = c.id
    WHERE c.merged_into_id IS NULL AND c.erased_at IS NULL AND c.stage <> coalesce(b.stage, 'prospect')
),
changed AS (
    UPDATE audiences_customer c SET stage = due.stage, updated_at = %s FROM due WHERE c.id = due.id
    RETURNING c.stage
)
SELECT stage, count(*) FROM changed GROUP BY 1
"""

# Fifths over everybody who bought within the window: 5 is best. Absorbed customers count for their survivor.
RFM = """
WITH bought AS (
    SELECT coalesce(a.merged_into_id, o.customer_id) AS customer_id, max(o.placed_at) AS last,
        count(*) AS orders, sum(o.paid - o.returned) AS net
    FROM audiences_order o
    LEFT JOIN audiences_customer a ON a.id = o.customer_id AND a.merged_into_id IS NOT NULL
    WHERE o.placed_at >= %(since)s AND o.placed_at <= %(now)s AND o.currency = %(currency)s
    GROUP BY 1
),
fifths AS (
    SELECT b.customer_id,
        ntile(5) OVER (ORDER BY last, b.customer_id) AS recency,
        ntile(5) OVER (ORDER BY orders, last, b.customer_id) AS frequency,
        ntile(5) OVER (ORDER BY net, b.customer_id) AS monetary
    FROM bought b JOIN audiences_customer c ON c.id = b.customer_id AND c.erased_at IS NULL
),
scores AS MATERIALIZED (
    SELECT f.customer_id, s.kind, s.value
    FROM fifths f CROSS JOIN LATERAL (VALUES
        ('rfm_recency', recency), ('rfm_frequency', frequency), ('rfm_monetary', monetary),
        ('rfm', 100 * recency + 10 * frequency + monetary)
    ) AS s(kind, value)
),
gone AS (
    DELETE FROM audiences_score g
    WHERE g.kind IN ('rfm', 'rfm_recency', 'rfm_frequency', 'rfm_monetary')
        AND NOT EXISTS (SELECT FROM fifths f WHERE f.customer_id = g.customer_id)
)
INSERT INTO audiences_score AS t (customer_id, kind, value, computed_at)
SELECT customer_id, kind, value, %(now)s FROM scores
ON CONFLICT (kind, customer_id) DO UPDATE SET value = excluded.value, computed_at = excluded.computed_at
"""


def restage(matching: Sequence[tuple[str, int, str, tuple[Any, ...]]], now: dt.datetime) -> dict[str, int]:
    """Customers get the stage of the highest rule that holds, else prospect; gives how many came to each stage.

    ``matching``: stage, position, SQL of ids and its parameters.
    """
    parts: list[str] = []
    params: list[Any] = []
    for stage, position, sql, more in matching:
        parts.append(
            f"SELECT id AS customer_id, %s::varchar AS stage, %s::int AS position FROM ({sql}) AS m(id)"
        )
        params += [stage, position, *more]
    with connection.cursor() as cursor:
        cursor.execute(RESTAGE.replace("{matching}", " UNION ALL ".join(parts)), [*params, now])
        return dict(cursor.fetchall())


def rfm(since: dt.datetime, now: dt.datetime, currency: str) -> int:
    """Buyers within the window get their fifths; those who bought nothing in it lose theirs. Score rows written."""
    with connection.cursor() as cursor:
        cursor.execute(RFM, {"since": since, "now": now, "currency": currency})
        return cursor.rowcount
