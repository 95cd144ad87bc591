"""Texts that a provider approved before: what is sent, what the editor says, what is refused before the provider does."""

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from audiences.models import Consent
from campaigns import content, dispatch
from campaigns.models import MessageVersion, Response, Touch
from channels.accounts import release_adapters
from channels.adapters.aliyun_sms import Adapter as Aliyun
from channels.adapters.base import Outcome, Outgoing
from channels.adapters.tencent_sms import Adapter as Tencent
from channels.models import Channel, PlatformRule
from channels.sandbox.vendors.aliyun_sms import Vendor as Far
from channels.tokens import LONGEST_SHORT, BadToken, Token, TokenKind, seal_short, unseal
from tests import factories as make
from tests.campaign_drafts import make_channel, make_message
from tests.sandbox_fixture import start_sandbox
from tests.sms_vendors import aliyun_account, tencent_account
from tests.test_sandbox_road import at_noon, connect
from tests.test_scanner_clicks import BROWSER, drain

TODAY = dt.date(2026, 11, 28)
TEXT = "{{name|您}}好，新品上市 https://shop.example/new 退订 {{unsubscribe}} 拒收请回复R"


@pytest.fixture(autouse=True)
def _connections() -> Iterator[None]:
    yield
    release_adapters()


# Short tokens -------------------------------------------------------------------------------------


@given(st.integers(0, 2047), *[st.integers(0, 2**21 - 1)] * 2, *[st.integers(0, 2**35 - 1)] * 2)
def test_a_short_token_is_letters_and_digits_and_reads_back(
    channel: int, link: int, campaign: int, touch: int, customer: int
) -> None:
    token = Token(TokenKind.LINK, channel, link, campaign, touch, customer)
    text = seal_short(token)
    assert re.fullmatch(r"[0-9A-Za-z]{1,35}", text)
    assert unseal(text, TokenKind.LINK) == token


def test_a_short_token_that_was_changed_or_is_of_another_kind_is_refused(settings: Any) -> None:
    text = seal_short(Token(TokenKind.UNSUBSCRIBE, 3, 0, 7, 4_000, 1_000))
    with pytest.raises(BadToken):
        unseal(text, TokenKind.LINK)
    for at in range(len(text)):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        with pytest.raises(BadToken):
            unseal(changed, TokenKind.UNSUBSCRIBE)
    with pytest.raises(BadToken):
        unseal(text[:-1], TokenKind.UNSUBSCRIBE)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another" * 10
    assert unseal(text, TokenKind.UNSUBSCRIBE).customer_id == 1_000


def test_a_token_too_long_for_a_variable_is_refused_and_never_cut() -> None:
    with pytest.raises(ValueError, match=str(LONGEST_SHORT)):
        seal_short(Token(TokenKind.LINK, 2**20, 2**40, 2**40, 2**50, 2**50))


# The editor ---------------------------------------------------------------------------------------


def channel_of(adapter: str) -> Channel:
    return make_channel("sms", adapter=adapter)


def version_with(text: str, template: str = "SMS_1") -> MessageVersion:
    version = make_message("sms", text=text)
    MessageVersion.objects.filter(pk=version.pk).update(template=template)
    version.refresh_from_db()
    return version


def errors(channel: Channel, text: str, template: str = "SMS_1") -> list[tuple[str, str]]:
    found = content.check(version_with(text, template), channel, TODAY)
    return [(problem.rule, problem.source) for problem in found if problem.error]


@pytest.mark.django_db
def test_the_editor_says_how_aliyuns_template_has_to_read_and_what_fills_it(settings: Any) -> None:
    settings.PUBLIC_URL = "https://go.brand.cn"
    version = version_with(TEXT)
    (preview,) = content.previews(version, channel_of("aliyun_sms"), TODAY)
    told = preview.template
    assert told is not None
    assert told.template == (
        "${name}好，新品上市 https://go.brand.cn/l/${link} 退订 https://go.brand.cn/u/${unsubscribe} 拒收请回复R"
    )
    assert [name for name, _value in told.values] == ["${name}", "${link}", "${unsubscribe}"]
    assert preview.text.count("https://go.brand.cn/") == 2
    assert preview.cut is not None
    assert preview.cut.units == len("【Evenreach】" + preview.text), "it is counted as it will be read"
    shown = render_to_string(
        "campaigns/_preview.html", {"preview": preview, "medium": "sms", "version": version}
    )
    assert "https://go.brand.cn/l/${link}" in shown
    assert "only the code behind our address" in shown


@pytest.mark.django_db
def test_the_editor_says_that_tencents_links_are_the_same_for_everybody() -> None:
    text = "{{name|您}}好，新品上市 https://shop.example/new ，{{city|本地}}门店见 拒收请回复R"
    version = version_with(text, "1110")
    (preview,) = content.previews(version, channel_of("tencent_sms"), TODAY)
    told = preview.template
    assert told is not None
    assert told.template == "{1}好，新品上市 https://shop.example/new ，{2}门店见 拒收请回复R"
    assert told.fixed == ("https://shop.example/new",)
    shown = render_to_string(
        "campaigns/_preview.html", {"preview": preview, "medium": "sms", "version": version}
    )
    assert "who clicked is not known" in shown
    assert errors(channel_of("tencent_sms"), text, "1110") == []


@pytest.mark.django_db
def test_the_message_page_shows_the_template_while_one_types(client: Client, make_user: Any) -> None:
    client.force_login(make_user("m", "marketer"))
    channel_of("aliyun_sms")
    version = version_with(TEXT)
    page = client.get(reverse("campaigns:message", args=[version.message_id])).content.decode()
    assert "${unsubscribe}" in page


# The approval -------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("adapter", "text", "rules"),
    [
        ("aliyun_sms", TEXT, []),
        ("tencent_sms", TEXT, ["template_links"]),
        ("tencent_sms", "看 https://shop.example/{{city|a}} 拒收请回复R", ["template_links"]),
        ("aliyun_sms", "看 https://shop.example/{{city|a}} 拒收请回复R", []),
        ("aliyun_sms", "你好 {{city|shop.example.com}} 拒收请回复R", ["template_links"]),
        ("aliyun_sms", "{{name|您}}{{city|本地}}上新 拒收请回复R", ["template_variables_apart"]),
        ("tencent_sms", "{{name|您}}{{city|本地}}上新 拒收请回复R", ["template_variables_apart"]),
        ("aliyun_sms", "{{name|您}}好，{{name|您}} 拒收请回复R", ["template_variables_once"]),
        ("tencent_sms", "{{name|您}}好，{{name|您}} 拒收请回复R", []),
        ("aliyun_sms", "{{name|" + "长" * 36 + "}}好 拒收请回复R", ["template_characters"]),
    ],
)
def test_what_a_provider_would_refuse_is_refused_at_approval_with_its_rule(
    adapter: str, text: str, rules: list[str]
) -> None:
    found = errors(channel_of(adapter), text)
    assert [rule for rule, _source in found] == rules
    assert all(source for _rule, source in found), "who says so is told"


@pytest.mark.django_db
def test_a_text_without_a_template_is_refused_where_only_templates_go_out() -> None:
    problems = content.check(version_with(TEXT, ""), channel_of("aliyun_sms"), TODAY)
    assert [problem.where for problem in problems if problem.error] == ["template"]
    assert content.check(version_with(TEXT, ""), make_channel("sms"), TODAY) == []


@pytest.mark.django_db
def test_a_row_for_one_account_says_what_its_provider_permits_it() -> None:
    channel = channel_of("tencent_sms")
    row = {"medium": "sms", "channel": channel, "valid_from": TODAY, "source": "Contract"}
    PlatformRule.objects.create(**row, key="template_links", value="code")
    assert errors(channel, TEXT, "1110") == []
    PlatformRule.objects.create(**row, key="template_characters", value=6)
    assert ("template_characters", "Contract") in errors(channel, TEXT, "1110")


# The far sides ------------------------------------------------------------------------------------


def test_aliyuns_far_side_refuses_an_address_in_a_variable_and_a_value_that_is_too_long(
    tmp_path: Path,
) -> None:
    templates = {
        "SMS_7": "看 https://go.brand.cn/l/${link} 拒收请回复R",
        "SMS_8": "看 https://www.${link}.cn 拒收请回复R",
        "SMS_9": "${a}${b} 拒收请回复R",
    }
    wanted = [
        ("SMS_7", {"link": "7Hq2mZr9bX4cN8"}, ""),
        ("SMS_7", {"link": "https://go.brand.cn/l/7Hq"}, "isv.PARAM_NOT_SUPPORT_URL"),
        ("SMS_7", {"link": "go.brand.cn"}, "isv.PARAM_NOT_SUPPORT_URL"),
        ("SMS_7", {"link": "x" * 36}, "isv.PARAM_LENGTH_LIMIT"),
        ("SMS_8", {"link": "brand"}, "isv.SMS_TEMPLATE_ILLEGAL"),
        ("SMS_9", {"a": "1", "b": "2"}, "isv.SMS_TEMPLATE_ILLEGAL"),
    ]
    batch = [
        Outgoing(n, f"+8613800138{n:03d}", template=template, variables=variables, text="x")
        for n, (template, variables, _code) in enumerate(wanted, 1)
    ]
    with start_sandbox(tmp_path, vendors={"aliyun_sms": {"templates": templates}}) as far:
        adapter = Aliyun(aliyun_account(far))
        codes = {sent.attempt_id: sent.code for sent in adapter.send(batch)}
        adapter.close()
    assert [codes[n] for n in range(1, len(wanted) + 1)] == [code for _t, _v, code in wanted]


def test_tencents_far_side_refuses_an_address_in_a_parameter_and_a_parameter_in_a_link(
    tmp_path: Path,
) -> None:
    templates = {
        "7": "{1}好，看 https://shop.example/new 拒收请回复R",
        "8": "看 https://shop.example/{1} 拒收请回复R",
    }
    wanted = [
        ("7", {"name": "林晓"}, ""),
        ("7", {"name": "https://x.cn/a"}, "InvalidParameterValue.ProhibitedUseUrlInTemplateParameter"),
        ("7", {"name": "一二三四五六七"}, "InvalidParameterValue.TemplateParameterLengthLimit"),
        ("8", {"name": "a"}, "FailedOperation.TemplateUnapprovedOrNotExist"),
    ]
    batch = [
        Outgoing(n, f"+8613800138{n:03d}", template=template, variables=variables, text="x")
        for n, (template, variables, _code) in enumerate(wanted, 1)
    ]
    vendors = {"tencent_sms": {"templates": templates, "longest_value": 6}}
    with start_sandbox(tmp_path, vendors=vendors) as far:
        adapter = Tencent(tencent_account(far))
        results = {sent.attempt_id: sent for sent in adapter.send(batch)}
        adapter.close()
    assert [results[n].code for n in range(1, 5)] == [code for _t, _v, code in wanted]
    assert results[1].outcome is Outcome.ACCEPTED


# The road: from the words to the phone, and back by the click ------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_link_on_the_phone_leads_on_and_the_click_is_the_persons(
    tmp_path: Path, client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PUBLIC_URL = "http://testserver"
    texts: list[str] = []
    monkeypatch.setattr(Far, "reached", lambda _far, _medium, _kind, _address, text: texts.append(text))
    with start_sandbox(tmp_path) as far:
        channel = connect("sms", "aliyun_sms", aliyun_account(far, timeout=2))
        version = make.message("sms", TEXT)
        MessageVersion.objects.filter(pk=version.pk).update(template="SMS_7")
        (preview,) = content.previews(version, channel, TODAY)
        assert preview.template is not None
        far.change({"vendors": {"aliyun_sms": {"templates": {"SMS_7": preview.template.template}}}})
        now, zone = at_noon()
        found = make.campaign([channel], now=now, zone=zone)
        make.released(found, make.customers(2, ("sms",), zone=zone), due_at=now, version=version)
        assert dispatch.dispatch_channel(channel.pk, now=now).accepted == 2
    assert len(texts) == len(set(texts)) == 2
    for text in texts:
        link, leave = re.findall(r"http://testserver(/[lu]/[0-9A-Za-z]+)", text)
        answer = client.get(link, **BROWSER)
        assert (answer.status_code, answer["Location"]) == (302, "https://shop.example/new")
        assert client.post(leave, {"List-Unsubscribe": "One-Click"}).content == b"ok"
    drain()
    clicked = Response.objects.filter(kind="click").values_list("touch_id", flat=True)
    assert sorted(clicked) == sorted(Touch.objects.values_list("id", flat=True))
    assert Consent.objects.filter(medium="sms", status="withdrawn").count() == 2
