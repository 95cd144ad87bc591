"""Twilio by its own client against our far side: outcomes, lost answers, signed statuses and replies."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from twilio.request_validator import RequestValidator

from channels.adapters.base import (
    AdapterError,
    BadSignature,
    BaseAdapter,
    InboundRequest,
    Outcome,
    Outgoing,
    Receipt,
    Sent,
)
from channels.adapters.twilio import Adapter
from channels.sandbox.server import Sandbox
from tests.adapter_contract import AdapterContract, NetworkContract, SenderContract
from tests.sandbox_fixture import start_sandbox
from tests.sms_vendors import Webhook, twilio_account, webhook

NAME = "twilio"
PERSON = "+14155550199"
HOUR = 3600


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path / "sandbox", vendors={NAME: {"receipt_seconds": 0.01}}) as running:
        yield running


@pytest.fixture
def adapter(far: Sandbox) -> Iterator[Adapter]:
    made = Adapter(twilio_account(far, callback_url=""))
    yield made
    made.close()


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as running:
        yield running


def message(attempt: int, text: str = "Hello. Reply STOP to opt out", **fields: Any) -> Outgoing:
    return Outgoing(attempt, fields.pop("address", f"+1415555{attempt:04d}"), text=text, **fields)


def calls(far: Sandbox) -> int:
    return sum(line["action"] == "POST Messages.json" for line in far.log_lines(NAME, "call"))


def taken(far: Sandbox) -> list[dict[str, Any]]:
    return [line for line in far.log_lines(NAME, "submit") if line["verdict"] == "accepted"]


class TestTwilio(AdapterContract, SenderContract, NetworkContract):
    name = "twilio"

    @pytest.fixture
    def adapter(self, far: Sandbox) -> Iterator[BaseAdapter]:
        made = Adapter(twilio_account(far, callback_url=""))
        yield made
        made.close()

    @pytest.fixture
    def unreachable(self, far: Sandbox) -> BaseAdapter:
        return Adapter(twilio_account(far, base_url="http://127.0.0.1:1"))

    @pytest.fixture
    def dropping(self, far: Sandbox) -> BaseAdapter:
        far.faults(NAME, drop=1.0)
        return Adapter(twilio_account(far))


# Handing over -------------------------------------------------------------------------------------


def test_a_message_goes_as_it_is_with_its_deadline_and_the_address_of_its_status(far: Sandbox) -> None:
    sending = Adapter(twilio_account(far))
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=30)
    (sent,) = sending.send([message(7, "{€} 你好", expires_at=soon)])
    (late,) = sending.send([message(8, expires_at=soon + dt.timedelta(days=2))])
    sending.close()
    first, second = taken(far)
    assert (first["sid"], first["body"], first["address"]) == (sent.reference, "{€} 你好", "+14155550007")
    assert first["callback"] == "https://evenreach.example/in/7/secret-of-the-path/?attempt=7"
    assert 1790 <= int(first["validity"]) <= 1800
    assert second["validity"] == "", "Twilio keeps a message ten hours at most"
    assert late.outcome is Outcome.ACCEPTED


def test_parts_are_those_that_twilio_bills(far: Sandbox) -> None:
    texts = {1: "x" * 160, 2: "x" * 161, 3: "你" * 71}
    for settings in ({}, {"messaging_service_sid": far.config.vendors.twilio.services[0]}):  # type: ignore[attr-defined]
        sending = Adapter(twilio_account(far, **settings))
        results = sending.send([message(n, text) for n, text in texts.items()])
        sending.close()
        assert {sent.attempt_id: sent.parts for sent in results} == {1: 1, 2: 2, 3: 2}


def test_what_cannot_be_sent_is_refused_before_any_call(far: Sandbox, adapter: Adapter) -> None:
    nobody, empty, long = adapter.send([message(1, address="nobody"), message(2, ""), message(3, "x" * 1601)])
    assert (nobody.outcome, nobody.invalid_address) == (Outcome.REFUSED, True)
    assert (empty.code, long.code) == ("empty", "too_long")
    assert calls(far) == 0


@pytest.mark.parametrize(
    ("code", "outcome", "wait", "own", "invalid"),
    [
        (21610, Outcome.REFUSED, None, False, False),
        (21408, Outcome.REFUSED, None, False, False),
        (21614, Outcome.REFUSED, None, False, True),
        (21211, Outcome.REFUSED, None, False, True),
        (30610, Outcome.THROTTLED, HOUR, True, False),
        (21611, Outcome.THROTTLED, 60, False, False),
    ],
)
def test_each_error_means_what_twilio_says(
    tmp_path: Path, code: int, outcome: Outcome, wait: float | None, own: bool, invalid: bool
) -> None:
    with start_sandbox(tmp_path, vendors={NAME: {"numbers": {PERSON: code}}}) as far:
        sending = Adapter(twilio_account(far, calls=1))
        good, bad = sending.send([message(1), message(2, address=PERSON)])
        sending.close()
    assert good.outcome is Outcome.ACCEPTED
    assert (bad.outcome, bad.code, bad.retry_after) == (outcome, str(code), wait)
    assert (bad.address_only, bad.invalid_address) == (own, invalid)


def test_too_many_requests_stop_the_batch_and_say_who_was_not_reached(far: Sandbox) -> None:
    far.faults(NAME, next=["ok", "ok", "throttle"])
    careful = Adapter(twilio_account(far, calls=1))
    results = careful.send([message(n) for n in range(1, 21)])
    assert [sent.outcome for sent in results].count(Outcome.ACCEPTED) == 2
    assert [sent.outcome for sent in results].count(Outcome.THROTTLED) == 18
    assert {sent.code for sent in results} == {"", "20429"}
    assert calls(far) == 3
    far.faults(NAME, next=["throttle"])
    with pytest.raises(AdapterError) as told:
        careful.send([message(30)])
    assert (told.value.retryable, told.value.stops_channel) == (True, False)
    careful.close()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"secret": "wrong-token"}, "20003"),
        ({"account_sid": "AC" + "f" * 32}, "20003"),
        ({"source": "+14155550111"}, "21606"),
        ({"source": ""}, "settings"),
        ({"messaging_service_sid": "MG" + "f" * 32}, "21705"),
    ],
)
def test_what_a_person_must_mend_stops_the_channel(far: Sandbox, wrong: dict[str, str], code: str) -> None:
    adapter = Adapter(twilio_account(far, **wrong))
    with pytest.raises(AdapterError) as told:
        adapter.send([message(1), message(2)])
    adapter.close()
    assert told.value.stops_channel
    assert told.value.code == code


def test_a_suspended_account_is_shown_by_the_test_of_the_connection(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={NAME: {"account_status": "suspended"}}) as far:
        adapter = Adapter(twilio_account(far))
        checked = adapter.check()
        adapter.close()
    assert not checked.ok
    assert "suspended" in checked.text


# Lost answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop", "silent"])
def test_exactly_one_call_arrives_when_the_answer_is_lost(far: Sandbox, fault: str) -> None:
    far.faults(NAME, **{fault: 1.0})
    losing = Adapter(twilio_account(far, timeout=0.5))
    results = losing.send([message(1), message(2)])
    losing.close()
    assert {sent.outcome for sent in results} == {Outcome.UNKNOWN}
    assert calls(far) == 2, "one a message: the client's own retries are off"
    assert len(taken(far)) == 2


def unknown(far: Sandbox, **settings: Any) -> tuple[Adapter, Sent]:
    far.faults(NAME, next=["drop"])
    adapter = Adapter(twilio_account(far, **settings))
    (sent,) = adapter.send([message(41)])
    return adapter, sent


def test_statuses_settle_attempts_whose_answer_was_lost(far: Sandbox, hook: Webhook) -> None:
    adapter, sent = unknown(far, callback_url=hook.url)
    hook.adapter = adapter
    far.wait(lambda: any(event.receipt is Receipt.DELIVERED for event in hook.events))
    assert sent.outcome is Outcome.UNKNOWN
    assert {event.detail["attempt_id"] for event in hook.events} == {41}
    adapter.close()


def test_asking_settles_attempts_whose_answer_was_lost(far: Sandbox) -> None:
    adapter, sent = unknown(far)
    events = far.wait(lambda: [e for e in adapter.status([sent.reference]) if e.receipt is Receipt.DELIVERED])
    assert [event.detail["attempt_id"] for event in events] == [41]
    assert adapter.status([sent.reference.replace(":+1415555", ":+1415666"), "SM1"]) == [], (
        "nothing is made up"
    )
    other_words = sent.reference.replace(sent.reference.split(".")[2][:4], "0000")
    assert adapter.status([other_words]) == []
    adapter.send([message(42, address="+14155550041")])
    assert adapter.status([sent.reference]) == [], "of two alike nobody knows which"
    adapter.close()


# Statuses and replies -----------------------------------------------------------------------------


def test_statuses_are_signed_and_name_message_and_attempt(tmp_path: Path, hook: Webhook) -> None:
    config = {
        "receipt_seconds": 0.05,
        "undeliverable_share": 0.5,
        "error_code": 30005,
        "faults": {"receipt_repeat": 1.0},
    }
    with start_sandbox(tmp_path, vendors={NAME: config}) as far:
        hook.adapter = adapter = Adapter(twilio_account(far, callback_url=hook.url))
        hook.refuse = 1
        results = adapter.send([message(n) for n in range(1, 21)])
        far.wait(lambda: len(hook.events) >= 60)
        adapter.close()
    events = {event.dedupe_key: event for event in hook.events}
    assert len(events) == 40, "sent and its end, each told twice or not"
    assert {event.reference for event in events.values()} == {sent.reference for sent in results}
    ends = [event for event in events.values() if event.receipt is not Receipt.ACCEPTED]
    assert {event.detail["attempt_id"] for event in ends} == set(range(1, 21))
    assert {(event.receipt, event.code, event.permanent) for event in ends} == {
        (Receipt.DELIVERED, "delivered", False), (Receipt.BOUNCED, "30005", True),
    }  # fmt: skip


URL = "https://evenreach.example/in/7/secret-of-the-path/?attempt=7"


def request(fields: dict[str, str], token: str = "sandbox-twilio-token", url: str = URL) -> InboundRequest:
    """Signed by Twilio's own library."""
    signature = RequestValidator(token).compute_signature(url, fields)
    return InboundRequest(
        "POST", url, {"x-twilio-signature": signature}, {"attempt": "7"}, urlencode(fields).encode()
    )


STATUS = {
    "MessageSid": "SM1",
    "MessageStatus": "delivered",
    "To": PERSON,
    "From": "+14155550100",
    "ErrorMessage": "",
}


def test_what_twilios_own_library_signs_is_taken(adapter: Adapter) -> None:
    (event,) = adapter.parse_inbound(request(STATUS)).events
    assert (event.reference, event.receipt, event.detail["attempt_id"]) == ("SM1", Receipt.DELIVERED, 7)


def test_a_wrong_signature_is_refused(adapter: Adapter) -> None:
    good = request(STATUS)
    tampered = [
        request(STATUS, token="another-token"),
        InboundRequest("POST", URL, {}, {}, good.body),
        InboundRequest("POST", URL, good.headers, {}, good.body.replace(b"SM1", b"SM2")),
        InboundRequest("POST", URL.replace("=7", "=8"), good.headers, {"attempt": "8"}, good.body),
    ]
    for wrong in tampered:
        with pytest.raises(BadSignature):
            adapter.parse_inbound(wrong)


def test_replies_are_signed_and_opt_out_words_are_known(
    far: Sandbox, hook: Webhook, adapter: Adapter
) -> None:
    hook.adapter = adapter
    far.change({"vendors": {NAME: {"callback": hook.url}}})
    door = far.vendors[NAME].doors()["/twilio/reply"]
    for text, kind in (("Stop", ""), ("ARRET", "STOP"), ("where?", "")):
        far.call(door, {"phone": PERSON, "text": text, "opt_out_type": kind})
    far.wait(lambda: len(hook.events) == 3)
    assert sorted((str(event.response), event.detail["text"]) for event in hook.events) == [
        ("opt_out", "ARRET"), ("opt_out", "Stop"), ("reply", "where?"),
    ]  # fmt: skip
    assert {event.identity_value for event in hook.events} == {PERSON}
    assert set(hook.statuses) == {200}


def test_an_opt_out_that_twilio_kept_for_itself_is_told_with_the_failure(adapter: Adapter) -> None:
    failed = STATUS | {"MessageStatus": "failed", "ErrorCode": "21610"}
    receipt, opt_out = adapter.parse_inbound(request(failed)).events
    assert receipt.receipt is Receipt.BOUNCED
    assert (str(opt_out.response), opt_out.identity_value) == ("opt_out", PERSON)
