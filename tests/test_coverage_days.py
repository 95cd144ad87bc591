"""Coverage as counted: whatever changes touches and targets, the cells say what the rows say."""

import datetime as dt
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from campaigns.models import Campaign
from reports import coverage_days
from reports.coverage import coverage
from reports.models import CoverageChange, CoverageDay, CoverageStanding
from reports.models.coverage import NO_DAY
from reports.queries import coverage_days as queries
from reports.queries.coverage import rows
from tests.plan_rows import channel, customers
from tests.report_rows import START, released, short, touch

pytestmark = pytest.mark.django_db
NOW = START + dt.timedelta(days=3)
HOUR = dt.timedelta(hours=1)


def live(campaign: Campaign) -> set[tuple[Any, ...]]:
    return {tuple(row.values()) for row in rows(queries.LIVE, {"campaign": campaign.pk})}


def counted(campaign: Campaign) -> set[tuple[Any, ...]]:
    return {tuple(row.values()) for row in rows(queries.COUNTED, {"campaign": campaign.pk})}


def run(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


STATES = ["planned", "claimed", "held", "sent", "delivered", "unknown", "unobserved", "gap", "released"]
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 3), st.integers(1, 3), st.sampled_from(STATES)),
        st.tuples(st.just("move"), st.sampled_from(STATES), st.sampled_from(STATES), st.integers(0, 3)),
        st.tuples(st.just("defer"), st.sampled_from(STATES), st.integers(1, 60), st.integers(0, 3)),
        st.tuples(st.just("aim"), st.integers(0, 3), st.integers(0, 3), st.sampled_from(["budget", "hours"])),
        st.tuples(st.just("delete"), st.sampled_from(STATES), st.just(0), st.integers(0, 3)),
        st.tuples(st.just("fold"), st.just(0), st.just(0), st.just(0)),
        st.tuples(st.just("count"), st.just(0), st.just(0), st.just(0)),
        st.tuples(st.just("count_day"), st.integers(0, 3), st.just(0), st.just(0)),
        st.tuples(st.just("beat"), st.just(0), st.just(0), st.just(0)),
    ),
    min_size=3,
    max_size=25,
)


class CountedIsLive(TestCase):
    @settings(max_examples=12, deadline=None)
    @given(operations=OPERATIONS)
    def test_whatever_happens_cells_changes_and_a_count_from_scratch_are_the_same(
        self, operations: list[tuple[Any, ...]]
    ) -> None:
        people = customers(4, ["email"])
        mail = channel("email")
        campaign = released(people, [mail], target=3)
        reason = "CASE WHEN %s IN ('gap', 'released') THEN 'exit' ELSE '' END"
        where = "campaign_id = %s AND state = %s AND customer_id = %s"
        for name, a, b, c in operations:
            if name == "add":
                with connection.cursor() as cursor:
                    cursor.execute(
                        "SELECT 1 FROM campaigns_touch WHERE campaign_id = %s AND customer_id = %s AND ordinal = %s",
                        [campaign.pk, people[a].pk, b],
                    )
                    if cursor.fetchone():
                        continue
                touch(
                    campaign,
                    people[a],
                    mail,
                    b,
                    c,
                    "exit" if c in ("gap", "released") else "",
                    START + a * 7 * HOUR,
                )
            elif name == "move":
                run(
                    f"UPDATE campaigns_touch SET state = %s, reason = {reason} WHERE {where}",
                    b,
                    b,
                    campaign.pk,
                    a,
                    people[c].pk,
                )
            elif name == "defer":
                run(
                    f"UPDATE campaigns_touch SET due_at = due_at + %s WHERE {where}",
                    b * HOUR,
                    campaign.pk,
                    a,
                    people[c].pk,
                )
            elif name == "aim":
                short(campaign, people[a], mail, b, c if b < 3 else "")
            elif name == "delete":
                run(
                    "DELETE FROM campaigns_attempt WHERE campaign_id = %s AND customer_id = %s",
                    campaign.pk,
                    people[c].pk,
                )
                run(f"DELETE FROM campaigns_touch WHERE {where}", campaign.pk, a, people[c].pk)
            elif name == "fold":
                coverage_days.fold(campaign.pk)
            elif name == "count":
                coverage_days.count(campaign.pk, NOW)
            elif name == "count_day":
                coverage_days.count_day(
                    campaign, NO_DAY if not a else START.date() + dt.timedelta(days=a - 1)
                )
            else:
                coverage_days.bring_up_to_date(NOW)
        incremental = counted(campaign)
        assert incremental == live(campaign)
        assert queries.differences(campaign.pk) == 0
        coverage_days.count(campaign.pk, NOW)
        assert CoverageChange.objects.filter(campaign_id=campaign.pk).count() == 0
        assert counted(campaign) == incremental


@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_or_counted_twice_while_others_write() -> None:
    people = customers(8, ["email"])
    mail = channel("email")
    campaign = released(people, [mail], target=3)
    for person in people:
        for ordinal in (1, 2, 3):
            touch(campaign, person, mail, ordinal, "planned")
    done = threading.Event()

    def write(seed: int) -> None:
        pick = random.Random(seed)
        try:
            for _turn in range(60):
                state = pick.choice(["planned", "sent", "delivered", "unknown"])
                run(
                    "UPDATE campaigns_touch SET state = %s, due_at = due_at + %s WHERE campaign_id = %s"
                    " AND customer_id = %s AND ordinal = %s",
                    state, pick.randint(-9, 9) * HOUR, campaign.pk, people[seed * 4 + pick.randint(0, 3)].pk,
                    pick.randint(1, 3),
                )  # fmt: skip
        finally:
            connection.close()

    def keep(work: Callable[[], object]) -> None:
        try:
            while not done.is_set():
                work()
        finally:
            connection.close()

    writers = [threading.Thread(target=write, args=(seed,)) for seed in (0, 1)]
    keepers = [
        threading.Thread(target=keep, args=(work,))
        for work in (
            lambda: coverage_days.fold(campaign.pk),
            lambda: coverage_days.count(campaign.pk, NOW),
            lambda: coverage_days.count_day(campaign, START.date()),
        )
    ]
    for thread in (*keepers, *writers):
        thread.start()
    while any(thread.is_alive() for thread in writers):
        assert queries.differences(campaign.pk) == 0  # at any moment, not only in the end
    done.set()
    for thread in (*keepers, *writers):
        thread.join()
    assert counted(campaign) == live(campaign)
    assert coverage(campaign).total.adds_up


def test_a_late_receipt_restates_the_day_the_touch_was_due() -> None:
    (person,) = customers(1, ["email"])
    mail = channel("email")
    campaign = released([person], [mail])
    pk = touch(campaign, person, mail, 1, "unknown", at=START)
    touch(campaign, person, mail, 2, "sent", at=START + 48 * HOUR)
    coverage_days.bring_up_to_date(NOW)
    day = START.date()
    assert dict(coverage(campaign).days)[day].unknown == 1
    run(
        "UPDATE campaigns_touch SET state = 'delivered', state_at = now() WHERE campaign_id = %s AND id = %s",
        campaign.pk,
        pk,
    )
    restated = dict(coverage(campaign).days)[day]
    assert (restated.unknown, restated.delivered) == (0, 1)


def test_the_day_is_that_of_the_campaigns_zone_and_a_changed_zone_is_counted_anew() -> None:
    (person,) = customers(1, ["email"])
    mail = channel("email")
    campaign = released([person], [mail], zone="Asia/Shanghai")
    touch(campaign, person, mail, 1, at=dt.datetime(2026, 3, 2, 17, 0, tzinfo=dt.UTC))
    assert [day for day, _count in coverage(campaign).days] == [dt.date(2026, 3, 3)]
    Campaign.objects.filter(pk=campaign.pk).update(zone="America/New_York")
    campaign.refresh_from_db()
    assert [day for day, _count in coverage(campaign).days] == [dt.date(2026, 3, 2)]
    assert queries.differences(campaign.pk) == 0


def test_a_partition_filled_aside_and_attached_is_counted_from_its_rows() -> None:
    people = customers(3, ["email"])
    mail = channel("email")
    campaign = released(people, [mail], target=1)
    coverage_days.bring_up_to_date(NOW)
    name = f"campaigns_touch_c{campaign.pk}"
    run(f"CREATE TABLE {name} (LIKE campaigns_touch INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    for person in people:
        run(
            f"INSERT INTO {name} (campaign_id, customer_id, channel_id, round, ordinal, stage, due_at, deadline_at, state,"
            " state_at) VALUES (%s, %s, %s, 1, 1, 'customer', %s, %s, 'planned', %s)",
            campaign.pk, person.pk, mail.pk, START, NOW, START,
        )  # fmt: skip
    run(f"ALTER TABLE campaigns_touch ATTACH PARTITION {name} FOR VALUES IN ({campaign.pk})")
    assert coverage(campaign).total.pending == 3
    run(
        "UPDATE campaigns_touch SET state = 'sent' WHERE campaign_id = %s AND customer_id = %s",
        campaign.pk,
        people[0].pk,
    )
    assert (coverage(campaign).total.pending, coverage(campaign).total.reached) == (2, 1)
    assert queries.differences(campaign.pk) == 0


def test_a_check_finds_mends_and_reports_what_was_changed_behind_the_products_back(caplog: Any) -> None:
    people = customers(2, ["email"])
    mail = channel("email")
    campaign = released(people, [mail], target=1)
    touch(campaign, people[0], mail)
    coverage_days.bring_up_to_date(NOW)
    assert coverage_days.check(campaign, NOW) == 0
    CoverageDay.objects.filter(campaign_id=campaign.pk, state="delivered").update(touches=5)
    assert coverage_days.check(campaign, NOW) == 2
    assert "was wrong" in caplog.text
    assert CoverageStanding.objects.get(pk=campaign.pk).differences == 2
    assert counted(campaign) == live(campaign)


def test_people_are_renewed_after_a_change_and_not_more_often_than_they_take(monkeypatch: Any) -> None:
    monkeypatch.setattr(coverage_days, "LIVE_TOUCHES", 0)
    people = customers(2, ["email"])
    mail = channel("email")
    campaign = released(people, [mail], target=1)
    touch(campaign, people[0], mail)
    coverage_days.bring_up_to_date(NOW)
    assert sum(bar["full"] for bar in coverage(campaign).histogram) == 1
    touch(campaign, people[1], mail)
    report = coverage(campaign)
    assert (report.total.reached, sum(bar["full"] for bar in report.histogram)) == (2, 1)
    assert report.people_as_of < report.as_of
    at = CoverageStanding.objects.get(pk=campaign.pk).people_at
    assert at is not None
    coverage_days.bring_up_to_date(at + dt.timedelta(seconds=59))
    assert sum(bar["full"] for bar in coverage(campaign).histogram) == 1
    coverage_days.bring_up_to_date(at + dt.timedelta(seconds=61))
    assert sum(bar["full"] for bar in coverage(campaign).histogram) == 2
    CoverageStanding.objects.filter(pk=campaign.pk).update(people_changed=True, people_seconds=10)
    before = CoverageStanding.objects.get(pk=campaign.pk).people_at
    assert before is not None
    coverage_days.bring_up_to_date(before + dt.timedelta(seconds=190))
    assert CoverageStanding.objects.get(pk=campaign.pk).people_at == before
