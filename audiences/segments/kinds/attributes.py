"""Conditions on what a customer is: columns of the customer, further attributes, the stage."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.db.models import BooleanField, Case, CharField, DecimalField, F, Func, Q, TextField, Value, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Lower
from django.utils import timezone
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.models import Customer
from audiences.registers import RuleField, RuleKind
from audiences.vocabulary import Stage

OTHER = "attributes."  # prefix of a further attribute: attributes.tier

TEXT_FIELDS = ("name", "gender", "language", "zone", "country", "province", "city")
DATE_FIELDS = ("birth_date", "created_at")
FIELDS: tuple[tuple[str, Any], ...] = (
    ("city", _("City")),
    ("province", _("Province")),
    ("country", _("Country")),
    ("gender", _("Gender")),
    ("language", _("Language")),
    ("zone", _("Time zone")),
    ("name", _("Name")),
    ("birth_date", _("Birth date")),
    ("created_at", _("Known since")),
)
OPERATORS: tuple[tuple[str, Any], ...] = (
    ("is", _("is")),
    ("is_not", _("is not")),
    ("one_of", _("is one of (separated by commas)")),
    ("contains", _("contains")),
    ("starts_with", _("begins with")),
    ("at_least", _("is at least")),
    ("at_most", _("is at most")),
    ("within_days", _("lies within the last … days")),
    ("known", _("is known")),
    ("unknown", _("is not known")),
)
WITHOUT_VALUE = ("known", "unknown")


def known_attributes() -> list[tuple[str, str]]:
    """Names of further attributes, from a sample of customers: for the builder's choice."""
    keys = (
        Customer.objects.filter(pk__in=Customer.objects.order_by("-pk").values("pk")[:2000])
        .exclude(attributes={})
        .annotate(key=Func(F("attributes"), function="jsonb_object_keys", output_field=TextField()))
        .values_list("key", flat=True)
        .distinct()
    )
    return [(OTHER + key, key) for key in sorted(keys)[:200]]


def _choices() -> list[tuple[str, Any]]:
    return [*FIELDS, *known_attributes()]


def condition(leaf: Mapping[str, Any]) -> Q:
    """A condition on the customer's row. Text is compared without regard to case."""
    field, operator = leaf["field"], leaf["op"]
    value = str(leaf.get("value", "")).strip()
    if field.startswith(OTHER):
        return _of_attribute(field.removeprefix(OTHER), operator, value)
    if field in DATE_FIELDS:
        return _of_date(field, operator, value)
    return _of_text(F(field), operator, value)


def _of_text(expression: Any, operator: str, value: str) -> Q:
    text = Lower(expression, output_field=CharField())
    if operator == "known":
        return Q(_Compare(text, "<>", Value("")))
    if operator == "unknown":
        return ~Q(_Compare(_filled(text), "<>", Value("")))
    if operator == "one_of":
        wanted = [part.strip().lower() for part in value.replace("，", ",").split(",") if part.strip()]
        return Q(_Compare(text, "= ANY", Value(wanted)))
    if operator in ("contains", "starts_with"):
        escaped = value.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return Q(_Compare(text, "LIKE", Value(f"%{escaped}%" if operator == "contains" else f"{escaped}%")))
    if operator == "is_not":
        return Q(_Compare(_filled(text), "<>", Value(value.lower())))
    if operator in ("at_least", "at_most"):
        return Q(_Compare(text, ">=" if operator == "at_least" else "<=", Value(value.lower())))
    return Q(_Compare(text, "=", Value(value.lower())))


def _filled(text: Any) -> Any:
    return Func(text, Value(""), function="coalesce", output_field=CharField())


def _of_attribute(key: str, operator: str, value: str) -> Q:
    text = KeyTextTransform(key, "attributes")
    number = _number(value)
    if operator in ("at_least", "at_most") and number is not None:
        return Q(_Compare(_as_number(text), ">=" if operator == "at_least" else "<=", Value(number)))
    if operator == "within_days":
        # ISO dates sort as text.
        since = timezone.localdate() - dt.timedelta(days=int(number or 0))
        return Q(_Compare(text, ">=", Value(since.isoformat())))
    if operator == "known":
        return Q(attributes__has_key=key) & Q(_Compare(_filled(text), "<>", Value("")))
    return _of_text(text, operator, value)


def _as_number(text: Any) -> Any:
    plain = Func(text, Value(r"^\s*-?\d{1,18}(\.\d+)?\s*$"), template="(%(expressions)s)", arg_joiner=" ~ ",
                 output_field=TextField())  # fmt: skip
    return Case(
        When(Q(_Truth(plain)), then=Cast(text, DecimalField(max_digits=30, decimal_places=8))),
        default=None,
        output_field=DecimalField(max_digits=30, decimal_places=8),
    )


def _of_date(field: str, operator: str, value: str) -> Q:
    if operator == "known":
        return Q(**{f"{field}__isnull": False})
    if operator == "unknown":
        return Q(**{f"{field}__isnull": True})
    if operator == "within_days":
        since = timezone.localdate() - dt.timedelta(days=int(_number(value) or 0))
        return Q(**{f"{_day(field)}__gte": since})
    lookup = {"at_least": "__gte", "at_most": "__lte"}.get(operator, "")
    found = Q(**{f"{_day(field)}{lookup}": dt.date.fromisoformat(value)})
    return ~found if operator == "is_not" else found


def _day(field: str) -> str:
    return f"{field}__date" if field == "created_at" else field


def _number(value: str) -> Decimal | None:
    try:
        found = Decimal(value)
    except ArithmeticError:
        return None
    return found if found.is_finite() else None


class _Compare(Func):
    """``a <operator> b``; ``= ANY`` takes an array."""

    conditional = True

    def __init__(self, left: Any, operator: str, right: Any) -> None:
        super().__init__(left, right, output_field=BooleanField())
        self.operator = operator

    def as_sql(  # type: ignore[override]
        self, compiler: Any, connection: Any, **_extra: Any
    ) -> tuple[str, list[Any]]:
        left, left_params = compiler.compile(self.source_expressions[0])
        right, right_params = compiler.compile(self.source_expressions[1])
        right = f"({right}::text[])" if self.operator == "= ANY" else right
        return f"{left} {self.operator} {right}", [*left_params, *right_params]


class _Truth(Func):
    """An expression that is a condition by itself."""

    conditional = True

    def __init__(self, expression: Any) -> None:
        super().__init__(expression, template="%(expressions)s", output_field=BooleanField())


def sentence(leaf: Mapping[str, Any]) -> str:
    names = dict(FIELDS)
    field = names.get(leaf["field"], leaf["field"].removeprefix(OTHER))
    operator = leaf["op"]
    if operator in WITHOUT_VALUE:
        return f"{field} {dict(OPERATORS)[operator]}"
    if operator == "within_days":
        return _t("%(field)s lies within the last %(n)s days") % {"field": field, "n": leaf["value"]}
    if operator == "one_of":
        return _t("%(field)s is one of %(values)s") % {"field": field, "values": leaf["value"]}
    return f"{field} {dict(OPERATORS)[operator]} {leaf['value']}"


_DATE = {"pattern": r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"}

ATTRIBUTE = RuleKind(
    label=_("Attribute"),
    group=_("Who they are"),
    schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", "field", "op"],
        "properties": {
            "kind": {"const": "attribute"},
            "field": {
                "type": "string",
                "pattern": rf"^({'|'.join(name for name, _label in FIELDS)}|attributes\..{{1,120}})$",
            },
            "op": {"enum": [name for name, _label in OPERATORS]},
            "value": {"type": "string", "maxLength": 2000},
        },
        "allOf": [
            {
                "if": {"properties": {"op": {"enum": list(WITHOUT_VALUE)}}},
                "else": {"required": ["value"], "properties": {"value": {"minLength": 1}}},
            },
            {
                "if": {"properties": {"op": {"const": "within_days"}}},
                "then": {"properties": {"value": {"pattern": r"^\d{1,5}$"}}},
            },
            {
                "if": {"properties": {"field": {"enum": list(DATE_FIELDS)}}},
                "then": {
                    "properties": {
                        "op": {"enum": ["is", "is_not", "at_least", "at_most", "within_days", *WITHOUT_VALUE]}
                    },
                    "if": {"properties": {"op": {"enum": ["is", "is_not", "at_least", "at_most"]}}},
                    "then": {"properties": {"value": _DATE}},
                },
            },
            {
                "if": {"properties": {"op": {"const": "within_days"}}},
                "then": {"properties": {"field": {"pattern": r"^(birth_date|created_at|attributes\..+)$"}}},
            },
        ],
    },
    condition=condition,
    sentence=sentence,
    fields=(
        RuleField("field", _("Attribute"), "choice", _choices),
        RuleField("op", _("Comparison"), "choice", lambda: OPERATORS),
        RuleField("value", _("Value"), required=False, help=_("A date as 2026-03-01.")),
    ),
)


def _stages(leaf: Mapping[str, Any]) -> Q:
    return Q(stage__in=list(leaf["stages"]))


def _stages_in_words(leaf: Mapping[str, Any]) -> str:
    labels = dict(Stage.choices)
    return _t("stage is %(stages)s") % {
        "stages": _t(" or ").join(str(labels[stage]) for stage in leaf["stages"])
    }


STAGE = RuleKind(
    label=_("Stage"),
    group=_("Who they are"),
    schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", "stages"],
        "properties": {
            "kind": {"const": "stage"},
            "stages": {"type": "array", "minItems": 1, "items": {"enum": list(Stage.values)}},
        },
    },
    condition=_stages,
    sentence=_stages_in_words,
    fields=(RuleField("stages", _("Stages"), "multichoice", lambda: Stage.choices),),
)
