"""Statements over the suppression list."""

from collections.abc import Mapping, Sequence

from django.db import connection

DIGEST = (
    "encode(sha256(%(outer)s::bytea || sha256(%(inner)s::bytea || "
    "convert_to({i}.kind || '|' || {i}.issuer || '|' || {i}.value, 'UTF8'))), 'hex')"
)
"""The keyed hash of an identity row of alias ``i``; the same as ``audiences.suppression.digest``."""

BLOCKS = f"""
    SELECT i.customer_id,
        p.purpose || ':' || coalesce(x.brand_id::text, '*') || ':' || coalesce(nullif(x.medium, ''), '*') AS key
    FROM {{identities}} i
    JOIN audiences_suppression x ON x.digest = {DIGEST.format(i="i")}
    CROSS JOIN (VALUES ('contact'), ('upload')) AS p(purpose)
"""
"""The entries of ``blocked`` that the list asks for, of the identity rows of ``identities``."""

APPLY = f"""
WITH forbidden AS MATERIALIZED (
    SELECT customer_id, array_agg(DISTINCT key::varchar) AS keys
    FROM ({BLOCKS.format(identities="audiences_identity")} WHERE i.customer_id = ANY (%(customers)s::bigint[])) b
    GROUP BY customer_id
),
locked AS MATERIALIZED (
    SELECT customer_id FROM audiences_contactstate
    WHERE customer_id IN (SELECT customer_id FROM forbidden) ORDER BY customer_id FOR UPDATE
)
UPDATE audiences_contactstate s
SET blocked = s.blocked || ARRAY(SELECT k FROM unnest(f.keys) k WHERE k <> ALL (s.blocked))
FROM forbidden f JOIN locked USING (customer_id)
WHERE s.customer_id = f.customer_id AND NOT s.blocked @> f.keys
"""


def apply(customers: Sequence[int], pads: Mapping[str, bytes]) -> int:
    """States of these customers gain the blocks their suppressed identities ask for."""
    with connection.cursor() as cursor:
        cursor.execute(APPLY, {"customers": list(customers), **pads})
        return cursor.rowcount
