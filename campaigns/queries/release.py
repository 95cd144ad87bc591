"""Statements of a release: its lock, its partitions, and what it finds written already."""

import re
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import Any, cast

from django.db import connection
from psycopg import sql

LOCK_SPACE = 730_144  # first half of the advisory locks of releases; the second is the campaign
TABLES = ("campaigns_member", "campaigns_member_target", "campaigns_touch", "campaigns_attempt")


@contextmanager
def hold(campaign_id: int) -> Any:
    """One release of a campaign at a time, over all workers; a worker that dies lets go of it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_SPACE, campaign_id & 0x7FFFFFFF])
    try:
        yield
    finally:
        if connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCK_SPACE, campaign_id & 0x7FFFFFFF])


def try_hold(campaign_id: int) -> bool:
    """Take the lock of :func:`hold` for the rest of the transaction if nobody has it."""
    return bool(_one("SELECT pg_try_advisory_xact_lock(%s, %s)", [LOCK_SPACE, campaign_id & 0x7FFFFFFF]))


WRITTEN = """
SELECT (SELECT count(*) FROM campaigns_member WHERE campaign_id = %(campaign)s),
    (SELECT count(*) FROM campaigns_member WHERE campaign_id = %(campaign)s AND held_out),
    (SELECT count(*) FROM campaigns_member_target WHERE campaign_id = %(campaign)s),
    (SELECT count(*) FROM campaigns_touch WHERE campaign_id = %(campaign)s)
"""


def written(campaign_id: int) -> tuple[int, int, int, int]:
    """Members, those held out, targets and touches of a campaign."""
    with connection.cursor() as cursor:
        cursor.execute(WRITTEN, {"campaign": campaign_id})
        return cast("tuple[int, int, int, int]", cursor.fetchone())


UNAPPROVED = """
WITH wanted AS (
    SELECT channel_id, round, stage, ordinal
    FROM unnest(%(channels)s::int[], %(rounds)s::int[], %(stages)s::varchar[], %(touches)s::int[])
        AS c(channel_id, round, stage, touches),
        LATERAL generate_series(1, c.touches) AS k(ordinal)
)
SELECT count(*) FROM wanted w
WHERE NOT EXISTS (
    SELECT FROM campaigns_approved_ordinal o
    WHERE o.campaign_id = %(campaign)s AND o.withdrawn_at IS NULL
        AND (o.channel_id, o.round, o.stage, o.ordinal) = (w.channel_id, w.round, w.stage, w.ordinal)
)
"""


def count_unapproved(campaign_id: int, cells: Sequence[tuple[int, int, str, int]]) -> int:
    """How many ordinals of these (channel, round, stage, touches) are not approved, or were withdrawn."""
    channels, rounds, stages, touches = zip(*cells, strict=True) if cells else ((), (), (), ())
    parameters: dict[str, Any] = {
        "campaign": campaign_id, "channels": list(channels), "rounds": list(rounds), "stages": list(stages),
        "touches": list(touches),
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(UNAPPROVED, parameters)
        return int(cursor.fetchone()[0])


def analyse(tables: Iterable[str]) -> None:
    """Let the server know what is in these tables now."""
    for table in tables:
        _run(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))


CHANGED_TARGETS, MORE_TOUCHES = "changed_targets", "more_touches"


def make_staging() -> None:
    """Tables like those of targets and touches, gone with the transaction."""
    for name, like in ((CHANGED_TARGETS, "campaigns_member_target"), (MORE_TOUCHES, "campaigns_touch")):
        _run(sql.SQL("DROP TABLE IF EXISTS pg_temp.{}").format(sql.Identifier(name)))
        _run(
            sql.SQL("CREATE TEMP TABLE {} (LIKE {} INCLUDING DEFAULTS) ON COMMIT DROP").format(
                sql.Identifier(name), sql.Identifier(like)
            )
        )


TAKE_TARGETS = f"""
INSERT INTO campaigns_member_target AS t
    (campaign_id, customer_id, channel_id, round, stage, held_out, target, planned, cause)
SELECT campaign_id, customer_id, channel_id, round, stage, held_out, target, planned, cause FROM {CHANGED_TARGETS}
ON CONFLICT (campaign_id, customer_id, channel_id, round, stage) DO UPDATE
SET target = excluded.target, planned = excluded.planned, cause = excluded.cause
WHERE (t.target, t.planned, t.cause) IS DISTINCT FROM (excluded.target, excluded.planned, excluded.cause)
"""


def take_targets() -> int:
    """Targets of members as they are now: those staged, in place of those that were; how many differ."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE_TARGETS)
        return cursor.rowcount


_OF_TOUCH = """campaign_id, customer_id, channel_id, round, ordinal, stage, message_version_id, variant, priority, due_at,
    deadline_at, state, reserved, state_at"""
TAKE_TOUCHES = f"""
INSERT INTO campaigns_touch AS t ({_OF_TOUCH})
SELECT {_OF_TOUCH} FROM {MORE_TOUCHES}
ON CONFLICT (campaign_id, customer_id, channel_id, round, ordinal) DO UPDATE
SET message_version_id = excluded.message_version_id, variant = excluded.variant, priority = excluded.priority,
    due_at = excluded.due_at, deadline_at = excluded.deadline_at, state = excluded.state, reason = '', deferred = '',
    reserved = excluded.reserved, state_at = excluded.state_at
WHERE t.state = 'released' AND t.reason = 'changed'
"""


def take_touches() -> int:
    """Staged touches become touches of the campaign. One that an earlier change let go of is planned again."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE_TOUCHES)
        return cursor.rowcount


# Partitions of a campaign's own ---------------------------------------------------------------------


def partition(table: str, campaign_id: int) -> str:
    """The name of a campaign's own partition."""
    return f"{table}_c{campaign_id}"


def make_bare(table: str, campaign_id: int) -> str:
    """A table like the partition to be: with its checks, without index or foreign key. A leftover is replaced."""
    name = partition(table, campaign_id)
    _run(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(name)))  # with the key of attempts
    _run(
        sql.SQL(
            "CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED)"
        ).format(sql.Identifier(name), sql.Identifier(table))
    )
    _run(
        sql.SQL("ALTER TABLE {} ADD CONSTRAINT only_its_campaign CHECK (campaign_id = {})").format(
            sql.Identifier(name), sql.Literal(campaign_id)
        )
    )
    return name


INDEXES = """
SELECT pg_get_indexdef(i.indexrelid), c.contype, pg_get_constraintdef(c.oid), k.relname
FROM pg_index i
JOIN pg_class k ON k.oid = i.indexrelid
LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid AND c.contype IN ('p', 'u')
WHERE i.indrelid = %s::regclass
ORDER BY k.relname
"""


def index(table: str, campaign_id: int) -> int:
    """Give a filled bare table the indexes and keys of the whole; how many."""
    name = partition(table, campaign_id)
    with connection.cursor() as cursor:
        cursor.execute(INDEXES, [table])
        found = cursor.fetchall()
    for number, (definition, kind, constraint, _own) in enumerate(found):
        label = f"{name}_{number}"
        if kind:
            _run(
                sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                    sql.Identifier(name), sql.Identifier(label), sql.SQL(constraint)
                )
            )
        else:
            shape = re.sub(r"^CREATE (UNIQUE )?INDEX .*? USING ", "", definition)
            unique = "UNIQUE " if definition.startswith("CREATE UNIQUE") else ""
            _run(
                sql.SQL("CREATE {}INDEX {} ON {} USING {}").format(
                    sql.SQL(unique), sql.Identifier(label), sql.Identifier(name), sql.SQL(shape)
                )
            )
    return len(found)


FOREIGN_KEYS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %s::regclass AND contype = 'f' AND conparentid = 0 ORDER BY conname
"""


def bind(table: str, campaign_id: int) -> int:
    """Give a bare table the foreign keys of the whole, not yet checked; how many. Locks are short."""
    name = partition(table, campaign_id)
    with connection.cursor() as cursor:
        cursor.execute(FOREIGN_KEYS, [table])
        found = cursor.fetchall()
    for label, definition in found:
        _run(
            sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {} NOT VALID").format(
                sql.Identifier(name), sql.Identifier(label), sql.SQL(definition.removesuffix(" NOT VALID"))
            )
        )
    return len(found)


def check_keys(table: str, campaign_id: int) -> None:
    """Check the foreign keys of a bare table against what is there. Nobody waits for it."""
    name = partition(table, campaign_id)
    with connection.cursor() as cursor:
        cursor.execute(FOREIGN_KEYS, [name])
        found = cursor.fetchall()
    for label, _definition in found:
        _run(
            sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(
                sql.Identifier(name), sql.Identifier(label)
            )
        )


OWN_KEY = """
SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = %s::regclass AND conname = 'an_attempt_belongs_to_a_touch')
"""


def bind_attempts(campaign_id: int) -> None:
    """Each attempt of a campaign has its touch: a key from partition to partition, a twelfth as dear as one from whole
    to whole. The attempts' own is empty still."""
    attempts, touches = (partition(table, campaign_id) for table in ("campaigns_attempt", "campaigns_touch"))
    if not _one(OWN_KEY, [attempts]):
        _run(
            sql.SQL(
                "ALTER TABLE {} ADD CONSTRAINT an_attempt_belongs_to_a_touch FOREIGN KEY (campaign_id, touch_id)"
                " REFERENCES {} (campaign_id, id)"
            ).format(sql.Identifier(attempts), sql.Identifier(touches))
        )


def _promise(campaign_id: int) -> str:
    return f"without_c{campaign_id}"


def promise_absence(table: str, campaign_id: int) -> None:
    """The shared partition promises to hold nothing of the campaign, so that attaching need not look."""
    name, label = f"{table}_shared", _promise(campaign_id)
    _run(
        sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(
            sql.Identifier(name), sql.Identifier(label)
        )
    )
    _run(
        sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} CHECK (campaign_id <> {}) NOT VALID").format(
            sql.Identifier(name), sql.Identifier(label), sql.Literal(campaign_id)
        )
    )


def check_absence(table: str, campaign_id: int) -> None:
    """Look once, while everybody goes on reading and writing."""
    _run(
        sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(
            sql.Identifier(f"{table}_shared"), sql.Identifier(_promise(campaign_id))
        )
    )


def wait_at_most(milliseconds: int) -> None:
    """In this transaction a lock is had soon or not at all: whoever queues behind us waits no longer."""
    _run(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(milliseconds)))


def lock_shared(table: str) -> None:
    """The one lock of the attaching that others feel."""
    _run(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(f"{table}_shared")))


def attach(table: str, campaign_id: int) -> None:
    """Make a filled table a partition of the whole."""
    name = partition(table, campaign_id)
    _run(
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES IN ({})").format(
            sql.Identifier(table), sql.Identifier(name), sql.Literal(campaign_id)
        )
    )
    _run(sql.SQL("ALTER TABLE {} DROP CONSTRAINT only_its_campaign").format(sql.Identifier(name)))
    forget_promise(table, campaign_id)


def forget_promise(table: str, campaign_id: int) -> None:
    _run(
        sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(
            sql.Identifier(f"{table}_shared"), sql.Identifier(_promise(campaign_id))
        )
    )


def is_attached(table: str, campaign_id: int) -> bool:
    """Whether the campaign has a partition of its own."""
    return bool(
        _one(
            "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(%s))",
            [partition(table, campaign_id)],
        )
    )


def drop_bare(table: str, campaign_id: int) -> None:
    """Remove a table that stands aside; one that is a partition already stays."""
    if not is_attached(table, campaign_id):
        _run(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(partition(table, campaign_id))))
        if _one(
            "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = %s::regclass AND conname = %s)",
            [f"{table}_shared", _promise(campaign_id)],
        ):
            forget_promise(table, campaign_id)


def mark(table: str, campaign_id: int, words: str) -> None:
    """Write on a table that stands aside that it is complete, and of what."""
    _run(
        sql.SQL("COMMENT ON TABLE {} IS {}").format(
            sql.Identifier(partition(table, campaign_id)), sql.Literal(words)
        )
    )


def marked(table: str, campaign_id: int) -> str:
    """What is written on it; '' where there is no such table or no mark."""
    return str(
        _one(
            "SELECT coalesce(obj_description(to_regclass(%s), 'pg_class'), '')",
            [partition(table, campaign_id)],
        )
    )


LEFTOVERS = """
WITH own AS (
    SELECT c.oid, substring(c.relname FROM '_c([0-9]+)$')::bigint AS campaign_id,
        EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid) AS attached
    FROM pg_class c
    WHERE c.relkind = 'r' AND c.relname ~ '^campaigns_(member|member_target|touch|attempt)_c[0-9]+$'
)
SELECT campaign_id FROM own GROUP BY campaign_id HAVING NOT bool_or(attached)
"""


def leftovers() -> list[int]:
    """Campaigns of which tables stand aside and none is attached: what is begun to be attached is finished."""
    with connection.cursor() as cursor:
        cursor.execute(LEFTOVERS)
        return [row[0] for row in cursor.fetchall()]


def _run(statement: sql.Composable) -> None:
    """As text: within a job, who did it is written down by a wrapper that reads statements as text."""
    with connection.cursor() as cursor:
        cursor.execute(statement.as_string(cursor.connection))


def _one(statement: str, parameters: Sequence[Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchone()[0]
