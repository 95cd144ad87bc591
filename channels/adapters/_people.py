"""People as search platforms want them: normalised and hashed, never kept."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from channels.adapters.base import AudienceChange

Plain = Callable[[str], str]  # a stored value → the text to hash; '' where the platform cannot match it


@dataclass(frozen=True, slots=True)
class Hashed:
    kind: str
    value: str  # lower-case hex
    customers: tuple[int, ...]  # several may share one address


def hashed(
    changes: Sequence[AudienceChange],
    plain: Mapping[str, Plain],
    failed: dict[int, str],
    algorithm: str = "sha256",
) -> list[Hashed]:
    """Each address once, in order; those of other kinds, and empty ones, are put into ``failed``."""
    found: dict[tuple[str, str], list[int]] = {}
    for change in changes:
        if change.identity_kind not in plain:
            failed[change.customer_id] = "identity_kind"
            continue
        text = plain[change.identity_kind](change.value)
        if not text:
            failed[change.customer_id] = "empty"
            continue
        value = hashlib.new(algorithm, text.encode(), usedforsecurity=False).hexdigest()
        found.setdefault((change.identity_kind, value), []).append(change.customer_id)
    return [Hashed(kind, value, tuple(customers)) for (kind, value), customers in found.items()]


def customers_of(people: Iterable[Hashed]) -> list[int]:
    return [customer for person in people for customer in person.customers]


def email(value: str) -> str:
    """Trimmed and in lower case."""
    text = value.strip().lower()
    return text if text.count("@") == 1 else ""


def e164(value: str) -> str:
    """With + and the country."""
    digits = "".join(filter(str.isdigit, value))
    return f"+{digits}" if digits else ""
