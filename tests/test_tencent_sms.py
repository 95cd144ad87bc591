"""Tencent Cloud SMS by its own client against our far side: signatures, partial failures, lost answers, receipts."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from channels import inbox
from channels.adapters.base import AdapterError, BaseAdapter, InboundRequest, Outcome, Outgoing, Receipt, Sent
from channels.adapters.tencent_sms import MOST_NUMBERS, Adapter
from channels.models import InboxEvent
from channels.sandbox.server import Sandbox
from tests.adapter_contract import AdapterContract, NetworkContract, SenderContract
from tests.channel_rows import make_channel
from tests.sandbox_fixture import start_sandbox
from tests.sms_vendors import PHONE, Webhook, tencent_account, webhook

NAME = "tencent_sms"


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path / "sandbox", vendors={NAME: {"receipt_seconds": 0.01}}) as running:
        yield running


@pytest.fixture
def adapter(far: Sandbox) -> Iterator[Adapter]:
    made = Adapter(tencent_account(far))
    yield made
    made.close()


@pytest.fixture
def hook(far: Sandbox) -> Iterator[Webhook]:
    with webhook() as running:
        far.change({"vendors": {NAME: {"callback": running.url}}})
        yield running


def message(attempt: int, text: str = "你好 拒收请回复R", **fields: Any) -> Outgoing:
    fields = {"template": "1110", "address": f"+86138{attempt:08d}"} | fields
    return Outgoing(attempt, fields.pop("address"), text=text, **fields)


def calls(far: Sandbox, action: str = "SendSms") -> int:
    return sum(line["action"] == action for line in far.log_lines(NAME, "call"))


def taken(far: Sandbox) -> list[dict[str, Any]]:
    return [line for line in far.log_lines(NAME, "submit") if line["verdict"] == "accepted"]


class TestTencent(AdapterContract, SenderContract, NetworkContract):
    name = "tencent_sms"

    def outgoing(self, attempt_id: int, **fields: Any) -> Outgoing:
        return super().outgoing(attempt_id, template="1110", **fields)

    @pytest.fixture
    def adapter(self, far: Sandbox) -> Iterator[BaseAdapter]:
        made = Adapter(tencent_account(far))
        yield made
        made.close()

    @pytest.fixture
    def unreachable(self, far: Sandbox) -> BaseAdapter:
        return Adapter(tencent_account(far, base_url="http://127.0.0.1:1"))

    @pytest.fixture
    def dropping(self, far: Sandbox) -> BaseAdapter:
        far.faults(NAME, drop=1.0)
        return Adapter(tencent_account(far))


# Handing over -------------------------------------------------------------------------------------


def test_people_who_get_the_same_words_share_a_call_and_others_do_not(far: Sandbox, adapter: Adapter) -> None:
    batch = [message(n, variables={"city": "杭州" if n % 2 else "上海"}) for n in range(1, 101)]
    results = adapter.send([*batch, message(101, address="+14155550101")])
    assert {sent.outcome for sent in results} == {Outcome.ACCEPTED}
    words: dict[str, set[str]] = {}
    for line in taken(far):
        words.setdefault(line["context"], set()).add(line["digest"])
    assert {len(said) for said in words.values()} == {1}, "a call has one set of words"
    assert 3 <= calls(far) <= 6, (
        "two cities at home and one number abroad, and a rest of each that shares a hash"
    )
    assert sorted(line["address"] for line in taken(far)) == sorted(
        [one.address for one in batch] + ["+14155550101"]
    )
    assert {sent.reference for sent in results} == {line["serial"] for line in taken(far)}


def test_parameters_are_the_fields_of_the_text_in_their_order(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={NAME: {"templates": {"7": 2}}}) as far:
        adapter = Adapter(tencent_account(far))
        good = message(1, template="7", variables={"name": "林晓", "city": "杭州"})
        poor = message(2, template="7", variables={"name": "林晓"})
        outcomes = {sent.attempt_id: (sent.outcome, sent.code) for sent in adapter.send([good, poor])}
        adapter.close()
    mismatch = "FailedOperation.TemplateParamSetNotMatchApprovedTemplate"
    assert outcomes == {1: (Outcome.ACCEPTED, ""), 2: (Outcome.REFUSED, mismatch)}


DAY, HOUR = 86400, 3600


@pytest.mark.parametrize(
    ("code", "outcome", "wait", "own"),
    [
        ("FailedOperation.PhoneNumberInBlacklist", Outcome.REFUSED, None, False),
        ("FailedOperation.SignatureIncorrectOrUnapproved", Outcome.REFUSED, None, False),
        ("InvalidParameterValue.MarketingTemplateWithoutUnsubscribe", Outcome.REFUSED, None, False),
        ("FailedOperation.ContainSensitiveWord", Outcome.REFUSED, None, False),
        ("LimitExceeded.PhoneNumberThirtySecondLimit", Outcome.THROTTLED, (30, 30), True),
        ("LimitExceeded.PhoneNumberOneHourLimit", Outcome.THROTTLED, (HOUR, HOUR), True),
        ("LimitExceeded.PhoneNumberDailyLimit", Outcome.THROTTLED, (0, DAY), True),
        ("LimitExceeded.DeliveryFrequencyLimit", Outcome.THROTTLED, (HOUR, HOUR), True),
        ("LimitExceeded.AppMainlandChinaDailyLimit", Outcome.THROTTLED, (0, DAY), False),
        ("FailedOperation.MarketingSendTimeConstraint", Outcome.THROTTLED, (0, DAY), False),
        ("InternalError.Timeout", Outcome.THROTTLED, (1, 1), False),
    ],
)
def test_an_answer_of_200_may_fail_for_some_numbers(
    tmp_path: Path, code: str, outcome: Outcome, wait: tuple[int, int] | None, own: bool
) -> None:
    with start_sandbox(tmp_path, vendors={NAME: {"numbers": {PHONE: code}}}) as far:
        adapter = Adapter(tencent_account(far))
        results = {sent.attempt_id: sent for sent in adapter.send([message(1, address=PHONE), message(2)])}
        adapter.close()
        assert calls(far) == 1
    assert results[2].outcome is Outcome.ACCEPTED
    bad = results[1]
    assert (bad.outcome, bad.code, bad.address_only) == (outcome, code, own)
    assert not bad.invalid_address
    if wait is None:
        assert bad.retry_after is None
    else:
        assert wait[0] <= (bad.retry_after or -1) <= wait[1]


def test_a_number_that_does_not_exist_is_marked(adapter: Adapter) -> None:
    bad, good = adapter.send([message(1, address="+861234567"), message(2)])
    assert (bad.outcome, bad.invalid_address) == (Outcome.REFUSED, True)
    assert good.outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("change", "wrong", "code"),
    [
        ({}, {"secret": "wrong-secret"}, "AuthFailure.SignatureFailure"),
        ({}, {"secret_id": "AKIDnobody"}, "AuthFailure.SecretIdNotFound"),
        ({}, {"app_id": "1400000000"}, "UnauthorizedOperation.SmsSdkAppIdVerifyFail"),
        ({"out_of_money": True}, {}, "FailedOperation.InsufficientBalanceInSmsPackage"),
    ],
)
def test_what_a_person_must_mend_stops_the_channel(
    tmp_path: Path, change: dict[str, Any], wrong: dict[str, str], code: str
) -> None:
    with start_sandbox(tmp_path, vendors={NAME: change}) as far:
        adapter = Adapter(tencent_account(far, **wrong))
        with pytest.raises(AdapterError) as told:
            adapter.send([message(1), message(2)])
        assert adapter.check().ok == bool(change), "the money is no matter of the keys"
        adapter.close()
    assert told.value.stops_channel
    assert told.value.code == code


def test_a_day_limit_holds_the_channel_until_the_day_is_over_in_beijing(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={NAME: {"day_limit": 1}}) as far:
        adapter = Adapter(tencent_account(far))
        adapter.send([message(1)])
        with pytest.raises(AdapterError) as told:
            adapter.send([message(2), message(3)])
        adapter.close()
    assert (told.value.code, told.value.retryable) == ("LimitExceeded.AppMainlandChinaDailyLimit", True)
    assert 0 < (told.value.retry_after or 0) <= DAY


def test_throttling_stops_the_batch_and_says_who_was_not_reached(far: Sandbox) -> None:
    far.faults(NAME, next=["ok", "throttle"])
    careful = Adapter(tencent_account(far, calls=1))
    results = careful.send([message(n) for n in range(1, 3 * MOST_NUMBERS + 1)])
    careful.close()
    outcomes = [sent.outcome for sent in results]
    assert len(taken(far)) == outcomes.count(Outcome.ACCEPTED) > 100
    assert outcomes.count(Outcome.THROTTLED) == len(outcomes) - len(taken(far))
    assert calls(far) == 2, "no call begins after “slower”"


# Lost answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop", "silent"])
def test_exactly_one_call_arrives_when_the_answer_is_lost(far: Sandbox, fault: str) -> None:
    far.faults(NAME, **{fault: 1.0})
    losing = Adapter(tencent_account(far, timeout=0.5))
    results = losing.send([message(1), message(2)])
    losing.close()
    assert {sent.outcome for sent in results} == {Outcome.UNKNOWN}
    assert calls(far) == 1, "the client's own retries are off"
    assert len(taken(far)) == 2


def unknown(far: Sandbox, **settings: Any) -> tuple[Adapter, list[Sent]]:
    far.faults(NAME, next=["drop"])
    adapter = Adapter(tencent_account(far, **settings))
    return adapter, adapter.send([message(41), message(42)])


def test_receipts_settle_attempts_whose_answer_was_lost(far: Sandbox, hook: Webhook) -> None:
    far.faults(NAME, receipt_seconds=0.3)
    adapter, results = unknown(far)
    hook.adapter = adapter
    far.wait(lambda: len(hook.events) == 2)
    assert {sent.outcome for sent in results} == {Outcome.UNKNOWN}
    assert {event.detail["attempt_id"] for event in hook.events} == {41, 42}
    adapter.close()


def test_asking_settles_attempts_whose_answer_was_lost(far: Sandbox) -> None:
    adapter, results = unknown(far)
    events = far.wait(lambda: adapter.status([sent.reference for sent in results]))
    assert {event.detail["attempt_id"] for event in events} <= {41, 42}
    assert {event.receipt for event in events} == {Receipt.DELIVERED}
    assert adapter.status(["?43.1795000000:+8613800000043", "1795:01"]) == [], "nothing is made up"
    adapter.close()


# Receipts and replies -----------------------------------------------------------------------------


def test_receipts_come_by_webhook_and_name_message_and_attempt(tmp_path: Path) -> None:
    config = {"receipt_seconds": 0.05, "undeliverable_share": 0.5, "faults": {"receipt_repeat": 1.0}}
    with webhook() as hook, start_sandbox(tmp_path, vendors={NAME: config | {"callback": hook.url}}) as far:
        hook.adapter = adapter = Adapter(tencent_account(far))
        hook.refuse = 1
        results = adapter.send([message(n) for n in range(1, 21)])
        far.wait(lambda: len(hook.events) >= 40)
        adapter.close()
    assert 500 in hook.statuses
    events = {event.dedupe_key: event for event in hook.events}
    assert len(events) == 20, "told twice, it is one event"
    assert {event.reference for event in events.values()} == {sent.reference for sent in results}
    assert {event.detail["attempt_id"] for event in events.values()} == set(range(1, 21))
    assert {event.receipt for event in events.values()} == {Receipt.DELIVERED, Receipt.BOUNCED}


def test_receipts_and_replies_are_fetched_where_the_channel_says_so(far: Sandbox, adapter: Adapter) -> None:
    assert list(adapter.poll([])) == []
    assert calls(far, "PullSmsSendStatus") == 0
    fetching = Adapter(tencent_account(far, pull=True))
    results = fetching.send([message(n) for n in range(1, 4)])
    far.call(far.vendors[NAME].doors()["/tencent_sms/reply"], {"phone": PHONE, "text": "退订"})
    events = []
    far.wait(lambda: events.extend(fetching.poll([])) or len(events) == 4)
    assert fetching.poll([]) == [], "each is told once"
    assert {e.reference for e in events if e.receipt} == {sent.reference for sent in results}
    assert [(str(e.response), e.identity_value) for e in events if e.response] == [("opt_out", PHONE)]
    fetching.close()


def parse(adapter: Adapter, told: Any) -> list[Any]:
    body = json.dumps(told).encode()
    reply = adapter.parse_inbound(InboundRequest("POST", "https://x/in/7/s/", {}, {}, body))
    assert json.loads(reply.body) == {"result": 0, "errmsg": "OK"}
    return list(reply.events)


@pytest.mark.django_db
def test_one_receipt_that_cannot_be_read_is_set_aside_and_the_others_count() -> None:
    channel = make_channel(NAME, "sms", settings={"app_id": "1"}, credentials={})
    told = [
        {"user_receive_time": "2015-10-17 08:03:04", "nationcode": "86", "mobile": "13800138000",
         "report_status": status, "errmsg": "DELIVRD", "description": "", "sid": f"s{n}"}
        for n, status in enumerate(("SUCCESS", "SOMETHING NEW", "FAIL"))
    ]  # fmt: skip
    request = InboundRequest("POST", "https://x/in/7/s/", {}, {}, json.dumps(told).encode())
    for _again in range(2):
        reply = inbox.receive(channel, request, timezone.now())
        assert json.loads(reply.body) == {"result": 0, "errmsg": "OK"}
    kept = InboxEvent.objects.order_by("state", "id").values_list("state", "outcome", "reference")
    assert list(kept) == [("new", "delivered", "s0"), ("new", "bounced", "s2"), ("poison", "", "")]
    poison = InboxEvent.objects.get(state="poison")
    assert "SOMETHING NEW" in poison.error
    assert inbox.replay([poison.pk]) == 0, "it waits until the adapter knows the word"
    assert InboxEvent.objects.filter(state="poison").count() == 1


def test_a_callback_as_documented_is_read(adapter: Adapter) -> None:
    told = {
        "user_receive_time": "2015-10-17 08:03:04", "nationcode": "86", "mobile": "13800138000",
        "report_status": "SUCCESS", "errmsg": "DELIVRD", "description": "用户短信送达成功", "sid": "xxxxxxx",
    }  # fmt: skip
    (event,) = parse(adapter, [told])
    assert (event.reference, event.receipt, event.code) == ("xxxxxxx", Receipt.DELIVERED, "DELIVRD")
    assert event.occurred_at == dt.datetime(2015, 10, 17, 0, 3, 4, tzinfo=dt.UTC)
    assert parse(adapter, []) == []


def test_replies_come_by_webhook_and_opt_out_words_are_known(
    far: Sandbox, hook: Webhook, adapter: Adapter
) -> None:
    hook.adapter = adapter
    for text in ("R", "ＴＤ", "还有货吗"):
        far.call(far.vendors[NAME].doors()["/tencent_sms/reply"], {"phone": PHONE, "text": text})
    far.wait(lambda: len(hook.events) == 3)
    assert sorted((str(event.response), event.detail["text"]) for event in hook.events) == [
        ("opt_out", "R"), ("opt_out", "ＴＤ"), ("reply", "还有货吗"),
    ]  # fmt: skip
    assert {event.identity_value for event in hook.events} == {PHONE}
