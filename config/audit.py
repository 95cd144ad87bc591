"""The audit trail: what the database's own triggers recorded (pghistory), told in words.

A tracked model has an event model beside it; an event is the row as it was after the change (for a
deletion: as it was before), with the request's user and address as its context.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pghistory.core
from django.db import models
from django.db.models import CharField, OuterRef, QuerySet, Subquery, Value
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from config.models import User

ACTIONS = {
    "insert": gettext_lazy("made"),
    "update": gettext_lazy("changed"),
    "delete": gettext_lazy("removed"),
}
SHOWN = 200  # characters of a value


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the reader asked for. Empty: everything."""

    kind: str = ""  # a model's label, such as campaigns.campaign
    object_id: str = ""
    user_id: int | None = None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Wanted":
        """From the address; what is not understood is left out."""
        person = query.get("user", "")
        return cls(
            kind=query.get("kind", "") if query.get("kind", "") in event_models() else "",
            object_id=query.get("id", "") if query.get("id", "").isdecimal() else "",
            user_id=int(person) if person.isdecimal() else None,
        )


@dataclass(frozen=True, slots=True)
class Difference:
    field: Any
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """One event. ``who`` is empty when the installation itself did it."""

    at: datetime
    who: str
    kind: str
    kind_label: Any
    object_id: str
    name: str
    action: Any
    differences: tuple[Difference, ...] = field(default=())
    url: str = ""


def event_models() -> dict[str, type[models.Model]]:
    """Event models by the label of the model they follow."""
    return {
        event.pgh_tracked_model._meta.label_lower: event  # type: ignore[attr-defined]
        for event in pghistory.core.event_models()
    }


def kinds() -> list[tuple[str, Any]]:
    """Labels of the tracked models, for a choice."""
    return sorted(
        (
            (label, event.pgh_tracked_model._meta.verbose_name)  # type: ignore[attr-defined]
            for label, event in event_models().items()
        ),
        key=lambda pair: str(pair[1]),
    )


def people() -> QuerySet[User]:
    return User.objects.order_by("username")


class Trail:
    """The events asked for, newest first, as a sequence a paginator can slice: only a page is read."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted

    @cached_property
    def _rows(self) -> QuerySet[Any, Any] | None:
        parts = []
        for label, event in event_models().items():
            if self.wanted.kind and label != self.wanted.kind:
                continue
            rows: QuerySet[Any, Any] = event._default_manager.all()
            if self.wanted.object_id:
                rows = rows.filter(pgh_obj_id=self.wanted.object_id)
            if self.wanted.user_id is not None:
                rows = rows.filter(pgh_context__metadata__user=self.wanted.user_id)
            parts.append(
                rows.annotate(label=Value(label, CharField())).values_list(
                    "pgh_created_at", "pgh_id", "label"
                )
            )
        if not parts:
            return None
        # Every part is sorted and cut by the database only as a whole: the union is ordered by time.
        return parts[0].union(*parts[1:], all=True).order_by("-pgh_created_at", "-pgh_id")

    def __len__(self) -> int:
        return 0 if self._rows is None else self._rows.count()

    def __getitem__(self, wanted: slice) -> list[Change]:
        if self._rows is None:
            return []
        found = list(self._rows[wanted])
        told: dict[tuple[str, int], Change] = {}
        for label in {label for _at, _id, label in found}:
            ids = [pgh_id for _at, pgh_id, one in found if one == label]
            told |= {(label, pgh_id): change for pgh_id, change in _told(label, ids)}
        return [told[label, pgh_id] for _at, pgh_id, label in found]


def _told(label: str, ids: list[int]) -> Iterator[tuple[int, Change]]:
    """Events of one model with what differs from the event before."""
    event: Any = event_models()[label]
    before = (
        event.objects.filter(pgh_obj_id=OuterRef("pgh_obj_id"), pgh_id__lt=OuterRef("pgh_id"))
        .order_by("-pgh_id")
        .values("pgh_id")[:1]
    )
    rows = list(
        event.objects.filter(pgh_id__in=ids)
        .select_related("pgh_context")
        .annotate(before_id=Subquery(before))
    )
    earlier = event.objects.in_bulk([row.before_id for row in rows if row.before_id])
    users = User.objects.in_bulk(
        {row.pgh_context.metadata.get("user") for row in rows if row.pgh_context} - {None}
    )
    tracked = event.pgh_tracked_model._meta
    for row in rows:
        context = row.pgh_context.metadata if row.pgh_context else {}
        person = users.get(context.get("user"))
        yield (
            row.pgh_id,
            Change(
                at=row.pgh_created_at,
                who=str(person) if person else "",
                kind=label,
                kind_label=tracked.verbose_name,
                object_id=str(row.pgh_obj_id),
                name=_name(row),
                action=ACTIONS.get(row.pgh_label, row.pgh_label),
                differences=tuple(_differences(event, earlier.get(row.before_id), row)),
                url=context.get("url", ""),
            ),
        )


def _name(row: Any) -> str:
    """What the thing was called; what stands between others is called by them: ``Mei · finance``."""
    if own := getattr(row, "name", "") or getattr(row, "username", ""):
        return str(own)
    ends = [
        _shown(_related(one, getattr(row, one.attname)))
        for one in row._meta.concrete_fields
        if one.is_relation and not one.name.startswith("pgh_") and getattr(row, one.attname) is not None
    ]
    return " · ".join(ends[:3]) or f"#{row.pgh_obj_id}"


def _related(one: Any, value: Any) -> Any:
    """What a reference points to, or the bare id when it is gone; other values as they are."""
    if not one.is_relation or value is None:
        return value
    return one.related_model._base_manager.filter(pk=value).first() or f"#{value}"


def _differences(event: Any, before: Any, after: Any) -> Iterator[Difference]:
    """Fields that changed; of a first event, the fields that say something."""
    if after.pgh_label == "delete":
        return
    for one in event._meta.concrete_fields:
        if one.name.startswith("pgh_") or one.name in {"id", "created_at", "updated_at"}:
            continue
        new = getattr(after, one.attname)
        old = getattr(before, one.attname) if before is not None else None
        if new == old or (before is None and new in (None, "", [], {})):
            continue
        yield Difference(
            one.verbose_name, _shown(_related(one, old), before is None), _shown(_related(one, new))
        )


def _shown(value: Any, nothing: bool = False) -> str:
    if nothing:
        return ""
    if value is None or value == "":
        return _("(empty)")
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
