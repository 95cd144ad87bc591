"""Words filled for people: nothing is executed, nothing is injected, every link leads back to its touch."""

import re
from datetime import date
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences.models import Customer
from campaigns import content, wording
from campaigns.models import MessageVariant
from channels.tokens import TokenKind, unseal
from tests.campaign_drafts import make_channel, make_message

TODAY = date(2026, 3, 2)
WHO: dict[str, Any] = {"campaign_id": 7, "touch_id": 8, "customer_id": 9}


def fill(text: str = "", subject: str = "", html: str = "", **values: Any) -> tuple[str, str, str, str]:
    """A message filled without a database: no links in it."""
    prepared = content.PreparedMessage(
        1, 1, 3, "Main", "", subject, text, html, tuple(content.fields_used(subject, text, html)), pixel=False
    )
    prepared._marked[7] = (
        content.links.Prepared(7, 3, text, html),
        content.links.unsubscribe_urls(3, 7),
        wording.parse(subject),
        wording.parse(text),
        wording.parse(html),
    )
    return prepared.fill(values, **WHO)[:4]


@pytest.mark.parametrize(
    ("text", "values", "filled"),
    [
        ("Hi {{name}}", {"name": "Li"}, "Hi Li"),
        ("Hi {{ name | friend }}!", {"name": ""}, "Hi friend!"),
        ("Hi {{name|friend}}", {}, "Hi friend"),
        ("Hi {{name|}}!", {"name": None}, "Hi !"),
        ("{{name}}{{city}}", {"name": "A", "city": "B"}, "AB"),
        ("{{attributes.颜色|红}}", {"attributes.颜色": "蓝"}, "蓝"),
        ("{ name } {{}} {{a b}}", {"name": "x"}, "{ name } {{}} {{a b}}"),
        ("{{name}}", {"name": "{{city}}", "city": "no"}, "{{city}}"),  # a value is never read again
        ("{{name}}", {"name": "{% now %}"}, "{% now %}"),
        ("{{name}}", {"name": "a\x00b\x02c"}, "abc"),
    ],
)
def test_fields_are_filled_and_nothing_else_happens(text: str, values: dict[str, Any], filled: str) -> None:
    assert fill(text, **values)[1] == filled


def test_a_value_is_text_in_html_and_one_line_in_a_subject() -> None:
    subject, text, html, _url = fill(
        "{{name}}", "Hi {{name}}", '<p title="{{name}}">{{name}}</p>', name='<b onclick="x">\r\nBcc: all@x.cn'
    )
    assert subject == 'Hi <b onclick="x"> Bcc: all@x.cn'
    assert "\n" in text
    assert "<b" not in html
    assert html.count('"') == 2
    assert "&lt;b onclick=&quot;x&quot;&gt;" in html


def test_a_value_inside_an_address_cannot_leave_it() -> None:
    _subject, text, html, _url = fill(
        "https://shop.example/?who={{name}}&c={{city}} bye {{name}}",
        html='<a href="https://shop.example/?who={{name}}">x</a>',
        name="a&b=c d/林",
        city="x y",
    )
    assert text == "https://shop.example/?who=a%26b%3Dc%20d%2F%E6%9E%97&c=x%20y bye a&b=c d/林"
    assert 'href="https://shop.example/?who=a%26b%3Dc%20d%2F%E6%9E%97"' in html


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_value_ever_opens_a_tag_or_ends_an_attribute(name: str, city: str) -> None:
    _subject, _text, html, _url = fill(html='<p title="{{name}}">{{city}}</p>', name=name, city=city)
    inside = re.fullmatch(r'<p title="([^"<>]*)">([^<>]*)</p>', html, re.DOTALL)
    assert inside
    assert (unescape(inside[1]), unescape(inside[2])) == tuple(
        wording.CONTROL.sub("", value.strip()) for value in (name, city)
    )


@given(st.text(max_size=200))
def test_any_text_can_be_parsed_and_what_is_no_field_stays(text: str) -> None:
    pieces = wording.parse(text)
    assert "".join(piece if isinstance(piece, str) else piece.source for piece in pieces) == text


@pytest.mark.django_db
def test_links_and_unsubscribing_lead_back_to_the_touch() -> None:
    channel, version = make_channel(), make_message("email")
    prepared = content.prepare(version.pk, 1, channel)
    assert prepared.fields == ("name", "unsubscribe")
    subject, text, html, unsubscribe, variables = prepared.fill({"name": "Li"}, **WHO)
    assert variables == {}, "no provider fills a template of its own"
    assert subject == "For Li"
    assert "https://shop.example" not in text + html
    tokens = re.findall(r"/l/([\w-]+)", text + html)
    assert len(tokens) == 2
    for token in tokens:
        told = unseal(token, TokenKind.LINK)
        assert (told.campaign_id, told.touch_id, told.customer_id, told.channel_id) == (7, 8, 9, channel.pk)
    assert unsubscribe in text
    told = unseal(unsubscribe.rsplit("/", 1)[1], TokenKind.UNSUBSCRIBE)
    assert (told.customer_id, told.channel_id) == (9, channel.pk)
    other = prepared.fill({"name": "Li"}, campaign_id=7, touch_id=99, customer_id=9)
    assert other[1] != text


@pytest.mark.django_db
def test_values_of_many_people_are_read_in_one_statement(django_assert_num_queries: Any) -> None:
    people = [
        Customer.objects.create(name=f"P{n}", city="Hangzhou", attributes={"colour": "red"} if n else {})
        for n in range(3)
    ]
    ids = [person.pk for person in people]
    with django_assert_num_queries(1):
        values = content.values_of(ids, ["name", "attributes.colour", "unsubscribe"])
    assert values[ids[0]] == {"name": "P0", "attributes.colour": None}
    assert values[ids[1]] == {"name": "P1", "attributes.colour": "red"}
    assert content.values_of(ids, ["unsubscribe"]) == {pk: {} for pk in ids}


# Checking -------------------------------------------------------------------------------------


def told(medium: str, **words: str) -> list[tuple[str, bool]]:
    usual = {"subject": "S", "text": "T {{unsubscribe}}", "html": ""} | words
    return [(problem.where, problem.error) for problem in content.problems_of_words(medium, **usual)]


@pytest.mark.parametrize(
    ("medium", "words", "found"),
    [
        ("email", {}, []),
        ("email", {"subject": " "}, [("subject", True)]),
        ("email", {"text": ""}, [("text", True), ("text", False)]),
        ("email", {"text": "{{nmae}} {{unsubscribe}}"}, [("text", True)]),
        ("email", {"text": "{{name}} {{unsubscribe}}"}, [("text", False)]),
        ("email", {"text": "{{name {{unsubscribe}}"}, [("text", True)]),
        ("email", {"text": "no way out"}, [("text", False)]),
        ("email", {"html": "<script>x</script>"}, [("html", True)]),
        ("email", {"html": '<p onclick="x">'}, [("html", True)]),
        ("email", {"html": '<a href="{{attributes.site|https://x}}">x</a>'}, [("html", True)]),
        ("email", {"html": '<a href="{{unsubscribe}}">x</a>'}, []),
        ("sms", {"text": ""}, [("text", True)]),
    ],
)
def test_what_is_wrong_with_words_is_told_where_it_is(
    medium: str, words: dict[str, str], found: list[tuple[str, bool]]
) -> None:
    assert told(medium, **words) == found


@pytest.mark.django_db
def test_a_platform_rule_is_named_with_its_variant() -> None:
    channel, version = make_channel("sms"), make_message("sms")
    assert content.check(version, channel, TODAY) == []
    MessageVariant.objects.create(version=version, number=2, name="B", text="【假】上新")
    rules = {
        (problem.variant, problem.rule, problem.where) for problem in content.check(version, channel, TODAY)
    }
    assert rules == {("B", "forbidden_characters", "text"), ("B", "opt_out_text", "text")}


@pytest.mark.django_db
def test_a_text_message_is_counted_with_its_signature_and_sample_values() -> None:
    channel = make_channel("sms", settings={"signature": "品牌"})
    version = make_message("sms", text="{{name|您}}" + "字" * 60 + "拒收请回复R")
    (preview,) = content.previews(version, channel, TODAY)
    assert preview.cut is not None
    assert (preview.cut.units, len(preview.cut.parts)) == (4 + 2 + 60 + 6, 2)  # 72 > 70: two parts


@pytest.mark.django_db
def test_the_digest_changes_with_any_word() -> None:
    version = make_message("email")
    before = content.digest(version)
    MessageVariant.objects.filter(version=version).update(html="<p>other</p>")
    assert content.digest(version) != before
