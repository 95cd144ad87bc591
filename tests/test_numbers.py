"""How numbers, money and time look on the screens."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core.paginator import Paginator
from django.template import Context, Template
from django.utils import timezone, translation

from audiences.templatetags import evenreach as filters


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (Decimal("1234.5"), "CNY", "¥1,234.50"),
        (Decimal("-12"), "CNY", "\u2212¥12.00"),
        (Decimal("2.675"), "CNY", "¥2.68"),
        (Decimal("2.665"), "CNY", "¥2.66"),  # half-even
        (Decimal("1234567"), "JPY", "JP¥1,234,567"),
        (Decimal("10"), "CHF", "CHF\u00a010.00"),
        (0, "USD", "US$0.00"),
        (None, "CNY", "–"),
        ("", "CNY", "–"),
        (float("nan"), "CNY", "–"),
        (Decimal("-0.001"), "CNY", "¥0.00"),
    ],
)
def test_money_carries_its_currency_and_is_rounded_half_even(amount: Any, currency: str, shown: str) -> None:
    assert filters.money(amount, currency) == shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0.045", "¥0.045"), ("0.0450000", "¥0.045"), ("3", "¥3.00"), ("0.0000014", "¥0.000001"), (None, "–")],
)
def test_a_unit_price_keeps_its_places(amount: Any, shown: str) -> None:
    assert filters.price(amount, "CNY") == shown


def test_a_missing_number_is_a_dash_and_zero_is_zero() -> None:
    assert (filters.count(None), filters.count(0), filters.count(1234567)) == ("–", "0", "1,234,567")
    assert (filters.percent(None), filters.percent(0), filters.percent(Decimal("0.18888"), 2)) == (
        "–",
        "0.0%",
        "18.89%",
    )
    assert filters.decimal("12345.678", 1) == "12,345.7"


def test_numbers_look_alike_in_both_languages() -> None:
    with translation.override("zh-hans"):
        assert filters.money(Decimal("1234.5"), "CNY") == "¥1,234.50"
        assert filters.count(1234567) == "1,234,567"
        assert filters.lasting(3725) == "1 小时 2 分"


def test_a_moment_is_told_in_the_reader_s_zone() -> None:
    moment = datetime(2026, 3, 1, 1, 30, 5, tzinfo=UTC)
    with timezone.override("Asia/Shanghai"):
        shown = filters.when(moment)
    assert ">2026-03-01 09:30<" in shown
    assert 'title="2026-03-01 09:30:05 CST"' in shown
    assert ">2026-03-01<" in filters.when(date(2026, 3, 1))
    assert filters.when(None) == "–"


def test_a_chart_s_words_cannot_end_its_script() -> None:
    drawn = filters.chart({"title": {"text": "</script><script>alert(1)</script>"}}, "lg", 'reach "a"')
    assert drawn.count("</script>") == 1
    assert "\\u003c/script\\u003e" in drawn
    assert 'aria-label="reach &quot;a&quot;"' in drawn
    assert "style=" not in drawn


def test_an_icon_s_name_cannot_leave_its_folder() -> None:
    assert filters.icon("../../../../etc/passwd") == ""
    assert filters.icon('users" onload="') == ""


@pytest.mark.parametrize(
    ("pages", "at", "shown"),
    [
        (1, 1, [1]),
        (5, 3, [1, 2, 3, 4, 5]),
        (20, 1, [1, 2, None, 20]),
        (20, 10, [1, 2, None, 9, 10, 11, None, 20]),
        (20, 20, [1, 2, None, 19, 20]),
    ],
)
def test_pages_near_the_current_one_are_offered(pages: int, at: int, shown: list[int | None]) -> None:
    assert filters.pages_near(Paginator(range(pages), 1), at) == shown


def test_a_block_kept_once_is_used_twice() -> None:
    text = "{% load evenreach %}{% keep name %} {{ who }} {% endkeep %}[{{ name }}|{{ name }}]"
    assert Template(text).render(Context({"who": "<a&b>"})) == "[&lt;a&amp;b&gt;|&lt;a&amp;b&gt;]"
