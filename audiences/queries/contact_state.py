"""Statements over contact states."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

FORGET = """
WITH expired AS (
    SELECT customer_id FROM audiences_contactstate
    WHERE EXISTS (SELECT FROM unnest(recent_at) AS at WHERE at < %(until)s)
        AND (%(customers)s::bigint[] IS NULL OR customer_id = ANY (%(customers)s::bigint[]))
    ORDER BY customer_id FOR UPDATE
)
UPDATE audiences_contactstate s
SET (recent_attempts, recent_channels, recent_at, complete_since) = (
    SELECT coalesce(array_agg(attempt ORDER BY n), '{}'), coalesce(array_agg(channel ORDER BY n), '{}'),
        coalesce(array_agg(at ORDER BY n), '{}'), greatest(s.complete_since, %(until)s)
    FROM unnest(s.recent_attempts, s.recent_channels, s.recent_at) WITH ORDINALITY AS r(attempt, channel, at, n)
    WHERE at >= %(until)s
)
FROM expired WHERE s.customer_id = expired.customer_id
"""

GIVE_BACK = """
WITH returned AS (
    SELECT * FROM unnest(%(customers)s::bigint[], %(attempts)s::bigint[]) AS r(customer_id, attempt_id)
),
holding AS (
    SELECT customer_id, attempt_id FROM returned
    UNION
    SELECT c.merged_into_id, r.attempt_id
    FROM returned r JOIN audiences_customer c ON c.id = r.customer_id WHERE c.merged_into_id IS NOT NULL
),
freed AS MATERIALIZED (
    SELECT customer_id, array_agg(attempt_id) AS attempts FROM holding GROUP BY customer_id
),
locked AS MATERIALIZED (
    SELECT customer_id FROM audiences_contactstate
    WHERE customer_id IN (SELECT customer_id FROM freed) ORDER BY customer_id FOR UPDATE
)
UPDATE audiences_contactstate s
SET (recent_attempts, recent_channels, recent_at) = (
    SELECT coalesce(array_agg(attempt ORDER BY n), '{}'), coalesce(array_agg(channel ORDER BY n), '{}'),
        coalesce(array_agg(at ORDER BY n), '{}')
    FROM unnest(s.recent_attempts, s.recent_channels, s.recent_at) WITH ORDINALITY AS r(attempt, channel, at, n)
    WHERE attempt <> ALL (freed.attempts)
)
FROM freed JOIN locked USING (customer_id)
WHERE s.customer_id = freed.customer_id AND s.recent_attempts && freed.attempts
"""


def forget_expired(until: dt.datetime, customers: Sequence[int] | None) -> int:
    """States with a recent contact before ``until`` lose those older."""
    return _run(FORGET, {"until": until, "customers": None if customers is None else list(customers)})


def give_back(customers: Sequence[int], attempts: Sequence[int]) -> int:
    """States that hold one of these attempts lose it."""
    return _run(GIVE_BACK, {"customers": list(customers), "attempts": list(attempts)})


def _run(sql: str, params: Mapping[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.rowcount
