"""Conditions on what was put on customers: tags, scores, other segments."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.models import CustomerTag, Score, Segment, Tag
from audiences.registers import RuleField, RuleKind
from audiences.segments.kinds.commerce import COMPARISONS


def _tags(leaf: Mapping[str, Any]) -> QuerySet[Any]:
    return CustomerTag.objects.filter(tag__name__in=leaf["tags"]).values("customer_id")


TAG = RuleKind(
    label=_("Tag"),
    group=_("Who they are"),
    schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", "tags"],
        "properties": {
            "kind": {"const": "tag"},
            "tags": {"type": "array", "minItems": 1, "maxItems": 200, "items": {"type": "string", "minLength": 1}},
        },
    },
    matching=_tags,
    sentence=lambda leaf: _t("has the tag %(tags)s") % {"tags": _t(" or ").join(leaf["tags"])},
    fields=(
        RuleField(
            "tags", _("Tags"), "multichoice",
            lambda: [(name, name) for name in Tag.objects.order_by("name").values_list("name", flat=True)[:500]],
        ),
    ),
)  # fmt: skip


def _scores(leaf: Mapping[str, Any]) -> QuerySet[Any]:
    lookup = "value__lte" if leaf["op"] == "at_most" else "value__gte"
    return Score.objects.filter(kind=leaf["score"], **{lookup: leaf["value"]}).values("customer_id")


SCORE = RuleKind(
    label=_("Score"),
    group=_("Who they are"),
    schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", "score", "op", "value"],
        "properties": {
            "kind": {"const": "score"},
            "score": {"type": "string", "minLength": 1, "maxLength": 40},
            "op": {"enum": [name for name, _label in COMPARISONS]},
            "value": {"type": "number"},
        },
    },
    matching=_scores,
    sentence=lambda leaf: f"{leaf['score']} {dict(COMPARISONS)[leaf['op']]} {leaf['value']}",
    fields=(
        RuleField(
            "score", _("Score"), "choice",
            lambda: [(k, k) for k in Score.objects.values_list("kind", flat=True).distinct().order_by("kind")[:100]],
        ),
        RuleField("op", _("Comparison"), "choice", lambda: COMPARISONS),
        RuleField("value", _("Value"), "number"),
    ),
)  # fmt: skip


def _segment(leaf: Mapping[str, Any]) -> QuerySet[Any]:
    from audiences.segments.compiling import customers  # compiling knows the kinds by their register only

    return customers(Segment.objects.get(pk=leaf["segment"])).values("pk")


def _segment_in_words(leaf: Mapping[str, Any]) -> str:
    found = Segment.objects.filter(pk=leaf["segment"]).first()
    return _t("is in the segment “%(name)s”") % {"name": found or leaf["segment"]}


SEGMENT = RuleKind(
    label=_("Another segment"),
    group=_("Lists"),
    schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", "segment"],
        "properties": {"kind": {"const": "segment"}, "segment": {"type": "integer", "minimum": 1}},
    },
    matching=_segment,
    sentence=_segment_in_words,
    fields=(
        RuleField(
            "segment", _("Segment"), "choice",
            lambda: list(Segment.objects.filter(archived_at=None).order_by("name").values_list("pk", "name")),
        ),
    ),
)  # fmt: skip
