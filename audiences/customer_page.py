"""What the page of one customer shows, gathered over the customer and all who were merged into it."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Count, Max, Min, Sum
from django.utils.translation import gettext_lazy as _

from audiences import contact_state
from audiences.consent import UNTOLD
from audiences.models import (
    BehaviourEvent,
    Brand,
    Consent,
    ConsentChange,
    ContactState,
    Customer,
    CustomerTag,
    Identity,
    Merge,
    Order,
    PrivacyRequest,
    Score,
    Segment,
)
from audiences.vocabulary import REACHED_BY, Medium, Purpose

NOT_IN_PERSON = {Medium.SEARCH, Medium.SOCIAL, Medium.VIDEO, Medium.KOL, Medium.WEBHOOK, Medium.OTHER}
"""Media by which nobody is contacted person by person; shown only where somebody said something about them."""

SHOWN = 20  # of orders, events and changes


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether one medium of one brand may be used, and why not."""

    brand: Brand
    medium: str
    label: Any
    state: str  # permitted, withdrawn, suppressed, none, no_address
    words: Any
    since: dt.datetime | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Bought:
    currency: str
    orders: int
    net: Decimal
    first: dt.datetime
    last: dt.datetime


@dataclass
class CustomerPage:
    customer: Customer
    state: ContactState
    ids: list[int]
    identities: Iterable[Identity] = ()
    permissions: list[Permission] = field(default_factory=list)
    changes: Iterable[ConsentChange] = ()
    tags: Iterable[CustomerTag] = ()
    scores: Iterable[Score] = ()
    bought: list[Bought] = field(default_factory=list)
    orders: Iterable[Order] = ()
    events: Iterable[BehaviourEvent] = ()
    merges: Iterable[Merge] = ()
    lists: Iterable[Segment] = ()
    requests: Iterable[PrivacyRequest] = ()
    contacts: dict[int, int] = field(default_factory=dict)  # days → how many were sent within them


def gather(customer: Customer, now: dt.datetime) -> CustomerPage:
    """Everything of a survivor; rows of those merged into it are its own."""
    ids = [
        customer.pk,
        *Customer.objects.filter(merged_into=customer).order_by("pk").values_list("pk", flat=True),
    ]
    state = ContactState.objects.get(pk=customer.pk)
    page = CustomerPage(customer, state, ids)
    page.identities = Identity.objects.filter(customer_id__in=ids).order_by("kind", "pk")
    page.permissions = _permissions(page)
    page.changes = (
        ConsentChange.objects.filter(customer_id__in=ids)
        .select_related("brand")
        .order_by("-received_at", "-pk")[:SHOWN]
    )
    page.tags = (
        CustomerTag.objects.filter(customer_id__in=ids)
        .select_related("tag")
        .order_by("tag__group", "tag__name")
    )
    page.scores = Score.objects.filter(customer_id__in=ids).order_by("kind")
    orders = Order.objects.filter(customer_id__in=ids)
    page.bought = [
        Bought(row["currency"], row["n"], row["paid"] - row["returned"], row["first"], row["last"])
        for row in orders.values("currency")
        .annotate(
            n=Count("pk"),
            paid=Sum("paid"),
            returned=Sum("returned"),
            first=Min("placed_at"),
            last=Max("placed_at"),
        )
        .order_by("-n")
    ]
    page.orders = orders.order_by("-placed_at")[:SHOWN]
    page.events = BehaviourEvent.objects.filter(customer_id__in=ids).order_by("-occurred_at")[:SHOWN]
    page.merges = Merge.objects.filter(survivor_id__in=ids).select_related("absorbed").order_by("-pk")
    page.lists = Segment.objects.filter(members__customer_id__in=ids, archived_at=None).distinct()
    page.requests = PrivacyRequest.objects.filter(customer_id__in=ids).order_by("-pk")
    page.contacts = {
        days: sum(at > now - dt.timedelta(days=days) for at in state.recent_at) for days in (1, 7, 30)
    }
    return page


def _permissions(page: CustomerPage) -> list[Permission]:
    """A row for every medium the person can be reached by or has said something about, for every brand."""
    consents = {
        (row.brand_id, row.medium): row
        for row in Consent.objects.filter(customer_id=page.customer.pk, purpose=Purpose.CONTACT)
    }
    kinds = {one.kind for one in page.identities if one.invalid_at is None}
    addressed = {medium for medium, wanted in REACHED_BY.items() if kinds & set(wanted)}
    told = {medium for _brand, medium in consents}
    usual = {Medium.SMS, Medium.EMAIL, Medium.WECOM, Medium.OFFICIAL_ACCOUNT}
    rows = []
    for brand in Brand.objects.order_by("pk"):
        for medium in Medium:
            if medium not in told | usual | (addressed - NOT_IN_PERSON):
                continue
            consent = consents.get((brand.pk, medium))
            rows.append(_permission(page.state, brand, medium, consent, medium in addressed))
    return rows


def _permission(
    state: ContactState, brand: Brand, medium: Medium, consent: Consent | None, addressed: bool
) -> Permission:
    since = consent.occurred_at if consent and consent.occurred_at != UNTOLD else None
    source = consent.source if consent else ""
    if contact_state.permits(state, brand.pk, medium):
        name, words = (
            ("permitted", _("Permitted")) if addressed else ("no_address", _("Permitted, but no address"))
        )
    elif consent and consent.status == Consent.Status.WITHDRAWN:
        name, words = "withdrawn", _("Withdrawn")
    elif set(contact_state.forms(brand.pk, medium)) & set(state.blocked):
        name, words = "suppressed", _("On the do-not-contact list")
    elif consent:
        name, words = "none", _("Not to be contacted")
    else:
        name, words = "none", _("No consent")
    return Permission(brand, medium, medium.label, name, words, since, source)
