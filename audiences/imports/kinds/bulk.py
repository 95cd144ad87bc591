"""A table that is filled for the first time is filled bare and indexed afterwards.

Measured, 3M identities: 23 s row by row into the indexes and 12 s of foreign-key checks, against about 6 s
bare and 6 s to index and check the whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

PATIENCE = "1s"  # for the tables' locks; when somebody is at work on them the ordinary way is taken

TRIGGERS = ("customer_has_a_contact_state", "customer_is_completed")
"""Of customers: the load itself writes the contact states, sort keys and buckets of those it bears."""

DEFINITIONS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), contype = 'f', true
FROM pg_constraint
WHERE conrelid = ANY (%(tables)s::regclass[]) AND contype IN ('f', 'u')
    OR conrelid = ANY (%(keyless)s::regclass[]) AND contype = 'p'
    OR confrelid = ANY (%(keyless)s::regclass[]) AND contype = 'f' AND conrelid <> ALL (%(tables)s::regclass[])
UNION ALL
SELECT indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid), false, false
FROM pg_index i
WHERE indrelid = ANY (%(tables)s::regclass[]) AND NOT indisprimary
    AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = i.indrelid)
"""
REFERRING = """
SELECT DISTINCT conrelid::regclass::text FROM pg_constraint
WHERE confrelid = ANY (%(keyless)s::regclass[]) AND contype = 'f'
"""


@contextmanager
def bare(tables: Sequence[str], when: bool, keyless: Sequence[str] = ()) -> Iterator[bool]:
    """Inside, the tables have their primary keys only (``keyless`` ones not even that), and customers are
    born without contact states. That is, if ``when`` and the tables' locks can be had at once.

    Gives whether it is so. The unique constraints, indexes and foreign keys are back, and checked, at the
    end; a value that is there twice raises :class:`django.db.IntegrityError` then. All in the caller's
    transaction, which keeps everybody else out of the tables until it ends.
    """
    params = {"tables": list(tables), "keyless": list(keyless)}
    if not when or not _lock(tables, params):
        yield False
        return
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(DEFINITIONS, params)
        found: list[tuple[str, str, str, bool, bool]] = cursor.fetchall()
        # Foreign keys first: they stand on the keys.
        for table, name, _definition, _foreign, constraint in sorted(found, key=lambda one: not one[3]):
            cursor.execute(
                f'ALTER TABLE {table} DROP CONSTRAINT "{name}"' if constraint else f"DROP INDEX {name}"
            )
        for trigger in TRIGGERS:
            cursor.execute(f"ALTER TABLE audiences_customer DISABLE TRIGGER {trigger}")
        yield True
        for trigger in TRIGGERS:
            cursor.execute(f"ALTER TABLE audiences_customer ENABLE TRIGGER {trigger}")
        cursor.execute("SELECT set_config('maintenance_work_mem', '512MB', true)")
        for table, name, definition, _foreign, constraint in sorted(found, key=lambda one: one[3]):
            cursor.execute(
                f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}' if constraint else definition
            )
        for table in tables:
            cursor.execute(f"ANALYZE {table}")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def _lock(tables: Sequence[str], params: Mapping[str, Any]) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(REFERRING, params)
            tables = [*tables, *(table for (table,) in cursor.fetchall())]
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [PATIENCE])
            cursor.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
            cursor.execute("SELECT set_config('lock_timeout', '0', true)")
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            return False
        raise
    return True
