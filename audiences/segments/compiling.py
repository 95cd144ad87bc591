"""From a rule to one query of customer ids. Users' values only ever travel as parameters.

Every leaf becomes a set of ids that is semi-joined (or anti-joined, under ``not``) to the customers:
``EXISTS (SELECT FROM (set) WHERE id = …)`` in a conjunction, which PostgreSQL turns into a hash join. Sets
under ``any`` are united first: OR of EXISTS would be planned as a subplan a row, and NOT IN of a set larger
than work_mem as a loop.
"""

from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import BooleanField, Expression, F, Q, QuerySet
from django.db.models.sql.compiler import SQLCompiler

from audiences.models import Customer, Segment, SegmentMember
from audiences.registers import rule_kinds
from audiences.segments.rules import Rule

NOBODY = "SELECT NULL::bigint WHERE false"

# What is known of an absorbed customer counts for the survivor. Absorbed ones are few, and found by index.
OF_SURVIVORS = """
SELECT coalesce(absorbed.merged_into_id, found.customer_id)
FROM ({ids}) AS found(customer_id)
LEFT JOIN audiences_customer absorbed ON absorbed.id = found.customer_id AND absorbed.merged_into_id IS NOT NULL
"""


class InSet(Expression):
    """Whether ``pk`` is in a set of ids given as SQL of one column."""

    output_field = BooleanField()
    conditional = True

    def __init__(self, sql: str, params: tuple[Any, ...], pk: Any = None) -> None:
        super().__init__(output_field=BooleanField())
        self.sql, self.params = sql, params
        self.pk = pk if pk is not None else F("pk")

    def get_source_expressions(self) -> list[Any]:
        return [self.pk]

    def set_source_expressions(self, exprs: Any) -> None:
        (self.pk,) = exprs

    def as_sql(  # type: ignore[override]
        self, compiler: SQLCompiler, connection: Any, **_extra: Any
    ) -> tuple[str, list[Any]]:
        pk, pk_params = compiler.compile(self.pk)  # type: ignore[arg-type]
        return (
            f"EXISTS (SELECT 1 FROM ({self.sql}) AS matching(customer_id) WHERE matching.customer_id = {pk})",
            [*self.params, *pk_params],
        )


def people() -> QuerySet[Customer]:
    """Customers a segment may hold: neither absorbed nor erased."""
    return Customer.objects.filter(merged_into=None, erased_at=None)


def matching(rule: Rule) -> QuerySet[Customer]:
    """The customers a checked rule holds."""
    return people().filter(condition(rule)).order_by()


def customers(segment: Segment) -> QuerySet[Customer]:
    """The customers of a segment, by rule or by list."""
    if segment.rule is None:
        listed = SegmentMember.objects.filter(segment=segment).values("customer_id")
        return people().filter(InSet(*_of_survivors(*_sql(listed)))).order_by()
    return matching(segment.rule)


def condition(node: Rule) -> Q:
    """A node as a condition on ``Customer``."""
    if "all" in node:
        combined = Q()
        for child in node["all"]:
            combined &= condition(child)
        return combined
    if "not" in node:
        return ~condition(node["not"])
    if "any" in node:
        return _any(node["any"])
    kind = rule_kinds.get(node["kind"])
    if kind.condition is not None:
        return kind.condition(node)
    found = Q(InSet(*_leaf_set(node)))
    return ~found if kind.complement is not None and kind.complement(node) else found


def _any(nodes: list[Rule]) -> Q:
    if all(_is_row_condition(node) for node in nodes):
        combined = Q()
        for node in nodes:
            combined |= condition(node)
        return combined
    sets = [_set(node) for node in nodes]
    return Q(
        InSet(
            " UNION ALL ".join(f"({sql})" for sql, _ in sets), tuple(p for _, params in sets for p in params)
        )
    )


def _is_row_condition(node: Rule) -> bool:
    return "kind" in node and rule_kinds.get(node["kind"]).condition is not None


def _set(node: Rule) -> tuple[str, tuple[Any, ...]]:
    """A node as SQL of a set of ids."""
    if "kind" in node:
        kind = rule_kinds.get(node["kind"])
        if kind.condition is None and (kind.complement is None or not kind.complement(node)):
            return _leaf_set(node)
    return _sql(people().filter(condition(node)).values("pk"))


def _leaf_set(leaf: Rule) -> tuple[str, tuple[Any, ...]]:
    return _of_survivors(*_sql(rule_kinds.get(leaf["kind"]).matching(leaf)))


def _of_survivors(sql: str, params: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    return OF_SURVIVORS.format(ids=sql), params


def _sql(found: QuerySet[Any]) -> tuple[str, tuple[Any, ...]]:
    """A queryset of one column as SQL; the empty set where Django knows that nothing can match."""
    try:
        sql, params = found.order_by().query.sql_with_params()
    except EmptyResultSet:
        return NOBODY, ()
    return sql, tuple(params)
