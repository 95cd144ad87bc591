"""Everything known of one person, as they may ask for it."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet

from audiences.identity import survivor
from audiences.models import (
    BehaviourEvent,
    Consent,
    ConsentChange,
    Customer,
    CustomerTag,
    Identity,
    Merge,
    Order,
    OrderLine,
    PrivacyRequest,
    Score,
)
from audiences.registers import followers

ABOUT = (
    "id",
    "name",
    "gender",
    "birth_date",
    "birth_calendar",
    "language",
    "zone",
    "country",
    "province",
    "city",
    "stage",
    "attributes",
    "created_at",
)
CONSENT = ("brand__code", "medium", "purpose", "status", "source", "occurred_at", "received_at")


def export(customer_id: int, *, requested_by: str, now: dt.datetime) -> dict[str, Any]:
    """What every stage of the road knows of the customer and of those merged into them; recorded as a request.

    Dates are ISO 8601, amounts text: the result can be written as JSON by Django's encoder.
    """
    customer_id = survivor(customer_id)
    ids = [customer_id, *Customer.objects.filter(merged_into_id=customer_id).values_list("pk", flat=True)]
    found: dict[str, Any] = {
        "exported_at": now,
        "customers": _rows(Customer.objects.filter(pk__in=ids), *ABOUT),
        "identities": _rows(
            Identity.objects.filter(customer_id__in=ids), "kind", "issuer", "value", "source", "created_at"
        ),
        "consents": _rows(Consent.objects.filter(customer_id__in=ids), *CONSENT),
        "consent_changes": _rows(ConsentChange.objects.filter(customer_id__in=ids), *CONSENT),
        "tags": _rows(CustomerTag.objects.filter(customer_id__in=ids), "tag__name", "source", "tagged_at"),
        "scores": _rows(Score.objects.filter(customer_id__in=ids), "kind", "value", "computed_at"),
        "orders": _rows(
            Order.objects.filter(customer_id__in=ids),
            "source", "number", "placed_at", "currency", "gross", "paid", "returned", "store", "offer_code",
        ),
        "order_lines": _rows(
            OrderLine.objects.filter(order__customer_id__in=ids),
            "order__number", "line", "product__sku", "product__name", "quantity", "amount",
        ),
        "behaviour_events": _rows(
            BehaviourEvent.objects.filter(customer_id__in=ids), "source", "kind", "occurred_at", "attributes"
        ),
        "merges": _rows(
            Merge.objects.filter(survivor_id__in=ids), "absorbed_id", "survivor_id", "reason", "merged_at", "undone_at"
        ),
    }  # fmt: skip
    for name, follower in followers.items():
        if follower.exported:
            parts: list[Mapping[str, Any]] = [follower.exported(one) for one in sorted(ids)]
            found[name] = [part for part in parts if part]
    PrivacyRequest.objects.create(
        customer_id=customer_id,
        kind=PrivacyRequest.Kind.EXPORT,
        requested_by=requested_by,
        done_at=now,
        result={name: len(rows) for name, rows in found.items() if isinstance(rows, list)},
    )
    return found


def _rows(rows: QuerySet[Any], *names: str) -> list[dict[str, Any]]:
    return list(rows.order_by("pk").values(*names))
