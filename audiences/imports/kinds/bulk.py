"""A table that is filled for the first time is filled bare and indexed afterwards.

Measured, 3M identities: 23 s row by row into the indexes and 12 s of foreign-key checks, against about 6 s
bare and 6 s to index and check the whole.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

PATIENCE = "1s"  # for the tables' locks; when somebody is at work on them the ordinary way is taken

BIRTH_TRIGGER = "customer_has_a_contact_state"

DEFINITIONS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), contype = 'f', true
FROM pg_constraint WHERE conrelid = ANY (%(tables)s::regclass[]) AND contype IN ('f', 'u')
UNION ALL
SELECT indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid), false, false
FROM pg_index i
WHERE indrelid = ANY (%(tables)s::regclass[]) AND NOT indisprimary
    AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = i.indrelid)
"""


@contextmanager
def bare(tables: Sequence[str], when: bool) -> Iterator[bool]:
    """Inside, the tables have their primary keys only, and customers are born without contact states.

    That is, if ``when`` and the tables' locks can be had at once.

    Gives whether it is so. The unique constraints, indexes and foreign keys are back, and checked, at the
    end; a value that is there twice raises :class:`django.db.IntegrityError` then. All in the caller's
    transaction, which keeps everybody else out of the tables until it ends.
    """
    if not when or not _lock(tables):
        yield False
        return
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(DEFINITIONS, {"tables": list(tables)})
        found: list[tuple[str, str, str, bool, bool]] = cursor.fetchall()
        for table, name, _definition, _foreign, constraint in found:
            cursor.execute(
                f'ALTER TABLE {table} DROP CONSTRAINT "{name}"' if constraint else f"DROP INDEX {name}"
            )
        # Its transition table would hold a copy of every customer; the load writes contact states itself.
        cursor.execute(f"ALTER TABLE audiences_customer DISABLE TRIGGER {BIRTH_TRIGGER}")
        yield True
        cursor.execute(f"ALTER TABLE audiences_customer ENABLE TRIGGER {BIRTH_TRIGGER}")
        cursor.execute("SELECT set_config('maintenance_work_mem', '512MB', true)")
        # Keys first: a foreign key is checked through them.
        for table, name, definition, _foreign, constraint in sorted(found, key=lambda one: one[3]):
            cursor.execute(
                f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}' if constraint else definition
            )
        for table in tables:
            cursor.execute(f"ANALYZE {table}")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def _lock(tables: Sequence[str]) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [PATIENCE])
            cursor.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
            cursor.execute("SELECT set_config('lock_timeout', '0', true)")
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            return False
        raise
    return True
