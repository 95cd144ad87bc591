"""WeChat official account: jobs whose results are told later, quotas, callbacks plain and encrypted."""
# ruff: noqa: F401, F811  (the fixture is imported, and asked for by its name)

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from wechatpy.crypto import WeChatCrypto
from wechatpy.utils import WeChatSigner

from audiences.vocabulary import ResponseKind
from channels.accounts import defaults
from channels.adapters import _weixin
from channels.adapters.base import (
    Account,
    AdapterError,
    BadSignature,
    BaseAdapter,
    Inbound,
    InboundRequest,
    Outcome,
    Outgoing,
    Receipt,
)
from channels.adapters.official_account import Adapter, client_id, template_data
from channels.sandbox.server import Sandbox
from tests.adapter_contract import AdapterContract, NetworkContract, SenderContract
from tests.sandbox_fixture import sandbox, start_sandbox

APP, TOKEN, KEY = "wx0123456789abcdef", "sandboxtoken", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
TEMPLATE = "OPENTM200000001"


@pytest.fixture(autouse=True)
def _no_tokens_of_other_tests() -> None:
    _weixin.forget_tokens()


def account(base: str, key: str = "", **settings: Any) -> Account:
    told = defaults(Adapter) | {"app_id": APP, "base_url": base, "timeout": 5} | settings
    secrets = {"secret": "sandbox-app-secret", "callback_token": TOKEN}
    return Account(8, "main", "official_account", told, secrets | ({"callback_aes_key": key} if key else {}))


def of(sandbox: Sandbox, **settings: Any) -> Account:
    return account(f"http://127.0.0.1:{sandbox.ports['official_account']}", **settings)


@pytest.fixture
def adapter(sandbox: Sandbox) -> Iterator[Adapter]:
    made = Adapter(of(sandbox))
    yield made
    made.close()


@pytest.fixture
def notices(sandbox: Sandbox) -> Iterator[Adapter]:
    made = Adapter(of(sandbox, kind="template"))
    yield made
    made.close()


def messages(n: int, text: str = "双十一到店有礼", first: int = 0, **fields: Any) -> list[Outgoing]:
    return [Outgoing(first + k, f"oFollower{first + k:06d}", text=text, **fields) for k in range(n)]


def notice(n: int, **fields: Any) -> list[Outgoing]:
    return messages(n, "thing1: 您的订单已发货\ntime2: 2026-11-11", template=TEMPLATE, **fields)


class TestMassMessages(AdapterContract, SenderContract, NetworkContract):
    name = "official_account"

    def outgoing(self, attempt_id: int, **fields: Any) -> Outgoing:
        """Equal texts, as a mass message has them."""
        return super().outgoing(attempt_id, **{"text": "双十一到店有礼"} | fields)

    @pytest.fixture
    def adapter(self, sandbox: Sandbox) -> Iterator[BaseAdapter]:
        made = Adapter(of(sandbox))
        yield made
        made.close()

    @pytest.fixture
    def unreachable(self, sandbox: Sandbox) -> BaseAdapter:
        return Adapter(account("http://127.0.0.1:1"))

    @pytest.fixture
    def dropping(self, sandbox: Sandbox) -> BaseAdapter:
        sandbox.faults("official_account", drop=1.0)
        return Adapter(of(sandbox))


class TestTemplateMessages(SenderContract, NetworkContract):
    name = "official_account"

    def outgoing(self, attempt_id: int, **fields: Any) -> Outgoing:
        return super().outgoing(attempt_id, **{"text": "thing1: 已发货", "template": TEMPLATE} | fields)

    @pytest.fixture
    def adapter(self, sandbox: Sandbox) -> Iterator[BaseAdapter]:
        made = Adapter(of(sandbox, kind="template"))
        yield made
        made.close()

    @pytest.fixture
    def unreachable(self, sandbox: Sandbox) -> BaseAdapter:
        return Adapter(account("http://127.0.0.1:1", kind="template"))

    @pytest.fixture
    def dropping(self, sandbox: Sandbox) -> BaseAdapter:
        sandbox.faults("official_account", drop=1.0)
        return Adapter(of(sandbox, kind="template"))


# Mass messages ------------------------------------------------------------------------------------


def ended(adapter: Adapter, references: list[str], sandbox: Sandbox) -> list[Inbound]:
    found: list[Inbound] = sandbox.wait(lambda: adapter.poll(references))
    return found


def test_one_text_is_one_job_whose_end_settles_everybody(adapter: Adapter, sandbox: Sandbox) -> None:
    results = adapter.send(messages(2500))
    assert {sent.outcome for sent in results} == {Outcome.HELD}
    references = [sent.reference for sent in results]
    assert len({reference.split(":")[0] for reference in references}) == 1
    events = ended(adapter, references, sandbox)
    assert {(event.reference, event.receipt) for event in events} == {
        (ref, Receipt.SENT) for ref in references
    }
    assert sandbox.counters("official_account")["mass"] == 1


def test_a_job_whose_content_is_found_unfit_reached_nobody(sandbox: Sandbox) -> None:
    sandbox.change({"vendors": {"official_account": {"mass_status": "SEND_FAIL"}}})
    made = Adapter(of(sandbox))
    references = [sent.reference for sent in made.send(messages(3))]
    events = ended(made, references, sandbox)
    made.close()
    assert {(event.receipt, event.code) for event in events} == {(Receipt.REJECTED, "send_fail")}
    assert sandbox.log_lines("official_account", "sent") == []


def test_a_running_job_tells_nothing(sandbox: Sandbox) -> None:
    sandbox.change({"vendors": {"official_account": {"job_seconds": 3600.0}}})
    made = Adapter(of(sandbox))
    assert made.poll([sent.reference for sent in made.send(messages(2))]) == []
    assert made.poll(["77", "999999:oX"]) == [], "template messages, and jobs nobody knows"
    made.close()


def test_a_single_follower_waits_for_others_and_ten_thousand_and_one_are_two_jobs(
    adapter: Adapter, sandbox: Sandbox
) -> None:
    (alone,) = adapter.send(messages(1))
    assert (alone.outcome, alone.code, alone.retry_after) == (Outcome.THROTTLED, "too_few", 600.0)
    results = adapter.send(messages(10_001))
    assert {sent.outcome for sent in results} == {Outcome.HELD}
    assert [line["total"] for line in sandbox.log_lines("official_account", "mass")] == [9999, 2]
    twice = adapter.send([*messages(3, "again"), *messages(1, "again", first=0)])
    assert sorted(sent.outcome for sent in twice) == [Outcome.HELD] * 3 + [Outcome.THROTTLED]


def test_a_call_repeated_is_taken_once(adapter: Adapter, sandbox: Sandbox) -> None:
    """The answer was lost, and somebody gives the very same attempts again: WeChat knows them by clientmsgid."""
    sandbox.faults("official_account", next=["drop"])
    assert {sent.outcome for sent in adapter.send(messages(5))} == {Outcome.UNKNOWN}
    again = adapter.send(messages(5))
    assert {sent.outcome for sent in again} == {Outcome.HELD}
    assert len(sandbox.log_lines("official_account", "mass")) == 1
    assert client_id(messages(5)) != client_id(messages(5, first=1))
    assert len(client_id(messages(5))) <= 64


def test_a_subscription_account_sends_once_a_day(sandbox: Sandbox) -> None:
    sandbox.change({"vendors": {"official_account": {"account": "subscription"}}})
    made = Adapter(of(sandbox))
    assert {sent.outcome for sent in made.send(messages(2))} == {Outcome.HELD}
    with pytest.raises(AdapterError) as caught:
        made.send(messages(2, "another"))
    made.close()
    assert (caught.value.code, caught.value.retryable) == ("45028", True)
    assert 0 < (caught.value.retry_after or 0) <= 86_460


def test_a_service_account_reaches_a_follower_four_times_a_month(adapter: Adapter, sandbox: Sandbox) -> None:
    for n in range(5):
        adapter.send(messages(2, f"text {n}", first=0))
    sent = [line["address"] for line in sandbox.log_lines("official_account", "sent")]
    assert sorted(sent) == ["oFollower000000"] * 4 + ["oFollower000001"] * 4


def test_more_than_sixty_calls_a_minute_wait(sandbox: Sandbox) -> None:
    sandbox.change({"vendors": {"official_account": {"per_minute": 2}}})
    made = Adapter(of(sandbox))
    results = made.send([message for n in range(4) for message in messages(2, f"text {n}", first=2 * n)])
    made.close()
    assert [sent.outcome for sent in results] == [Outcome.HELD] * 4 + [Outcome.THROTTLED] * 4
    assert {sent.retry_after for sent in results[4:]} == {60.0}


def test_an_article_is_sent_by_its_media_id(adapter: Adapter, sandbox: Sandbox) -> None:
    assert {sent.outcome for sent in adapter.send(messages(2, "", template="MEDIA_ID"))} == {Outcome.HELD}
    assert {sent.outcome for sent in adapter.send(messages(2, ""))} == {Outcome.REFUSED}


# Template messages --------------------------------------------------------------------------------


def test_the_lines_of_a_text_are_a_templates_values() -> None:
    data, url = template_data(
        "thing1: 已发货：请查收\ntime2：2026-11-11\n备注\nurl: https://example.com/l/abc\nhttp://x\n"
    )
    assert data == {"thing1": {"value": "已发货：请查收"}, "time2": {"value": "2026-11-11\n备注"}}
    assert url == "https://example.com/l/abc"
    assert template_data("") == ({}, "")


def test_each_follower_has_a_call_of_their_own_and_none_is_sent_twice(
    notices: Adapter, sandbox: Sandbox
) -> None:
    results = notices.send(notice(20))
    assert {sent.outcome for sent in results} == {Outcome.HELD}
    assert len({sent.reference for sent in results}) == 20
    assert {sent.attempt_id: sent.reference for sent in notices.send(notice(20))} == {
        sent.attempt_id: sent.reference for sent in results
    }
    lines = sandbox.log_lines("official_account", "template")
    assert sorted(int(line["attempt"]) for line in lines) == list(range(20))


def test_who_does_not_follow_and_a_template_that_is_none_are_refused(
    notices: Adapter, sandbox: Sandbox
) -> None:
    (none,) = notices.send(messages(1, "thing1: x"))
    (wrong,) = notices.send(messages(1, "thing1: x", template="OTHER"))
    (bad,) = notices.send([Outgoing(1, "nobody", text="thing1: x", template=TEMPLATE)])
    sandbox.change({"vendors": {"official_account": {"strangers": 1.0}}})
    (stranger,) = notices.send(notice(1))
    assert [sent.code for sent in (none, wrong, bad, stranger)] == [
        "no_template", "unknown_template", "invalid_openid", "not_following",
    ]  # fmt: skip
    assert {sent.outcome for sent in (none, wrong, bad, stranger)} == {Outcome.REFUSED}
    assert bad.invalid_address


# Tokens and errors --------------------------------------------------------------------------------


def test_a_token_that_ran_out_is_renewed_within_the_call(adapter: Adapter, sandbox: Sandbox) -> None:
    adapter.send(messages(2))
    sandbox.faults("official_account", expired_token=1)
    assert {sent.outcome for sent in adapter.send(messages(2, "more"))} == {Outcome.HELD}
    assert sandbox.counters("official_account")["tokens"] == 2
    sandbox.faults("official_account", expired_token=2)
    with pytest.raises(AdapterError) as caught:
        adapter.send(messages(2, "again"))
    assert caught.value.stops_channel


@pytest.mark.parametrize(
    ("change", "code"), [({"secret": "other"}, "40125"), ({"app_id": "wxother"}, "40013")]
)
def test_wrong_credentials_stop_the_channel(sandbox: Sandbox, change: dict[str, str], code: str) -> None:
    made = Adapter(of(sandbox))
    sandbox.change({"vendors": {"official_account": change}})
    with pytest.raises(AdapterError) as caught:
        made.send(messages(2))
    assert (caught.value.code, caught.value.stops_channel) == (code, True)
    assert not made.check().ok
    made.close()


def test_check_wants_the_callback_token_and_lists_templates(notices: Adapter, sandbox: Sandbox) -> None:
    assert notices.check().facts["templates"] == "1"
    without = of(sandbox)
    checked = Adapter(Account(8, "main", "official_account", without.settings, {"secret": "x"})).check()
    assert not checked.ok
    assert "callback" in checked.text


# The callback, against another implementation of it ---------------------------------------------


def xml(**fields: Any) -> str:
    told = {"ToUserName": "gh_1", "FromUserName": "oA", "CreateTime": 1763884800, **fields}
    return "<xml>" + "".join(f"<{k}><![CDATA[{v}]]></{k}>" for k, v in told.items()) + "</xml>"


def plain(body: str, token: str = TOKEN) -> InboundRequest:
    signer = WeChatSigner()
    signer.add_data(token, "17", "n")
    query = {"timestamp": "17", "nonce": "n", "signature": signer.signature}
    return InboundRequest("POST", "https://x/", {}, query, body.encode())


def sealed(body: str, crypto: WeChatCrypto) -> InboundRequest:
    envelope = crypto.encrypt_message(body, "n", "17")
    signature = envelope.split("<MsgSignature><![CDATA[")[1].split("]")[0]
    query = {"timestamp": "17", "nonce": "n", "encrypt_type": "aes", "msg_signature": signature}
    return InboundRequest("POST", "https://x/", {}, query, envelope.encode())


def both(body: str) -> list[list[Inbound]]:
    """The events of a body that comes plain, and of one that comes encrypted."""
    first = Adapter(account("http://x")).parse_inbound(plain(body))
    second = Adapter(account("http://x", KEY)).parse_inbound(sealed(body, WeChatCrypto(TOKEN, KEY, APP)))
    assert first.body == second.body == b"success"
    return [list(first.events), list(second.events)]


@pytest.mark.parametrize(
    ("status", "receipt", "code"),
    [
        ("success", Receipt.DELIVERED, ""), ("failed:user block", Receipt.BOUNCED, "user_block"),
        ("failed: system failed", Receipt.BOUNCED, "system_failed"),
    ],
)  # fmt: skip
def test_the_result_of_a_template_message_settles_it(status: str, receipt: Receipt, code: str) -> None:
    for events in both(xml(MsgType="event", Event="TEMPLATESENDJOBFINISH", MsgID="200163836", Status=status)):
        (event,) = events
        assert (event.receipt, event.reference, event.code) == (receipt, "200163836", code)
        assert not event.permanent


def test_followers_leavers_and_words_are_responses_of_a_person() -> None:
    for kind, response in (("subscribe", ResponseKind.FOLLOW), ("unsubscribe", ResponseKind.OPT_OUT)):
        for events in both(xml(MsgType="event", Event=kind, EventKey="")):
            (event,) = events
            assert event.response is response
            assert (event.identity_kind, event.identity_issuer, event.identity_value) == ("openid", APP, "oA")
    for text, response in (
        ("退订", ResponseKind.OPT_OUT),
        ("td", ResponseKind.OPT_OUT),
        ("你好 TD", ResponseKind.REPLY),
    ):
        for events in both(xml(MsgType="text", Content=text, MsgId="6054")):
            (event,) = events
            assert (event.response, event.detail["text"], event.dedupe_key) == (
                response,
                text,
                "message:6054",
            )
    for quiet in (xml(MsgType="image"), xml(MsgType="event", Event="VIEW"),
                  xml(MsgType="event", Event="MASSSENDJOBFINISH", MsgID="1", Status="send success")):  # fmt: skip
        assert both(quiet) == [[], []]


def test_an_event_of_somebody_else_is_refused() -> None:
    body = xml(MsgType="event", Event="subscribe")
    plainly, safely = Adapter(account("http://x")), Adapter(account("http://x", KEY))
    for made, request in (
        (plainly, plain(body, token="other")),
        (plainly, InboundRequest("POST", "https://x/", {}, {}, body.encode())),
        (safely, plain(body)),  # in safe mode nothing unencrypted is believed
        (safely, sealed(body, WeChatCrypto("other", KEY, APP))),
        (safely, sealed(body, WeChatCrypto(TOKEN, KEY, "wxother"))),
        (safely, sealed(body, WeChatCrypto(TOKEN, KEY[::-1], APP))),
    ):
        with pytest.raises(BadSignature):
            made.parse_inbound(request)
    nobody = Adapter(Account(8, "main", "official_account", {"app_id": APP}, {}))
    with pytest.raises(BadSignature):
        nobody.parse_inbound(plain(body, token=""))


def test_the_address_check_is_answered() -> None:
    signer = WeChatSigner()
    signer.add_data(TOKEN, "17", "n")
    query = {"timestamp": "17", "nonce": "n", "signature": signer.signature, "echostr": "5831"}
    made = Adapter(account("http://x"))
    assert made.parse_inbound(InboundRequest("GET", "https://x/", {}, query, b"")).body == b"5831"
    with pytest.raises(BadSignature):
        made.parse_inbound(InboundRequest("GET", "https://x/", {}, query | {"nonce": "m"}, b""))


def test_the_far_sides_own_envelope_opens_with_the_other_implementation(sandbox: Sandbox) -> None:
    sandbox.change({"vendors": {"official_account": {"callback_aes_key": KEY}}})
    body, query = sandbox.call(sandbox.vendors["official_account"].envelope, xml(MsgType="text"))
    crypto = WeChatCrypto(TOKEN, KEY, APP)
    assert "gh_1" in crypto.decrypt_message(body, query["msg_signature"], query["timestamp"], query["nonce"])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["", KEY])
def test_results_and_words_come_back_through_our_own_door(
    tmp_path: Path, live_server: Any, settings: Any, key: str
) -> None:
    from channels.accounts import account_of, callback_url, save_channel
    from channels.models import Channel, InboxEvent
    from tests.channel_rows import make_brand

    settings.PUBLIC_URL = live_server.url
    secrets = {"secret": "sandbox-app-secret", "callback_token": TOKEN} | (
        {"callback_aes_key": key} if key else {}
    )
    channel = save_channel(
        Channel(brand=make_brand(), name="Account", medium="official_account", adapter="official_account",
                settings={"app_id": APP, "kind": "template"}, credentials=secrets)
    )  # fmt: skip
    told = {"callback": callback_url(channel), "callback_aes_key": key, "job_seconds": 0.0}
    with start_sandbox(tmp_path, vendors={"official_account": told}) as running:
        channel.settings["base_url"] = f"http://127.0.0.1:{running.ports['official_account']}"
        made = Adapter(account_of(channel))
        results = made.send(notice(3))
        made.close()
        running.call(running.vendors["official_account"].event, "oFollower000000", "unsubscribe")
        running.wait(lambda: InboxEvent.objects.count() == 4)
    receipts = InboxEvent.objects.filter(kind="receipt").values_list("reference", "outcome")
    assert sorted(receipts) == sorted((sent.reference, "delivered") for sent in results)
    assert InboxEvent.objects.get(kind="response").response == "opt_out"


def test_what_was_taken_is_known_after_a_restart(tmp_path: Path) -> None:
    with start_sandbox(tmp_path) as first:
        made = Adapter(of(first))
        before = made.send(messages(2))
        made.close()
    _weixin.forget_tokens()
    with start_sandbox(tmp_path) as second:
        made = Adapter(of(second))
        assert [sent.reference for sent in made.send(messages(2))] == [sent.reference for sent in before]
        assert made.send(messages(2, "new"))[0].reference.split(":")[0] != before[0].reference.split(":")[0]
        made.close()


# Marketing in template messages -----------------------------------------------------------------


@pytest.mark.django_db
def test_a_template_message_that_carries_marketing_is_refused_where_it_is_written() -> None:
    from campaigns import content
    from campaigns.models import MessageVersion
    from channels.models import Channel
    from tests import factories as make

    day = dt.date(2026, 11, 11)
    told = {"app_id": APP}
    notices = make.channel(
        "official_account", adapter="official_account", settings=told | {"kind": "template"}
    )
    mass = make.channel("official_account", adapter="official_account", settings=told | {"kind": "mass"})
    version = make.message("official_account", "thing1: 双十一限时优惠")

    def errors(channel: Channel) -> set[tuple[str, str]]:
        found = content.check(MessageVersion.objects.get(pk=version.pk), channel, day)
        return {(problem.where, problem.rule) for problem in found if problem.error}

    assert errors(notices) == {("text", "marketing_words"), ("template", "")}
    assert errors(mass) == set()
    version.template = TEMPLATE
    version.save()
    version.variants.update(text="thing1: 您的订单已发货")
    assert errors(notices) == set()
