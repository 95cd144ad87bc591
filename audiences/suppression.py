"""The suppression list: keyed hashes of identities that must not be contacted.

Nothing in it names a person, so it outlives an erasure; whoever loads the same address again finds it.
"""

import hashlib
import hmac
from collections.abc import Iterable

from django.conf import settings

from audiences.identity import Key
from audiences.models import Identity, Suppression
from audiences.queries import suppression as queries


def digest(kind: str, issuer: str, value: str) -> str:
    """Hex HMAC-SHA256 of a normalised identity."""
    return hmac.new(_key(), f"{kind}|{issuer}|{value}".encode(), hashlib.sha256).hexdigest()


def pads() -> dict[str, bytes]:
    """The key as SQL needs it: HMAC is sha256(outer || sha256(inner || message)), see ``queries.DIGEST``."""
    key = _key()
    key = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    return {"outer": bytes(b ^ 0x5C for b in key), "inner": bytes(b ^ 0x36 for b in key)}


def suppress(keys: Iterable[Key], reason: str, *, brand_id: int | None = None, medium: str = "") -> int:
    """Put identities on the list; returns how many were not on it. The contact states are not touched."""
    rows = [
        Suppression(digest=digest(*key), kind=key[0], brand_id=brand_id, medium=medium, reason=reason[:120])
        for key in sorted(set(keys))
    ]
    before = Suppression.objects.filter(
        digest__in=[row.digest for row in rows],
        brand_id=brand_id,  # type: ignore[misc]
        medium=medium,
    ).count()
    Suppression.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows) - before


def of_customers(customer_ids: Iterable[int]) -> list[Suppression]:
    """What the list holds of these customers' identities."""
    keys = Identity.objects.filter(customer_id__in=list(customer_ids)).values_list("kind", "issuer", "value")
    return list(Suppression.objects.filter(digest__in=[digest(*key) for key in keys]).order_by("pk"))


def apply(customer_ids: Iterable[int]) -> int:
    """Block in their contact states what the list forbids of these customers; returns how many changed."""
    return queries.apply(list(customer_ids), pads())


def _key() -> bytes:
    return settings.HASH_KEY.encode()
