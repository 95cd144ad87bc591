"""People as ad and search platforms want them: normalised, mostly hashed, never kept."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from channels.adapters.base import AudienceChange

MAINLAND = "+86"
Form = Callable[[str], str]  # a stored value → what the platform is told; '' where it cannot match it


@dataclass(frozen=True, slots=True)
class Person:
    kind: str
    value: str  # as the platform wants it; a hash is lower-case hex
    customers: tuple[int, ...]  # several may share one address


def people_of(
    changes: Sequence[AudienceChange], forms: Mapping[str, Form], failed: dict[int, str]
) -> list[Person]:
    """Each address once, in order; those of other kinds, and those nobody is known by here, are put into ``failed``."""
    found: dict[tuple[str, str], list[int]] = {}
    for change in changes:
        if change.identity_kind not in forms:
            failed[change.customer_id] = "identity_kind"
        elif value := forms[change.identity_kind](change.value):
            found.setdefault((change.identity_kind, value), []).append(change.customer_id)
        else:
            failed[change.customer_id] = "not_taken_here"
    return [Person(kind, value, tuple(customers)) for (kind, value), customers in found.items()]


def by_kind(people: Iterable[Person]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Kind → value → customers, for platforms that take one kind of identity in a call."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for person in people:
        found.setdefault(person.kind, {})[person.value] = person.customers
    return found


def customers_of(people: Iterable[Person]) -> list[int]:
    return [customer for person in people for customer in person.customers]


def hashed(plain: Form, algorithm: str = "sha256") -> Form:
    """The hash of a plain form; '' stays ''."""

    def form(value: str) -> str:
        text = plain(value)
        return hashlib.new(algorithm, text.encode(), usedforsecurity=False).hexdigest() if text else ""

    return form


def email(value: str) -> str:
    """Trimmed and in lower case."""
    text = value.strip().lower()
    return text if text.count("@") == 1 else ""


def e164(value: str) -> str:
    """With + and the country."""
    digits = "".join(filter(str.isdigit, value))
    return f"+{digits}" if digits else ""


def mainland_number(value: str) -> str:
    """The eleven digits of a mobile number of mainland China, "" for any other."""
    number = value.strip().removeprefix(MAINLAND)
    return number if len(number) == 11 and number.isdecimal() and number.startswith("1") else ""


def as_is(value: str) -> str:
    return value.strip()
