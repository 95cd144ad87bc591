"""What a person decides about being contacted, by an unsubscribe link or in the preference centre."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.urls import reverse

from audiences import consent, contact_state
from audiences.identity import survivor
from audiences.models import ContactState
from audiences.vocabulary import Medium, ResponseKind
from channels import inbox
from channels.adapters.base import Inbound
from channels.models import Channel
from channels.tokens import Token, TokenKind, seal
from channels.vocabulary import Observability

UNSUBSCRIBE = "unsubscribe link"
CENTRE = "preference centre"


def unsubscribe(token: Token, channel: Channel, now: datetime) -> None:
    """Withdraw consent for the channel's medium and brand and tell campaigns, both or neither."""
    with transaction.atomic():
        consent.opt_out(token.customer_id, channel.medium, channel.brand_id, UNSUBSCRIBE, UNSUBSCRIBE, now)
        _tell(token, now, [f"{channel.brand_id}:{channel.medium}"], UNSUBSCRIBE)


def address(token: Token) -> str:
    """The preference centre of the person of an unsubscribe link, on this host."""
    return reverse("channels:preference_centre", args=[seal(token._replace(kind=TokenKind.PREFERENCES))])


@dataclass(frozen=True, slots=True)
class Choice:
    medium: str
    label: Any
    key: str  # brand:medium
    on: bool


@dataclass(frozen=True, slots=True)
class BrandChoices:
    name: str
    choices: tuple[Choice, ...]


def of_customer(customer_id: int) -> list[BrandChoices]:
    """Every medium by which a brand writes to persons, and whether this person permits it."""
    state = ContactState.objects.get(pk=survivor(customer_id))
    rows = (
        Channel.objects.exclude(state=Channel.State.ARCHIVED)
        .filter(observability=Observability.PERSON_OBSERVED)
        .values_list("brand_id", "brand__name", "medium")
        .distinct()
        .order_by("brand_id", "medium")
    )
    brands: dict[tuple[int, str], list[Choice]] = {}
    for brand_id, brand, medium in rows:
        on = contact_state.permits(state, brand_id, medium)
        choice = Choice(medium, Medium(medium).label, f"{brand_id}:{medium}", on)
        brands.setdefault((brand_id, brand), []).append(choice)
    return [BrandChoices(name, tuple(choices)) for (_pk, name), choices in brands.items()]


def save(token: Token, shown: Set[str], on: Set[str], now: datetime) -> None:
    """Make consent what the person chose among what the page showed; what was not shown stays."""
    customer_id = survivor(token.customer_id)
    with transaction.atomic():
        contact_state.lock([customer_id])
        known = {choice.key: choice for brand in of_customer(customer_id) for choice in brand.choices}
        withdrawn = []
        for key in sorted(shown & known.keys()):
            wanted, choice = key in on, known[key]
            if wanted == choice.on:
                continue
            brand_id = int(key.partition(":")[0])
            if wanted:
                # The person asks for it again, here and now: that outweighs an earlier opt-out.
                consent.grant(customer_id, brand_id, choice.medium, CENTRE, now, lift=True)
            else:
                consent.opt_out(customer_id, choice.medium, brand_id, CENTRE, CENTRE, now)
                withdrawn.append(key)
        if withdrawn:
            _tell(token, now, withdrawn, CENTRE)


def _tell(token: Token, now: datetime, withdrawn: list[str], source: str) -> None:
    who = f"{token.campaign_id}:{token.touch_id}:{token.customer_id}"
    event = Inbound(
        dedupe_key=f"opt_out:{who}:{'+'.join(withdrawn)}:{int(now.timestamp())}",
        occurred_at=now,
        response=ResponseKind.OPT_OUT,
        campaign_id=token.campaign_id or None,
        touch_id=token.touch_id or None,
        detail={"customer_id": token.customer_id, "withdrawn": withdrawn, "source": source},
    )
    inbox.store(token.channel_id, [event], now)
