"""Rules of platforms as dated rows: the editor, the approval, the planner and the sending all keep to them."""

import datetime as dt
from collections import Counter
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse

from audiences.models import Consent
from campaigns import content, definition, dispatch, lifecycle, readiness, rounds, versions
from campaigns.models import Campaign, MemberTarget, MessageVersion, Touch
from campaigns.planner import make_plan
from campaigns.release import release
from campaigns.vocabulary import Cause
from channels.models import Channel, PlatformRule
from channels.platform_rules import rule_value
from tests import campaign_drafts as drafts
from tests import factories as make
from tests import plan_rows as rows
from tests.wire import Wire

pytestmark = pytest.mark.django_db
NOW = drafts.NOW
TODAY = NOW.date()
HOUR = dt.timedelta(hours=1)


def rule(medium: str, key: str, value: Any, **fields: Any) -> PlatformRule:
    fields = {"valid_from": dt.date(2026, 1, 1), "source": "Operator's letter"} | fields
    return PlatformRule.objects.create(medium=medium, key=key, value=value, **fields)


# The rows a new installation has ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("medium", "country", "key", "value"),
    [
        ("sms", "CN", "hours", {"from": "08:00", "to": "21:00"}),
        ("sms", "CN", "signature_required", True),
        ("sms", "CN", "opt_out_text", "拒收请回复R"),
        ("sms", "CN", "forbidden_characters", "【】"),
        ("sms", "CN", "longest_characters", 500),
        ("sms", "US", "hours", {"from": "08:00", "to": "21:00"}),
        ("wecom", "", "messages_a_customer_a_month", "days_in_month"),
        ("official_account", "", "messages_a_customer_a_month", 4),
        ("official_account", "", "calls_a_minute", 60),
        ("official_account", "", "hours", {"from": "08:00", "to": "21:00"}),
    ],
)
def test_the_rules_told_in_the_manual_are_rows(medium: str, country: str, key: str, value: Any) -> None:
    assert rule_value(medium, key, country=country, on=TODAY) == value
    assert PlatformRule.objects.filter(medium=medium, key=key, country=country).exclude(source="").exists()


def test_aliyuns_quota_a_number_and_the_smallest_audiences_are_rows_of_their_adapters() -> None:
    (aliyun,) = PlatformRule.objects.filter(key="messages_a_number_in_24_hours")
    assert (aliyun.value, aliyun.country) == (50, "CN")
    smallest = dict(
        PlatformRule.objects.filter(medium="search", key="smallest_audience").values_list("adapter", "value")
    )
    assert smallest == {"google_ads": 100, "microsoft_ads": 300}
    assert not PlatformRule.objects.filter(adapter="google").exists(), "a row of no adapter holds for nobody"


# The editor and the approval ----------------------------------------------------------------------


def draft(text: str, **settings: Any) -> Campaign:
    """A draft with one channel for texts and this text on it."""
    channel = drafts.make_channel("sms", settings={"signature": "Evenreach"} | settings)
    version = drafts.make_message("sms", text=text)
    entry = {"message": definition.message_entry(version.message, version.pk)}
    campaign = drafts.make_draft(channels=[channel])
    user = drafts.make_person("maker", "marketer")
    with versions.editing(campaign.pk, user, NOW) as (_campaign, document):
        document["channels"][0].update(entry)
    return Campaign.objects.get(pk=campaign.pk)


def version_of(campaign: Campaign) -> MessageVersion:
    (entry,) = definition.read(campaign)["channels"]
    return MessageVersion.objects.get(pk=entry["message"]["version_id"])


def against(campaign: Campaign, now: dt.datetime = NOW) -> str:
    found = readiness.blocking(readiness.missing(definition.read(campaign), now=now))
    return " ".join(entry.text for entry in found)


@pytest.mark.parametrize(
    ("text", "settings", "words", "label"),
    [
        ("五折 拒收请回复R", {"signature": ""}, "signature", "Signature needed"),
        ("全场五折", {}, "拒收请回复R", "Opt-out words"),
        ("【双十一】五折 拒收请回复R", {}, "Take out 【 】", "Forbidden characters"),
        ("折" * 490 + "拒收请回复R", {}, "507 characters, and 500", "Longest text in characters"),
    ],
)
def test_a_text_that_breaks_a_rule_cannot_be_submitted_and_the_screen_says_which_and_where(
    text: str, settings: dict[str, str], words: str, label: str
) -> None:
    campaign = draft(text, **settings)
    assert words in against(campaign)
    drafts.make_plan(campaign)
    with pytest.raises(lifecycle.NotReady, match="variant A"):
        lifecycle.submit(campaign, drafts.make_person("maker", "marketer"), NOW)
    channel = Channel.objects.get()
    problems = content.check(version_of(campaign), channel, TODAY)
    shown = render_to_string("campaigns/_problems.html", {"problems": problems})
    assert label in shown
    assert "Mainland SMS operators" in shown
    assert ("Channel: " if "signature" in words else "Text: ") in shown


def test_a_rule_an_admin_dates_ahead_holds_from_its_day(client: Client, make_user: Any) -> None:
    client.force_login(make_user("admin", "channel_admin"))
    starts = TODAY + dt.timedelta(days=10)
    fields = {
        "medium": "sms", "country": "CN", "key": "opt_out_text", "value": '"回T退订"', "valid_from": starts.isoformat(),
        "source": "Operator's letter", "adapter": "", "channel": "", "valid_to": "", "source_date": "",
    }  # fmt: skip
    assert client.post(reverse("channels:new_rule"), fields).status_code == 302
    campaign = draft("全场五折 拒收请回复R")
    found = against(campaign)
    assert "回T退订" in found, "it is flown from tomorrow for two weeks"
    assert "Operator's letter, holds from March 12, 2026" in found
    assert "End the text with “拒收请回复R”" not in found, "and until then the other words suffice"
    problems = content.check(version_of(campaign), Channel.objects.get(), TODAY, starts)
    shown = render_to_string("campaigns/_problems.html", {"problems": problems})
    assert "Operator&#x27;s letter" in shown
    assert "holds from March 12, 2026" in shown


def test_a_rule_from_after_the_flight_or_until_before_it_judges_nothing() -> None:
    campaign = draft("全场五折 拒收请回复R")  # from tomorrow for two weeks
    rule("sms", "longest_characters", 5, country="CN", valid_from=TODAY + dt.timedelta(days=16))
    rule("sms", "longest_characters", 4, country="CN", valid_to=TODAY)
    assert against(campaign) == ""
    PlatformRule.objects.filter(value=5).update(valid_from=TODAY + dt.timedelta(days=15))
    assert "and 5 are allowed" in against(campaign), "the last day counts"


def test_a_rule_that_holds_for_some_days_within_the_flight_judges_it() -> None:
    campaign = draft("全场五折 拒收请回复R")
    fields = {"valid_from": TODAY + dt.timedelta(days=5), "valid_to": TODAY + dt.timedelta(days=6)}
    rule("sms", "forbidden_characters", "五", country="CN", **fields)
    assert "Take out 五" in against(campaign)
    assert against(campaign, NOW + dt.timedelta(days=7)) == "", "what is left of it is not judged by it"


def test_hours_that_a_rule_takes_away_within_the_flight_are_told_before() -> None:
    campaign = draft("全场五折 拒收请回复R")
    with versions.editing(campaign.pk, drafts.make_person("maker", "marketer"), NOW) as (_campaign, document):
        document["channels"][0]["day_parts"] = [{"days": [1, 2, 3, 4, 5], "from": "19:00", "to": "20:30"}]
    campaign = Campaign.objects.get(pk=campaign.pk)
    assert against(campaign) == ""
    starts = TODAY + dt.timedelta(days=9)
    rule("sms", "hours", {"from": "08:00", "to": "18:00"}, country="CN", valid_from=starts)
    assert "leave no permitted hour" in against(campaign)
    assert "holds from March 11, 2026" in against(campaign)


def test_a_rule_that_comes_into_force_after_submitting_stops_the_approval() -> None:
    campaign = draft("全场五折 拒收请回复R")
    drafts.make_plan(campaign)
    version = lifecycle.submit(campaign, drafts.make_person("maker", "marketer"), NOW)
    rule("sms", "opt_out_text", "回T退订", country="CN", valid_from=TODAY)
    with pytest.raises(lifecycle.IllegalTransition, match="回T退订"):
        lifecycle.approve(version, drafts.make_person("checker", "approver"), "campaign", "", NOW)


def test_day_parts_that_leave_no_permitted_hour_are_said_with_the_rule() -> None:
    campaign = draft("全场五折 拒收请回复R")
    document = definition.read(campaign)
    document["channels"][0]["day_parts"] = [{"from": "21:30", "to": "23:00"}]
    found = readiness.blocking(readiness.missing(document, now=NOW))
    assert [(entry.step, "08:00 to 21:00 (Mainland SMS" in entry.text) for entry in found] == [
        ("matrix", True)
    ]


def test_a_segment_below_the_platforms_smallest_audience_is_said_with_the_rule() -> None:
    channel = drafts.make_channel(
        "search",
        adapter="microsoft_ads",
        observability="person_targeted",
        guarantee="aggregate",
        domain="public",
    )
    document = definition.read(drafts.make_draft(channels=[channel]))
    segment = drafts.make_segment(counted=299)
    document["segment"] = definition.segment_entry(segment)

    def told() -> list[str]:
        return [entry.text for entry in readiness.blocking(readiness.missing(document, now=NOW))]

    assert [("300 people" in text, "299" in text) for text in told()] == [(True, True)]
    type(segment).objects.update(counted=300)
    assert told() == []


# The planner --------------------------------------------------------------------------------------


def released(campaign: Campaign) -> Any:
    plan = make_plan(campaign, user=None, now=rows.NOON)
    rounds.write_rounds(campaign, 1)
    release(campaign, plan, now=rows.NOON)
    return Touch.objects.filter(campaign_id=campaign.pk)


def causes(campaign: Campaign) -> Counter[str]:
    found: Counter[str] = Counter()
    for target, got, cause in MemberTarget.objects.filter(campaign_id=campaign.pk).values_list(
        "target", "planned", "cause"
    ):
        found[cause] += target - got
    return +found


def test_mainland_texts_are_planned_between_eight_and_nine_in_the_evening() -> None:
    people = rows.customers(20, ("sms",))
    campaign = rows.campaign(people, [rows.channel("sms", settings={"signature": "E"})], 4, days=3, gap=6)
    local = [
        at.astimezone(ZoneInfo("Asia/Shanghai")).hour
        for at in released(campaign).values_list("due_at", flat=True)
    ]
    assert len(local) == 80
    assert 8 <= min(local) <= max(local) < 21


def test_states_with_shorter_hours_hold_for_everybody_in_their_zones() -> None:
    """Between eight and nine in the evening: nobody in a zone that Florida lies in, everybody in Hawaii."""
    channel = rows.channel("sms", settings={"country": "US"})
    east = rows.customers(3, ("sms",), zone="America/New_York")
    hawaii = rows.customers(3, ("sms",), zone="Pacific/Honolulu")
    late = {"day_parts": [{"from": "20:00", "to": "22:00"}]}
    found = released(rows.campaign(east + hawaii, [channel], 1, days=4, plans=late))
    assert set(found.values_list("customer_id", flat=True)) == {person.pk for person in hawaii}
    assert causes(Campaign.objects.get()) == {Cause.HOURS: 3}
    local = [
        at.astimezone(ZoneInfo("Pacific/Honolulu")).hour for at in found.values_list("due_at", flat=True)
    ]
    assert set(local) == {20}


def test_a_number_gets_no_more_than_its_quota_in_24_hours() -> None:
    rule("sms", "messages_a_number_in_24_hours", 2, adapter="manual", country="CN")
    people = rows.customers(3, ("sms",))
    campaign = rows.campaign(people, [rows.channel("sms", settings={"signature": "E"})], 4, days=1, gap=1)
    assert set(Counter(released(campaign).values_list("customer_id", flat=True)).values()) == {2}
    assert causes(campaign) == {Cause.PLATFORM_RULE: 6}


def test_a_wecom_customer_gets_no_more_than_the_days_of_a_short_month() -> None:
    people = rows.customers(2, ("wecom",))
    campaign = rows.campaign(people, [rows.channel("wecom")], 40, days=28, gap=12)
    assert set(Counter(released(campaign).values_list("customer_id", flat=True)).values()) == {28}
    assert causes(campaign) == {Cause.PLATFORM_RULE: 24}


@pytest.mark.parametrize(("people", "planned"), [(9, 0), (10, 10)])
def test_nobody_is_planned_for_an_audience_its_platform_would_not_serve(people: int, planned: int) -> None:
    rule("search", "smallest_audience", 10, adapter="manual")
    channel = rows.channel("search", observability="person_targeted", guarantee="aggregate", domain="public")
    found = rows.customers(people, ("search",), consents=())
    for person in found:
        Consent.objects.create(
            customer=person, brand=channel.brand, medium="search", purpose="upload", status="granted", source="test",
            occurred_at=rows.NOON, received_at=rows.NOON,
        )  # fmt: skip
    campaign = rows.campaign(found, [channel], 1)
    assert released(campaign).count() == planned
    assert causes(campaign) == ({} if planned else {Cause.PLATFORM_RULE: 9})


# The sending --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_nobody_of_a_state_with_shorter_hours_is_texted_after_them() -> None:
    # Tests over several connections may begin without the rows of migrations.
    usual = {"from": "08:00", "to": "21:00"}
    rule("sms", "hours", usual, country="US")
    rule(
        "sms",
        "hours_by_region",
        {"Florida": usual | {"to": "20:00", "zones": ["America/New_York"]}},
        country="US",
    )
    wire = Wire(kinds=("phone",))
    channel = make.channel("sms", wire=wire, settings={"country": "US"})
    east = make.customers(2, ("sms",), zone="America/New_York")
    arizona = make.customers(2, ("sms",), zone="America/Phoenix")
    evening = dt.datetime(2026, 3, 3, 1, 30, tzinfo=dt.UTC)  # 20:30 in New York, 18:30 in Phoenix
    found = make.campaign([channel])
    make.released(found, east + arizona, version=make.message("sms"))
    dispatch.dispatch_channel(channel.pk, now=evening)
    sent = set(Touch.objects.filter(state="sent").values_list("customer_id", flat=True))
    assert sent == set(arizona)
    waiting = Touch.objects.filter(customer_id__in=east)
    morning = dt.datetime(2026, 3, 3, 13, tzinfo=dt.UTC)  # 08:00 in New York
    assert set(waiting.values_list("deferred", "due_at")) == {("hours", morning)}


# Email ---------------------------------------------------------------------------------------------


def test_mail_that_is_not_signed_is_told_where_one_click_unsubscribing_is_a_rule() -> None:
    channel = drafts.make_channel("email", adapter="email")
    version = drafts.make_message("email")
    (told,) = content.check(version, channel, TODAY)
    assert (told.rule, told.error, told.source) == ("one_click_unsubscribe", False, "RFC 8058")
    assert "DKIM" in told.text
    row = rule("email", "one_click_unsubscribe", False, channel=channel)
    assert content.check(version, channel, TODAY) == []
    row.delete()
    channel.settings |= {"dkim_domain": "brand.cn", "dkim_selector": "s1"}
    channel.credentials = {"dkim_key": "-----BEGIN PRIVATE KEY-----"}
    assert content.check(version, channel, TODAY) == []
    assert content.check(version, drafts.make_channel("email"), TODAY) == [], (
        "a list worked by hand has no headers"
    )
