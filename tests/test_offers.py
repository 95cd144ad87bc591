"""Offers: once a person over all channels, while stock and validity last, and redeemed by the order with the code."""

from decimal import Decimal
from typing import Any

import pytest

from audiences.models import Order
from campaigns import definition, differences, dispatch, lifecycle, offers, versions
from campaigns.models import Campaign, Member, MessageVariant, Offer, OfferGrant, Touch
from tests import factories as make
from tests import plan_rows as rows
from tests.campaign_drafts import NOW as THEN
from tests.campaign_drafts import make_draft, make_person, make_plan
from tests.factories import DAY, HOUR
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)
NOW = make.NOW


def offer(**fields: Any) -> Offer:
    usual = {
        "brand": rows.brand(),
        "name": f"Offer {Offer.objects.count()}",
        "codes": "shared",
        "code": "SAVE20",
        "value": "¥20",
        "cost": Decimal(8),
    }
    return Offer.objects.create(**(usual | fields))


def sent(
    found: Offer | None, people: int = 1, text: str = "{{offer.value}}: {{offer.code}}"
) -> tuple[Wire, Campaign, list[Any]]:
    """A campaign with an offer, sent to so many people."""
    wire = Wire()
    channel = make.channel(wire=wire)
    campaign = make.campaign([channel])
    Campaign.objects.filter(pk=campaign.pk).update(offer=found)
    who = make.customers(people)
    make.released(campaign, who)
    MessageVariant.objects.update(text=text, subject="")
    dispatch.dispatch_channel(channel.pk, now=NOW)
    return wire, campaign, who


def test_a_message_says_the_code_and_the_grant_is_kept() -> None:
    wire, campaign, who = sent(offer())
    assert [message.text for message in wire.log] == ["¥20: SAVE20"]
    grant = OfferGrant.objects.get()
    assert (grant.customer_id, grant.campaign_id, grant.code) == (who[0], campaign.pk, "SAVE20")


def test_everybody_gets_a_code_of_their_own_and_who_finds_none_gets_no_message() -> None:
    found = offer(codes="personal", code="")
    assert offers.add_codes(found, ["A1", "B2", "A1", " "]) == 2
    wire, _campaign, _who = sent(found, 3)
    assert sorted(message.text for message in wire.log) == ["¥20: A1", "¥20: B2"]
    assert make.states(_campaign) == {"sent": 2, "gap:offer": 1}


def test_a_person_gets_it_once_over_all_campaigns_and_no_more_once_it_is_redeemed() -> None:
    found = offer(codes="personal", code="")
    offers.make_codes(found, 5, "BD-")
    person, other = rows.customers(2)
    first = rows.campaign([person], [rows.channel()], offer=found)
    second = rows.campaign([person, other], [rows.channel()], offer=found)
    code = offers.grant([offers.Asked(first.pk, person.pk, 1)], NOW)[first.pk, person.pk]["offer.code"]
    assert code.startswith("BD-")
    again = offers.grant([offers.Asked(second.pk, person.pk, 2), offers.Asked(second.pk, other.pk, 3)], NOW)
    assert again[second.pk, person.pk]["offer.code"] == code != again[second.pk, other.pk]["offer.code"]
    assert OfferGrant.objects.count() == 2
    Order.objects.create(
        number="1",
        customer=person,
        placed_at=NOW + HOUR,
        received_at=NOW + HOUR,
        gross=10,
        paid=10,
        offer_code=code,
    )
    Order.objects.create(  # somebody else's code redeems nothing
        number="2",
        customer=other,
        placed_at=NOW + HOUR,
        received_at=NOW + HOUR,
        gross=10,
        paid=10,
        offer_code=code,
    )
    assert offers.from_orders(NOW + 2 * HOUR) == 1
    standing = offers.standing(first)
    assert standing is not None
    assert (standing.given, standing.redeemed, standing.cost) == (1, 1, Decimal(8))
    assert (second.pk, person.pk) not in offers.grant([offers.Asked(second.pk, person.pk, 4)], NOW + DAY)
    Offer.objects.update(repeatable=True)
    assert offers.grant([offers.Asked(second.pk, person.pk, 4)], NOW + DAY)
    assert sorted(OfferGrant.objects.filter(customer=person).values_list("turn", flat=True)) == [1, 2]


def test_a_redemption_ends_the_campaign_for_the_person_where_it_says_so() -> None:
    wire, campaign, who = sent(offer(), 2)
    assert len(wire.log) == 2
    Campaign.objects.filter(pk=campaign.pk).update(exit_on=["redemption"])
    Order.objects.create(
        number="1", customer_id=who[0], placed_at=NOW + HOUR, received_at=NOW + HOUR, gross=10, paid=10,
        offer_code="SAVE20",
    )  # fmt: skip
    assert offers.from_orders(NOW + 2 * HOUR) == 1
    states = dict(Member.objects.filter(campaign_id=campaign.pk).values_list("customer_id", "state"))
    assert states == {who[0]: "exited", who[1]: "active"}


def test_stock_and_validity_end_an_offer() -> None:
    people = rows.customers(3)
    found = offer(stock=2)
    campaign = rows.campaign(people, [rows.channel()], offer=found)
    asked = [offers.Asked(campaign.pk, person.pk, n) for n, person in enumerate(people)]
    assert len(offers.grant(asked, NOW)) == 2
    Offer.objects.update(valid_to=NOW + DAY)
    assert offers.grant(asked, NOW + DAY) == {}


def test_words_that_name_an_offer_do_not_go_out_without_one() -> None:
    wire, campaign, _who = sent(None)
    assert wire.log == []
    assert make.states(campaign) == {"gap:offer": 1}


def test_terms_that_were_approved_stay_and_stock_may_grow() -> None:
    found = offer()
    rows.campaign([], [rows.channel()], offer=found, state="running", name="Spring")
    assert "Spring" in offers.refusal(found, ["cost", "stock"])
    assert offers.refusal(found, ["stock"]) == ""


def test_another_offer_in_a_running_campaign_is_a_difference_to_approve() -> None:
    maker, boss = make_person("maker", "marketer"), make_person("boss", "approver")
    campaign = make_draft(maker, offer=definition.offer_entry(offer(name="Ten", value="¥10")))
    make_plan(campaign)
    version = lifecycle.submit(campaign, maker, THEN)
    lifecycle.approve(version, boss, "approver", "", THEN)
    Campaign.objects.update(state="running", released_at=THEN)
    with versions.editing(campaign.pk, maker, THEN) as (_campaign, document):
        document["offer"] = definition.offer_entry(offer(name="Twenty", value="¥20", code="SAVE20"))
    change = versions.open_version(Campaign.objects.get())
    assert change is not None
    told = dict(differences.sentences(change.difference, change.definition))
    assert "“Ten”" in told["content"]
    assert "“Twenty”" in told["content"]
    assert "SAVE20" in told["content"]
    assert Touch.objects.count() == 0
