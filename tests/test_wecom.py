"""WeCom: tasks that employees confirm, results that are asked for, callbacks that prove their sender."""
# ruff: noqa: F401, F811  (the fixture is imported, and asked for by its name)

import base64
import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from wechatpy.enterprise.crypto import WeChatCrypto

from audiences.vocabulary import ResponseKind
from channels import wecom_crypto
from channels.adapters import wecom
from channels.adapters.base import (
    AdapterError,
    BadSignature,
    BaseAdapter,
    Inbound,
    InboundRequest,
    Outcome,
    Outgoing,
    Receipt,
)
from channels.adapters.wecom import Adapter
from channels.sandbox.people import Person
from channels.sandbox.server import Sandbox
from tests.adapter_contract import AdapterContract, NetworkContract, SenderContract
from tests.sandbox_fixture import sandbox, start_sandbox, wecom_account

TOKEN, KEY, CORP = "sandboxtoken", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "ww0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_tokens_of_other_tests() -> None:
    wecom._tokens.clear()


@pytest.fixture
def adapter(sandbox: Sandbox) -> Iterator[Adapter]:
    made = Adapter(wecom_account(sandbox))
    yield made
    made.close()


def messages(n: int, text: str = "双十一到店有礼", first: int = 0, **fields: Any) -> list[Outgoing]:
    return [Outgoing(first + k, f"wmCustomer{first + k:06d}", text=text, **fields) for k in range(n)]


def settled(adapter: Adapter, references: list[str], seconds: float = 5) -> list[Inbound]:
    """Poll until every reference has an event."""
    end = time.monotonic() + seconds
    while len(events := adapter.poll(references)) < len(references) and time.monotonic() < end:
        time.sleep(0.02)
    return events


class TestWeCom(AdapterContract, SenderContract, NetworkContract):
    name = "wecom"

    def outgoing(self, attempt_id: int, **fields: Any) -> Outgoing:
        """Equal texts, as a mass message has them: each different text would be a task of its own."""
        return super().outgoing(attempt_id, **{"text": "双十一到店有礼"} | fields)

    @pytest.fixture
    def adapter(self, sandbox: Sandbox) -> Iterator[BaseAdapter]:
        made = Adapter(wecom_account(sandbox))
        yield made
        made.close()

    @pytest.fixture
    def unreachable(self, sandbox: Sandbox) -> BaseAdapter:
        return Adapter(wecom_account(sandbox, base_url="http://127.0.0.1:1"))

    @pytest.fixture
    def dropping(self, sandbox: Sandbox) -> BaseAdapter:
        sandbox.faults("wecom", drop=1.0)
        return Adapter(wecom_account(sandbox))


def test_a_batch_of_one_text_is_one_task_and_is_sent_when_confirmed(
    adapter: Adapter, sandbox: Sandbox
) -> None:
    results = adapter.send(messages(2500))
    assert len({sent.reference.split(":")[0] for sent in results}) == 1
    assert [sent.reference.split(":")[1] for sent in results] == [f"wmCustomer{n:06d}" for n in range(2500)]
    events = settled(adapter, [sent.reference for sent in results])
    assert {event.reference for event in events} == {sent.reference for sent in results}
    assert {(event.receipt, event.identity_issuer) for event in events} == {(Receipt.SENT, CORP)}
    assert all(abs(event.occurred_at.timestamp() - time.time()) < 60 for event in events)
    assert sandbox.counters("wecom") == {"tokens": 1, "held": 2500, "sent": 2500}


def test_a_task_that_wecom_does_not_know_holds_no_other(adapter: Adapter) -> None:
    """It comes first at every asking: what employees confirmed, and what must be cancelled, would wait for days."""
    unknown = "msgNobodyMade:wmCustomer000001"
    confirmed = [sent.reference for sent in adapter.send(messages(2))]
    events = settled(adapter, [unknown, *confirmed], seconds=1.5)
    assert {event.reference for event in events} == set(confirmed)
    made = [sent.reference for sent in adapter.send(messages(2, "另一条", first=2))]
    told = adapter.expire([unknown, *made])
    assert {event.reference for event in told} == set(made)


def test_texts_employees_and_repeated_people_are_tasks_of_their_own(adapter: Adapter) -> None:
    batch = [
        *messages(3, "A"), *messages(2, "B", first=3), *messages(2, "A", first=5, sender="staff2"),
        Outgoing(9, "wmCustomer000000", text="A"),
    ]  # fmt: skip
    results = adapter.send(batch)
    tasks: dict[str, set[int]] = {}
    for sent in results:
        tasks.setdefault(sent.reference.split(":")[0], set()).add(sent.attempt_id)
    assert sorted(map(sorted, tasks.values())) == [[0, 1, 2], [3, 4], [5, 6], [9]]


def test_more_than_ten_thousand_are_two_tasks(adapter: Adapter) -> None:
    results = adapter.send(messages(10_001))
    assert len({sent.reference.split(":")[0] for sent in results}) == 2
    assert {sent.outcome for sent in results} == {Outcome.HELD}


def test_customers_in_the_fail_list_are_refused_and_the_others_held(tmp_path: Path) -> None:
    people = [Person(f"p{n}", wecom_external_id=f"wm{n}", wecom_userid=f"staff{n % 2}") for n in range(6)]
    with start_sandbox(tmp_path, people) as running:
        adapter = Adapter(wecom_account(running))
        batch = [Outgoing(n, f"wm{n}", text="你好", sender="staff0") for n in range(8)]
        found = {sent.attempt_id: (sent.outcome, sent.code) for sent in adapter.send(batch)}
        refused = (Outcome.REFUSED, "not_a_contact")
        assert found == {n: (Outcome.HELD, "") if n in {0, 2, 4} else refused for n in range(8)}
        (nobody,) = adapter.send([Outgoing(9, "wmNobody", text="你好")])
        assert (nobody.outcome, nobody.code, nobody.invalid_address) == (
            Outcome.REFUSED,
            "not_a_customer",
            True,
        )
        told = adapter.roster().contacts(["staff0", "staff1"])
        assert {(one.employee, one.address) for one in told} == {
            (f"staff{n % 2}", f"wm{n}") for n in range(6)
        }
        adapter.close()


def test_texts_that_wecom_cannot_carry_are_refused_before_any_call(
    adapter: Adapter, sandbox: Sandbox
) -> None:
    long, empty = adapter.send([*messages(1, "好" * 1334), *messages(1, "", first=1)])
    assert (long.outcome, long.code, empty.outcome, empty.code) == (
        Outcome.REFUSED,
        "too_long",
        Outcome.REFUSED,
        "empty",
    )
    assert "held" not in sandbox.counters("wecom")
    assert adapter.send(messages(1, "好" * 1333))[0].outcome is Outcome.HELD


def test_a_customer_with_too_many_messages_and_one_who_left_are_bounces(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, wecom={"confirm_seconds": 0.01, "per_month": 1}) as running:
        adapter = Adapter(wecom_account(running))
        (first,) = adapter.send(messages(1))
        assert [event.receipt for event in settled(adapter, [first.reference])] == [Receipt.SENT]
        running.call(lambda: running.corp.leave("wmCustomer000001", "staff1"))
        results = adapter.send(messages(2, "second"))
        events = {
            event.identity_value[-1]: event
            for event in settled(adapter, [sent.reference for sent in results])
        }
        adapter.close()
    assert (events["0"].receipt, events["0"].code, events["0"].permanent) == (
        Receipt.BOUNCED,
        "limit_reached",
        False,
    )
    assert (events["1"].receipt, events["1"].code, events["1"].permanent) == (
        Receipt.BOUNCED,
        "not_a_friend",
        True,
    )


def test_what_waits_tells_nothing_and_is_cancelled_before_it_expires(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, wecom={"confirm_seconds": 3600}) as running:
        adapter = Adapter(wecom_account(running))
        references = [sent.reference for sent in adapter.send(messages(3))]
        assert adapter.poll(references) == []
        adapter.remind(references[0])
        impatient = Adapter(wecom_account(running, confirm_hours=1e-9))
        time.sleep(1.1)  # WeCom's times are whole seconds
        events = impatient.poll(iter(references))
        assert {(event.receipt, event.code) for event in events} == {(Receipt.EXPIRED, "unconfirmed")}
        msgid = references[0].split(":")[0]
        assert running.call(running.corp.confirm, msgid, "staff1") is False, (
            "a cancelled task must not go out"
        )
        adapter.close()


def test_a_task_is_cancelled_at_its_messages_deadline(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, wecom={"confirm_seconds": 3600}) as running:
        adapter = Adapter(wecom_account(running))
        now = dt.datetime.now(dt.UTC)
        soon = adapter.send(messages(2, expires_at=now - dt.timedelta(seconds=1)))
        late = adapter.send(messages(2, expires_at=now + dt.timedelta(hours=1), first=2))
        references = [sent.reference for sent in (*soon, *late)]
        assert len({reference.split(":")[0] for reference in references}) == 2, (
            "another deadline is another task"
        )
        events = adapter.poll(references)
        adapter.close()
    assert {(event.receipt, event.reference) for event in events} == {
        (Receipt.EXPIRED, sent.reference) for sent in soon
    }
    assert {event.identity_value for event in events} == {"wmCustomer000000", "wmCustomer000001"}


def test_a_confirmation_just_before_the_cancellation_counts_as_sent(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, wecom={"confirm_seconds": 3600}) as running:
        adapter = Adapter(wecom_account(running))
        references = [sent.reference for sent in adapter.send(messages(2))]
        assert running.call(running.corp.confirm, references[0].split(":")[0], "staff1") is True
        assert {event.receipt for event in adapter.expire(references)} == {Receipt.SENT}
        adapter.close()


def test_a_lost_answer_is_unknown_and_settled_when_the_task_is_found(sandbox: Sandbox) -> None:
    sandbox.faults("wecom", next=["drop"])
    adapter = Adapter(wecom_account(sandbox))
    results = adapter.send(messages(5, "lost"))
    assert {sent.outcome for sent in results} == {Outcome.UNKNOWN}
    references = [sent.reference for sent in results]
    events = settled(adapter, references)
    adapter.close()
    assert {(event.receipt, event.reference) for event in events} == {
        (Receipt.SENT, ref) for ref in references
    }


def test_a_call_that_made_no_task_is_known_so_after_ten_minutes(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.faults("wecom", next=["drop_before"])
    adapter = Adapter(wecom_account(sandbox))
    references = [sent.reference for sent in adapter.send(messages(2, "never"))]
    assert adapter.poll(references) == []
    later = time.time() + 601
    monkeypatch.setattr(wecom.time, "time", lambda: later)
    assert {(event.receipt, event.code) for event in adapter.poll(references)} == {
        (Receipt.REJECTED, "not_created")
    }
    adapter.close()


def test_a_token_that_ran_out_is_renewed_within_the_call(adapter: Adapter, sandbox: Sandbox) -> None:
    adapter.send(messages(1))
    sandbox.faults("wecom", expired_token=1)
    assert adapter.send(messages(1, first=1))[0].outcome is Outcome.HELD
    assert sandbox.counters("wecom")["tokens"] == 2
    sandbox.faults("wecom", expired_token=2)
    with pytest.raises(AdapterError) as caught:
        adapter.send(messages(1, first=2))
    assert caught.value.stops_channel


def test_one_token_serves_all_adapters_of_a_process(sandbox: Sandbox) -> None:
    for n in range(3):
        one = Adapter(wecom_account(sandbox))
        one.send(messages(1, first=n))
        one.close()
    assert sandbox.counters("wecom")["tokens"] == 1


def test_too_often_is_throttled_and_what_was_made_before_stays_held(
    adapter: Adapter, sandbox: Sandbox
) -> None:
    sandbox.faults("wecom", next=["ok", "throttle"])
    results = adapter.send([*messages(2, "A"), *messages(2, "B", first=2), *messages(2, "C", first=4)])
    assert [(sent.outcome, sent.code) for sent in results] == (
        [(Outcome.HELD, "")] * 2 + [(Outcome.THROTTLED, "45009")] * 4
    )
    sandbox.faults("wecom", next=["throttle"])
    with pytest.raises(AdapterError) as caught:
        adapter.send(messages(1, "D"))
    assert (caught.value.retryable, caught.value.retry_after) == (True, 60.0)


@pytest.mark.parametrize(
    ("changed", "code"), [({"secret": "other"}, "40001"), ({"corp_id": "wwother"}, "40013")]
)
def test_wrong_credentials_stop_the_channel(sandbox: Sandbox, changed: dict[str, str], code: str) -> None:
    account = wecom_account(sandbox)
    sandbox.change({"wecom": changed})
    with pytest.raises(AdapterError) as caught:
        Adapter(account).send(messages(1))
    assert (caught.value.code, caught.value.stops_channel) == (code, True)


def test_tasks_survive_a_restart_and_are_confirmed_after_it(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, wecom={"confirm_seconds": 1e6}) as first:
        adapter = Adapter(wecom_account(first))
        references = [sent.reference for sent in adapter.send(messages(4))]
        adapter.close()
    with start_sandbox(tmp_path, wecom={"confirm_seconds": 1e-6}) as second:
        adapter = Adapter(wecom_account(second))
        events = settled(adapter, references)
        adapter.close()
        fresh = Adapter(wecom_account(second)).send(messages(1, "new"))
        held = [(line["msgid"], line["address"]) for line in second.log_lines("wecom", "held")]
        results = [(line["msgid"], line["address"]) for line in second.log_lines("wecom", "result")]
    assert {event.reference for event in events} == set(references)
    assert fresh[0].reference.split(":")[0] not in {reference.split(":")[0] for reference in references}
    assert {f"{msgid}:{ext}" for msgid, ext in held} == {*references, fresh[0].reference}
    assert len(results) == len(set(results))


# The callback -------------------------------------------------------------------------------------


def request(url: str, body: bytes = b"", method: str = "POST") -> InboundRequest:
    return InboundRequest(method, url, {}, dict(parse_qsl(urlsplit(url).query)), body)


def event_of(
    crypto: WeChatCrypto, kind: str = "del_follow_user", event: str = "change_external_contact"
) -> InboundRequest:
    """An event as another implementation of the envelope writes it."""
    xml = (
        f"<xml><ToUserName><![CDATA[{CORP}]]></ToUserName><CreateTime>1763884800</CreateTime><MsgType>event</MsgType>"
        f"<Event><![CDATA[{event}]]></Event><ChangeType><![CDATA[{kind}]]></ChangeType>"
        "<UserID><![CDATA[张三]]></UserID><ExternalUserID><![CDATA[wmX]]></ExternalUserID></xml>"
    )
    sealed = crypto.encrypt_message(xml, "nonce1", "1763884800")
    signature = sealed.split("<MsgSignature><![CDATA[")[1].split("]")[0]
    return request(
        f"https://x/in/3/s/?msg_signature={signature}&timestamp=1763884800&nonce=nonce1", sealed.encode()
    )


def test_a_customer_who_deletes_the_employee_opts_out_and_a_new_one_follows(adapter: Adapter) -> None:
    crypto = WeChatCrypto(TOKEN, KEY, CORP)
    (left,) = adapter.parse_inbound(event_of(crypto)).events
    (came,) = adapter.parse_inbound(event_of(crypto, "add_external_contact")).events
    assert (left.response, left.identity_value, left.identity_issuer) == (ResponseKind.OPT_OUT, "wmX", CORP)
    assert left.detail == {"employee": "张三"}
    assert came.response is ResponseKind.FOLLOW
    assert left.dedupe_key != came.dedupe_key
    assert list(adapter.parse_inbound(event_of(crypto, "edit_external_contact")).events) == []
    assert list(adapter.parse_inbound(event_of(crypto, event="change_external_chat")).events) == []


def test_an_event_of_somebody_else_is_refused(adapter: Adapter) -> None:
    other_key = base64.b64encode(bytes(range(32))).decode().rstrip("=")
    for crypto in (
        WeChatCrypto("othertoken", KEY, CORP), WeChatCrypto(TOKEN, other_key, CORP), WeChatCrypto(TOKEN, KEY, "wwother"),
    ):  # fmt: skip
        with pytest.raises(BadSignature):
            adapter.parse_inbound(event_of(crypto))
    for broken in (
        request("https://x/?msg_signature=1"),
        request("https://x/", b"<xml><Encrypt>AA==</Encrypt></xml>"),
    ):
        with pytest.raises(BadSignature):
            adapter.parse_inbound(broken)


def test_the_address_check_is_answered_with_the_opened_text(adapter: Adapter) -> None:
    sealed = wecom_crypto.seal(KEY, "1616140317555161061", CORP)
    signature = wecom_crypto.signature(TOKEN, "17", "n", sealed)
    query = {"msg_signature": signature, "timestamp": "17", "nonce": "n", "echostr": sealed}
    reply = adapter.parse_inbound(InboundRequest("GET", "https://x/", {}, query, b""))
    assert reply.body == b"1616140317555161061"
    assert (
        WeChatCrypto(TOKEN, KEY, CORP).check_signature(signature, "17", "n", sealed) == "1616140317555161061"
    )


@pytest.mark.parametrize("text", ["", "a", "好" * 100, "x" * 31, "x" * 32, "x" * 33, "<xml>😀</xml>"])
def test_the_envelope_opens_with_the_other_implementation_both_ways(text: str) -> None:
    crypto = WeChatCrypto(TOKEN, KEY, CORP)
    sealed = wecom_crypto.seal(KEY, text, CORP)
    signature = wecom_crypto.signature(TOKEN, "17", "n", sealed)
    assert crypto.decrypt_message({"Encrypt": sealed}, signature, "17", "n") == text
    theirs = crypto.encrypt_message(text, "n", "17").split("<Encrypt><![CDATA[")[1].split("]")[0]
    assert wecom_crypto.unseal(KEY, theirs, CORP) == text
    for damaged in (theirs[:-8] + "AAAAAAA=", theirs[4:], "", "not base64!"):
        with pytest.raises(wecom_crypto.BadEnvelope):
            wecom_crypto.unseal(KEY, damaged, CORP)
