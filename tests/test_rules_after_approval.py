"""A platform's rule that comes into force after a campaign was approved stops the words that break it, and nothing else."""

import datetime as dt
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format

from audiences import jobs
from audiences.models import Customer, Job
from campaigns import (
    changes,
    channel_pauses,
    definition,
    dispatch,
    doctor,
    later_rules,
    lifecycle,
    manual,
    rounds,
    rule_standings,
    tasks,
    triggers,
    versions,
)
from campaigns.models import (
    Attempt,
    Campaign,
    CampaignVersion,
    ChannelPlan,
    MessageVariant,
    MessageVersion,
    Touch,
)
from campaigns.planner import make_plan
from campaigns.release import admit, extend, release
from channels import rule_rows
from channels.adapters.base import Outcome, Sent
from channels.models import Channel, PlatformAudience, PlatformRule
from config import audit
from tests import factories as make
from tests import plan_rows as rows
from tests.campaign_drafts import make_person
from tests.factories import DAY, HOUR
from tests.test_triggers import did
from tests.wire import Wire, install

pytestmark = pytest.mark.django_db(transaction=True)
NOW = rows.NOON  # Monday 2 March 2026, noon in Shanghai
TODAY = NOW.date()
MIDNIGHT = dt.datetime(2026, 3, 4, 16, tzinfo=dt.UTC)  # the 5th begins in Shanghai
WORDS = "Half price ★ 拒收请回复R"
MENDED = "Half price, today 拒收请回复R"


def line(medium: str = "email", **wired: Any) -> tuple[Channel, Wire]:
    wire = Wire(**wired)
    return rows.channel(medium, adapter=install(wire).name, settings={"signature": "E"}), wire


def going(
    channels: Sequence[Channel],
    people: Sequence[Customer],
    touches: int = 2,
    *,
    now: dt.datetime = NOW,
    state: str = "running",
    **fields: Any,
) -> Campaign:
    """A campaign as its approval and its release leave it, with words that no rule forbids yet."""
    found = rows.campaign(
        people, channels, touches, days=10, starts_at=fields.pop("starts_at", now), **fields
    )
    MessageVariant.objects.filter(version__message__in=found.channel_plans.values("message")).update(
        text=WORDS
    )
    plan = make_plan(found, user=None, now=now)
    approve(found, plan, now)
    rounds.write_rounds(found, 1)
    release(found, plan, now=now)
    Campaign.objects.filter(pk=found.pk).update(state=state, version=1, released_at=now)
    found.refresh_from_db()
    assert later_rules.look(now) == []
    return found


def approve(found: Campaign, plan: Any, now: dt.datetime) -> CampaignVersion:
    return CampaignVersion.objects.create(
        campaign=found, number=1, definition=definition.read(found), state="approved", plan=plan,
        made_by=make_person("maker", "marketer"), made_at=now,
    )  # fmt: skip


def rule(value: Any = "★", *, now: dt.datetime = NOW, **fields: Any) -> PlatformRule:
    """Saved as an admin saves it: what must follow, follows in the same transaction."""
    usual = {
        "medium": "email",
        "key": "forbidden_characters",
        "valid_from": TODAY,
        "source": "Letter of the operator",
    }
    made = PlatformRule(value=value, **(usual | fields))
    rule_rows.save(made, now)
    return made


def plan_of(found: Campaign, channel: Channel) -> ChannelPlan:
    return ChannelPlan.objects.get(campaign=found, channel=channel)


def run(first: dt.datetime, last: dt.datetime) -> None:
    """Dispatch as it runs by itself, every three hours; what is late is a backlog."""
    at = first
    while at <= last:
        make.ran_until(at)
        dispatch.tick(lambda number, at=at: dispatch.dispatch_channel(number, now=at), at)  # type: ignore[misc]
        at += 3 * HOUR


def mend(found: Campaign, channel: Channel, now: dt.datetime, text: str = MENDED) -> CampaignVersion:
    """Other words for a channel: written, submitted with a forecast, approved by somebody else, applied."""
    maker, message = make_person("maker", "marketer"), plan_of(found, channel).message
    assert message is not None
    version = MessageVersion.objects.create(message=message, number=message.versions.count() + 1)
    MessageVariant.objects.create(version=version, number=1, subject="Hello", text=text)
    with versions.editing(found.pk, maker, now) as (_campaign, document):
        (entry,) = (one for one in document["channels"] if one["channel"] == channel.pk)
        entry["message"] = definition.message_entry(message, version.pk)
    make_plan(found, user=None, now=now, document=versions.working(found))
    submitted = lifecycle.submit(found, maker, now)
    lifecycle.approve(submitted, make_person("checker", "approver"), "approver", "", now)
    return submitted


def follow(found: Campaign, version: CampaignVersion, now: dt.datetime) -> None:
    """The job of a change, at this moment."""
    found.refresh_from_db()
    changes.follow(found, version, now)
    extend(found, now)
    Job.objects.filter(kind=changes.CHANGE_JOB).update(finished_at=now, state=Job.State.DONE)


# It stops ------------------------------------------------------------------------------------------


def test_a_rule_saved_during_the_run_stops_its_channel_at_once_and_the_others_go_on() -> None:
    (mail, wire), (text, other) = line(), line("sms")
    found = going([mail, text], rows.customers(6, ("email", "sms")))
    run(NOW, NOW + DAY)
    before = len(wire.log)
    assert 0 < before < 12
    rule(now=NOW + DAY)
    plan = plan_of(found, mail)
    assert plan.paused_at == NOW + DAY, "nobody had to look for it"
    assert "Forbidden characters: " in plan.stop_cause
    assert "Take out ★" in plan.stop_cause
    assert "Letter of the operator, holds from March 2, 2026" in plan.stop_cause
    run(NOW + DAY, NOW + 9 * DAY)
    assert len(wire.log) == before
    assert len(other.log) == 12
    assert make.states(found, channel_id=text.pk) == {"sent": 12}
    assert plan_of(found, text).paused_at is None
    assert [one for one in doctor.examine(NOW + 9 * DAY) if one.question.broken] == []


def test_what_a_platform_shows_for_a_channel_is_to_be_paused_with_it() -> None:
    (mail, _wire), (text, _other) = line(), line("sms")
    found = going([mail, text], rows.customers(2, ("email", "sms")))
    shown = {
        channel: PlatformAudience.objects.create(channel=channel, campaign_id=found.pk)
        for channel in (mail, text)
    }
    rule(now=NOW + DAY)
    wanted = {
        channel: PlatformAudience.objects.get(pk=audience.pk).pause_wanted
        for channel, audience in shown.items()
    }
    assert wanted == {mail: True, text: False}


def test_a_rule_saved_between_the_claim_and_the_call_lets_nothing_more_out() -> None:
    mail, wire = line(batch_size=1, before=lambda batch: rule() if len(wire.log) == 2 else None)
    found = going([mail], rows.customers(20), 1)
    Touch.objects.update(due_at=NOW)
    dispatch.dispatch_channel(mail.pk, now=NOW)
    assert len(wire.log) == 3, "the third was being called about when it was saved"
    assert make.states(found) == {"sent": 3, "planned": 17}
    assert Attempt.objects.filter(state="recorded").count() == 0
    run(NOW, NOW + 2 * DAY)
    assert len(wire.log) == 3


def test_a_rule_that_no_look_has_seen_yet_is_obeyed_all_the_same() -> None:
    mail, wire = line()
    found = going([mail], rows.customers(5), 1)
    Touch.objects.update(due_at=NOW)
    PlatformRule.objects.create(
        medium="email", key="forbidden_characters", value="★", valid_from=TODAY, source="SQL"
    )
    done = dispatch.dispatch_channel(mail.pk, now=NOW)
    assert (wire.log, done.claimed, done.returned) == ([], 5, 5)
    assert set(Touch.objects.values_list("state", "deferred")) == {("planned", "content")}
    tasks.watch_rules()
    assert plan_of(found, mail).paused_at is not None


def test_what_keeps_to_the_rules_is_not_touched_and_nothing_is_judged_twice(
    django_assert_num_queries: Any,
) -> None:
    (mail, _wire), (text, _other) = line(), line("sms")
    found = going([mail, text], rows.customers(2, ("email", "sms")))
    rule("☆")
    rule(3, key="messages_a_customer_a_week")
    events = audit.Trail(audit.Wanted(kind="campaigns.channelplan"))
    known = len(events)
    assert not ChannelPlan.objects.exclude(paused_at=None, breaks_at=None, stop_cause="").exists()
    with django_assert_num_queries(2):
        assert later_rules.look(NOW + HOUR) == []
    assert later_rules.look(NOW + DAY) == [], "another day is another question"
    assert len(audit.Trail(audit.Wanted(kind="campaigns.channelplan"))) == known
    assert make.states(found) == {"planned": 8}


def test_rules_for_another_channel_or_adapter_or_before_and_after_the_flight_stop_nothing() -> None:
    (mail, _wire), (other, _log) = line(), line()
    found = going([mail], rows.customers(2))
    rule(channel=other)
    rule(adapter=other.adapter)
    rule(country="US")
    rule(valid_from=TODAY - 9 * DAY, valid_to=TODAY - DAY)
    rule(valid_from=TODAY + 11 * DAY)
    assert (plan_of(found, mail).paused_at, plan_of(found, mail).breaks_at) == (None, None)
    rule(adapter=mail.adapter)
    assert plan_of(found, mail).paused_at == NOW


def test_two_workers_who_judge_at_once_pause_once() -> None:
    mail, _wire = line()
    found = going([mail], rows.customers(2))
    PlatformRule.objects.create(
        medium="email", key="forbidden_characters", value="★", valid_from=TODAY, source="SQL"
    )
    stopped: list[int] = []
    together = threading.Barrier(4)

    def judge() -> None:
        together.wait()
        stopped.append(len(later_rules.look(NOW)))
        connections.close_all()

    workers = [threading.Thread(target=judge) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(stopped) == [0, 0, 0, 1]
    trail = audit.Trail(audit.Wanted(kind="campaigns.channelplan"))[0:50]
    fields = [str(one.field) for change in trail for one in change.differences]
    assert Counter(fields)["paused since"] == 1
    assert plan_of(found, mail).paused_at == NOW


def test_a_setting_that_a_rule_needs_stops_the_channel_when_it_goes() -> None:
    text, _wire = line("sms")
    rule(True, medium="sms", key="signature_required")
    found = going([text], rows.customers(2, ("sms",)))
    Channel.objects.filter(pk=text.pk).update(settings={})
    assert [plan.channel for plan in later_rules.look(NOW)] == [text]
    assert "Enter the approved signature" in plan_of(found, text).stop_cause


# Days ----------------------------------------------------------------------------------------------


def test_a_rule_of_a_later_day_only_warns_and_stops_when_its_day_has_come() -> None:
    mail, wire = line()
    found = going([mail], rows.customers(6), 4)
    rule(valid_from=MIDNIGHT.date() + DAY)
    plan = plan_of(found, mail)
    assert (plan.paused_at, plan.breaks_at) == (None, MIDNIGHT), "of the campaign's own zone"
    run(NOW, MIDNIGHT - HOUR)
    before = len(wire.log)
    assert before
    assert later_rules.look(MIDNIGHT - HOUR) == []
    run(MIDNIGHT, MIDNIGHT + DAY)
    assert len(wire.log) == before, "not even before the next look"
    (stopped,) = later_rules.look(MIDNIGHT + DAY)
    assert stopped.paused_at == MIDNIGHT + DAY
    run(MIDNIGHT + DAY, MIDNIGHT + 6 * DAY)
    assert len(wire.log) == before


def test_a_warning_goes_when_other_words_are_approved_in_time() -> None:
    mail, wire = line()
    found = going([mail], rows.customers(4), 4)
    rule(valid_from=MIDNIGHT.date() + DAY)
    run(NOW, NOW + DAY)
    follow(found, mend(found, mail, NOW + DAY), NOW + DAY)
    later_rules.look(NOW + DAY)
    assert plan_of(found, mail).breaks_at is None
    run(NOW + DAY, NOW + 10 * DAY)
    assert plan_of(found, mail).paused_at is None
    assert make.states(found) == {"sent": 16}
    assert {("★" in message.text) for message in wire.log} == {True, False}


def test_a_rule_for_two_days_stops_for_them_and_afterwards_a_person_lets_it_go_on() -> None:
    mail, wire = line()
    found = going([mail], rows.customers(3), 3)
    day = MIDNIGHT.date() + DAY
    rule(valid_from=day, valid_to=day + DAY)
    run(NOW, MIDNIGHT)
    later_rules.look(MIDNIGHT)
    with pytest.raises(lifecycle.IllegalTransition, match="Take out ★"):
        channel_pauses.resume(found, mail.pk, MIDNIGHT + DAY)
    later_rules.look(MIDNIGHT + 2 * DAY)
    assert plan_of(found, mail).paused_at == MIDNIGHT, "never by itself"
    assert plan_of(found, mail).stop_cause != ""
    sent = len(wire.log)
    channel_pauses.resume(found, mail.pk, MIDNIGHT + 2 * DAY)
    run(MIDNIGHT + 2 * DAY, NOW + 10 * DAY)
    assert len(wire.log) > sent


def test_before_the_campaign_begins_a_rule_that_holds_stops_and_one_to_come_warns() -> None:
    mail, _wire = line()
    found = going([mail], rows.customers(2), state="scheduled", starts_at=NOW + 5 * DAY)
    later = rule(valid_from=TODAY + 2 * DAY)
    plan = plan_of(found, mail)
    assert (plan.paused_at, plan.breaks_at is not None) == (None, True)
    assert rule_standings.warned(NOW) == [plan]
    later.delete()
    rule(valid_to=TODAY + 3 * DAY)
    assert plan_of(found, mail).paused_at is None, "it is over when the campaign begins"
    held = rule()
    assert plan_of(found, mail).paused_at == NOW
    with pytest.raises(lifecycle.IllegalTransition, match="Take out ★"):
        channel_pauses.resume(found, mail.pk, NOW)
    held.delete()
    channel_pauses.resume(found, mail.pk, NOW)
    assert plan_of(found, mail).paused_at is None


def test_a_rule_that_another_one_stands_before_on_the_first_days_warns_of_the_day_it_holds_again() -> None:
    mail, _wire = line()
    found = going([mail], rows.customers(2), state="scheduled", starts_at=NOW + 5 * DAY)
    PlatformRule.objects.create(
        medium="email", key="forbidden_characters", value="☆", valid_from=TODAY + DAY, valid_to=TODAY + 7 * DAY,
        source="Letter",
    )  # fmt: skip
    rule()
    plan = plan_of(found, mail)
    assert (plan.paused_at, plan.breaks_at) == (None, MIDNIGHT + 5 * DAY)


# Going on ------------------------------------------------------------------------------------------


def test_a_stopped_channel_cannot_go_on_and_the_error_says_what_to_do() -> None:
    mail, _wire = line()
    found = going([mail], rows.customers(2))
    rule()
    with pytest.raises(lifecycle.IllegalTransition) as caught:
        channel_pauses.resume(found, mail.pk, NOW)
    said = str(caught.value)
    assert "Its words break a rule that holds now: Forbidden characters: " in said
    assert "v1, variant A: Take out ★" in said
    assert "have the change approved; or have the rule corrected" in said
    assert plan_of(found, mail).paused_at == NOW


def test_after_an_approved_change_it_goes_on_with_the_other_words_and_nobody_gets_more_than_approved() -> (
    None
):
    (mail, wire), (text, other) = line(), line("sms")
    found = going([mail, text], rows.customers(8, ("email", "sms")), 3)
    run(NOW, NOW + 2 * DAY)
    sent = len(wire.log)
    assert 8 <= sent < 24
    rule(now=NOW + 2 * DAY)
    change = mend(found, mail, NOW + 2 * DAY + HOUR)
    later_rules.look(NOW + 2 * DAY + HOUR)
    plan = plan_of(found, mail)
    assert (plan.paused_at, plan.breaks_at) == (NOW + 2 * DAY, None)
    assert plan.stop_cause
    channel_pauses.resume(found, mail.pk, NOW + 2 * DAY + HOUR)  # while the change is being applied still
    run(NOW + 2 * DAY + HOUR, NOW + 2 * DAY + 4 * HOUR)
    assert "★" not in "".join(message.text for message in wire.log[sent:])
    follow(found, change, NOW + 2 * DAY + 5 * HOUR)
    run(NOW + 2 * DAY + 6 * HOUR, NOW + 10 * DAY)
    assert plan_of(found, mail).stop_cause == ""
    assert {message.text for message in wire.log[sent:]} == {MENDED}
    for channel, log in ((mail, wire), (text, other)):
        assert len(log.log) == 24
        assert set(Counter(log.addresses).values()) == {3}, channel
    assert doctor.examine(NOW + 10 * DAY) == []


@pytest.mark.parametrize("how", ["deleted", "corrected"])
def test_a_rule_taken_back_lets_it_go_on(how: str) -> None:
    mail, wire = line()
    found = going([mail], rows.customers(4))
    made = rule()
    if how == "deleted":
        made.delete()
    else:
        made.value = "☆"
        rule_rows.save(made, NOW + HOUR)
    later_rules.look(NOW + HOUR)
    assert plan_of(found, mail).paused_at == NOW, "somebody has to want it"
    channel_pauses.resume(found, mail.pk, NOW + HOUR)
    run(NOW + HOUR, NOW + 10 * DAY)
    assert make.states(found) == {"sent": 8}
    assert len(wire.log) == 8


def test_a_channel_that_somebody_paused_before_cannot_go_on_either_and_stays_their_pause() -> None:
    mail, _wire = line()
    found = going([mail], rows.customers(2))
    channel_pauses.pause(found, mail.pk, NOW - HOUR)
    made = rule()
    plan = plan_of(found, mail)
    assert (plan.paused_at, plan.stop_cause) == (NOW - HOUR, "")
    with pytest.raises(lifecycle.IllegalTransition, match="Take out ★"):
        channel_pauses.resume(found, mail.pk, NOW)
    made.delete()
    channel_pauses.resume(found, mail.pk, NOW)
    assert (plan_of(found, mail).paused_at, plan_of(found, mail).breaks_at) == (None, None)


def test_a_message_that_comes_back_with_words_from_before_the_change_goes_out_with_the_approved_ones() -> (
    None
):
    told = {"bounce": True}
    mail, wire = line(
        answer=lambda message: (
            Sent(message.attempt_id, Outcome.THROTTLED, retry_after=60)
            if told["bounce"]
            else Outcome.ACCEPTED
        )
    )
    found = going([mail], rows.customers(3), 1)
    (before,) = set(Touch.objects.values_list("message_version_id", flat=True))
    rule()
    follow(found, mend(found, mail, NOW), NOW)
    channel_pauses.resume(found, mail.pk, NOW)
    Touch.objects.update(message_version_id=before, due_at=NOW)  # a late answer planned them again
    told["bounce"] = False
    assert dispatch.dispatch_channel(mail.pk, now=NOW).returned == 3
    assert wire.log == []
    assert later_rules.look(NOW) == []
    run(NOW + HOUR, NOW + 3 * HOUR)
    assert [message.text for message in wire.log] == [MENDED] * 3
    assert plan_of(found, mail).paused_at is None


def test_a_campaign_with_nothing_left_to_send_is_left_alone_until_something_comes_back() -> None:
    mail, wire = line()
    found = going([mail], rows.customers(2), 1)
    run(NOW, NOW + 9 * DAY)
    assert make.states(found) == {"sent": 2}
    rule(now=NOW + 9 * DAY)
    assert (plan_of(found, mail).paused_at, rule_standings.warned(NOW)) == (None, [])
    Touch.objects.filter(campaign_id=found.pk).update(state="planned", due_at=NOW + 9 * DAY)
    Attempt.objects.update(state="bounced")
    dispatch.dispatch_channel(mail.pk, now=NOW + 9 * DAY)
    assert len(wire.log) == 2
    (stopped,) = later_rules.look(NOW + 9 * DAY)
    assert stopped.channel == mail


# Every kind ----------------------------------------------------------------------------------------


def test_a_triggered_campaign_is_stopped_and_opens_meanwhile_for_people_who_get_it_afterwards() -> None:
    mail, wire = line()
    people = rows.customers(3)
    found = going(
        [mail], people, 1, kind="triggered",
        cadence={"by": "event", "event": "add_to_cart", "wait_hours": 0, "window_days": 3, "most": 1, "apart_days": 1},
    )  # fmt: skip
    did(people[0], "add_to_cart", NOW + HOUR)
    triggers.look(found, NOW + HOUR)
    run(NOW + HOUR, NOW + 6 * HOUR)
    assert len(wire.log) == 1
    made = rule(now=NOW + 6 * HOUR)
    assert plan_of(found, mail).paused_at is not None, "whoever comes next would get them"
    did(people[1], "add_to_cart", NOW + 7 * HOUR)
    triggers.look(found, NOW + 7 * HOUR)
    run(NOW + 7 * HOUR, NOW + 12 * HOUR)
    assert len(wire.log) == 1
    made.delete()
    channel_pauses.resume(found, mail.pk, NOW + 12 * HOUR)
    run(NOW + 12 * HOUR, NOW + 3 * DAY)
    assert len(wire.log) == 2


def test_a_recurring_campaign_is_stopped_between_two_runs_and_goes_on_with_the_next() -> None:
    mail, wire = line()
    found = going(
        [mail], rows.customers(3), 1, kind="recurring", cadence={"every": 3, "unit": "day", "times": 3}
    )
    run(NOW, NOW + 2.5 * DAY)
    assert len(wire.log) == 3
    made = rule(now=NOW + 2.5 * DAY)
    assert plan_of(found, mail).paused_at is not None
    late = rows.customers(1)
    found.segment.members.create(customer=late[0])  # type: ignore[union-attr]
    admit(found, NOW + 4 * DAY)
    run(NOW + 2.5 * DAY, NOW + 6 * DAY)
    assert len(wire.log) == 3, "neither those of the second run nor who joined it"
    made.delete()
    channel_pauses.resume(found, mail.pk, NOW + 6 * DAY)
    run(NOW + 6 * DAY, NOW + 10 * DAY)
    assert set(Counter(wire.addresses).values()) <= {1, 2, 3}
    assert len(wire.log) > 3


def test_a_rule_that_comes_while_a_campaign_is_being_released_stops_it_before_it_runs() -> None:
    mail, _wire = line()
    found = going([mail], rows.customers(2), state="approved")
    PlatformRule.objects.create(
        medium="email", key="forbidden_characters", value="★", valid_from=TODAY, source="SQL"
    )
    assert later_rules.look(NOW, found.pk)
    assert plan_of(found, mail).paused_at == NOW
    assert lifecycle.released(found, NOW) == "running"


def test_a_list_worked_by_hand_leaves_out_words_that_break_a_rule() -> None:
    letters = rows.channel("email", adapter="manual")
    found = going([letters], rows.customers(3), 1)
    Touch.objects.update(due_at=NOW)
    assert dispatch.dispatch_channel(letters.pk, now=NOW).held == 3
    assert len(list(manual.held_list(letters, found.pk, NOW))) == 3
    rule()
    assert list(manual.held_list(letters, found.pk, NOW)) == []


# Screens and API ------------------------------------------------------------------------------------


def now_going(*, later: bool = False) -> tuple[Campaign, Channel, Channel, dt.date]:
    """A campaign that runs at this moment, made by the marketer, on two channels."""
    now = timezone.now()
    (mail, _wire), (text, _other) = line(), line("sms")
    found = going([mail, text], rows.customers(3, ("email", "sms")), now=now)
    Campaign.objects.filter(pk=found.pk).update(created_by=make_person("marketer", "marketer"))
    return found, mail, text, (now + (3 if later else -1) * DAY).date()


FORM = {
    "medium": "email", "key": "forbidden_characters", "value": '"★"', "adapter": "", "channel": "", "country": "",
    "valid_to": "", "source": "Letter of the operator", "source_date": "",
}  # fmt: skip


def test_who_saves_a_rule_is_told_what_it_stopped_and_the_trail_keeps_it(
    client: Client, make_user: Any, as_marketer: Client
) -> None:
    found, mail, text, day = now_going()
    client.force_login(make_user("admin", "channel_admin"))
    shown = client.post(
        reverse("channels:new_rule"), FORM | {"valid_from": day.isoformat()}, follow=True
    ).content.decode()
    assert f"“{mail.name}” is paused in “{found.name}”: its words break the rule." in shown
    assert plan_of(found, text).paused_at is None
    (change, *_rest) = audit.Trail(audit.Wanted(kind="campaigns.channelplan"))[0:9]
    told = {str(one.field): one.after for one in change.differences}
    assert change.who == "admin"
    assert set(told) == {"paused since", "stopped by a rule", "breaks a rule from"}
    assert "Take out ★" in told["stopped by a rule"]
    live = as_marketer.get(reverse("campaigns:live", args=[found.pk])).content.decode()
    assert f"A rule stopped {mail.name} in this campaign" in live
    assert "Take out ★" in live
    assert "Letter of the operator" in live
    assert "Stopped by a rule" in live
    resume = reverse("campaigns:resume_channel", args=[found.pk, mail.pk])
    assert resume not in live, "no button that would only be refused"
    refused = as_marketer.post(resume, follow=True).content.decode()
    assert "Its words break a rule that holds now" in refused
    home = as_marketer.get(reverse("config:home")).content.decode()
    assert home.count("Stopped by a rule") == 2, "for its owner, and for everybody"
    assert "Write other words and have them approved." in home
    row = PlatformRule.objects.get(value="★")
    client.post(
        reverse("channels:rule", args=[row.pk]), FORM | {"valid_from": day.isoformat(), "value": '"☆"'}
    )
    live = as_marketer.get(reverse("campaigns:live", args=[found.pk])).content.decode()
    assert "Its words keep to the rules again" in live
    assert resume in live
    assert "let it go on" in as_marketer.get(reverse("config:home")).content.decode()
    as_marketer.post(resume)
    assert plan_of(found, mail).paused_at is None
    assert "rule" not in as_marketer.get(reverse("config:home")).content.decode().lower().split("<main")[-1]


def test_a_rule_of_a_later_day_is_told_on_the_live_page_and_on_home_with_its_day(
    client: Client, make_user: Any, as_marketer: Client
) -> None:
    found, mail, _text, day = now_going(later=True)
    client.force_login(make_user("admin", "channel_admin"))
    shown = client.post(
        reverse("channels:new_rule"), FORM | {"valid_from": day.isoformat()}, follow=True
    ).content.decode()
    assert f"“{mail.name}” will be paused in “{found.name}” on {date_format(day)}" in shown
    again = client.post(
        reverse("channels:new_rule"),
        FORM | {"valid_from": day.isoformat(), "key": "longest_bytes", "value": "9000"},
        follow=True,
    )
    assert "will be paused" not in again.content.decode(), "that was another rule"
    live = as_marketer.get(reverse("campaigns:live", args=[found.pk])).content.decode()
    assert f"From {date_format(day)} on, the words on {mail.name} break a rule" in live
    home = as_marketer.get(reverse("config:home")).content.decode()
    assert "Breaks a rule soon" in home
    assert date_format(day) in home
    assert make.states(found) == {"planned": 12}


def test_the_api_saves_rules_tells_what_they_stopped_and_refuses_to_go_on(
    client: Client, make_user: Any, as_approver: Client
) -> None:
    found, mail, text, day = now_going()
    client.force_login(make_user("admin", "channel_admin"))
    entered = {
        "medium": "email",
        "key": "forbidden_characters",
        "value": "★",
        "source": "Letter of the operator",
    }
    made = client.post(
        "/api/v1/platform-rules/", entered | {"valid_from": day.isoformat()}, content_type="application/json"
    )
    assert made.status_code == 201, made.content
    told = as_approver.get(f"/api/v1/campaigns/{found.pk}/progress/").json()
    channels = {row["channel"]: row for row in told["channels"]}
    assert channels[text.pk]["rules"] is None
    rules = channels[mail.pk]["rules"]
    assert (rules["stopped"], rules["mended"], rules["later"]) == (True, False, [])
    (broken,) = rules["now"]
    assert (broken["rule"], broken["where"], broken["variant"], broken["rule_source"], broken["since"]) == (
        "forbidden_characters", "text", "A", "Letter of the operator", day.isoformat(),
    )  # fmt: skip
    resume = f"/api/v1/campaigns/{found.pk}/channels/{mail.pk}/resume/"
    refused = as_approver.post(resume)
    assert refused.status_code == 409
    assert "Take out ★" in refused.json()["detail"]
    where = f"/api/v1/platform-rules/{made.json()['id']}/"
    assert client.patch(where, {"value": "☆"}, content_type="application/json").status_code == 200
    assert as_approver.post(resume).status_code == 200


def test_the_release_job_judges_before_the_campaign_runs() -> None:
    now = timezone.now()
    mail, _wire = line()
    found = rows.campaign(rows.customers(2), [mail], 1, days=10, starts_at=now)
    MessageVariant.objects.update(text=WORDS)
    plan = make_plan(found, user=None, now=now)
    approve(found, plan, now)
    rounds.write_rounds(found, 1)
    Campaign.objects.filter(pk=found.pk).update(state="approved", version=1, release_plan=plan)
    found.refresh_from_db()
    job = lifecycle.start_release(found, plan, None)
    PlatformRule.objects.create(
        medium="email", key="forbidden_characters", value="★", valid_from=now.date() - DAY, source="SQL"
    )
    jobs.run(job.pk)
    found.refresh_from_db()
    assert (found.state, plan_of(found, mail).paused_at is not None) == ("running", True)
