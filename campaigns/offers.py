"""Offers: granted when a message that names one goes out, each person once, and redeemed by orders with the code.

A person keeps the grant they have, over all channels and campaigns: a second message says the same code again. Once
it is redeemed nothing more is offered, unless the offer may be given again. What has run out or is over is offered
to nobody: the message does not go out.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django.utils.translation import gettext as _

from audiences.vocabulary import ResponseKind
from campaigns import content, exits
from campaigns.models import Campaign, Clock, Offer, OfferCode, OfferGrant
from campaigns.queries import offers as queries
from campaigns.vocabulary import CampaignState

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that are taken for another
MOST_AT_ONCE = 200_000
LOOKED_BACK = timedelta(minutes=10)
"""Orders are looked at again for so long, since a transaction that began earlier may commit later."""
OPEN_STATES = (
    CampaignState.SUBMITTED,
    CampaignState.APPROVED,
    CampaignState.SCHEDULED,
    CampaignState.RUNNING,
    CampaignState.PAUSED,
)
# What an approver approved of an offer; a running campaign changes it by taking another offer.
TERMS = ("brand", "kind", "value", "name", "codes", "code", "cost", "valid_from", "valid_to", "repeatable")


class OfferError(ValueError):
    """What cannot be done with an offer; the text says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A touch whose message names its campaign's offer."""

    campaign_id: int
    customer_id: int
    touch_id: int


def names_one(fields: Iterable[str]) -> bool:
    """Whether one of these fields is an offer's."""
    return any(name in content.OFFER_FIELDS for name in fields)


def grant(asked: Sequence[Asked], now: datetime) -> dict[tuple[int, int], dict[str, str]]:
    """(campaign, customer) → the offer's fields, for all who have it or get it now; who is missing gets none."""
    found: dict[tuple[int, int], dict[str, str]] = {}
    by_campaign: dict[int, list[Asked]] = {}
    for one in asked:
        by_campaign.setdefault(one.campaign_id, []).append(one)
    campaigns = Campaign.objects.filter(pk__in=by_campaign, offer__isnull=False).select_related("offer")
    for campaign in campaigns.order_by("offer_id", "pk"):  # locks in one order
        offer = campaign.offer
        if offer is None or not is_valid(offer, now):
            continue
        with transaction.atomic():
            codes = _grant(offer.pk, by_campaign[campaign.pk], now)
        found |= {
            (campaign.pk, customer): fields_of(offer, code, campaign.zone) for customer, code in codes.items()
        }
    return found


def _grant(offer_id: int, asked: Sequence[Asked], now: datetime) -> dict[int, str]:
    offer = Offer.objects.select_for_update(of=("self",)).get(pk=offer_id)
    held = queries.latest(offer.pk, [one.customer_id for one in asked])
    codes: dict[int, str] = {}
    wanting: list[tuple[Asked, int]] = []
    for one in {one.customer_id: one for one in asked}.values():
        known = held.get(one.customer_id)
        if known is not None and known.redeemed_at is None:
            codes[one.customer_id] = known.code
        elif known is None or offer.repeatable:
            wanting.append((one, known.turn + 1 if known else 1))
    if wanting and offer.stock is not None:
        left = max(0, offer.stock - offer.grants.count())
        wanting = wanting[:left]
    if offer.codes == Offer.Codes.PERSONAL:
        own = queries.take(offer.pk, len(wanting), now)
        wanting = wanting[: len(own)]
    else:
        own = [offer.code if offer.codes == Offer.Codes.SHARED else ""] * len(wanting)
    OfferGrant.objects.bulk_create(
        [
            OfferGrant(
                offer=offer,
                customer_id=one.customer_id,
                turn=turn,
                campaign_id=one.campaign_id,
                touch_id=one.touch_id,
                code=code,
                granted_at=now,
            )
            for (one, turn), code in zip(wanting, own, strict=True)
        ]
    )
    return codes | {one.customer_id: code for (one, _turn), code in zip(wanting, own, strict=True)}


def given(pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], dict[str, str]]:
    """(campaign, customer) → the fields of the offer they have; who has none is missing."""
    wanted = set(pairs)
    campaigns = Campaign.objects.filter(pk__in={one for one, _who in wanted}, offer__isnull=False)
    found: dict[tuple[int, int], dict[str, str]] = {}
    for campaign in campaigns.select_related("offer"):
        if campaign.offer is None:
            continue
        held = queries.latest(campaign.offer.pk, [who for one, who in wanted if one == campaign.pk])
        found |= {
            (campaign.pk, who): fields_of(campaign.offer, row.code, campaign.zone)
            for who, row in held.items()
        }
    return found


def is_valid(offer: Offer, now: datetime) -> bool:
    return (offer.valid_from is None or offer.valid_from <= now) and (
        offer.valid_to is None or now < offer.valid_to
    )


def fields_of(offer: Offer, code: str, zone: str) -> dict[str, str]:
    """What the words of a message may name of it."""
    until = ""
    if offer.valid_to is not None:  # an offer that ends at midnight is not valid on the day that begins then
        until = (offer.valid_to - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date().isoformat()
    return {"offer.code": code, "offer.value": offer.value, "offer.name": offer.name, "offer.until": until}


# Redeemed -----------------------------------------------------------------------------------------


def from_orders(now: datetime) -> int:
    """Orders with the code of somebody's offer redeem it; returns how many grants were.

    It ends the campaign for them where a redemption does.
    """
    clock, _made = Clock.objects.get_or_create(name="offers", defaults={"at": now - timedelta(days=1)})
    with transaction.atomic():
        redeemed = queries.redeem(clock.at - LOOKED_BACK)
        ending = set(
            Campaign.objects.filter(
                pk__in={campaign for campaign, _who in redeemed if campaign},
                exit_on__contains=[str(ResponseKind.REDEMPTION)],
            ).values_list("pk", flat=True)
        )
        exits.exit_members(
            [
                (campaign, who, str(ResponseKind.REDEMPTION))
                for campaign, who in redeemed
                if campaign in ending
            ],
            now,
        )
    Clock.objects.filter(name="offers").update(at=now)
    return len(redeemed)


@dataclass(frozen=True, slots=True)
class Standing:
    """What came of an offer in a campaign: given, redeemed, and what that cost us."""

    offer: Offer
    given: int
    redeemed: int
    cost: Decimal


def standing(campaign: Campaign) -> Standing | None:
    """None of a campaign without an offer."""
    if campaign.offer is None:
        return None
    given_to, redeemed = queries.counts(campaign.offer.pk, campaign.pk)
    return Standing(campaign.offer, given_to, redeemed, redeemed * campaign.offer.cost)


def most(entry: Mapping[str, Any] | None, people: int) -> Decimal | None:
    """What an offer, as in a definition, costs us if everybody reached redeems it; None without an offer."""
    if not entry:
        return None
    offer = Offer.objects.filter(pk=entry["id"]).first()
    stock = offer.stock if offer else None
    return Decimal(str(entry["cost"] or 0)) * (people if stock is None else min(people, stock))


# Keeping ------------------------------------------------------------------------------------------


def refusal(offer: Offer, changed: Iterable[str]) -> str:
    """Why these fields of an offer cannot change now; '' when they can."""
    if not set(changed) & set(TERMS):
        return ""
    used = Campaign.objects.filter(offer=offer, state__in=OPEN_STATES).first()
    if used is None:
        return ""
    return _(
        "Campaign “%(name)s” was submitted with this offer, so its terms stay as they are. Make another offer and"
        " choose it there: that is a change somebody approves. Stock and codes can be added any time."
    ) % {"name": used.name}


def add_codes(offer: Offer, codes: Iterable[str]) -> int:
    """Codes that the shop knows, one a person; those that are there already are passed over. How many are new."""
    clean = list(dict.fromkeys(code.strip()[:80] for code in codes if code.strip()))
    if len(clean) > MOST_AT_ONCE:
        raise OfferError(_("At most %(n)d codes at once.") % {"n": MOST_AT_ONCE})
    if offer.codes != Offer.Codes.PERSONAL:
        raise OfferError(_("This offer does not give each person a code of their own."))
    before = offer.pool.count()
    OfferCode.objects.bulk_create(
        [OfferCode(offer=offer, code=code) for code in clean], ignore_conflicts=True, batch_size=5000
    )
    return offer.pool.count() - before


def make_codes(offer: Offer, n: int, prefix: str = "") -> int:
    """Codes of our own making, to be loaded into the shop. How many."""
    if not 1 <= n <= MOST_AT_ONCE:
        raise OfferError(_("At most %(n)d codes at once.") % {"n": MOST_AT_ONCE})
    made = ("".join(secrets.choice(LETTERS) for _n in range(9)) for _code in range(n))
    return add_codes(offer, (f"{prefix.strip()[:20]}{code}" for code in made))
