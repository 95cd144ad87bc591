"""Finding customers: by any identity, the beginning of a name, stage and tag, page by page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce

from audiences import identity
from audiences.models import Customer, CustomerTag, Identity
from audiences.vocabulary import IdentityKind

PAGE = 50
MOST_BY_IDENTITY = 200


@dataclass(frozen=True, slots=True)
class Found:
    """One page of customers; ``after`` is the cursor of the next one, '' at the end."""

    customers: Sequence[Customer]
    after: str = ""
    how: str = ""  # identity, name, part of name


def search(
    words: str = "", *, stage: str = "", tag: int | None = None, after: str = "", size: int = PAGE
) -> Found:
    """Customers who stand for themselves (not absorbed, not erased), newest first.

    With ``words``: whoever has such an identity or number; else those whose name begins so; else those whose
    name has it somewhere in it. The cursor is a key, never a page number.
    """
    words = words.strip()
    people = Customer.objects.filter(merged_into=None, erased_at=None)
    if stage:
        people = people.filter(stage=stage)
    if tag is not None:
        tagged = CustomerTag.objects.filter(tag_id=tag).annotate(
            person=Coalesce("customer__merged_into_id", "customer_id")
        )
        people = people.filter(pk__in=tagged.values("person"))
    if not words:
        return _newest(people, after, size)
    if ids := by_identity(words):
        return Found(list(people.filter(pk__in=ids).order_by("-pk")[:MOST_BY_IDENTITY]), how="identity")
    found = _by_name(people, words, after, size)
    if found.customers or after:
        return found
    anywhere = people.filter(name__icontains=words).order_by("-pk")[:size]
    return Found(list(anywhere), how="part of name")


def by_identity(words: str) -> set[int]:
    """Customers who have the words as a value, or a phone or e-mail that begins so, or as their number."""
    exact = {words, words.lower()}
    for kind in (IdentityKind.PHONE, IdentityKind.EMAIL):
        try:
            exact.add(identity.normalise(kind, "", words))
        except ValueError:
            continue
    match = Q(value__in=exact)
    digits = re.sub(r"[\s\-()+]", "", words)
    if digits.isdigit() and len(digits) >= 4:
        beginning = "+" if words.startswith("+") else "+86"
        match |= Q(kind=IdentityKind.PHONE, issuer="", value__startswith=beginning + digits)
    elif "@" in words:
        match |= Q(kind=IdentityKind.EMAIL, issuer="", value__startswith=words.lower())
    ids = set(Identity.objects.filter(match).values_list("customer_id", flat=True)[:MOST_BY_IDENTITY])
    number = words.removeprefix("#")
    if number.isdigit() and len(number) < 12:
        row = Customer.objects.filter(pk=int(number)).annotate(person=Coalesce(F("merged_into_id"), F("pk")))
        ids |= set(row.values_list("person", flat=True))
    return ids


def _newest(people: QuerySet[Customer], after: str, size: int) -> Found:
    if after.isdigit():
        people = people.filter(pk__lt=int(after))
    rows = list(people.order_by("-pk")[: size + 1])
    return Found(rows[:size], str(rows[size - 1].pk) if len(rows) > size else "")


def _by_name(people: QuerySet[Customer], words: str, after: str, size: int) -> Found:
    with connection.cursor() as cursor:
        cursor.execute("SELECT audiences_name_sort(%s)", [words])
        (beginning,) = cursor.fetchone()
    # The sort key is hexadecimal, so all that begins so lies before the letter g.
    rows = people.filter(name_sort__gte=beginning, name_sort__lt=beginning + "g")
    sort, _dot, number = after.partition(".")
    if number.isdigit():
        rows = rows.filter(Q(name_sort__gt=sort) | Q(name_sort=sort, pk__gt=int(number)))
    found = list(rows.order_by("name_sort", "pk")[: size + 1])
    last: Any = found[size - 1] if len(found) > size else None
    return Found(found[:size], f"{last.name_sort}.{last.pk}" if last else "", how="name")
