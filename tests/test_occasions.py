"""Occasions: whose good moment is on which day, by both calendars."""

import datetime as dt

import pytest

from audiences.models import Customer
from campaigns import occasions
from campaigns.models import Occasion
from tests import plan_rows as rows

MID_AUTUMN = dt.date(2026, 9, 25)  # lunar 8/15


def born(*dates: tuple[str, str]) -> list[int]:
    people = rows.customers(len(dates))
    for person, (date, calendar) in zip(people, dates, strict=True):
        person.birth_date, person.birth_calendar = dt.date.fromisoformat(date), calendar
        person.save()
    return [person.pk for person in people]


def birthday(**fields: object) -> dict[str, object]:
    return (
        occasions.entry(Occasion(name="Birthday", kind="birthday", rule={"calendar": "own"}, **fields)) or {}
    )


def on(known: dict[str, object], *days: dt.date) -> list[tuple[dt.date, int]]:
    return occasions.queries.counted(occasions.having(known, days))


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (dt.date(2026, 2, 17), (1, 1)),  # Spring Festival
        (dt.date(2026, 6, 19), (5, 5)),
        (MID_AUTUMN, (8, 15)),
        (dt.date(2027, 2, 5), (12, 29)),
        (dt.date(2025, 7, 26), (-6, 2)),  # a leap month
        (dt.date(2033, 12, 22), (-11, 1)),
    ],
)
def test_a_solar_day_has_its_lunar_one(day: dt.date, expected: tuple[int, int]) -> None:
    assert occasions.lunar(day)[:2] == expected


def test_who_was_born_on_a_day_the_year_lacks_has_the_months_last_day() -> None:
    assert dt.date(2000, 2, 29) in occasions.births(dt.date(2026, 2, 28), "solar")
    assert dt.date(2000, 2, 29) not in occasions.births(dt.date(2028, 2, 28), "solar")
    assert dt.date(2000, 2, 29) in occasions.births(dt.date(2028, 2, 29), "solar")
    # The twelfth lunar month of 2026 has 29 days: the 30th is kept on its last.
    assert dt.date(1990, 12, 30) in occasions.births(dt.date(2027, 2, 5), "lunar")


def test_a_leap_month_repeats_nobodys_birthday() -> None:
    assert occasions.births(dt.date(2025, 7, 26), "lunar") == []


@pytest.mark.django_db
def test_a_lunar_birthday_is_another_day_every_year() -> None:
    born(("1990-08-15", "lunar"), ("1985-08-15", "solar"))
    assert on(birthday(), MID_AUTUMN) == [(MID_AUTUMN, 1)]
    assert on(birthday(), dt.date(2026, 8, 15)) == [(dt.date(2026, 8, 15), 1)]
    assert on(birthday(), dt.date(2027, 9, 15)) == [(dt.date(2027, 9, 15), 1)]


@pytest.mark.django_db
def test_the_preview_counts_the_next_thirty_days_and_only_its_customers() -> None:
    ids = born(("1990-08-15", "lunar"), ("1985-09-26", "solar"), ("1999-12-24", "solar"))
    today = dt.date(2026, 9, 1)
    assert occasions.preview(birthday(), today).days == [(MID_AUTUMN, 1), (dt.date(2026, 9, 26), 1)]
    only = rows.fixed_list([Customer.objects.get(pk=ids[1])])
    assert occasions.preview(birthday(segment_id=only.pk), today).people == 1


@pytest.mark.django_db
def test_a_festival_is_everybodys_and_an_anniversary_comes_from_the_first_year_on() -> None:
    rows.customers(3)
    festival = occasions.entry(
        Occasion(name="中秋", kind="festival", rule={"calendar": "lunar", "month": 8, "day": 15})
    )
    assert on(festival or {}, *occasions.days_between(dt.date(2026, 9, 1), dt.date(2026, 9, 30))) == [
        (MID_AUTUMN, 3)
    ]
    known = (
        occasions.entry(Occasion(name="A year with us", kind="anniversary", rule={"of": "registered"})) or {}
    )
    person = rows.customers(1)[0]
    Customer.objects.filter(pk=person.pk).update(created_at=dt.datetime(2025, 3, 1, 17, tzinfo=dt.UTC))
    assert on(known, dt.date(2025, 3, 2)) == []
    assert on(known, dt.date(2026, 3, 2)) == [(dt.date(2026, 3, 2), 1)]  # the second of March in Shanghai


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("birthday", {"calendar": "julian"}),
        ("festival", {"calendar": "solar", "month": 2, "day": 31}),
        ("festival", {"calendar": "lunar", "month": 13, "day": 1}),
        ("behaviour", {"event": " "}),
        ("anniversary", {"of": "moon"}),
    ],
)
def test_an_occasion_that_never_comes_is_refused(kind: str, rule: dict[str, object]) -> None:
    with pytest.raises(occasions.OccasionError):
        occasions.check(kind, rule)


@pytest.mark.django_db
def test_an_occasion_that_a_campaign_stands_on_is_not_deleted() -> None:
    occasion = Occasion.objects.create(name="Birthday", kind="birthday", rule={"calendar": "own"})
    campaign = rows.campaign([], [rows.channel()], occasion=occasion, kind="triggered")
    with pytest.raises(occasions.OccasionError, match=campaign.name):
        occasions.delete(occasion)
