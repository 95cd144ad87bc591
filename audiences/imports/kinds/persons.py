"""Which person each row is: found by identity, born, or merged, over the whole load at once.

Rows that share an identity are one person, and so are customers whose identities stand in one row. Nearly
all rows share nothing; only the *tangled* ones are looked at as a graph.
"""

from collections.abc import Iterable

import numpy as np
from django.db import IntegrityError, connection
from django.utils.translation import gettext as _
from psycopg.errors import UniqueViolation

from audiences import merge
from audiences.imports.kinds.bulk import bare
from audiences.imports.loading import Interfered
from audiences.imports.staging import Staged
from audiences.models import Suppression
from audiences.queries import suppression as queries
from audiences.suppression import pads

SHARED_BY = 20
"""So many people may share a phone in one load; beyond that it is a placeholder such as the shop's own."""
LARGE = 50_000
"""From so many births on, when they are most of all customers, the tables are filled bare."""

BORN_TABLES = ("audiences_customer", "audiences_contactstate", "audiences_identity")
KEYLESS = ("audiences_identity",)

CUSTOMERS = """
INSERT INTO audiences_customer (id, name, name_sort, gender, birth_date, birth_calendar, language, zone, country,
    province, city, stage, attributes, bucket, created_at, updated_at)
SELECT f.customer_id, f.name, audiences_name_sort(f.name), f.gender, f.birth_date, f.birth_calendar, f.language,
    f.zone, f.country, f.province, f.city, f.stage, f.attributes, audiences_bucket(f.customer_id), %(now)s, %(now)s
FROM ({faces}) f
"""
CONTACT_STATES = """
INSERT INTO audiences_contactstate
    (customer_id, allowed, blocked, erased, absorbed, recent_attempts, recent_channels, recent_at)
SELECT customer_id, '{}'::varchar[], '{}'::varchar[], false, false, '{}'::bigint[], '{}'::integer[],
    '{}'::timestamptz[]
FROM {work:persons} WHERE born AND line = leader
"""
BLANK = """
SELECT DISTINCT customer_id, '' AS name, '' AS gender, NULL::date AS birth_date, 'solar' AS birth_calendar,
    '' AS language, %(zone)s AS zone, '' AS country, '' AS province, '' AS city, 'prospect' AS stage,
    '{}'::jsonb AS attributes
FROM {work:persons} WHERE born
"""
"""The face of a customer of whom nothing but identities is known."""

IDENTITIES = """
INSERT INTO audiences_identity (customer_id, kind, issuer, value, source, invalid_reason, created_at)
SELECT customer_id, kind, issuer, value, %(source)s, '', %(now)s FROM ({fresh}) f {conflict}
"""
UNTOLD = """
    NOT EXISTS (
        SELECT FROM audiences_identity i
        WHERE i.kind = c.kind AND i.issuer = c.issuer AND i.value = c.value
    )
"""


# Before anything is written ------------------------------------------------------------------------


def refuse_placeholders(staged: Staged) -> None:
    """Refuse rows whose phone or e-mail stands beside many different people in the same load."""
    strong = [f"r.{name}" for name in ("member_number", "external_id") if staged.has(name)]
    if not strong:
        return
    who = f"coalesce({', '.join(strong)})"
    for column in ("phone", "email"):
        if staged.has(column):
            staged.refuse(
                column,
                _("stands beside more than %(n)s different customers; a shared number would make them one")
                % {"n": SHARED_BY},
                f"""r.{column} IN (
                    SELECT r.{column} FROM {{rows}} r WHERE r.{column} IS NOT NULL
                    GROUP BY r.{column} HAVING count(*) > {SHARED_BY} AND count(DISTINCT {who}) > {SHARED_BY}
                )""",
            )


def own(staged: Staged, lines: str = "{rows}") -> bool:
    """Make ``{work:owned}`` (line, customer_id) and ``{work:tangle}`` (line, leader); whether any are tangled.

    ``leader`` is the first line of the same person; a line that shares nothing is in no tangle.
    """
    direct = f"""
        UNION SELECT r.line, coalesce(c.merged_into_id, c.id)
        FROM {lines} r JOIN audiences_customer c ON c.id = r.customer_id
    """
    staged.table(
        "owned",
        f"""SELECT DISTINCT c.line, i.customer_id
        FROM {{work:claims}} c JOIN audiences_identity i USING (kind, issuer, value)
        {direct if "customer_id" in staged.mapping else ""}""",
    )
    shared = staged.table(
        "shared",
        """SELECT c.line, dense_rank() OVER (ORDER BY c.kind, c.issuer, c.value) AS key
        FROM {work:claims} c WHERE hashtextextended(c.value, c.priority) = ANY (%(hashes)s::bigint[])""",
        hashes=_repeated(staged),
    )
    staged.execute(
        f"CREATE {staged.table_kind} TABLE {{work:tangle}} (line bigint PRIMARY KEY, leader bigint NOT NULL)"
    )
    edges = staged.fetch(
        """
        WITH together AS (
            SELECT line, key FROM {work:shared}
            WHERE key IN (SELECT key FROM {work:shared} GROUP BY 1 HAVING count(DISTINCT line) > 1)
        ),
        tangled AS (
            SELECT line FROM together UNION
            SELECT line FROM {work:owned} GROUP BY 1 HAVING count(*) > 1 UNION
            SELECT line FROM {work:owned}
            WHERE customer_id IN (SELECT customer_id FROM {work:owned} GROUP BY 1 HAVING count(*) > 1)
        )
        SELECT line, -key FROM together
        UNION SELECT line, customer_id FROM {work:owned} WHERE line IN (SELECT line FROM tangled)
        """
        if shared
        else """
        SELECT line, customer_id FROM {work:owned} o
        WHERE line IN (SELECT line FROM {work:owned} GROUP BY 1 HAVING count(*) > 1)
            OR customer_id IN (SELECT customer_id FROM {work:owned} GROUP BY 1 HAVING count(*) > 1)
        """
    )
    if not edges:
        return False
    with connection.cursor() as cursor:
        with cursor.copy(staged.sql("COPY {work:tangle} (line, leader) FROM STDIN")) as copy:  # type: ignore[attr-defined]
            for line, leader in _leaders(edges):
                copy.write_row((line, leader))
    staged.execute("ANALYZE {work:tangle}")
    return True


def _repeated(staged: Staged) -> list[int]:
    """Hashes of values that stand more than once. Two values may share one: the caller compares the values.

    Sorted here as one array: grouping 3M of them in SQL took twice as long.
    """
    (packed,) = staged.fetch(
        "SELECT string_agg(int8send(hashtextextended(value, priority)), '') FROM {work:claims}"
    )[0]
    hashes = np.sort(np.frombuffer(packed or b"", dtype=">i8").astype(np.int64))
    found: list[int] = np.unique(hashes[1:][hashes[1:] == hashes[:-1]]).tolist()
    return found


def is_tangled(staged: Staged) -> bool:
    return bool(staged.fetch("SELECT EXISTS (SELECT FROM {work:tangle})")[0][0])


def disown(staged: Staged) -> None:
    """Forget what :func:`own` found."""
    staged.execute("DROP TABLE {work:owned}, {work:shared}, {work:tangle}")


def _leaders(edges: list[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """(line, first line of the same person) from edges between lines and what they share."""
    # Here: every process would load SciPy with its imports, for a third of its start.
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = np.array(edges, dtype=np.int64)
    lines, line_of = np.unique(pairs[:, 0], return_inverse=True)
    things, thing_of = np.unique(pairs[:, 1], return_inverse=True)
    size = len(lines) + len(things)
    graph = coo_matrix((np.ones(len(pairs), np.int8), (line_of, thing_of + len(lines))), shape=(size, size))
    _n, label = connected_components(graph, directed=False)
    label = label[: len(lines)]
    first = np.full(label.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, label, lines)
    return zip(lines.tolist(), first[label].tolist(), strict=True)


def several(staged: Staged) -> list[list[int]]:
    """Customers, lowest id first, that turn out to be one person each."""
    found = staged.fetch(
        """SELECT array_agg(DISTINCT o.customer_id ORDER BY o.customer_id)
        FROM {work:owned} o JOIN {work:tangle} t USING (line)
        GROUP BY t.leader HAVING count(DISTINCT o.customer_id) > 1"""
    )
    return [ids for (ids,) in found]


def refuse_several(staged: Staged) -> None:
    """Refuse the rows that would merge customers; for loads that must not."""
    staged.refuse(
        "",
        _("carries identities of several customers, and this load must not merge any"),
        """r.line IN (
            SELECT line FROM {work:tangle} WHERE leader IN (
                SELECT t.leader FROM {work:owned} o JOIN {work:tangle} t USING (line)
                GROUP BY t.leader HAVING count(DISTINCT o.customer_id) > 1
            )
        )""",
    )


def settle(staged: Staged, tangled: bool, lines: str = "{rows}") -> None:
    """Make ``{work:persons}`` (line, leader, customer_id, born); ids of the newborn are drawn, not written."""
    sequence = staged.fetch("SELECT pg_get_serial_sequence('audiences_customer', 'id')")[0][0]
    if not tangled:
        staged.table(
            "persons",
            f"""SELECT r.line, r.line AS leader, o.customer_id IS NULL AS born,
                coalesce(o.customer_id, nextval('{sequence}')) AS customer_id
            FROM {lines} r LEFT JOIN {{work:owned}} o USING (line)""",
        )
        return
    staged.table(
        "leaders",
        f"""SELECT coalesce(t.leader, r.line) AS leader, min(o.customer_id) AS customer_id
        FROM {lines} r LEFT JOIN {{work:tangle}} t USING (line) LEFT JOIN {{work:owned}} o USING (line)
        GROUP BY 1""",
    )
    staged.table(
        "births",
        f"""SELECT leader, nextval('{sequence}') AS customer_id
        FROM (SELECT leader FROM {{work:leaders}} WHERE customer_id IS NULL ORDER BY leader) l""",
    )
    staged.table(
        "persons",
        f"""SELECT r.line, l.leader, l.customer_id IS NULL AS born, coalesce(l.customer_id, b.customer_id) AS customer_id
        FROM {lines} r LEFT JOIN {{work:tangle}} t USING (line)
        JOIN {{work:leaders}} l ON l.leader = coalesce(t.leader, r.line)
        LEFT JOIN {{work:births}} b ON b.leader = l.leader""",
    )


# Writing ---------------------------------------------------------------------------------------------


def lock(staged: Staged, customers: Iterable[int]) -> None:
    """Lock contact states in customer order, once for all the load will do to them."""
    ids = sorted(set(customers))
    if ids:
        staged.execute(
            "SELECT 1 FROM audiences_contactstate WHERE customer_id = ANY (%(ids)s::bigint[]) "
            "ORDER BY customer_id FOR UPDATE",
            ids=ids,
        )


def merge_all(staged: Staged, found: list[list[int]]) -> int:
    """Merge each group into its lowest id; returns how many customers were absorbed."""
    for kept, *others in found:
        for other in others:
            try:
                merge.merge(
                    other,
                    kept,
                    reason=_("one row carries identities of both: import %(n)s") % {"n": staged.batch.pk},
                    by="import",
                    now=staged.now,
                )
            except ValueError as error:
                raise Interfered from error
    return sum(len(ids) - 1 for ids in found)


def bear(staged: Staged, faces: str, tangled: bool, **params: object) -> int:
    """Write the newborn customers and every identity that is new; returns how many were born.

    ``faces``: a query of what each newborn looks like. ``{work:told}`` (customer_id) is made: customers who
    existed and gained an identity. Raises :class:`Interfered` when another process wrote one meanwhile.
    """
    born = int(staged.fetch("SELECT count(*) FROM {work:persons} WHERE born AND line = leader")[0][0])
    existing = staged.fetch(
        "SELECT count(*) FROM (SELECT FROM audiences_customer LIMIT %(n)s) c", n=born + 1
    )[0][0]
    staged.execute(f"CREATE {staged.table_kind} TABLE {{work:told}} (customer_id bigint)")
    try:
        first = born >= LARGE and existing <= born
        with bare(BORN_TABLES, when=first, keyless=KEYLESS) as is_bare:
            if born:
                staged.execute(CUSTOMERS.replace("{faces}", faces), **params)
            if born and is_bare:
                staged.execute(CONTACT_STATES)
            _identities(staged, tangled, "" if is_bare else "ON CONFLICT DO NOTHING")
    except IntegrityError as error:
        if (
            isinstance(error.__cause__, UniqueViolation)
            and error.__cause__.diag.table_name == "audiences_identity"
        ):
            raise Interfered from error  # told by somebody else before the tables were locked
        raise
    if staged.table("known", "SELECT line, customer_id FROM {work:persons} WHERE NOT born OR line <> leader"):
        strangers = staged.fetch(
            """SELECT 1 FROM {work:known} p JOIN {work:claims} c USING (line)
            JOIN audiences_identity i USING (kind, issuer, value)
            WHERE i.customer_id <> p.customer_id LIMIT 1"""
        )
        if strangers:
            raise Interfered
    return born


def _identities(staged: Staged, tangled: bool, conflict: str) -> None:
    """Identities of newborn customers are all new; of the others, those nobody has yet."""
    alone = "AND p.line NOT IN (SELECT line FROM {work:tangle})" if tangled else ""
    source = f"import {staged.batch.pk}"
    certain = f"""SELECT p.customer_id, c.kind, c.issuer, c.value
        FROM {{work:claims}} c JOIN {{work:persons}} p USING (line) WHERE p.born {alone}"""
    written = staged.execute(IDENTITIES.format(fresh=certain, conflict=conflict), source=source)
    if conflict and written != staged.fetch(f"SELECT count(*) FROM ({certain}) c")[0][0]:
        raise Interfered
    other = "NOT p.born" + (" OR p.line IN (SELECT line FROM {work:tangle})" if tangled else "")
    staged.table(
        "gained",
        f"""SELECT DISTINCT p.customer_id, p.born, c.kind, c.issuer, c.value
        FROM {{work:claims}} c JOIN {{work:persons}} p USING (line) WHERE ({other}) AND {UNTOLD}""",
    )
    fresh = "SELECT customer_id, kind, issuer, value FROM {work:gained}"
    staged.execute(IDENTITIES.format(fresh=fresh, conflict=conflict), source=source)
    staged.execute("INSERT INTO {work:told} SELECT DISTINCT customer_id FROM {work:gained} WHERE NOT born")


def bear_unknown(staged: Staged) -> int:
    """For rows of another kind: customers for identities nobody has; ``{work:named}`` gets their lines."""
    staged.execute(
        "DELETE FROM {work:claims} c WHERE EXISTS (SELECT FROM {work:named} n WHERE n.line = c.line)"
    )
    lines = "(SELECT DISTINCT line, NULL::bigint AS customer_id FROM {work:claims})"
    tangled = own(staged, lines)
    settle(staged, tangled, lines)
    born = bear(staged, BLANK, tangled, zone=staged.options.get("zone") or "Asia/Shanghai")
    staged.execute("INSERT INTO {work:named} SELECT line, customer_id FROM {work:persons}")
    suppress_newcomers(staged)
    return born


def suppress_newcomers(staged: Staged) -> int:
    """Make the suppression list hold for customers who gained identities in this load."""
    if not Suppression.objects.exists():
        return 0
    ids = [
        one
        for (one,) in staged.fetch(
            "SELECT customer_id FROM {work:told} UNION SELECT customer_id FROM {work:persons} WHERE born"
        )
    ]
    return queries.apply(ids, pads())


def states_to_lock(staged: Staged) -> list[int]:
    """Customers that exist and gain an identity, which may be on the suppression list."""
    if not Suppression.objects.exists():
        return []
    return [
        one
        for (one,) in staged.fetch(
            f"""SELECT DISTINCT p.customer_id FROM {{work:claims}} c JOIN {{work:persons}} p USING (line)
        WHERE NOT p.born AND {UNTOLD}"""
        )
    ]
