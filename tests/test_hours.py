"""Permitted hours are those of the person's zone, also on the days the clocks change."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns import hours
from campaigns.hours import NEVER, NeverOpen, Window, combine, is_open, next_open, open_zones, spans
from campaigns.models import ChannelPlan
from channels.models import PlatformRule
from tests import plan_rows as rows

UTC = dt.UTC
DAYTIME = combine([{"days": [1, 2, 3, 4, 5], "from": "09:00", "to": "18:00"}], None)


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def test_hours_are_those_of_the_recipients_zone() -> None:
    moment = at("2026-03-02T02:00:00+00:00")  # Monday 10:00 in Shanghai, Sunday 18:00 in Los Angeles
    assert is_open(moment, "Asia/Shanghai", DAYTIME)
    assert not is_open(moment, "America/Los_Angeles", DAYTIME)
    assert open_zones(moment, ["Asia/Shanghai", "America/Los_Angeles", "Asia/Tokyo"], DAYTIME) == [
        "Asia/Shanghai",
        "Asia/Tokyo",
    ]


def test_an_end_is_not_part_of_its_window() -> None:
    assert not is_open(at("2026-03-02T18:00:00+08:00"), "Asia/Shanghai", DAYTIME)
    assert is_open(at("2026-03-02T17:59:59+08:00"), "Asia/Shanghai", DAYTIME)


def test_the_next_open_moment_skips_the_weekend() -> None:
    assert next_open(at("2026-03-06T18:00:00+08:00"), "Asia/Shanghai", DAYTIME) == at(
        "2026-03-09T09:00:00+08:00"
    )


def test_a_permitted_moment_is_its_own_next() -> None:
    moment = at("2026-03-04T12:34:56+08:00")
    assert next_open(moment, "Asia/Shanghai", DAYTIME) == moment
    assert next_open(moment, "Asia/Shanghai", []) == moment


def test_day_parts_hold_within_the_platforms_hours() -> None:
    found = combine([{"from": "06:00", "to": "23:00"}], {"from": "08:00", "to": "21:00"})
    assert found == [Window(hours.EVERY_DAY, dt.time(8), dt.time(21))]


def test_hours_with_nothing_in_common_are_never_open_rather_than_always() -> None:
    found = combine([{"from": "22:00", "to": "23:00"}], {"from": "08:00", "to": "21:00"})
    assert found == [NEVER]
    assert not is_open(at("2026-03-02T22:30:00+08:00"), "Asia/Shanghai", found)
    with pytest.raises(NeverOpen, match="nothing in common"):
        next_open(at("2026-03-02T22:30:00+08:00"), "Asia/Shanghai", found)


def test_a_part_over_midnight_belongs_to_both_days() -> None:
    night = combine([{"days": [5], "from": "22:00", "to": "02:00"}], None)
    assert is_open(at("2026-03-06T23:00:00+08:00"), "Asia/Shanghai", night)  # Friday
    assert is_open(at("2026-03-07T01:59:00+08:00"), "Asia/Shanghai", night)  # Saturday
    assert not is_open(at("2026-03-06T01:00:00+08:00"), "Asia/Shanghai", night)


def test_a_window_the_clock_jumps_into_opens_when_the_jump_is_done() -> None:
    # On 8 March 2026 clocks in New York go from 02:00 to 03:00.
    window = [Window(hours.EVERY_DAY, dt.time(2, 30), dt.time(5))]
    assert next_open(at("2026-03-08T00:00:00-05:00"), "America/New_York", window) == at(
        "2026-03-08T03:00:00-04:00"
    )


def test_a_window_the_clock_jumps_over_waits_for_the_next_day() -> None:
    window = [Window(hours.EVERY_DAY, dt.time(2, 10), dt.time(2, 50))]
    assert next_open(at("2026-03-08T00:00:00-05:00"), "America/New_York", window) == at(
        "2026-03-09T02:10:00-04:00"
    )


def test_a_day_of_25_hours_opens_at_the_same_clock_time() -> None:
    # On 1 November 2026 clocks in New York go back from 02:00 to 01:00.
    assert next_open(
        at("2026-11-01T00:00:00-04:00"), "America/New_York", combine([{"from": "09:00", "to": "20:00"}], None)
    ) == at("2026-11-01T09:00:00-05:00")


def test_an_unknown_zone_is_read_as_the_companys() -> None:
    assert hours.zone_info("Mars/Olympus").key == "Asia/Shanghai"


@given(
    st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2027, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(
        ["Asia/Shanghai", "America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu"]
    ),
    st.integers(0, 22),
    st.integers(1, 8),
    st.frozensets(st.integers(1, 7), min_size=1),
)
def test_next_open_is_open_and_not_before(
    moment: dt.datetime, zone: str, start: int, length: int, days: frozenset[int]
) -> None:
    windows = [
        Window(days, dt.time(start), dt.time(start + length) if start + length < 24 else hours.MIDNIGHT)
    ]
    found = next_open(moment, zone, windows)
    assert found >= moment
    assert is_open(found, zone, windows)
    if found > moment:
        assert not is_open(moment, zone, windows)


@given(
    st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2026, 12, 1), timezones=st.just(UTC)),
    st.sampled_from(["Asia/Shanghai", "America/New_York", "Australia/Lord_Howe"]),
    st.frozensets(st.integers(1, 7), min_size=1),
)
def test_spans_are_ordered_disjoint_and_open(moment: dt.datetime, zone: str, days: frozenset[int]) -> None:
    windows = combine(
        [{"days": sorted(days), "from": "08:30", "to": "12:00"}, {"from": "11:00", "to": "14:00"}], None
    )
    ends = moment + dt.timedelta(days=10)
    by_day = {(moment + dt.timedelta(days=n)).date(): windows for n in range(-2, 13)}
    found = spans(by_day, zone, moment, ends)
    assert found == sorted(found)
    for (opens, closes), later in zip(found, [*found[1:], (ends + dt.timedelta(days=1), ends)], strict=True):
        assert moment <= opens < closes <= ends
        assert closes < later[0]
        assert is_open(opens, zone, windows)
        assert is_open(closes - dt.timedelta(seconds=1), zone, windows)
        assert closes == ends or not is_open(closes, zone, windows)


@pytest.mark.django_db
def test_windows_join_the_plan_and_the_rule_in_force_that_day() -> None:
    channel = rows.channel("sms")
    PlatformRule.objects.filter(medium="sms", key="hours").delete()
    PlatformRule.objects.create(
        medium="sms",
        key="hours",
        value={"from": "08:00", "to": "21:00"},
        valid_from=dt.date(2020, 1, 1),
        source="x",
    )
    PlatformRule.objects.create(
        medium="sms",
        key="hours",
        value={"from": "09:00", "to": "20:00"},
        valid_from=dt.date(2026, 6, 1),
        source="x",
    )
    plan = ChannelPlan(channel=channel, day_parts=[{"days": [1], "from": "07:00", "to": "20:30"}])
    before = [Window(frozenset({1}), dt.time(8), dt.time(20, 30))]
    after = [Window(frozenset({1}), dt.time(9), dt.time(20))]
    assert hours.windows(plan, dt.date(2026, 5, 31)) == before
    assert hours.windows(plan, dt.date(2026, 6, 1)) == after
    by_day = hours.days_between(channel, plan.day_parts, dt.date(2026, 5, 30), dt.date(2026, 6, 2)).everywhere
    assert list(by_day.values()) == [before, before, after, after]
