"""Target = reached + unknown + unobserved + open + released + gap, and every figure opens to its rows."""

import csv
import io
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from audiences.models import Customer
from reports.coverage import coverage
from reports.queries import rows
from tests.plan_rows import channel, customers
from tests.report_rows import released, short, touch

pytestmark = pytest.mark.django_db


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
