"""Rules of platforms as dated rows: the narrowest, then the latest, and what they say of a message."""

from datetime import date, timedelta

import pytest
from django.utils import translation

from channels import rule_sources
from channels.models import PlatformRule
from channels.platform_rules import (
    KEYS,
    Violation,
    check_message,
    clean_value,
    cut_message,
    messages_a_month,
    rule_value,
    rule_values,
)
from tests.channel_rows import make_channel

pytestmark = pytest.mark.django_db
DAY = date(2026, 11, 23)


def add(key: str, value: object, **fields: object) -> PlatformRule:
    fields = {"medium": "sms", "valid_from": date(2026, 1, 1), "source": "test"} | fields
    return PlatformRule.objects.create(key=key, value=value, **fields)


def test_the_rules_of_a_new_installation_have_known_keys_fitting_values_and_a_source() -> None:
    rows = list(PlatformRule.objects.all())
    assert len(rows) > 30
    for row in rows:
        assert clean_value(row.key, row.value) == row.value, row
        assert row.source


def test_wecom_allows_as_many_messages_a_month_as_it_has_days_since_november_2025() -> None:
    value = rule_value("wecom", "messages_a_customer_a_month", on=DAY)
    assert (value, messages_a_month(value, 30), messages_a_month(value, 31)) == ("days_in_month", 30, 31)
    assert rule_value("wecom", "messages_a_customer_a_month", on=date(2025, 11, 16)) is None


def test_the_narrowest_rule_wins_then_the_latest() -> None:
    channel = make_channel()
    value = lambda: rule_value("sms", "ucs_part", channel=channel, country="CN", on=DAY)  # noqa: E731
    assert value() == 67
    add("ucs_part", 66, country="CN", valid_from=date(2026, 6, 1))
    assert value() == 66
    add("ucs_part", 65, adapter="manual", valid_from=date(2025, 1, 1))
    assert value() == 65
    add("ucs_part", 64, adapter="other")
    assert value() == 65
    add("ucs_part", 63, channel=channel, valid_from=date(2024, 1, 1))
    assert value() == 63
    add("ucs_part", 62, channel=make_channel())
    assert value() == 63


def test_one_query_for_many_keys_gives_the_same_answers() -> None:
    channel = make_channel()
    add("ucs_part", 66, country="CN", valid_from=date(2026, 6, 1))
    add("ucs_single", 60, adapter="manual")
    add("gsm_part", 150, channel=channel)
    for country in ("", "CN", "US"):
        many = rule_values("sms", KEYS, channel=channel, country=country, on=DAY)
        for key in KEYS:
            assert many.get(key) == rule_value("sms", key, channel=channel, country=country, on=DAY), key


def test_a_rule_holds_between_its_dates() -> None:
    add("messages_a_customer_a_week", 7, medium="wecom", valid_from=DAY, valid_to=DAY + timedelta(days=1))
    held = [
        rule_value("wecom", "messages_a_customer_a_week", on=DAY + timedelta(days=n)) for n in (-1, 0, 1, 2)
    ]
    assert held == [None, 7, 7, None]


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(KeyError):
        rule_value("sms", "no_such_rule", on=DAY)


def broken(*args: object, **kwargs: object) -> list[tuple[str, str]]:
    return [(found.where, found.rule) for found in check_message(*args, **kwargs)]  # type: ignore[arg-type]


def test_a_mainland_text_needs_its_signature_its_way_out_and_no_brackets() -> None:
    bare = make_channel()
    assert broken(bare, "", "双十一【全场】五折", "", DAY) == [
        ("channel", "signature_required"),
        ("text", "forbidden_characters"),
        ("text", "opt_out_text"),
    ]
    signed = make_channel(settings={"signature": "均达"})
    assert check_message(signed, "", "双十一全场五折,拒收请回复R", "", DAY) == []


def test_a_mainland_text_has_at_most_500_characters_with_its_signature() -> None:
    channel = make_channel(settings={"signature": "均达"})
    ending = "拒收请回复R"
    fits = "中" * (500 - 4 - len(ending)) + ending
    assert check_message(channel, "", fits, "", DAY) == []
    assert check_message(channel, "", "中" + fits, "", DAY) == [
        Violation(
            "text",
            "longest_characters",
            "Shorten the text: with its signature it has 501 characters, and 500 are allowed.",
            "Mainland SMS operators' common rules",
            date(2020, 1, 1),
        )
    ]


def test_abroad_other_rules_hold() -> None:
    channel = make_channel(settings={"country": "US"})
    assert check_message(channel, "", "Half price today. Reply STOP to end.", "", DAY) == []
    assert len(cut_message(channel, "a" * 160, DAY).parts) == 1
    assert len(cut_message(make_channel(settings={"signature": "均达"}), "a" * 67, DAY).parts) == 2


def test_an_email_needs_a_subject_and_in_the_us_a_postal_address() -> None:
    channel = make_channel(medium="email")
    assert broken(channel, " ", "text", "", DAY) == [("subject", "subject_required")]
    assert broken(channel, "one\nBcc: two", "text", "", DAY) == [("subject", "subject")]
    assert broken(channel, "Hello", "text", "", DAY, country="US") == [("channel", "postal_address_required")]
    assert broken(channel, "Hello", "", " ", DAY) == [("text", "text")]


def test_wecom_counts_bytes() -> None:
    channel = make_channel(medium="wecom")
    assert broken(channel, "", "中" * 1333, "", DAY) == []
    assert broken(channel, "", "中" * 1334, "", DAY) == [("text", "longest_bytes")]


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("hours", {"from": "21:00", "to": "08:00"}),
        ("hours", "08-21"),
        ("ucs_part", "67"),
        ("ucs_part", True),
        ("ucs_part", -1),
        ("signature_required", "yes"),
        ("opt_out_words", ["STOP", ""]),
        ("counting", "bytes"),
        ("messages_a_customer_a_month", "weeks"),
        ("hours_by_region", {"Florida": {"from": "8"}}),
    ],
)
def test_a_value_that_does_not_fit_its_key_is_refused_with_what_to_write(key: str, bad: object) -> None:
    with pytest.raises(ValueError, match="Write|must"):
        clean_value(key, bad)


def test_the_source_of_every_shipped_rule_is_said_in_chinese() -> None:
    shipped = set(PlatformRule.objects.values_list("source", flat=True)) - {""}
    assert shipped
    assert shipped <= set(rule_sources.SHIPPED), "a rule was added without its source in words"
    with translation.override("zh-hans"):
        assert rule_sources.in_words("Operators' common opt-out words") == "运营商通行退订用语"
        assert rule_sources.in_words("Our lawyer, 2026-05-01") == "Our lawyer, 2026-05-01"
