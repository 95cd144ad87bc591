"""Responses: whose they are, stored once, and what follows from them: opt-outs, exits, silence."""

import datetime as dt
import itertools
from decimal import Decimal

import pytest

from audiences import consent
from audiences.models import ContactState, Customer, Identity, Order, Suppression
from campaigns import dispatch, exits, responses
from campaigns.models import Attempt, Member, Response, Touch
from channels import inbox
from channels.adapters.base import Inbound
from channels.audience_sync import audience_for, want
from channels.models import InboxEvent, PlatformAudienceMember
from tests import factories as make
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)
_keys = itertools.count(1)
LATER = NOW + HOUR


def told(channel, kind, at=NOW + MINUTE, **fields):
    inbox.store(channel, [Inbound(dedupe_key=f"e{next(_keys)}", occurred_at=at, response=kind, **fields)], at)


def sent(exit_on=(), touches=2, media=("email",), **fields):
    """(channel, campaign, person): the first of its touches is sent."""
    channel = make.channel()
    (person,) = make.customers(1, media)
    found = make.campaign([channel], touches=touches, exit_on=list(exit_on), **fields)
    make.released(found, [person], touches=touches)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    return channel, found, person


def test_a_response_is_stored_once_with_its_touch_by_link_reference_or_name():
    channel, found, person = sent()
    touch = Touch.objects.get(state="sent")
    told(channel, "click", campaign_id=found.pk, touch_id=touch.id)
    told(channel, "open", reference=f"ref-{Attempt.objects.get().id}")
    told(channel, "open", reference=f"attempt-{Attempt.objects.get().id}")
    told(channel, "reply", identity_kind="email", identity_value=f"c{person}@example.com")
    responses.drain(now=LATER)
    InboxEvent.objects.update(state="new")
    responses.drain(now=LATER)
    rows = Response.objects.order_by("id").values_list("kind", "customer_id", "campaign_id", "touch_id")
    assert list(rows) == [(kind, person, found.pk, touch.id) for kind in ("click", "open", "open", "reply")]
    assert Member.objects.get().last_response_at == NOW + MINUTE


def test_a_response_of_an_absorbed_customer_is_its_survivors():
    channel, found, person = sent(exit_on=["reply"])
    (survivor,) = make.customers(1)
    Customer.objects.filter(pk=person).update(merged_into=survivor)
    told(channel, "reply", reference=f"ref-{Attempt.objects.get().id}")
    responses.drain(now=LATER)
    assert Response.objects.get().customer_id == survivor
    assert Member.objects.get().state == "exited"


def test_a_machine_is_nobody():
    channel, found, _person = sent(exit_on=["click"])
    touch = Touch.objects.get(state="sent")
    told(channel, "click", campaign_id=found.pk, touch_id=touch.id, machine=True)
    responses.drain(now=LATER)
    assert Response.objects.get().machine
    assert (Member.objects.get().state, Member.objects.get().last_response_at) == ("active", None)


def test_somebody_unknown_is_ignored_but_who_follows_us_becomes_a_customer():
    channel = make.channel("wecom")
    told(channel, "click", identity_kind="wecom_external_id", identity_issuer="ww1", identity_value="wm1")
    told(channel, "follow", identity_kind="wecom_external_id", identity_issuer="ww1", identity_value="wm2")
    responses.drain(now=LATER)
    assert list(InboxEvent.objects.order_by("id").values_list("state", "error")) == [
        ("ignored", responses.NOBODY),
        ("drained", ""),
    ]
    assert Response.objects.get().customer_id == Identity.objects.get(value="wm2").customer_id


def test_an_opt_out_withdraws_consent_and_closes_the_medium_in_every_campaign():
    mail, text = make.channel(), make.channel("sms")
    people = make.customers(2, ("email", "sms"))
    first = make.campaign([mail, text], touches=2, exit_on=[])
    other = make.campaign([mail], state="paused")
    make.released(first, people, touches=2)
    make.released(other, people)
    dispatch.dispatch_channel(mail.pk, now=NOW)
    told(mail, "opt_out", reference=f"ref-{Attempt.objects.get(customer_id=people[0]).id}")
    responses.drain(now=LATER)
    leaver, stayer = people
    mine = Touch.objects.filter(customer_id=leaver)
    assert make.states(None, customer_id=leaver, channel_id=mail.pk) == {"sent": 1, "gap:opted_out": 2}
    assert make.states(None, customer_id=leaver, channel_id=text.pk) == {"planned": 2}
    assert make.states(None, customer_id=stayer, channel_id=mail.pk) == {"sent": 1, "planned": 2}
    assert mine.count() == 5
    state = ContactState.objects.get(pk=leaver)
    assert f"contact:{mail.brand_id}:email" in state.blocked
    assert Suppression.objects.exists()


def test_who_withdraws_another_medium_on_the_preference_page_gets_nothing_more_by_it():
    mail, text = make.channel(), make.channel("sms")
    people = make.customers(1, ("email", "sms"))
    found = make.campaign([mail, text], touches=2, exit_on=[])
    make.released(found, people, touches=2)
    dispatch.dispatch_channel(mail.pk, now=NOW)
    told(
        mail, "opt_out", reference=f"ref-{Attempt.objects.get().id}",
        detail={"source": "preference centre", "withdrawn": [f"{mail.brand_id}:sms"]},
    )  # fmt: skip
    responses.drain(now=LATER)
    assert make.states(None, channel_id=text.pk) == {"gap:opted_out": 2}
    assert make.states(None, channel_id=mail.pk) == {"sent": 1, "planned": 1}


def test_an_opt_out_of_a_stranger_is_remembered_for_the_day_we_load_them():
    channel = make.channel("sms")
    told(channel, "opt_out", identity_kind="phone", identity_value="+8613900001111")
    responses.drain(now=LATER)
    (person,) = make.customers(1, ("sms",))
    Identity.objects.create(customer_id=person, kind="phone", value="+8613900001111")
    consent.apply_suppressions([person])
    assert f"contact:{channel.brand_id}:sms" in ContactState.objects.get(pk=person).blocked


@pytest.mark.parametrize("kind", ["conversion", "redemption", "opt_out", "complaint", "reply"])
def test_an_exit_cancels_what_is_unsent_on_all_channels_and_asks_platforms_to_drop_the_person(kind):
    mail, text, social = make.channel(), make.channel("sms"), make.channel("social")
    people = make.customers(2, ("email", "sms"))
    found = make.campaign([mail, text], touches=3, exit_on=[kind])
    make.released(found, people, touches=3)
    audience = audience_for(social, found.pk, "people")
    want(audience.pk, people, NOW)
    dispatch.dispatch_channel(mail.pk, now=NOW)
    told(mail, kind, reference=f"ref-{Attempt.objects.get(customer_id=people[0]).id}")
    responses.drain(now=LATER)
    gone = make.states(found, customer_id=people[0])
    closed = (
        {"gap:opted_out": 2, "released:exit": 3} if kind in ("opt_out", "complaint") else {"released:exit": 5}
    )
    assert gone == {"sent": 1} | closed
    assert make.states(found, customer_id=people[1]) == {"sent": 1, "planned": 5}
    member = Member.objects.get(customer_id=people[0])
    assert (member.state, member.reason) == ("exited", kind)
    assert dict(PlatformAudienceMember.objects.values_list("customer_id", "wanted")) == {
        people[0]: False,
        people[1]: True,
    }


def test_buying_ends_every_campaign_that_says_so_and_replying_only_its_own():
    channel, found, person = sent(exit_on=["conversion", "reply"])
    other = make.campaign([channel], exit_on=["conversion", "reply"])
    make.released(other, [person], due_at=NOW + DAY)
    reference = f"ref-{Attempt.objects.get().id}"
    told(channel, "reply", reference=reference)
    responses.drain(now=LATER)
    assert (make.states(found), make.states(other)) == ({"sent": 1, "released:exit": 1}, {"planned": 1})
    told(channel, "conversion", reference=reference, at=NOW + DAY)
    responses.drain(now=NOW + DAY)
    assert make.states(other) == {"released:exit": 1}


def order(person, at, paid="100", number="", **fields):
    return Order.objects.create(
        number=number or f"o{next(_keys)}", customer_id=person, placed_at=at, received_at=at, gross=paid, paid=paid,
        **fields,
    )  # fmt: skip


def test_orders_are_conversions_for_exits_if_placed_after_entry_and_kept():
    channel = make.channel()
    buyer, earlier, returner, nobody = make.customers(4)
    found = make.campaign([channel], touches=2, exit_on=["conversion"])
    make.released(found, [buyer, earlier, returner, nobody], touches=2)
    order(buyer, NOW + MINUTE)
    order(earlier, NOW - DAY)
    order(returner, NOW + MINUTE, returned="100")
    assert exits.from_orders(NOW + HOUR) == 1
    assert exits.from_orders(NOW + 2 * HOUR) == 0
    assert dict(Member.objects.values_list("customer_id", "state")) == {
        buyer: "exited",
        earlier: "active",
        returner: "active",
        nobody: "active",
    }
    assert make.states(found, customer_id=buyer) == {"released:exit": 2}


def test_a_stage_change_lets_go_where_the_campaign_says_so():
    channel = make.channel()
    people = make.customers(2, stage="prospect")
    ends, stays = make.campaign([channel], exit_on=["stage_change"]), make.campaign([channel])
    for found in (ends, stays):
        make.released(found, people, due_at=NOW + DAY)
    Customer.objects.filter(pk=people[0]).update(stage="customer")
    assert exits.from_stages(NOW) == 1
    assert make.states(ends) == {"released:stage_change": 1, "planned": 1}
    assert make.states(stays) == {"planned": 2}


def silent_campaign(channels, people, **fields):
    found = make.campaign(channels, touches=4, gap_hours=0, silence_hours=48, **fields)
    make.released(found, people, touches=4, every=3 * DAY, deadline_at=NOW + 30 * DAY)
    return found


def run_days(channels, days):
    for hour in range(0, 24 * days + 1, 12):
        for channel in channels:
            dispatch.dispatch_channel(channel.pk, now=NOW + hour * HOUR)


def test_silence_stops_the_sequence_and_a_reaction_carries_it_on():
    channel = make.channel()
    silent, reacting = make.customers(2)
    found = silent_campaign([channel], [silent, reacting])
    dispatch.dispatch_channel(channel.pk, now=NOW)
    told(channel, "click", at=NOW + DAY, reference=f"ref-{Attempt.objects.get(customer_id=reacting).id}")
    responses.drain(now=NOW + DAY + MINUTE)
    run_days([channel], 4)
    assert make.states(found, customer_id=silent) == {"sent": 1, "released:silence": 3}
    assert make.states(found, customer_id=reacting) == {"sent": 2, "planned": 2}
    member = Member.objects.get(customer_id=silent)
    assert (member.state, member.reason) == ("waiting", "silence")


def test_two_silent_touches_if_the_campaign_permits_two():
    channel = make.channel()
    people = make.customers(1)
    found = silent_campaign([channel], people, silent_touches=2)
    run_days([channel], 12)
    assert make.states(found) == {"sent": 2, "released:silence": 2}


def test_an_order_is_no_silence():
    channel = make.channel()
    (person,) = make.customers(1)
    found = silent_campaign([channel], [person])
    dispatch.dispatch_channel(channel.pk, now=NOW)
    order(person, NOW + DAY)
    run_days([channel], 4)
    assert make.states(found) == {"sent": 2, "planned": 2}


def test_silence_is_never_judged_where_reactions_cannot_be_seen():
    channel = make.channel(wire=Wire(observability="person_targeted"))
    people = make.customers(1)
    found = silent_campaign([channel], people)
    run_days([channel], 10)
    assert make.states(found) == {"sent": 4}


def test_the_wait_is_the_channels_own():
    channel = make.channel()
    people = make.customers(1)
    found = silent_campaign([channel], people)
    found.channel_plans.update(silence_hours=24 * 5)
    run_days([channel], 4)
    assert make.states(found) == {"sent": 2, "planned": 2}
    run_days([channel], 7)
    assert make.states(found) == {"sent": 2, "released:silence": 2}


def test_who_reacts_after_all_is_no_longer_waiting():
    channel = make.channel()
    people = make.customers(1)
    silent_campaign([channel], people)
    run_days([channel], 4)
    assert Member.objects.get().state == "waiting"
    told(
        channel, "reply", at=NOW + 5 * DAY, identity_kind="email", identity_value=f"c{people[0]}@example.com"
    )
    responses.drain(now=NOW + 5 * DAY)
    assert Member.objects.get().state == "active"


def test_released_touches_and_gaps_are_told_apart():
    channel = make.channel()
    people = make.customers(2)
    found = make.campaign([channel])
    make.released(found, people)
    assert exits.release_touches(found.pk, [people[0]], "silence", NOW) == 1
    assert exits.release_touches(found.pk, None, "channel_stopped", NOW) == 1
    assert make.states(found) == {"released:silence": 1, "gap:channel_stopped": 1}


def test_clicks_of_a_scanner_never_drive_anything():
    """Two links of one touch within two seconds: a mail scanner, whose clicks come marked."""
    channel, found, _person = sent(exit_on=["click"])
    touch = Touch.objects.get(state="sent")
    for number in (1, 2):
        told(channel, "click", campaign_id=found.pk, touch_id=touch.id, detail={"link_id": number})
    responses.drain(now=LATER)
    assert set(Response.objects.values_list("machine", flat=True)) == {True}
    assert Member.objects.get().state == "active"


def test_values_of_responses_are_kept():
    channel, found, _person = sent()
    told(
        channel,
        "conversion",
        reference=f"ref-{Attempt.objects.get().id}",
        value=Decimal("12.5"),
        currency="CNY",
    )
    responses.drain(now=LATER)
    row = Response.objects.get()
    assert (row.value, row.currency, row.campaign_id) == (Decimal("12.5000"), "CNY", found.pk)
    assert row.occurred_at == NOW + dt.timedelta(minutes=1)
