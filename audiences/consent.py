"""What a customer permits. Every function locks the contact state first, then writes consent.

An older event never overrides a newer one: ``occurred_at`` decides, not the order of arrival.
"""

import datetime as dt
from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from audiences import contact_state, suppression
from audiences.identity import survivor
from audiences.models import Brand, Consent, ContactState, Identity, Suppression
from audiences.vocabulary import Medium, Purpose, permission_key

UNTOLD = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""When a grant was given of which nobody tells the time: any event with a time is newer."""

GRANTED, WITHDRAWN = Consent.Status.GRANTED, Consent.Status.WITHDRAWN


def grant(
    customer_id: int,
    brand_id: int,
    medium: str,
    source: str,
    occurred_at: dt.datetime,
    purpose: str = Purpose.CONTACT,
    *,
    lift: bool = False,
) -> bool:
    """Record that the customer permits it; whether that changed anything.

    A customer on the suppression list stays on it, and nothing changes, unless ``lift``: give it only when
    the person asked for it since (by hand, in a preference centre), never for what a file says.
    """
    customer_id = survivor(customer_id)
    with transaction.atomic():
        (state,) = contact_state.lock([customer_id])
        if state.erased:
            return False
        if suppressed := _suppressed(state, brand_id, medium):
            if not lift or max(row.created_at for row in suppressed) > occurred_at:
                return False
            _lift([customer_id], brand_id, medium)
        changed = _set(customer_id, brand_id, medium, purpose, GRANTED, source, occurred_at)
        if suppressed:
            rebuild([customer_id])
        return changed


def withdraw(
    customer_id: int,
    brand_id: int,
    medium: str,
    source: str,
    occurred_at: dt.datetime,
    purpose: str = Purpose.CONTACT,
) -> bool:
    """Record that the customer permits it no more; whether that changed anything."""
    customer_id = survivor(customer_id)
    with transaction.atomic():
        contact_state.lock([customer_id])
        return _set(customer_id, brand_id, medium, purpose, WITHDRAWN, source, occurred_at)


def opt_out(
    customer_id: int,
    medium: str,
    brand_id: int | None,
    reason: str,
    source: str,
    occurred_at: dt.datetime | None = None,
) -> bool:
    """The person wants no more of it: consent is withdrawn and the addresses are suppressed for ever.

    ``medium`` '' is every medium, ``brand_id`` None every brand. Returns False, and does nothing, when the
    person granted the same later than ``occurred_at`` (default: now).
    """
    at = occurred_at or timezone.now()
    customer_id = survivor(customer_id)
    with transaction.atomic():
        (state,) = contact_state.lock([customer_id])
        consents = Consent.objects.filter(customer_id=customer_id)
        if medium:
            consents = consents.filter(medium=medium)
        if brand_id is not None:
            consents = consents.filter(brand_id=brand_id)
        if consents.filter(status=GRANTED, occurred_at__gt=at).exists():
            return False
        for brand, kind, purpose in list(consents.values_list("brand_id", "medium", "purpose")):
            _set(customer_id, brand, kind, purpose, WITHDRAWN, source, at)
        if medium and brand_id is not None:
            _set(customer_id, brand_id, medium, Purpose.CONTACT, WITHDRAWN, source, at)
        # All of them, not only what the medium reaches: the person comes back with another number.
        keys = Identity.objects.filter(customer_id=customer_id).values_list("kind", "issuer", "value")
        suppression.suppress(keys, reason, brand_id=brand_id, medium=medium)
        _block(customer_id, brand_id, medium)
        return True


def suppress(
    kind: str, issuer: str, value: str, reason: str, *, medium: str = "", brand_id: int | None = None
) -> bool:
    """Put a normalised identity on the suppression list, whoever it belongs to now or later."""
    with transaction.atomic():
        owner = (
            Identity.objects.filter(kind=kind, issuer=issuer, value=value).values_list("customer_id").first()
        )
        if owner:
            contact_state.lock(owner)
        new = suppression.suppress([(kind, issuer, value)], reason, brand_id=brand_id, medium=medium)
        if owner:
            _block(owner[0], brand_id, medium)
        return bool(new)


def apply_suppressions(customer_ids: Iterable[int]) -> int:
    """Make the suppression list hold for customers who gained identities; returns how many states changed."""
    return suppression.apply(customer_ids)


def rebuild(customer_ids: Iterable[int]) -> None:
    """Compute ``allowed`` and ``blocked`` anew from consents and the suppression list, states locked."""
    for state in contact_state.lock(customer_ids):
        keys: dict[str, list[str]] = {GRANTED: [], WITHDRAWN: []}
        for brand, medium, purpose, status in (
            Consent.objects.filter(customer_id=state.pk)
            .order_by("pk")
            .values_list("brand_id", "medium", "purpose", "status")
        ):
            keys[status].append(permission_key(brand, medium, purpose))
        for row in suppression.of_customers([state.pk]):
            keys[WITHDRAWN] += _keys(row.brand_id, row.medium)
        ContactState.objects.filter(pk=state.pk).update(
            allowed=keys[GRANTED], blocked=list(dict.fromkeys(keys[WITHDRAWN]))
        )


def _set(
    customer_id: int, brand_id: int, medium: str, purpose: str, status: str, source: str, at: dt.datetime
) -> bool:
    """One row a (customer, brand, medium, purpose); the newest event wins, at equal times a withdrawal."""
    if medium not in Medium.values or purpose not in Purpose.values:
        raise ValueError(f"no consent of medium {medium!r} and purpose {purpose!r}")
    row = Consent.objects.filter(
        customer_id=customer_id, brand_id=brand_id, medium=medium, purpose=purpose
    ).first()
    if row is None:
        row = Consent(customer_id=customer_id, brand_id=brand_id, medium=medium, purpose=purpose)
    elif row.occurred_at > at or (row.occurred_at == at and row.status in (status, WITHDRAWN)):
        return False
    row.status, row.source, row.occurred_at, row.received_at = status, source[:120], at, timezone.now()
    row.save()
    return True


def _keys(brand_id: int | None, medium: str) -> list[str]:
    """Who must not be contacted must not be uploaded either."""
    return [permission_key(brand_id or "*", medium or "*", purpose) for purpose in Purpose.values]


def _block(customer_id: int, brand_id: int | None, medium: str) -> None:
    state = ContactState.objects.get(pk=customer_id)
    state.blocked = list(dict.fromkeys([*state.blocked, *_keys(brand_id, medium)]))
    state.save(update_fields=["blocked"])


def _suppressed(state: ContactState, brand_id: int, medium: str) -> list[Suppression]:
    """The rows of the suppression list that forbid this medium of this brand to this customer."""
    return [
        row
        for row in suppression.of_customers([state.pk])
        if row.brand_id in (None, brand_id) and row.medium in ("", medium)
    ]


def _lift(customer_ids: list[int], brand_id: int, medium: str) -> None:
    """Take one medium of one brand off the list; wider entries are split, so that all else stays forbidden."""
    brands = list(Brand.objects.values_list("pk", flat=True))
    for row in suppression.of_customers(customer_ids):
        if row.brand_id not in (None, brand_id) or row.medium not in ("", medium):
            continue
        kept = [
            Suppression(digest=row.digest, kind=row.kind, brand_id=b, medium=m, reason=row.reason)
            for b in ([row.brand_id] if row.brand_id else brands)
            for m in ([row.medium] if row.medium else Medium.values)
            if (b, m) != (brand_id, medium)
        ]
        Suppression.objects.bulk_create(kept, ignore_conflicts=True)
        row.delete()
