"""Saving segments: by rule, or as a fixed list."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _

from audiences import finding, identity
from audiences.models import Brand, Customer, Identity, Segment, SegmentMember
from audiences.registers import ReachTarget, reach_targets
from audiences.segments import compiling, counting, rules
from audiences.vocabulary import IdentityKind, Medium

MOST_PASTED = 20_000
MEMBERS_SHOWN = 50
COUNTED_MEDIA = (
    Medium.SMS,
    Medium.EMAIL,
    Medium.WECOM,
    Medium.OFFICIAL_ACCOUNT,
    Medium.APP_PUSH,
    Medium.CALL,
)


def save(segment: Segment, *, name: str, description: str, rule: Any, user: Any = None) -> Segment:
    """Save a segment by rule. Raises :class:`ValueError` for a name that is empty or taken,
    :class:`~audiences.segments.rules.InvalidRule` for a rule that cannot be used."""
    _named(segment, name)
    rules.check(rule, segment_id=segment.pk)
    segment.description, segment.rule = description.strip(), rule
    segment.counted = counting.count(compiling.matching(rule))
    segment.counted_at = timezone.now()
    if segment.pk is None:
        segment.created_by_id = getattr(user, "pk", None)
    segment.save()
    return segment


def _named(segment: Segment, name: str) -> None:
    name = name.strip()
    if not name:
        raise ValueError(_("Give the segment a name."))
    if len(name) > 120:
        raise ValueError(_("A name has at most 120 characters."))
    if Segment.objects.filter(name=name).exclude(pk=segment.pk).exists():
        raise ValueError(_("There is a segment of this name already."))
    segment.name = name


def count_again(segment: Segment) -> int:
    """Count a saved segment exactly, and remember it."""
    segment.counted = counting.count(compiling.customers(segment))
    segment.counted_at = timezone.now()
    segment.save(update_fields=["counted", "counted_at"])
    return segment.counted


def archive(segment: Segment) -> None:
    """Take it out of the lists. Raises :class:`ValueError` when another segment's rule uses it."""
    for other in Segment.objects.filter(archived_at=None).exclude(pk=segment.pk).filter(rule__isnull=False):
        if any(
            leaf.get("segment") == segment.pk
            for leaf in rules.leaves(other.rule or {})
            if leaf["kind"] == "segment"
        ):
            raise ValueError(
                _("The segment “%(name)s” uses this one. Change that first.") % {"name": other.name}
            )
    segment.archived_at = timezone.now()
    segment.save(update_fields=["archived_at"])


# Fixed lists -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listed:
    segment: Segment
    added: int
    unknown: list[str]


def list_of(
    name: str,
    words: Iterable[str],
    *,
    description: str = "",
    user: Any = None,
    segment: Segment | None = None,
) -> Listed:
    """A fixed list of those who have these identities or numbers; makes the segment, or adds to the given one.

    Raises :class:`ValueError` when nobody is found, the name is taken, or there are too many.
    """
    told = list(dict.fromkeys(word.strip() for word in words if word.strip()))
    if len(told) > MOST_PASTED:
        raise ValueError(
            _("At most %(n)s can be pasted. Load a file of the kind “List members” instead.")
            % {"n": f"{MOST_PASTED:,}"}
        )
    ids, unknown = known(told)
    if not ids:
        raise ValueError(_("None of these is known. Load the customers first."))
    with transaction.atomic():
        if segment is None:
            segment = Segment(description=description.strip(), created_by_id=getattr(user, "pk", None))
            _named(segment, name)
            segment.save()
        added = _add(segment, ids)
        count_again(segment)
    return Listed(segment, added, unknown)


def freeze(name: str, source: Segment, *, user: Any = None) -> Segment:
    """A fixed list of those who are in another segment now."""
    frozen = Segment(
        description=_("As “%(name)s” was on %(day)s")
        % {"name": source.name, "day": timezone.localdate().isoformat()},
        created_by_id=getattr(user, "pk", None),
    )
    _named(frozen, name)
    with transaction.atomic(), connection.cursor() as cursor:
        frozen.save()
        sql, params = compiling.customers(source).values("pk").query.sql_with_params()
        cursor.execute(
            f"INSERT INTO audiences_segmentmember (segment_id, customer_id) SELECT %s, id FROM ({sql}) AS found(id)",  # noqa: S608
            [frozen.pk, *params],
        )
        count_again(frozen)
    return frozen


def remove_member(segment: Segment, customer_id: int) -> int:
    """Take a customer, and whoever was merged into them, off a fixed list."""
    rows = SegmentMember.objects.filter(segment=segment).annotate(
        person=Coalesce(F("customer__merged_into_id"), F("customer_id"))
    )
    gone = SegmentMember.objects.filter(pk__in=rows.filter(person=customer_id).values("pk")).delete()[0]
    count_again(segment)
    return gone


def split(text: str) -> list[str]:
    """Pasted words: one a line, or separated by commas, semicolons or tabs."""
    return [word for word in re.split(r"[\n\r\t,;，；]+", text) if word.strip()]


def known(words: list[str]) -> tuple[list[int], list[str]]:
    """Customers by identity (any kind) or by our number with #; and the words that name nobody."""
    forms: dict[str, list[str]] = {}
    for word in words:
        for form in _forms(word):
            forms.setdefault(form, []).append(word)
    found: set[int] = set()
    named: set[str] = set()
    for value, owner in Identity.objects.filter(value__in=list(forms)).values_list("value", "customer_id"):
        found.add(owner)
        named.update(forms[value])
    numbers = {
        int(word[1:]): word
        for word in words
        if word.startswith("#") and word[1:].isdigit() and len(word) < 13
    }
    rows = Customer.objects.filter(pk__in=numbers).annotate(person=Coalesce(F("merged_into_id"), F("pk")))
    for pk, person in rows.values_list("pk", "person"):
        found.add(person)
        named.add(numbers[pk])
    return sorted(found), [word for word in words if word not in named]


def _forms(word: str) -> set[str]:
    forms = {word}
    for kind in (IdentityKind.PHONE, IdentityKind.EMAIL):
        try:
            forms.add(identity.normalise(kind, "", word))
        except ValueError:
            continue
    return forms


def _add(segment: Segment, ids: list[int]) -> int:
    before = SegmentMember.objects.filter(segment=segment).count()
    SegmentMember.objects.bulk_create(
        (SegmentMember(segment=segment, customer_id=one) for one in ids),
        ignore_conflicts=True,
        batch_size=5000,
    )
    return SegmentMember.objects.filter(segment=segment).count() - before


# Who is in it, and how they are reached ------------------------------------------------------------------------


def members(segment: Segment, words: str = "", after: str = "", size: int = MEMBERS_SHOWN) -> finding.Found:
    """The customers of a segment page by page, by number; with words, those of them who are found by them."""
    people = compiling.customers(segment)
    if words.strip():
        ids = finding.by_identity(words)
        people = people.filter(pk__in=ids) if ids else people.filter(name__icontains=words.strip())
    if after.isdigit():
        people = people.filter(pk__gt=int(after))
    rows = list(people.order_by("pk")[: size + 1])
    return finding.Found(rows[:size], str(rows[size - 1].pk) if len(rows) > size else "")


@dataclass(frozen=True, slots=True)
class Reached:
    """How many of a segment one way reaches; ``share`` of all of them."""

    label: Any
    note: Any
    n: int
    share: float | None
    without_identity: int
    without_consent: int


def targets() -> list[ReachTarget]:
    """What reach is counted for: the channels there are, else the usual media of every brand."""
    found = [target for source in reach_targets for target in source()]
    if found:
        return found
    brands = list(Brand.objects.order_by("pk"))
    return [
        ReachTarget(
            f"{brand.pk}:{medium}", medium.label, brand.pk, medium, brand.name if len(brands) > 1 else ""
        )
        for brand in brands
        for medium in COUNTED_MEDIA
    ]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Reach of a rule or segment; ``scale`` above 1: from a sample, times this."""

    total: int
    stages: dict[str, int]
    rows: list[Reached]
    exact: bool


def estimate(found: QuerySet[Customer], *, exact: bool = False) -> Estimate:
    """People by stage and by way to reach them: exactly, or from the sample where there are many customers."""
    sampled = not exact and counting._customers_about() >= counting.SAMPLED_FROM
    if sampled:
        found = found.filter(bucket__lt=counting.SAMPLE_BUCKETS)
    scale = 10_000 / counting.SAMPLE_BUCKETS if sampled else 1
    wanted = targets()
    # Channels of one brand and medium reach the same people: each such pair is counted once.
    key = {one.key: (one.brand_id, one.medium, one.purpose) for one in wanted}
    reach = counting.reach(found, [counting.Asked(pair, *pair) for pair in dict.fromkeys(key.values())])
    rows = [
        Reached(
            one.label,
            one.note,
            round(reach.reachable[key[one.key]] * scale),
            reach.reachable[key[one.key]] / reach.total if reach.total else None,
            round(reach.without_identity[key[one.key]] * scale),
            round(reach.without_consent[key[one.key]] * scale),
        )
        for one in wanted
    ]
    stages = {stage: round(n * scale) for stage, n in reach.stages.items()}
    return Estimate(round(reach.total * scale), stages, rows, not sampled)
