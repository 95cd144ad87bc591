"""Aliyun SMS by its own client against our far side: signatures, limits, lost answers, receipts, replies."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiences.vocabulary import ResponseKind
from channels.adapters import _sms_marks
from channels.adapters.aliyun_sms import MOST_NUMBERS, Adapter
from channels.adapters.base import AdapterError, BaseAdapter, InboundRequest, Outcome, Outgoing, Receipt, Sent
from channels.sandbox.server import Sandbox
from tests.adapter_contract import AdapterContract, NetworkContract, SenderContract
from tests.sandbox_fixture import start_sandbox
from tests.sms_vendors import PHONE, Webhook, aliyun_account, webhook

NAME = "aliyun_sms"


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path / "sandbox", vendors={NAME: {"receipt_seconds": 0.01}}) as running:
        yield running


@pytest.fixture
def adapter(far: Sandbox) -> Iterator[Adapter]:
    made = Adapter(aliyun_account(far))
    yield made
    made.close()


@pytest.fixture
def hook(far: Sandbox) -> Iterator[Webhook]:
    with webhook() as running:
        far.change({"vendors": {NAME: {"callback": running.url}}})
        yield running


def message(attempt: int, text: str = "你好 拒收请回复R", **fields: Any) -> Outgoing:
    fields = {"template": "SMS_1", "address": f"+86138{attempt:08d}"} | fields
    return Outgoing(attempt, fields.pop("address"), text=text, **fields)


def calls(far: Sandbox, action: str = "SendBatchSms") -> int:
    return sum(line["action"] == action for line in far.log_lines(NAME, "call"))


def taken(far: Sandbox) -> list[dict[str, Any]]:
    return [line for line in far.log_lines(NAME, "submit") if line["verdict"] == "accepted"]


class TestAliyun(AdapterContract, SenderContract, NetworkContract):
    name = "aliyun_sms"

    def outgoing(self, attempt_id: int, **fields: Any) -> Outgoing:
        return super().outgoing(attempt_id, template="SMS_1", **fields)

    @pytest.fixture
    def adapter(self, far: Sandbox) -> Iterator[BaseAdapter]:
        made = Adapter(aliyun_account(far))
        yield made
        made.close()

    @pytest.fixture
    def unreachable(self, far: Sandbox) -> BaseAdapter:
        return Adapter(aliyun_account(far, base_url="http://127.0.0.1:1"))

    @pytest.fixture
    def dropping(self, far: Sandbox) -> BaseAdapter:
        far.faults(NAME, drop=1.0)
        return Adapter(aliyun_account(far))


# Handing over -------------------------------------------------------------------------------------


def test_a_batch_goes_in_calls_of_one_template_and_every_number_once(far: Sandbox, adapter: Adapter) -> None:
    batch = [message(n, template=f"SMS_{1 + n % 2}") for n in range(1, 151)]
    results = adapter.send(batch)
    assert {sent.outcome for sent in results} == {Outcome.ACCEPTED}
    lines = taken(far)
    assert sorted(line["number"] for line in lines) == [one.address[3:] for one in batch]
    assert calls(far) == 4, "75 numbers of a template are two calls of at most 60"
    assert {line["template"] for line in lines} == {"SMS_1", "SMS_2"}
    assert {sent.reference for sent in results} == {f"{line['biz_id']}:{line['number']}" for line in lines}


def test_the_templates_variables_are_named_as_the_fields_of_the_text(tmp_path: Path) -> None:
    vendors = {NAME: {"templates": {"SMS_7": "尊敬的${name}，${colour} 拒收请回复R"}}}
    with start_sandbox(tmp_path, vendors=vendors) as far:
        adapter = Adapter(aliyun_account(far))
        good = message(1, template="SMS_7", variables={"name": "林晓", "attributes.colour": "蓝"})
        poor = message(2, template="SMS_7", variables={"name": "林晓"})
        other = message(3, template="SMS_8")
        outcomes = {sent.attempt_id: (sent.outcome, sent.code) for sent in adapter.send([good, poor, other])}
        adapter.close()
    assert outcomes == {
        1: (Outcome.ACCEPTED, ""), 2: (Outcome.REFUSED, "isv.TEMPLATE_MISSING_PARAMETERS"),
        3: (Outcome.REFUSED, "isv.SMS_TEMPLATE_ILLEGAL"),
    }  # fmt: skip


def test_parts_are_counted_by_the_character_with_the_signature(adapter: Adapter) -> None:
    alone, two, three = adapter.send([message(1, "x" * 59), message(2, "x" * 60), message(3, "x" * 124)])
    assert [alone.parts, two.parts, three.parts] == [1, 2, 3], "【Evenreach】 is 11 characters of the 70"


def test_one_bad_number_spoils_no_other_of_its_call(far: Sandbox, adapter: Adapter) -> None:
    batch = [message(n) for n in range(1, 31)] + [message(31, address="+861234567")]
    outcomes = {sent.attempt_id: sent for sent in adapter.send(batch)}
    assert outcomes[31].outcome is Outcome.REFUSED
    assert outcomes[31].invalid_address
    assert {outcomes[n].outcome for n in range(1, 31)} == {Outcome.ACCEPTED}
    assert sorted(line["number"] for line in taken(far)) == [one.address[3:] for one in batch[:30]]


def test_what_cannot_be_sent_is_refused_before_any_call(far: Sandbox, adapter: Adapter) -> None:
    nobody, bare = adapter.send([message(1, address="nobody"), message(2, template="")])
    assert (nobody.outcome, nobody.invalid_address) == (Outcome.REFUSED, True)
    assert (bare.outcome, bare.code) == (Outcome.REFUSED, "no_template")
    assert calls(far) == 0


def test_a_number_that_was_sent_to_often_waits_alone(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={NAME: {"number_limits": {"hour": 1}}}) as far:
        adapter = Adapter(aliyun_account(far))
        adapter.send([message(1, address=PHONE)])
        again, other = sorted(
            adapter.send([message(2, address=PHONE), message(3)]), key=lambda one: one.attempt_id
        )
        adapter.close()
    assert (again.outcome, again.code) == (Outcome.THROTTLED, "isv.BUSINESS_LIMIT_CONTROL")
    assert again.retry_after == 3600
    assert again.address_only, "the channel goes on"
    assert other.outcome is Outcome.ACCEPTED


def test_a_day_limit_holds_the_channel_until_the_day_is_over_in_beijing(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={NAME: {"day_limit": 1}}) as far:
        adapter = Adapter(aliyun_account(far))
        adapter.send([message(1)])
        with pytest.raises(AdapterError) as told:
            adapter.send([message(2)])
        adapter.close()
    assert (told.value.code, told.value.retryable) == ("isv.DAY_LIMIT_CONTROL", True)
    resumes = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=told.value.retry_after or 0, hours=8)
    midnight = resumes.replace(hour=0, minute=0, second=0, microsecond=0)
    assert min(abs(resumes - midnight), abs(resumes - midnight - dt.timedelta(days=1))) < dt.timedelta(
        seconds=5
    )


def test_throttling_stops_the_batch_and_says_who_was_not_reached(far: Sandbox) -> None:
    far.faults(NAME, next=["ok", "throttle"])
    careful = Adapter(aliyun_account(far, calls=1))
    results = careful.send([message(n) for n in range(1, 3 * MOST_NUMBERS + 1)])
    careful.close()
    outcomes = [sent.outcome for sent in results]
    assert outcomes.count(Outcome.ACCEPTED) == MOST_NUMBERS
    assert outcomes.count(Outcome.THROTTLED) == 2 * MOST_NUMBERS
    assert calls(far) == 2, "no call begins after “slower”"


@pytest.mark.parametrize(
    ("change", "wrong", "code"),
    [
        ({}, {"secret": "wrong-secret"}, "SignatureDoesNotMatch"),
        ({}, {"access_key_id": "LTAInobody"}, "InvalidAccessKeyId.NotFound"),
        ({"out_of_money": True}, {}, "isv.AMOUNT_NOT_ENOUGH"),
    ],
)
def test_what_a_person_must_mend_stops_the_channel(
    tmp_path: Path, change: dict[str, Any], wrong: dict[str, str], code: str
) -> None:
    with start_sandbox(tmp_path, vendors={NAME: change}) as far:
        adapter = Adapter(aliyun_account(far, **wrong))
        with pytest.raises(AdapterError) as told:
            adapter.send([message(1), message(2)])
        adapter.close()
    assert told.value.stops_channel
    assert told.value.code == code


def test_an_unapproved_signature_is_final_and_shown_by_the_test_of_the_connection(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={NAME: {"waiting_signatures": ["新品牌"]}}) as far:
        adapter = Adapter(aliyun_account(far, signature="【新品牌】"))
        (sent,) = adapter.send([message(1)])
        checked = adapter.check()
        adapter.close()
    assert (sent.outcome, sent.code) == (Outcome.REFUSED, "isv.SMS_SIGNATURE_ILLEGAL")
    assert not checked.ok
    assert "新品牌" in checked.text


# Lost answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop", "silent"])
def test_exactly_one_call_arrives_when_the_answer_is_lost(far: Sandbox, fault: str) -> None:
    far.faults(NAME, **{fault: 1.0})
    losing = Adapter(aliyun_account(far, timeout=0.5))
    results = losing.send([message(1), message(2)])
    losing.close()
    assert {sent.outcome for sent in results} == {Outcome.UNKNOWN}
    assert calls(far) == 1, "the client's own retries are off"
    assert len(taken(far)) == 2


def unknown(far: Sandbox, **settings: Any) -> tuple[Adapter, list[Sent]]:
    far.faults(NAME, next=["drop"])
    adapter = Adapter(aliyun_account(far, **settings))
    return adapter, adapter.send([message(41), message(42)])


def test_receipts_settle_attempts_whose_answer_was_lost(far: Sandbox, hook: Webhook) -> None:
    far.faults(NAME, receipt_seconds=0.3)
    adapter, results = unknown(far)
    hook.adapter = adapter
    far.wait(lambda: len(hook.events) == 2)
    assert {sent.outcome for sent in results} == {Outcome.UNKNOWN}
    assert {event.detail["attempt_id"] for event in hook.events} == {41, 42}
    assert {event.receipt for event in hook.events} == {Receipt.DELIVERED}
    adapter.close()


def test_asking_settles_attempts_whose_answer_was_lost(far: Sandbox) -> None:
    adapter, results = unknown(far)
    far.wait(lambda: len(taken(far)) == 2)
    references = [sent.reference for sent in results]

    def delivered() -> list[Any]:
        """One arrives a moment before the other."""
        found = [event for event in adapter.status(references) if event.receipt is Receipt.DELIVERED]
        return found if len(found) == len(references) else []

    events = far.wait(delivered)
    assert sorted(event.reference for event in events) == sorted(references)
    assert {event.detail["attempt_id"] for event in events} == {41, 42}
    assert adapter.status(["?43.20261123:13800000043", "biz^0:13800000041"]) == [], "nothing is made up"
    adapter.close()


# Receipts and replies -----------------------------------------------------------------------------


def test_receipts_come_by_webhook_and_name_message_and_attempt(tmp_path: Path) -> None:
    config = {"receipt_seconds": 0.05, "undeliverable_share": 0.5, "faults": {"receipt_repeat": 1.0}}
    with webhook() as hook, start_sandbox(tmp_path, vendors={NAME: config | {"callback": hook.url}}) as far:
        hook.adapter = adapter = Adapter(aliyun_account(far))
        hook.refuse = 1  # the first push is not taken, and told again
        results = adapter.send([message(n) for n in range(1, 21)])
        far.wait(lambda: len(hook.events) >= 40)
        adapter.close()
    assert 500 in hook.statuses
    events = {event.dedupe_key: event for event in hook.events}
    assert len(events) == 20, "told twice, it is one event"
    assert {event.reference for event in events.values()} == {sent.reference for sent in results}
    assert {event.detail["attempt_id"] for event in events.values()} == set(range(1, 21))
    codes = {(event.receipt, event.code) for event in events.values()}
    assert codes == {(Receipt.DELIVERED, "DELIVERED"), (Receipt.BOUNCED, "UNDELIV")}


def test_receipts_not_taken_before_a_kill_are_told_after_it(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={NAME: {"receipt_seconds": 60.0}}) as far:
        adapter = Adapter(aliyun_account(far))
        (sent,) = adapter.send([message(5)])
    with webhook() as hook:
        hook.adapter = adapter
        config = {"receipt_seconds": 0.01, "callback": hook.url}
        with start_sandbox(tmp_path, vendors={NAME: config}) as far:
            far.wait(lambda: hook.events)
    assert [event.reference for event in hook.events] == [sent.reference]


def parse(adapter: Adapter, told: Any) -> list[Any]:
    body = json.dumps(told).encode()
    request = InboundRequest("POST", "https://x/in/7/s/", {}, {}, body)
    reply = adapter.parse_inbound(request)
    assert json.loads(reply.body)["code"] == 0
    return list(reply.events)


REPORT = {
    "phone_number": "13800138000", "send_time": "2017-01-01 00:00:00", "report_time": "2017-01-01 00:00:05",
    "success": True, "err_code": "DELIVERED", "err_msg": "用户接收成功", "sms_size": "1", "biz_id": "12345^0",
    "out_id": "67890",
}  # fmt: skip


def test_a_report_as_documented_is_read(adapter: Adapter) -> None:
    (event,) = parse(adapter, [REPORT])
    assert (event.reference, event.receipt) == ("12345^0:13800138000", Receipt.DELIVERED)
    assert event.occurred_at == dt.datetime(2016, 12, 31, 16, 0, 5, tzinfo=dt.UTC)
    assert "attempt_id" not in event.detail, "67890 is some other system's reference, no attempt of ours"
    assert parse(adapter, []) == []
    (other,) = parse(adapter, [REPORT | {"phone_number": "13900139000"}])
    assert other.dedupe_key != event.dedupe_key, "one BizId covers a whole call"


def test_a_receipt_of_another_installations_mark_names_no_attempt(far: Sandbox, adapter: Adapter) -> None:
    elsewhere = aliyun_account(far, callback_url="https://elsewhere.example/in/7/other/")
    mark = _sms_marks.mark(_sms_marks.tag(elsewhere), [message(1, address=PHONE)])
    (event,) = parse(adapter, [REPORT | {"out_id": mark}])
    assert "attempt_id" not in event.detail


def test_replies_come_by_webhook_and_opt_out_words_are_known(
    far: Sandbox, hook: Webhook, adapter: Adapter
) -> None:
    hook.adapter = adapter
    for text in ("R", "退订。", "还有货吗"):
        far.call(far.vendors[NAME].doors()["/aliyun_sms/reply"], {"phone": PHONE, "text": text})
    far.wait(lambda: len(hook.events) == 3)
    assert sorted((str(event.response), event.detail["text"]) for event in hook.events) == [
        ("opt_out", "R"), ("opt_out", "退订。"), ("reply", "还有货吗"),
    ]  # fmt: skip
    assert {event.identity_value for event in hook.events} == {PHONE}
    assert {event.response for event in hook.events} == {ResponseKind.OPT_OUT, ResponseKind.REPLY}
