"""How many a rule holds, exactly or from a sample, and how many can be reached by which medium."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import QuerySet

from audiences.models import Customer
from audiences.segments.kinds.contact import blocking_keys
from audiences.vocabulary import REACHED_BY, Purpose, permission_key

SAMPLED_FROM = 200_000  # fewer customers than this are always counted exactly
SAMPLE_BUCKETS = 400  # of 10,000: 4 %
WORK_MEM = "128MB"


@dataclass(frozen=True, slots=True)
class Preview:
    """``n`` people, give or take ``margin`` (95 %); exact when ``margin`` is 0."""

    n: int
    margin: int = 0

    @property
    def exact(self) -> bool:
        return self.margin == 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A way to be reached that one asks about; ``key`` is the caller's name for it, such as a channel's id."""

    key: Any
    brand_id: int
    medium: str
    purpose: str = Purpose.CONTACT


@dataclass(slots=True)
class Reach:
    """People in all, by stage, and by key of :class:`Asked` with how many lack what (each person once)."""

    total: int = 0
    stages: dict[str, int] = field(default_factory=dict)
    reachable: dict[Any, int] = field(default_factory=dict)
    without_identity: dict[Any, int] = field(default_factory=dict)
    without_consent: dict[Any, int] = field(default_factory=dict)


@contextmanager
def generous() -> Iterator[None]:
    """Memory for hashes and no just-in-time compilation, for the statements within."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('work_mem', %s, true), set_config('jit', 'off', true)", [WORK_MEM])
        yield


def count(found: QuerySet[Customer]) -> int:
    """Exactly how many."""
    with generous():
        return found.count()


def preview(found: QuerySet[Customer]) -> Preview:
    """How many, exactly for few customers, else from the sample of people whose bucket is small."""
    if _customers_about() < SAMPLED_FROM:
        return Preview(count(found))
    with generous():
        n = found.filter(bucket__lt=SAMPLE_BUCKETS).count()
    share = SAMPLE_BUCKETS / 10_000
    # Each person is in the sample with the same probability: binomial, 1.96 standard errors.
    margin = 1.96 * math.sqrt(max(n, 1) * (1 - share)) / share
    return Preview(round(n / share), math.ceil(margin))


def _customers_about() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE relname = 'audiences_customer'")
        return int(cursor.fetchone()[0])


PEOPLE = """
WITH person(id) AS MATERIALIZED ({people})
SELECT c.stage, {columns}, count(*)
FROM person p
JOIN audiences_customer c ON c.id = p.id
JOIN audiences_contactstate s ON s.customer_id = p.id
{identities}
GROUP BY c.stage
"""

IDENTITIES = """
LEFT JOIN (
    SELECT i.customer_id, array_agg(DISTINCT i.kind) AS kinds
    FROM audiences_identity i
    JOIN person x ON x.id = i.customer_id
    WHERE i.invalid_at IS NULL
    GROUP BY 1
) i ON i.customer_id = p.id
"""


def reach(found: QuerySet[Customer], asked: Sequence[Asked] = ()) -> Reach:
    """Exactly, in one statement. A medium without identities of persons (KOL) reaches nobody person by person."""
    try:
        people, params = found.order_by().values("pk").query.sql_with_params()
    except EmptyResultSet:
        return Reach(
            0,
            {},
            {each.key: 0 for each in asked},
            {each.key: 0 for each in asked},
            {each.key: 0 for each in asked},
        )
    columns, more = [], []
    for each in asked:
        has = "coalesce(i.kinds && %s::varchar[], false)"
        may = "s.allowed @> ARRAY[%s]::varchar[] AND NOT s.blocked && %s::varchar[] AND NOT s.erased AND NOT s.absorbed"
        columns += [
            f"count(*) FILTER (WHERE {has} AND {may})",
            f"count(*) FILTER (WHERE NOT {has})",
            f"count(*) FILTER (WHERE {has} AND NOT ({may}))",
        ]
        kinds = list(REACHED_BY.get(each.medium, ()))
        permission: list[Any] = [
            permission_key(each.brand_id, each.medium, each.purpose),
            blocking_keys(each.brand_id, each.medium, each.purpose),
        ]
        more += [kinds, *permission, kinds, kinds, *permission]
    sql = PEOPLE.format(
        people=people,
        columns=", ".join(columns) or "0",
        identities=IDENTITIES if asked else "",
    )
    answer = Reach()
    for part in (answer.reachable, answer.without_identity, answer.without_consent):
        part.update({each.key: 0 for each in asked})
    with generous(), connection.cursor() as cursor:
        cursor.execute(sql, [*params, *more])
        for stage, *figures, people_of_stage in cursor.fetchall():
            answer.stages[stage] = people_of_stage
            answer.total += people_of_stage
            for position, each in enumerate(asked):
                reachable, without_identity, without_consent = figures[3 * position : 3 * position + 3]
                answer.reachable[each.key] += reachable
                answer.without_identity[each.key] += without_identity
                answer.without_consent[each.key] += without_consent
    return answer
