"""The one lock. Opt-out, erasure, merge, claim and give-back all take it, in customer order."""

import datetime as dt
from collections.abc import Iterable, Sequence

from audiences.models import ContactState
from audiences.queries import contact_state as queries
from audiences.vocabulary import Purpose, permission_key


def lock(customer_ids: Iterable[int]) -> list[ContactState]:
    """The contact states of these customers, locked in customer order until the transaction ends."""
    states = ContactState.objects.select_for_update().filter(pk__in=sorted(set(customer_ids)))
    return list(states.order_by("pk"))


def forms(brand_id: int | str, medium: str, purpose: str = Purpose.CONTACT) -> tuple[str, ...]:
    """The four entries of ``blocked`` that forbid a contact: itself, any brand, any medium, anything."""
    return tuple(permission_key(brand, kind, purpose) for brand in (brand_id, "*") for kind in (medium, "*"))


def permits(state: ContactState, brand_id: int, medium: str, purpose: str = Purpose.CONTACT) -> bool:
    """Whether this (locked) state permits a contact."""
    if state.erased or state.absorbed or permission_key(brand_id, medium, purpose) not in state.allowed:
        return False
    return not set(forms(brand_id, medium, purpose)) & set(state.blocked)


def permitted_sql(
    state: str = "s", brand: str = "%s", medium: str = "%s", purpose: str = Purpose.CONTACT
) -> str:
    """The same as :func:`permits`, as an SQL condition on a contact state's alias.

    ``brand`` and ``medium`` are SQL expressions (text or placeholders, each used four or more times: give
    named placeholders).
    """
    key = f"'{purpose}:' || {brand} || ':' || {medium}"
    blocked = (key, f"'{purpose}:' || {brand} || ':*'", f"'{purpose}:*:' || {medium}", f"'{purpose}:*:*'")
    return (
        f"(NOT {state}.erased AND NOT {state}.absorbed AND ({key}) = ANY ({state}.allowed) "
        f"AND NOT {state}.blocked && ARRAY[{', '.join(blocked)}]::varchar[])"
    )


def forget_expired(now: dt.datetime, longest: dt.timedelta, customers: Sequence[int] | None = None) -> int:
    """Drop recent contacts older than the longest window of any rule; returns how many states shrank."""
    return queries.forget_expired(now - longest, customers)


def give_back(contacts: Sequence[tuple[int, int]]) -> int:
    """Take (customer id, attempt id) pairs out of the recent contacts, as if they had not been.

    A contact of a customer absorbed since is taken from the survivor too. Returns how many states changed.
    """
    if not contacts:
        return 0
    customers, attempts = zip(*contacts, strict=True)
    return queries.give_back(list(customers), list(attempts))
