"""Conditions on what customers bought and did. Windows are whole days back from now."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Count, F, FilteredRelation, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.models import BehaviourEvent, Order, OrderLine, Product
from audiences.registers import RuleField, RuleKind

MEASURES: Sequence[tuple[str, Any]] = (
    ("orders", _("number of orders")),
    ("amount", _("amount paid, net of returns")),
)
COMPARISONS: Sequence[tuple[str, Any]] = (("at_least", _("at least")), ("at_most", _("at most")))


def by_person(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Rows with ``person``: the survivor of their customer."""
    absorbed = FilteredRelation("customer", condition=Q(customer__merged_into__isnull=False))
    found = rows.annotate(absorbed=absorbed)
    found = found.annotate(person=Coalesce(F("absorbed__merged_into_id"), F("customer_id")))
    # The key is never null, so Django joins inwards; but the condition is on absorbed ones, which are few.
    found.query.alias_map["absorbed"] = found.query.alias_map["absorbed"].promote()  # type: ignore[union-attr]
    return found


def _since(leaf: Mapping[str, Any]) -> dt.datetime | None:
    return timezone.now() - dt.timedelta(days=leaf["days"]) if leaf.get("days") else None


def orders(leaf: Mapping[str, Any]) -> QuerySet[Any]:
    """Customers with at least the value; for "at most": with more than it, to be complemented."""
    more = "__gt" if leaf["op"] == "at_most" else "__gte"
    since = _since(leaf)
    if leaf.get("category") or leaf.get("sku"):
        lines = OrderLine.objects.all()
        if leaf.get("sku"):
            lines = lines.filter(product__sku=leaf["sku"])
        if leaf.get("category"):
            lines = lines.filter(
                Q(product__category=leaf["category"]) | Q(product__subcategory=leaf["category"])
            )
        if since:
            lines = lines.filter(order__placed_at__gte=since)
        person = Coalesce(F("order__customer__merged_into_id"), F("order__customer_id"))
        measure: Any = Count("order_id", distinct=True) if leaf["measure"] == "orders" else Sum("amount")
        grouped = lines.annotate(person=person).values("person").annotate(measure=measure)
    else:
        found = Order.objects.filter(placed_at__gte=since) if since else Order.objects.all()
        measure = Count("pk") if leaf["measure"] == "orders" else Sum(F("paid") - F("returned"))
        grouped = by_person(found).values("person").annotate(measure=measure)
    return grouped.filter(**{f"measure{more}": leaf["value"]}).values("person")


def _at_most(leaf: Mapping[str, Any]) -> bool:
    return bool(leaf["op"] == "at_most")


def _orders_in_words(leaf: Mapping[str, Any]) -> str:
    what = leaf.get("sku") or leaf.get("category")
    parts = {
        "measure": dict(MEASURES)[leaf["measure"]],
        "op": dict(COMPARISONS)[leaf["op"]],
        "value": leaf["value"],
        "of": _t(" of %(what)s") % {"what": what} if what else "",
        "window": _t(" in the last %(n)s days") % {"n": leaf["days"]} if leaf.get("days") else "",
    }
    return _t("%(measure)s%(of)s%(window)s is %(op)s %(value)s") % parts


def _categories() -> list[tuple[str, Any]]:
    found = (
        Product.objects.exclude(category="")
        .values_list("category", flat=True)
        .distinct()
        .order_by("category")
    )
    return [("", _("any"))] + [(category, category) for category in found[:500]]


DAYS = {"type": "integer", "minimum": 1, "maximum": 36500}

ORDER = RuleKind(
    label=_("Orders"),
    group=_("What they did"),
    schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", "measure", "op", "value"],
        "properties": {
            "kind": {"const": "order"},
            "measure": {"enum": [name for name, _label in MEASURES]},
            "op": {"enum": [name for name, _label in COMPARISONS]},
            "value": {"type": "number", "minimum": 0, "maximum": 1e15},
            "days": DAYS,
            "category": {"type": "string", "maxLength": 120},
            "sku": {"type": "string", "maxLength": 80},
        },
    },
    matching=orders,
    complement=_at_most,
    sentence=_orders_in_words,
    fields=(
        RuleField("measure", _("Measure"), "choice", lambda: MEASURES),
        RuleField("op", _("Comparison"), "choice", lambda: COMPARISONS),
        RuleField("value", _("Value"), "number"),
        RuleField("days", _("In the last days"), "number", required=False, help=_("Empty: ever")),
        RuleField("category", _("Product category"), "choice", _categories, required=False),
        RuleField("sku", _("SKU"), required=False),
    ),
)


def behaviours(leaf: Mapping[str, Any]) -> QuerySet[Any]:
    more = "__gt" if leaf["op"] == "at_most" else "__gte"
    found = BehaviourEvent.objects.filter(kind=leaf["event"])
    if since := _since(leaf):
        found = found.filter(occurred_at__gte=since)
    grouped = by_person(found).values("person").annotate(times=Count("pk"))
    return grouped.filter(**{f"times{more}": leaf["value"]}).values("person")


def _behaviours_in_words(leaf: Mapping[str, Any]) -> str:
    window = _t(" in the last %(n)s days") % {"n": leaf["days"]} if leaf.get("days") else ""
    return _t("%(event)s %(op)s %(value)s times%(window)s") % {
        "event": leaf["event"], "op": dict(COMPARISONS)[leaf["op"]], "value": leaf["value"], "window": window,
    }  # fmt: skip


def _events() -> list[tuple[str, str]]:
    found = BehaviourEvent.objects.values_list("kind", flat=True).distinct().order_by("kind")
    return [(kind, kind) for kind in found[:200]]


BEHAVIOUR = RuleKind(
    label=_("Behaviour"),
    group=_("What they did"),
    schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", "event", "op", "value"],
        "properties": {
            "kind": {"const": "behaviour"},
            "event": {"type": "string", "minLength": 1, "maxLength": 40},
            "op": {"enum": [name for name, _label in COMPARISONS]},
            "value": {"type": "integer", "minimum": 0},
            "days": DAYS,
        },
    },
    matching=behaviours,
    complement=_at_most,
    sentence=_behaviours_in_words,
    fields=(
        RuleField("event", _("Behaviour"), "choice", _events),
        RuleField("op", _("Comparison"), "choice", lambda: COMPARISONS),
        RuleField("value", _("Times"), "number"),
        RuleField("days", _("In the last days"), "number", required=False, help=_("Empty: ever")),
    ),
)
