"""Many identities of one kind at once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

BORN = """
WITH told AS MATERIALIZED (
    SELECT DISTINCT ON (value) value, left(coalesce(name, ''), 200) AS name
    FROM unnest(%(values)s::text[], %(names)s::text[]) AS t (value, name)
    WHERE value <> '' ORDER BY value, name DESC
),
missing AS MATERIALIZED (
    SELECT told.value, told.name, nextval(pg_get_serial_sequence('audiences_customer', 'id')) AS customer_id
    FROM told WHERE NOT EXISTS (
        SELECT FROM audiences_identity i
        WHERE i.value = told.value AND i.kind = %(kind)s AND i.issuer = %(issuer)s)
),
people AS (
    INSERT INTO audiences_customer (id, name, name_sort, gender, birth_calendar, language, zone, country, province, city,
        stage, attributes, bucket, created_at, updated_at)
    SELECT customer_id, name, audiences_name_sort(name), '', 'solar', '', %(zone)s, '', '', '', 'prospect', '{}',
        audiences_bucket(customer_id), %(now)s, %(now)s
    FROM missing
)
INSERT INTO audiences_identity (customer_id, kind, issuer, value, source, invalid_reason, created_at)
SELECT customer_id, %(kind)s, %(issuer)s, value, %(source)s, '', %(now)s FROM missing
RETURNING customer_id
"""


def bear(
    kind: str, issuer: str, values: Sequence[str], names: Sequence[str], zone: str, source: str, now: datetime
) -> list[int]:
    """Customers for those of these (normalised) values that nobody has; their ids. A value that somebody else
    brings at the same moment raises :class:`django.db.IntegrityError`."""
    params: dict[str, Any] = {
        "kind": kind, "issuer": issuer, "values": list(values), "names": list(names), "zone": zone, "source": source,
        "now": now,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(BORN, params)
        return [row[0] for row in cursor.fetchall()]
