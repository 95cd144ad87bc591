"""Indexes: each costs every row that is written, so none may say what another one says already."""

import pytest
from django.db import connection

# Same table, same condition, no expression; the columns of the one are the first of the other's. An index that keeps
# rows apart is never the one too many.
REPEATED = """
WITH indexes AS (
    SELECT i.indexrelid::regclass::text AS name, i.indrelid AS owner, ARRAY(SELECT unnest(i.indkey)) AS columns,
           ARRAY(SELECT unnest(i.indclass)) AS classes, i.indisunique AS unique,
           coalesce(pg_get_expr(i.indpred, i.indrelid), '') AS condition
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND i.indexprs IS NULL AND NOT c.relispartition
      AND c.relname = ANY (%s)
)
SELECT one.name, other.name
FROM indexes one JOIN indexes other ON other.owner = one.owner AND other.name <> one.name
WHERE NOT one.unique AND one.condition = other.condition
  AND other.columns[1:array_length(one.columns, 1)] = one.columns
  AND other.classes[1:array_length(one.classes, 1)] = one.classes
  AND (other.unique OR array_length(other.columns, 1) > array_length(one.columns, 1) OR one.name > other.name)
ORDER BY 1, 2
"""


# With a row for each person, or for each thing a person did.
LARGE = [
    "audiences_behaviourevent", "audiences_consent", "audiences_consentchange", "audiences_contactstate",
    "audiences_customer",
    "audiences_customertag", "audiences_identity", "audiences_order", "audiences_orderline", "audiences_score",
    "audiences_segmentmember", "campaigns_attempt", "campaigns_member", "campaigns_member_target",
    "campaigns_provider_reference", "campaigns_response", "campaigns_touch", "channels_inboxevent",
]  # fmt: skip


@pytest.mark.django_db
def test_no_index_of_a_large_table_is_the_beginning_of_another() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname = ANY (%s)", [LARGE])
        assert cursor.fetchone() == (len(LARGE),)
        cursor.execute(REPEATED, [LARGE])
        assert cursor.fetchall() == []
