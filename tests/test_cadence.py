"""How a campaign runs: its dates, its rounds, what is missing, and what may change while it runs."""

import datetime as dt
from typing import Any

import pytest

from campaigns import (
    cadence,
    definition,
    differences,
    lifecycle,
    occasions,
    planner,
    readiness,
    rounds,
    versions,
)
from campaigns.definition import DefinitionError
from campaigns.models import Campaign, Occasion, Round, Touch
from campaigns.release import release
from tests import plan_rows as rows
from tests.campaign_drafts import NOW, make_draft, make_person, make_plan

REPEAT = {"every": 1, "unit": "week", "times": 3, "until": None, "days": 2}


def days(found: list[cadence.Span], zone: str = "Asia/Shanghai") -> list[str]:
    return [begins.astimezone(cadence.zone_info(zone)).strftime("%m-%d %H:%M") for begins, _ends in found]


def test_months_keep_the_day_or_take_the_months_last() -> None:
    starts = dt.datetime(2026, 1, 31, 2, 0, tzinfo=dt.UTC)
    found = cadence.runs({"every": 1, "unit": "month", "times": 4}, starts, "Asia/Shanghai")
    assert days(found) == ["01-31 10:00", "02-28 10:00", "03-31 10:00", "04-30 10:00"]


def test_a_run_begins_at_the_same_clock_time_after_the_clocks_change() -> None:
    starts = dt.datetime(2026, 3, 1, 14, 0, tzinfo=dt.UTC)  # 09:00 in New York, before the change
    found = cadence.runs({"every": 2, "unit": "week", "until": "2026-03-31"}, starts, "America/New_York")
    assert days(found, "America/New_York") == ["03-01 09:00", "03-15 09:00", "03-29 09:00"]


def test_a_run_lasts_so_many_days_or_until_the_next() -> None:
    starts = dt.datetime(2026, 3, 2, 2, 0, tzinfo=dt.UTC)
    lengths = [(ends - begins).days for begins, ends in cadence.runs(REPEAT, starts, "Asia/Shanghai")]
    assert lengths == [2, 2, 2]
    assert [(e - b).days for b, e in cadence.runs(REPEAT | {"days": None}, starts, "Asia/Shanghai")] == [
        7,
        7,
        7,
    ]


@pytest.mark.django_db
def test_each_run_is_a_round_and_everybody_gets_the_matrix_in_it() -> None:
    people = rows.customers(2)
    campaign = rows.campaign(people, [rows.channel()], 1, days=21, kind="recurring", cadence=REPEAT)
    plan = planner.make_plan(campaign, user=None, now=rows.NOON)
    assert rounds.write_rounds(campaign, 1)
    release(campaign, plan, now=rows.NOON)
    assert [found.starts_at for found in Round.objects.all()] == [
        rows.NOON + n * 7 * rows.DAY for n in range(3)
    ]
    for person in people:
        touches = Touch.objects.filter(customer_id=person.pk).order_by("due_at")
        assert [touch.round for touch in touches] == [1, 2, 3]
        assert [touch.due_at.date() for touch in touches] == [
            (rows.NOON + n * 7 * rows.DAY).date() for n in range(3)
        ]
        assert [touch.deadline_at for touch in touches] == [
            rows.NOON + n * 7 * rows.DAY + 2 * rows.DAY for n in range(3)
        ]


@pytest.mark.django_db
def test_a_recurring_campaign_ends_with_its_last_run() -> None:
    document = definition.read(make_draft(kind="recurring", cadence=REPEAT))
    ends_at = definition.as_moment(definition.with_runs(document)["ends_at"])
    assert ends_at == NOW + dt.timedelta(days=1 + 14 + 2)


def missing(**changes: Any) -> list[str]:
    document = definition.read(make_draft(**changes))
    return [
        one.text for one in readiness.blocking(readiness.missing(document, now=NOW)) if one.step == "runs"
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "own", "text"),
    [
        ("recurring", {}, "how often"),
        ("recurring", REPEAT | {"times": None}, "how many times"),
        ("triggered", {}, "what triggers it"),
        ("triggered", {"by": "occasion"}, "Choose the occasion"),
        ("triggered", {"by": "event", "event": ""}, "which behaviour"),
        ("triggered", {"by": "stage", "stage": ""}, "Choose the stage"),
    ],
)
def test_what_is_missing_is_told(kind: str, own: dict[str, Any], text: str) -> None:
    assert any(text in one for one in missing(kind=kind, cadence=own))


@pytest.mark.django_db
def test_what_triggers_a_released_campaign_stays_and_how_often_is_a_difference_to_approve() -> None:
    maker, boss = make_person("maker", "marketer"), make_person("boss", "approver")
    occasion = Occasion.objects.create(name="Birthday", kind="birthday", rule={"calendar": "own"})
    campaign = make_draft(
        maker,
        kind="triggered",
        cadence=cadence.TRIGGER | {"window_days": 20},
        occasion=occasions.entry(occasion),
    )
    make_plan(campaign)
    lifecycle.approve(lifecycle.submit(campaign, maker, NOW), boss, "approver", "", NOW)
    Campaign.objects.update(state="running", released_at=NOW)
    with (
        pytest.raises(DefinitionError, match="by"),
        versions.editing(campaign.pk, maker, NOW) as (_campaign, document),
    ):
        document["cadence"] = document["cadence"] | {"by": "segment"}
    with versions.editing(campaign.pk, maker, NOW) as (_campaign, document):
        document["cadence"] = document["cadence"] | {"most": 3}
    change = versions.open_version(Campaign.objects.get())
    assert change is not None
    [(step, sentence)] = differences.sentences(change.difference, change.definition)
    assert step == "runs"
    assert "once a person" in sentence
    assert "at most 3 times a person" in sentence
    make_plan(Campaign.objects.get())
    lifecycle.approve(lifecycle.submit(Campaign.objects.get(), maker, NOW), boss, "approver", "", NOW)
    assert Round.objects.filter(campaign=campaign).count() == 3


@pytest.mark.django_db
def test_an_occasion_that_was_changed_is_told_as_a_difference_and_what_was_approved_holds() -> None:
    maker, boss = make_person("maker", "marketer"), make_person("boss", "approver")
    occasion = Occasion.objects.create(name="Birthday", kind="birthday", rule={"calendar": "own"})
    campaign = make_draft(
        maker,
        kind="triggered",
        cadence=cadence.TRIGGER | {"window_days": 20},
        occasion=occasions.entry(occasion),
    )
    make_plan(campaign)
    lifecycle.approve(lifecycle.submit(campaign, maker, NOW), boss, "approver", "", NOW)
    Campaign.objects.update(state="running", released_at=NOW)
    Occasion.objects.update(lead_days=3)
    campaign = Campaign.objects.get()
    assert versions.holding(campaign)["occasion"]["lead_days"] == 0
    with versions.editing(campaign.pk, maker, NOW) as (_campaign, document):
        document["occasion"] = occasions.entry(Occasion.objects.get())
    change = versions.open_version(campaign)
    assert change is not None
    assert "3 days before" in differences.sentences(change.difference, change.definition)[0][1]
