"""Target = reached + unknown + unobserved + open + released + gap, and every figure opens to its rows."""

import csv
import datetime as dt
import io
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from audiences.models import Customer
from campaigns.models import Campaign, Response
from channels.models import DailyReport
from reports import coverage_days
from reports.coverage import coverage
from reports.coverage_all import coverage_of_all
from reports.models.coverage import NO_DAY
from reports.queries import rows
from tests.plan_rows import channel, customers
from tests.report_rows import START, released, short, touch

pytestmark = pytest.mark.django_db
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def ran() -> Any:
    """Four people, two channels, two touches each: every state occurs."""
    people = customers(5, ["email", "sms"])
    mail, sms = channel("email"), channel("sms")
    campaign = released(people, [mail, sms], held_out=people[4:])
    a, b, c, d = people[:4]
    touch(campaign, a, mail, 1)
    touch(campaign, a, mail, 2)
    touch(campaign, a, sms, 1, "sent")
    touch(campaign, a, sms, 2, "unknown")
    touch(campaign, b, mail, 1, "gap", "opted_out")
    touch(campaign, b, mail, 2, "gap", "opted_out")
    short(campaign, b, sms, 0, "no_identity")
    touch(campaign, c, mail, 1, "sent")
    touch(campaign, c, mail, 2, "released", "silence")
    touch(campaign, c, sms, 1, "planned")
    short(campaign, c, sms, 1, "budget")
    short(campaign, d, mail, 1, "pressure")
    touch(campaign, d, mail, 1, "gap", "bounced")
    touch(campaign, d, sms, 1, "unobserved")
    touch(campaign, d, sms, 2, "held")
    return campaign, mail, sms, people


def test_every_touch_of_the_target_stands_somewhere(ran: Any) -> None:
    campaign, _mail, _sms, _people = ran
    total = coverage(campaign).total
    assert (total.people, total.target, total.planned) == (4, 16, 12)
    assert (total.reached, total.delivered, total.unknown, total.unobserved, total.pending) == (4, 2, 1, 1, 2)
    assert dict(total.gaps) == {"opted_out": 2, "no_identity": 2, "budget": 1, "pressure": 1, "bounced": 1}
    assert dict(total.released) == {"silence": 1}
    assert total.adds_up


def test_the_biggest_cause_comes_first_with_its_owner(ran: Any) -> None:
    causes = coverage(ran[0]).causes
    assert [(line.cause, line.owner, line.touches) for line in causes][:3] == [
        ("no_identity", "audience", 2),
        ("opted_out", "audience", 2),
        ("bounced", "audience", 1),
    ]
    assert sum(line.share for line in causes) == pytest.approx(1)


def test_the_held_out_have_no_target_and_are_no_gap(ran: Any) -> None:
    report = coverage(ran[0])
    assert (report.members["members"], report.members["held_out"]) == (5, 1)
    assert sum(bar["below"] + bar["full"] for bar in report.histogram) == 4


def test_over_is_zero_by_us_and_a_merge_reveals_its_own() -> None:
    people = customers(2, ["email"])
    mail = channel("email")
    campaign = released(people, [mail], target=1)
    for person in people:
        touch(campaign, person, mail)
    assert coverage(campaign).over == {"over_by_us": 0, "over_by_platform": 0, "over_by_merge": 0}
    Customer.objects.filter(pk=people[0].pk).update(merged_into=people[1])
    assert coverage(campaign).over == {"over_by_us": 0, "over_by_platform": 0, "over_by_merge": 1}


def test_over_by_us_counts_every_touch_beyond_the_target_whatever_its_ordinal() -> None:
    people = customers(3, ["email"])
    mail = channel("email")
    campaign = released(people, [mail], target=4)
    for ordinal in (1, 2, 3, 4):
        touch(campaign, people[0], mail, ordinal)
    for ordinal, state in ((1, "gap"), (2, "released"), (3, "sent"), (4, "unknown")):
        touch(campaign, people[1], mail, ordinal, state, "" if state in ("sent", "unknown") else "silence")
    touch(campaign, people[2], mail, 4)
    with (
        connection.cursor() as cursor
    ):  # as if somebody had lowered the target behind the back of the product
        cursor.execute(
            "UPDATE campaigns_member_target SET target = 1, planned = 1 WHERE campaign_id = %s", [campaign.pk]
        )
    assert coverage(campaign).over == {"over_by_us": 3 + 1 + 0, "over_by_platform": 0, "over_by_merge": 0}


@pytest.mark.parametrize("figure", sorted(rows.FIGURES))
def test_rows_and_csv_sum_to_the_page(ran: Any, figure: str, as_finance: Client) -> None:
    campaign, _mail, sms, _people = ran
    report = coverage(campaign)
    of_page = {
        "released": report.total.released_total,
        "gap": report.total.gap,
    }.get(figure, getattr(report.total, figure, None))
    assert rows.totals(figure, campaign.pk, {})["touches"] == of_page
    answer = as_finance.get(f"/reports/coverage/{campaign.pk}/{figure}/?format=csv")
    lines = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))
    assert sum(int(line["touches"]) for line in lines) == of_page
    narrowed = next(line for line in report.channels if line.channel == sms).count
    of_channel = {"released": narrowed.released_total, "gap": narrowed.gap}.get(
        figure, getattr(narrowed, figure, None)
    )
    assert rows.totals(figure, campaign.pk, {"channel": sms.pk})["touches"] == of_channel


def test_pages_of_rows_lose_and_repeat_nothing(ran: Any) -> None:
    campaign = ran[0]
    seen = list(rows.every("gap", campaign.pk, {}, step=2))
    assert len(seen) == len(set(seen)) == rows.totals("gap", campaign.pk, {})["rows"]


def test_the_page_names_over_gap_and_the_biggest_cause(ran: Any, as_marketer: Client) -> None:
    text = as_marketer.get(f"/reports/coverage/{ran[0].pk}/").content.decode()
    figures = dict(re.findall(r'data-figure="(\w+)">(.*?)</div>', text, re.S))
    assert figures["over"].strip() == "0"
    assert ">7<" in figures["gap"]
    assert "No valid address" in figures["cause"]


def test_a_cell_that_begins_like_a_formula_is_text(as_marketer: Client) -> None:
    people = customers(1, ["email"])
    Customer.objects.filter(pk=people[0].pk).update(name="=cmd|' /C calc'!A0")
    mail = channel("email")
    campaign = released(people, [mail], target=1)
    touch(campaign, people[0], mail)
    answer = as_marketer.get(f"/reports/coverage/{campaign.pk}/reached/?format=csv")
    assert "'=cmd" in b"".join(answer.streaming_content).decode()


@pytest.mark.parametrize(
    "query", ["channel=99999999999999999999", "after=x-y", "stage=%27", "round=-1", "after=1-2-3-4"]
)
def test_odd_addresses_do_no_harm(ran: Any, query: str, as_marketer: Client) -> None:
    assert as_marketer.get(f"/reports/coverage/{ran[0].pk}/gap/?{query}").status_code == 200


class AnyMixtureAddsUp(TestCase):
    @settings(max_examples=20, deadline=None)
    @given(
        data=st.lists(
            st.tuples(
                st.integers(0, 3),
                st.lists(
                    st.sampled_from(
                        ["planned", "claimed", "held", "sent", "delivered", "unknown", "gap", "released"]
                    ),
                    max_size=3,
                ),
            ),
            min_size=1,
            max_size=6,
        )
    )
    def test_the_parts_are_the_target(self, data: list[tuple[int, list[str]]]) -> None:
        people = customers(len(data), ["email"])
        mail = channel("email")
        campaign = released(people, [mail], target=3)
        for person, (_spare, states) in zip(people, data, strict=True):
            if len(states) < 3:
                short(campaign, person, mail, len(states), "capacity")
            for ordinal, state in enumerate(states, 1):
                touch(campaign, person, mail, ordinal, state, "exit" if state in ("gap", "released") else "")
        report = coverage(campaign)
        assert report.total.adds_up
        assert report.total.target == 3 * len(data)
        assert report.over_total == 0


def test_over_by_a_platform_is_told_apart_and_names_who_was_shown_too_much() -> None:
    people = customers(3, ["email"])
    ads = channel("social", observability="person_targeted", guarantee="aggregate", price_model="cpm")
    campaign = released(people, [ads], target=2)
    for person in people:
        for ordinal in (1, 2):
            touch(campaign, person, ads, ordinal, "unobserved")
    shown = [(people[0], 5), (people[1], 2)]
    Response.objects.bulk_create(
        Response(
            customer=person, campaign_id=campaign.pk, channel=ads, kind="exposure", occurred_at=START + turn * HOUR,
            received_at=START, source="pixel", source_key=f"{person.pk}-{turn}",
        )
        for person, times in shown for turn in range(times)
    )  # fmt: skip
    report = coverage(campaign)
    assert report.over == {"over_by_us": 0, "over_by_platform": 3, "over_by_merge": 0}
    assert (report.total.unobserved, report.total.reached, report.total.gap) == (6, 0, 0)
    (phase,) = report.phases
    assert (phase[1].over_by_platform, report.stages["customer"].over_by_platform) == (3, 3)
    behind = list(rows.every("over_by_platform", campaign.pk, {}))
    assert [row[0] for row in behind] == [people[0].pk] * 3
    assert sum(count.over_by_platform for _day, count in report.days) == 3


@pytest.mark.parametrize(
    ("exposures", "reach", "over"), [(100, 30, 40), (60, 30, 0), (100, None, None), (None, 30, None)]
)
def test_over_told_in_totals_is_only_what_is_certain(
    exposures: int | None, reach: int | None, over: int | None
) -> None:
    people = customers(3, ["email"])
    ads = channel("social", observability="person_targeted", guarantee="aggregate", price_model="cpm")
    campaign = released(people, [ads], target=2)
    for version, told in ((1, 9_999), (2, exposures)):
        DailyReport.objects.create(
            channel=ads, day=START.date(), version=version, spend=1, source="api", fetched_at=START,
            campaign_id=campaign.pk, exposures=told, reach=reach,
        )  # fmt: skip
    report = coverage(campaign)
    assert report.over_reported == over
    assert report.over_total == 0


def test_classes_phases_stages_and_days_each_add_up_to_the_whole(ran: Any) -> None:
    campaign = ran[0]
    ads = channel("social", observability="person_targeted", guarantee="aggregate", price_model="cpm")
    report = coverage(campaign)
    parts = {
        "classes": [each.count for each in report.classes],
        "channels": [line.count for line in report.channels],
        "phases": [count for _phase, count, _rounds in report.phases],
        "stages": list(report.stages.values()),
        "days": [*(count for _day, count in report.days), report.never_planned],
    }
    names = (
        "target",
        "planned",
        "reached",
        "delivered",
        "unknown",
        "unobserved",
        "pending",
        "gap",
        "over_total",
    )
    for part, counts in parts.items():
        for name in (*names, "released_total"):
            assert sum(getattr(count, name) for count in counts) == getattr(report.total, name), (part, name)
    assert [each.observability for each in report.classes] == ["person_observed"]
    assert ads.pk not in {line.channel.pk for line in report.channels}


def test_receipts_are_held_against_touches(ran: Any) -> None:
    campaign, mail, sms, _people = ran
    told = {line.channel: line for line in coverage(campaign).receipts}
    assert (told[mail].reached, told[mail].confirmed, told[mail].awaited, told[mail].difference) == (
        3,
        2,
        1,
        0,
    )
    assert (told[sms].reached, told[sms].unknown) == (1, 1)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE campaigns_attempt SET state = 'bounced' WHERE channel_id = %s", [mail.pk])
    assert {line.channel: line.difference for line in coverage(campaign).receipts} == {mail: 3, sms: 0}


@pytest.mark.parametrize(
    ("query", "narrowed"),
    [
        ("day={day}", lambda report, _ran: dict(report.days)[START.date()]),
        ("day=never", lambda report, _ran: report.never_planned),
        ("stage=customer", lambda report, _ran: report.stages["customer"]),
        ("phase={phase}", lambda report, _ran: report.phases[0][1]),
        ("round=1", lambda report, _ran: report.phases[0][1]),
        ("class=person_observed", lambda report, _ran: report.total),
        ("channel={sms}", lambda report, ran: next(c.count for c in report.channels if c.channel == ran[2])),
    ],
)
def test_every_way_to_narrow_sums_to_its_number(
    ran: Any, query: str, narrowed: Any, as_finance: Client
) -> None:
    campaign, _mail, sms, _people = ran
    report = coverage(campaign)
    told = narrowed(report, ran)
    asked = query.format(day=START.date().isoformat(), phase=report.phases[0][0].pk, sms=sms.pk)
    for figure in ("target", "planned", "reached", "gap", "pending", "released", "unknown", "due"):
        answer = as_finance.get(f"/reports/coverage/{campaign.pk}/{figure}/?{asked}&format=csv")
        lines = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))
        number = {"released": told.released_total}.get(figure, getattr(told, figure, None))
        assert sum(int(line["touches"]) for line in lines) == number, figure
        page = as_finance.get(f"/reports/coverage/{campaign.pk}/{figure}/?{asked}").content.decode()
        assert re.search(r'data-figure="sum">([\d,]+) touches', page).group(1) == str(number)  # type: ignore[union-attr]


def test_what_is_counted_for_a_list_is_what_the_list_sums_to(ran: Any) -> None:
    campaign, mail, _sms, _people = ran
    for figure in rows.FIGURES:
        for by in (
            {},
            {"channel": mail.pk},
            {"cause": "opted_out"},
            {"rounds": [1]},
            {"day": NO_DAY, "zone": "UTC"},
        ):
            counted = rows.counted(figure, campaign.pk, by)
            if counted is not None:
                assert counted == rows.totals(figure, campaign.pk, by)["touches"], (figure, by)


def test_people_of_a_bar_are_those_it_counts(ran: Any, as_finance: Client) -> None:
    campaign = ran[0]
    for bar in coverage(campaign).histogram:
        for side in ("below", "full", "beyond"):
            address = f"/reports/coverage/{campaign.pk}/people/?received={bar['received']}&side={side}"
            answer = as_finance.get(address + "&format=csv")
            lines = b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()
            assert len(lines) - 1 == bar[side]
            assert as_finance.get(address).content.decode().count("/customers/") >= bar[side]


def test_coverage_across_all_campaigns_is_their_sum_and_opens_to_their_rows(
    ran: Any, as_finance: Client
) -> None:
    people = ran[3]
    mail = channel("email")
    other = released(people[:2], [mail], target=1)
    touch(other, people[0], mail, 1, "gap", "bounced")
    touch(other, people[1], mail, 1)
    late = released(people[:1], [mail], target=1)
    Campaign.objects.filter(pk=late.pk).update(
        starts_at=START + dt.timedelta(days=400), ends_at=START + dt.timedelta(days=401)
    )
    report = coverage_of_all(START.date(), START.date())
    both = [coverage(ran[0]).total, coverage(other).total]
    for name in ("target", "planned", "reached", "gap", "pending", "released_total", "over_total"):
        assert getattr(report.total, name) == sum(getattr(each, name) for each in both), name
    assert {line.campaign.pk for line in report.campaigns} == {ran[0].pk, other.pk}
    assert report.people_as_of is not None
    span = f"since={START:%Y-%m-%d}&until={START:%Y-%m-%d}"
    for asked, number in (("", report.total.gap), (f"&channel={mail.pk}", 1), (f"&day={START:%Y-%m-%d}", 4)):
        answer = as_finance.get(f"/reports/coverage/all/gap/?{span}{asked}&format=csv")
        lines = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))
        assert sum(int(line["touches"]) for line in lines) == number, asked
    page = as_finance.get(f"/reports/coverage/?{span}").content.decode()
    assert "over as of" in page
    assert as_finance.get(f"/reports/coverage/all/gap/?{span}").status_code == 200


def test_who_was_contacted_how_often_counts_persons_over_all_campaigns(as_finance: Client) -> None:
    now = timezone.now()
    people = customers(4, ["email"])
    mail = channel("email")
    campaigns = [released(people, [mail], target=2) for _turn in range(2)]
    for campaign in campaigns:
        touch(campaign, people[0], mail, 1, at=now - dt.timedelta(days=2))
    touch(campaigns[0], people[1], mail, 1, at=now - dt.timedelta(days=2))
    touch(campaigns[0], people[1], mail, 2, at=now - dt.timedelta(days=40))
    touch(campaigns[1], people[2], mail, 1, at=now - dt.timedelta(days=1))
    Customer.objects.filter(pk=people[2].pk).update(merged_into=people[1])
    hits, _as_of = coverage_days.contacts()
    assert hits == [{"contacts": 2, "people": 2}]
    answer = as_finance.get("/reports/coverage/contacted/?contacts=2&format=csv")
    lines = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))
    assert [(int(line["customer_id"]), line["contacts"], line["campaigns"]) for line in lines] == [
        (people[0].pk, "2", "2"),
        (people[1].pk, "2", "2"),
    ]
    assert as_finance.get("/reports/coverage/contacted/").status_code == 200


@pytest.mark.parametrize(("which", "people"), [("all", 5), ("held_out", 1), ("exited", 0), ("waiting", 0)])
def test_members_have_their_lists(ran: Any, which: str, people: int, as_finance: Client) -> None:
    address = f"/reports/coverage/{ran[0].pk}/members/{which}/"
    answer = as_finance.get(address + "?format=csv")
    assert len(b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()) - 1 == people
    assert as_finance.get(address).status_code == 200
    assert as_finance.get(f"/reports/coverage/{ran[0].pk}/members/nobody/").status_code == 404
