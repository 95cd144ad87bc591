"""What campaigns give to earlier stages: conditions, followers, panels, cards; and the screens around campaigns."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audiences import erasure, jobs, merge
from audiences.models import ContactState, Customer, Segment
from audiences.personal_export import export
from audiences.registers import rule_kinds
from audiences.segments.compiling import matching
from audiences.segments.rules import check
from campaigns import contacts, lifecycle, policy, versions
from campaigns.models import (
    ApprovalRule,
    ApprovedOrdinal,
    Campaign,
    Member,
    MemberTarget,
    PeopleTask,
    PressureRule,
    Response,
    Touch,
)
from channels.models import Channel
from tests.campaign_drafts import NOW, make_channel, make_draft, make_person, make_plan

pytestmark = pytest.mark.django_db
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def running() -> Campaign:
    """A campaign that runs over email, 3× for members, with nobody in it yet."""
    channel = make_channel()
    cell = {"phase": 0, "channel": channel.pk, "stage": "member", "touches": 3, "min_gap_hours": 24}
    campaign = make_draft(channels=[channel], matrix=[cell], name="Spring")
    make_plan(campaign)
    version = lifecycle.submit(campaign, make_person("maker", "marketer"), NOW)
    lifecycle.approve(version, make_person("approver", "approver"), "approver", "", NOW)
    lifecycle.released(campaign, NOW)
    Campaign.objects.filter(pk=campaign.pk).update(
        state="running", starts_at=timezone.now() - HOUR, ends_at=timezone.now() + 100 * HOUR
    )
    return Campaign.objects.get(pk=campaign.pk)


def join(
    campaign: Campaign,
    customer: Customer,
    *,
    held_out: bool = False,
    states: tuple[str, ...] = (),
    target: int = 3,
) -> None:
    """Make a customer a member with touches in these states, due from an hour ago on, an hour apart."""
    now = timezone.now()
    Member.objects.create(
        campaign_id=campaign.pk,
        customer_id=customer.pk,
        stage="member",
        held_out=held_out,
        zone="Asia/Shanghai",
        entered_at=now,
        state_at=now,
    )
    if held_out:
        return
    channel = campaign.channel_plans.get().channel_id
    MemberTarget.objects.create(
        campaign_id=campaign.pk,
        customer_id=customer.pk,
        channel_id=channel,
        round=1,
        stage="member",
        target=target,
        planned=len(states),
        cause="" if len(states) == target else "budget",
    )
    with connection.cursor() as cursor:
        for ordinal, state in enumerate(states, 1):
            cursor.execute(
                """INSERT INTO campaigns_touch (campaign_id, customer_id, channel_id, round, ordinal, stage, due_at,
                deadline_at, state, reason, state_at) VALUES (%s, %s, %s, 1, %s, 'member', %s, %s, %s, %s, %s)""",
                [
                    campaign.pk,
                    customer.pk,
                    channel,
                    ordinal,
                    now + (ordinal - 2) * HOUR,
                    now + 50 * HOUR,
                    state,
                    "bounced" if state == "gap" else "",
                    now,
                ],
            )


def make_customers(n: int) -> list[Customer]:
    return [Customer.objects.create(name=f"Person {number}", stage="member") for number in range(n)]


def held_by(**leaf: Any) -> set[int]:
    rule = check(leaf)
    return set(matching(rule if rule is not None else leaf).values_list("pk", flat=True))


# Conditions of segments -----------------------------------------------------------------------


def test_people_are_found_by_what_reached_them(running: Campaign) -> None:
    none, once, twice, missed = make_customers(4)
    join(running, once, states=("sent",))
    join(running, twice, states=("sent", "delivered", "planned"))
    join(running, missed, states=("gap",))
    touch = {"kind": "touch", "outcome": "reached", "op": "at_least", "value": 1}
    assert held_by(**touch) == {once.pk, twice.pk}
    assert held_by(**touch | {"value": 2}) == {twice.pk}
    assert held_by(**touch | {"op": "at_most", "value": 1}) == {none.pk, once.pk, missed.pk}
    assert held_by(**touch | {"op": "at_most", "value": 0}) == {none.pk, missed.pk}
    assert held_by(**touch | {"outcome": "gap"}) == {missed.pk}
    assert held_by(**touch | {"medium": "sms"}) == set()
    assert held_by(**touch | {"campaign": running.pk, "days": 1, "medium": "email"}) == {once.pk, twice.pk}


def test_touches_of_the_absorbed_count_for_the_survivor(running: Campaign) -> None:
    kept, away = make_customers(2)
    join(running, kept, states=("sent",))
    join(running, away, states=("sent",))
    merge.merge(away.pk, kept.pk, reason="same phone", now=NOW)
    assert held_by(kind="touch", outcome="reached", op="at_least", value=2) == {kept.pk}


def test_people_are_found_by_what_they_did_and_scanners_are_not(running: Campaign) -> None:
    person, scanned, _other = make_customers(3)
    for number, (customer, machine) in enumerate([(person, False), (person, False), (scanned, True)]):
        Response.objects.create(
            customer=customer,
            campaign_id=running.pk,
            kind="click",
            occurred_at=timezone.now(),
            received_at=timezone.now(),
            machine=machine,
            source="test",
            source_key=str(number),
        )
    assert held_by(kind="response", response="click", op="at_least", value=2, days=7) == {person.pk}
    assert held_by(kind="response", response="click", op="at_least", value=1, campaign=running.pk) == {
        person.pk
    }


def test_people_are_found_by_their_side_of_a_campaign(running: Campaign) -> None:
    treated, held_out, _other = make_customers(3)
    join(running, treated, states=("planned",))
    join(running, held_out, held_out=True)
    assert held_by(kind="member", campaign=running.pk) == {treated.pk, held_out.pk}
    assert held_by(kind="member", campaign=running.pk, side="treated") == {treated.pk}
    assert held_by(kind="member", campaign=running.pk, side="held_out") == {held_out.pk}


def test_people_are_found_by_the_pressure_on_them() -> None:
    calm, pressed = make_customers(2)
    now = timezone.now()
    ContactState.objects.filter(pk=pressed.pk).update(
        recent_attempts=[1, 2, 3],
        recent_channels=[1, 1, 1],
        recent_at=[now - 30 * HOUR, now - 2 * HOUR, now - HOUR],
    )
    assert held_by(kind="pressure", op="at_least", value=2, hours=24) == {pressed.pk}
    assert held_by(kind="pressure", op="at_least", value=3, hours=24) == set()
    assert held_by(kind="pressure", op="at_most", value=1, hours=24) == {calm.pk}


@pytest.mark.parametrize(
    "leaf",
    [
        {"kind": "touch", "outcome": "reached", "op": "at_least", "value": 2, "medium": "sms", "days": 30},
        {"kind": "response", "response": "click", "op": "at_most", "value": 0},
        {"kind": "pressure", "op": "at_least", "value": 3, "hours": 48},
    ],
)
def test_each_condition_says_itself_in_words(leaf: dict[str, Any]) -> None:
    words = rule_kinds.get(leaf["kind"]).sentence(leaf)
    assert str(leaf["value"]) in words
    assert "%(" not in words


# Followers ------------------------------------------------------------------------------------


def states_of(customer: Customer) -> list[tuple[str, str]]:
    return list(
        Touch.objects.filter(customer_id=customer.pk).order_by("ordinal").values_list("state", "reason")
    )


def test_a_merge_lets_go_of_the_absorbed_ones_unsent_touches_and_undo_plans_them_again(
    running: Campaign,
) -> None:
    kept, away = make_customers(2)
    join(running, kept, states=("sent", "planned", "planned"))
    join(running, away, states=("sent", "planned", "planned"))
    done = merge.merge(away.pk, kept.pk, reason="same phone", now=NOW)
    assert states_of(away) == [("sent", ""), ("released", "merged"), ("released", "merged")]
    assert states_of(kept) == [("sent", ""), ("planned", ""), ("planned", "")]
    assert Member.objects.get(campaign_id=running.pk, customer_id=away.pk).state == "ended"
    merge.undo(done.pk, by="somebody", now=NOW)
    assert states_of(away) == [("sent", ""), ("planned", ""), ("planned", "")]
    assert Member.objects.get(campaign_id=running.pk, customer_id=away.pk).state == "active"


def test_undo_does_not_plan_again_in_a_campaign_that_is_over(running: Campaign) -> None:
    kept, away = make_customers(2)
    join(running, away, states=("planned",), target=1)
    done = merge.merge(away.pk, kept.pk, reason="same phone", now=NOW)
    Campaign.objects.filter(pk=running.pk).update(state="finished")
    merge.undo(done.pk, by="somebody", now=NOW)
    assert states_of(away) == [("released", "merged")]


def test_nothing_is_sent_to_the_erased_and_their_words_go(running: Campaign) -> None:
    (person,) = make_customers(1)
    join(running, person, states=("sent", "planned"))
    Response.objects.create(
        customer=person,
        kind="reply",
        occurred_at=NOW,
        received_at=NOW,
        source="t",
        source_key="1",
        detail={"text": "my address is …"},
    )
    task = PeopleTask.objects.create(
        campaign_id=running.pk,
        channel=running.channel_plans.get().channel,
        customer=person,
        title="Call Person 0",
        due_at=NOW,
    )
    erasure.erase(person.pk, requested_by="person", now=NOW)
    assert states_of(person) == [("sent", ""), ("gap", "erased")]
    assert Response.objects.get().detail == {}
    task.refresh_from_db()
    assert (task.title, task.state) == ("", "expired")


def test_a_persons_export_holds_what_campaigns_did(running: Campaign) -> None:
    (person,) = make_customers(1)
    join(running, person, states=("sent",))
    found = export(person.pk, requested_by="person", now=NOW)["campaigns"]
    assert found[0]["campaigns"][0]["campaign"] == "Spring"
    assert found[0]["touches"][0]["state"] == "sent"


# The customer's page --------------------------------------------------------------------------


def test_it_is_told_why_and_why_not(running: Campaign) -> None:
    contacted, held_out, short = make_customers(3)
    join(running, contacted, states=("delivered", "gap", "planned"))
    join(running, held_out, held_out=True)
    join(running, short, states=("planned",), target=3)
    Touch.objects.filter(customer_id=short.pk).update(deferred="pressure")
    assert [(row.why, str(row.owner)) for row in reversed(contacts.contacts(contacted.pk))] == [
        ("Delivered", ""),
        ("Not reached: Bounced", "Audience owner"),
        ("Planned", ""),
    ]
    assert "Held out on purpose" in contacts.memberships(held_out.pk)[0].why
    (missing,) = contacts.memberships(short.pk)[0].shortfalls
    assert (missing.n, str(missing.cause), str(missing.owner)) == (2, "Budget", "Campaign owner")
    assert contacts.contacts(short.pk)[0].why.startswith("Waits: Contact policy")


# The first page -------------------------------------------------------------------------------


def test_the_first_page_tells_each_role_what_waits_and_what_runs(
    running: Campaign, log_in: Callable[[str], Client]
) -> None:
    draft = make_draft(make_person("marketer", "marketer"), name="Summer")
    make_plan(draft)
    lifecycle.submit(draft, make_person("marketer", "marketer"), NOW)
    home = reverse("config:home")
    approver, marketer = (
        log_in("approver").get(home).content.decode(),
        log_in("marketer").get(home).content.decode(),
    )
    assert "Summer" in approver
    assert "Summer" not in marketer  # nobody decides on their own
    assert "Spring" in marketer
    version = versions.open_version(draft)
    assert version is not None
    lifecycle.reject(version, make_person("approver", "approver"), "approver", "Too dear", NOW)
    assert "Too dear" in log_in("marketer").get(home).content.decode()
    Channel.objects.update(state="stopped", state_reason="Password refused")
    assert "Password refused" in log_in("marketer").get(home).content.decode()


def test_the_live_page_counts_what_happened(running: Campaign, as_marketer: Client) -> None:
    one, two = make_customers(2)
    join(running, one, states=("delivered", "gap", "planned"))
    join(running, two, states=("sent",), target=3)
    page = as_marketer.get(reverse("campaigns:live", args=[running.pk])).content.decode()
    for told in ("Bounced", "Budget", "Audience owner", "Campaign owner"):
        assert told in page
    from campaigns.progress import progress

    found = progress(running)
    totals = found.totals
    assert (totals["target"], totals["planned"], totals["sent"], totals["delivered"]) == (6, 4, 1, 1)
    assert (totals["pending"], totals["all_gaps"]) == (1, 3)


# Winding down ---------------------------------------------------------------------------------


def test_a_stop_lets_go_of_everything_unsent(running: Campaign) -> None:
    one, two = make_customers(2)
    join(running, one, states=("sent", "planned", "planned"))
    join(running, two, states=("planned", "held", "planned"))
    job = lifecycle.stop(running, make_person("finance", "finance"), "", NOW)
    assert jobs.run(job.pk) is not None
    assert states_of(one) == [
        ("sent", ""),
        ("released", "campaign_stopped"),
        ("released", "campaign_stopped"),
    ]
    assert [state for state, _reason in states_of(two)] == ["released", "held", "released"]
    assert set(Member.objects.filter(campaign_id=running.pk).values_list("state", flat=True)) == {"ended"}


def test_a_lowered_target_lets_go_of_what_is_beyond_it_and_keeps_what_is_sent(running: Campaign) -> None:
    (person,) = make_customers(1)
    join(running, person, states=("sent", "planned", "planned"))
    maker = make_person("maker", "marketer")
    with versions.editing(running.pk, maker, NOW) as (_campaign, document):
        document["matrix"][0]["touches"] = 2
    make_plan(running)
    version = lifecycle.submit(running, maker, NOW)
    job = lifecycle.approve(version, make_person("approver", "approver"), "approver", "", NOW)
    assert job is not None
    assert jobs.run(job.pk) is not None
    assert states_of(person) == [("sent", ""), ("planned", ""), ("released", "changed")]
    assert ApprovedOrdinal.objects.filter(campaign_id=running.pk, withdrawn_at=None).count() == 2


# Contact policy and thresholds ----------------------------------------------------------------


def test_each_rule_is_said_in_a_sentence() -> None:
    rule = PressureRule(name="r", touches=3, hours=168, medium="sms")
    assert (
        policy.sentence(rule)
        == "A person is contacted at most 3 times in any 7 days on end by SMS, over all campaigns."
    )


def test_a_rule_is_made_in_days_and_takes_force_by_itself(as_marketer: Client) -> None:
    data = {"name": "Weekly", "touches": "3", "days": "7", "medium": "", "active": "on"}
    assert as_marketer.post(reverse("campaigns:new_pressure_rule"), data).status_code == 302
    rule = PressureRule.objects.get()
    assert (rule.hours, rule.in_force_at) == (168, None)
    PressureRule.objects.update(in_force_at=NOW)
    as_marketer.post(reverse("campaigns:pressure_rule", args=[rule.pk]), data | {"touches": "2"})
    rule.refresh_from_db()
    assert (rule.touches, rule.in_force_at) == (2, NOW)  # the same contacts, another number: at once
    as_marketer.post(reverse("campaigns:pressure_rule", args=[rule.pk]), data | {"days": "30"})
    rule.refresh_from_db()
    assert (rule.hours, rule.in_force_at) == (720, None)  # older contacts must be known first


def test_only_finance_sets_thresholds(as_marketer: Client, as_finance: Client) -> None:
    url, data = reverse("campaigns:threshold"), {"above": "10000", "currency": "CNY"}
    assert as_marketer.post(url, data).status_code == 403
    as_finance.post(url, data)
    as_finance.post(url, data | {"above": "20000"})
    assert str(ApprovalRule.objects.get().above) == "20000.0000"


@pytest.mark.parametrize("name", ["policy", "offers", "tasks", "messages", "campaigns", "calendar"])
@pytest.mark.parametrize("who", ["marketer", "approver", "channels", "finance"])
def test_everybody_may_look_around(name: str, who: str, log_in: Callable[[str], Client]) -> None:
    PressureRule.objects.create(name="Daily", touches=1, hours=24)
    assert log_in(who).get(reverse(f"campaigns:{name}")).status_code == 200


# Tasks ----------------------------------------------------------------------------------------


def test_a_task_is_closed_once_with_its_outcome(running: Campaign, as_marketer: Client) -> None:
    (person,) = make_customers(1)
    task = PeopleTask.objects.create(
        campaign_id=running.pk, channel=make_channel("call"), customer=person, title="Call", due_at=NOW
    )
    assert person.name in as_marketer.get(reverse("campaigns:task", args=[task.pk])).content.decode()
    url = reverse("campaigns:report_task", args=[task.pk])
    as_marketer.post(url, {"outcome": "nonsense"})
    task.refresh_from_db()
    assert task.state == "open"
    as_marketer.post(url, {"outcome": "interested", "note": "Wants a size 38"})
    as_marketer.post(url, {"outcome": "no_answer"})
    task.refresh_from_db()
    assert (task.state, task.outcome, task.note) == ("done", "interested", "Wants a size 38")


def test_the_list_of_a_manual_channel_is_no_formula(running: Campaign, as_marketer: Client) -> None:
    url = reverse("campaigns:held_list", args=[running.pk, running.channel_plans.get().channel_id])
    answer = as_marketer.get(url)
    assert b"".join(answer.streaming_content).decode().startswith("\ufeffreference,attempt_id,name")
    from campaigns.views.tasks import _csv

    assert list(_csv(["a"], [["=1+1"]]))[1] == "'=1+1\r\n"


def test_a_segment_that_a_campaign_uses_is_protected(running: Campaign) -> None:
    assert Segment.objects.filter(campaigns=running).exists()


def test_a_changed_state_reloads_the_live_page(running: Campaign, as_marketer: Client) -> None:
    url = reverse("campaigns:live", args=[running.pk])
    same = as_marketer.get(url, {"seen": "running"}, headers={"HX-Request": "true"})
    assert "HX-Refresh" not in same
    assert 'id="live"' in same.content.decode()
    assert as_marketer.get(url, {"seen": "approved"}, headers={"HX-Request": "true"})["HX-Refresh"] == "true"
