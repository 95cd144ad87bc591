"""SMS over SMPP against our SMSC: window, parts, throttling, lost lines, receipts, replies."""
# ruff: noqa: F401, F811  (the fixture is imported, and asked for by its name)

import datetime as dt
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smpplib import smpp

from audiences.vocabulary import ResponseKind
from channels.adapters.base import AdapterError, BaseAdapter, Inbound, Outcome, Outgoing, Receipt
from channels.adapters.smpp import Adapter
from channels.sandbox import pdu
from channels.sandbox.server import Sandbox
from channels.smpp.inbound import Reading, read
from channels.smpp.session import Delivered, Session, party
from tests.adapter_contract import AdapterContract, NetworkContract, SenderContract
from tests.sandbox_fixture import sandbox, smpp_account, start_sandbox

PHONE = "+8613800138000"


def message(attempt: int, text: str = "【Evenreach】你好 拒收请回复R", **fields: Any) -> Outgoing:
    return Outgoing(attempt, fields.pop("address", f"+86138{attempt:08d}"), text=text, **fields)


@pytest.fixture
def adapter(sandbox: Sandbox) -> Any:
    with_sandbox = Adapter(smpp_account(sandbox))
    with_sandbox.listen_seconds = 0.5
    yield with_sandbox
    with_sandbox.close()


def everything(adapter: Adapter) -> list[Inbound]:
    found: list[Inbound] = []
    while events := adapter.poll([]):
        found += events
        adapter.acknowledge()
    return found


class TestSmpp(AdapterContract, SenderContract, NetworkContract):
    name = "smpp"

    @pytest.fixture
    def adapter(self, sandbox: Sandbox) -> Any:
        made = Adapter(smpp_account(sandbox))
        yield made
        made.close()

    @pytest.fixture
    def unreachable(self, sandbox: Sandbox) -> BaseAdapter:
        return Adapter(smpp_account(sandbox, port=1))

    @pytest.fixture
    def dropping(self, sandbox: Sandbox) -> BaseAdapter:
        sandbox.faults("smpp", drop=1.0)
        return Adapter(smpp_account(sandbox))


def test_every_part_of_a_long_text_arrives_and_reads_as_it_was_written(tmp_path: Path) -> None:
    arrived: list[tuple[str, str]] = []
    texts = {
        1: "【品牌】" + "双十一大促🎉" * 20,
        2: "price {100} € ~ [x] " * 20,
        3: "é" * 150 + "{" * 30,
        4: "short",
    }
    with start_sandbox(tmp_path) as running:
        running.center.arrived = lambda phone, number, text, attempt: arrived.append((attempt, text))
        adapter = Adapter(smpp_account(running))
        addresses = {1: PHONE, 2: "+14155550102", 3: "+14155550103", 4: "+14155550104"}
        results = adapter.send([message(n, text, address=addresses[n]) for n, text in texts.items()])
        adapter.close()
        lines = running.log_lines("smpp", "submit")
    assert dict(arrived) == {str(n): text for n, text in texts.items()}
    assert {sent.attempt_id: (sent.outcome, sent.parts) for sent in results} == {
        1: (Outcome.ACCEPTED, 3), 2: (Outcome.ACCEPTED, 4), 3: (Outcome.ACCEPTED, 2), 4: (Outcome.ACCEPTED, 1),
    }  # fmt: skip
    assert [(line["part"], line["parts"], line["receipt"]) for line in lines if line["attempt"] == "1"] == [
        (1, 3, 0), (2, 3, 0), (3, 3, 1),
    ]  # fmt: skip


def test_mainland_numbers_are_counted_in_characters_even_for_plain_english(adapter: Adapter) -> None:
    (home, abroad) = adapter.send(
        [message(1, "x" * 100, address=PHONE), message(2, "x" * 100, address="+14155550102")]
    )
    assert (home.parts, abroad.parts) == (2, 1)


def test_the_signature_is_put_before_a_message_once(sandbox: Sandbox) -> None:
    arrived: list[str] = []
    sandbox.center.arrived = lambda phone, number, text, attempt: arrived.append(text)
    signing = Adapter(smpp_account(sandbox, signature="品牌"))
    signing.send([message(1, "你好"), message(2, "【品牌】你好")])
    signing.close()
    assert arrived == ["【品牌】你好", "【品牌】你好"]


def test_a_throttled_batch_stops_and_says_which_messages_did_not_arrive(sandbox: Sandbox) -> None:
    sandbox.change({"smpp": {"faults": {"next": ["ok"] * 20 + ["throttle"]}}})
    careful = Adapter(smpp_account(sandbox, window=10))
    results = careful.send([message(n) for n in range(100)])
    careful.close()
    accepted = {sent.attempt_id for sent in results if sent.outcome is Outcome.ACCEPTED}
    throttled = {sent.attempt_id for sent in results if sent.outcome is Outcome.THROTTLED}
    logged = {
        int(line["attempt"]) for line in sandbox.log_lines("smpp", "submit") if line["verdict"] == "accepted"
    }
    assert accepted == logged
    assert accepted | throttled == set(range(100))
    assert 20 <= len(accepted) <= 30, "nothing new begins after the SMSC said slower"
    assert all(sent.retry_after for sent in results if sent.outcome is Outcome.THROTTLED)


def test_a_refused_number_is_final_and_marks_the_address(adapter: Adapter) -> None:
    bad, no_number, empty, good = adapter.send(
        [message(1, address="+123"), message(2, address="nobody"), message(3, ""), message(4)]
    )
    (foreign,) = adapter.send([message(5, address="+٨٦١٣٨٠٠١٣٨٠٠٠")])
    assert (foreign.outcome, foreign.invalid_address) == (Outcome.REFUSED, True)
    assert (bad.outcome, bad.code, bad.invalid_address) == (Outcome.REFUSED, "0x0B", True)
    assert (no_number.outcome, no_number.invalid_address) == (Outcome.REFUSED, True)
    assert (empty.outcome, empty.code) == (Outcome.REFUSED, "empty")
    assert good.outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("faults", "outcome"),
    [
        (["throttle", "throttle", "throttle"], Outcome.THROTTLED),
        (["refuse", "refuse", "refuse"], Outcome.REFUSED),
        (["ok", "throttle", "ok"], Outcome.UNKNOWN),
        (["ok", "refuse", "ok"], Outcome.UNKNOWN),
        (["throttle", "ok", "ok"], Outcome.UNKNOWN),
        (["ok", "ok", "ok"], Outcome.ACCEPTED),
    ],
)
def test_a_message_is_accepted_only_with_all_its_parts(
    sandbox: Sandbox, faults: list[str], outcome: Outcome
) -> None:
    sandbox.change({"smpp": {"faults": {"next": faults}}})
    sending = Adapter(smpp_account(sandbox))
    (sent,) = sending.send([message(1, "好" * 150)])
    sending.close()
    assert sent.outcome is outcome
    taken = [line for line in sandbox.log_lines("smpp", "submit") if line["verdict"] == "accepted"]
    assert bool(taken) == (outcome in {Outcome.UNKNOWN, Outcome.ACCEPTED})


def test_after_a_lost_line_what_was_sent_is_unknown_and_what_was_not_is_throttled(sandbox: Sandbox) -> None:
    sandbox.change({"smpp": {"faults": {"next": ["ok"] * 30 + ["drop"]}}})
    sending = Adapter(smpp_account(sandbox, window=10))
    results = {sent.attempt_id: sent.outcome for sent in sending.send([message(n) for n in range(100)])}
    logged = {
        int(line["attempt"]) for line in sandbox.log_lines("smpp", "submit") if line["verdict"] == "accepted"
    }
    by = {outcome: {n for n, found in results.items() if found is outcome} for outcome in Outcome}
    assert by[Outcome.ACCEPTED] | by[Outcome.UNKNOWN] >= logged
    assert not by[Outcome.THROTTLED] & logged
    assert 0 < len(by[Outcome.UNKNOWN]) <= 10
    assert sum(map(len, by.values())) == 100
    # The next batch binds anew.
    assert {sent.outcome for sent in sending.send([message(n) for n in range(200, 205)])} == {
        Outcome.ACCEPTED
    }
    sending.close()


def test_a_silent_smsc_leaves_the_window_unknown_after_the_timeout(sandbox: Sandbox) -> None:
    sandbox.faults("smpp", silent=1.0)
    sending = Adapter(smpp_account(sandbox, timeout=0.3, window=5))
    results = sending.send([message(n) for n in range(8)])
    outcomes = [sent.outcome for sent in results]
    assert (outcomes.count(Outcome.UNKNOWN), outcomes.count(Outcome.THROTTLED)) == (5, 3)


def test_a_line_that_was_closed_while_idle_costs_no_message(tmp_path: Path) -> None:
    with start_sandbox(tmp_path) as first:
        sending = Adapter(smpp_account(first))
        assert sending.send([message(1)])[0].outcome is Outcome.ACCEPTED
    with start_sandbox(tmp_path) as second:
        assert sending.send([message(2)])[0].outcome is Outcome.ACCEPTED
        sending.close()
        assert {line["attempt"] for line in second.log_lines("smpp", "submit")} == {"1", "2"}


@pytest.mark.parametrize(
    ("wrong", "status"), [({"system_id": "other"}, "0x0F"), ({"password": "wrong"}, "0x0E")]
)
def test_a_refused_bind_stops_the_channel(sandbox: Sandbox, wrong: dict[str, str], status: str) -> None:
    sandbox.change({"smpp": wrong})
    with pytest.raises(AdapterError) as caught:
        Adapter(smpp_account(sandbox)).send([message(1)])
    assert (caught.value.code, caught.value.stops_channel, caught.value.retryable) == (status, True, False)


def test_settings_that_smpp_cannot_carry_are_told_before_anything_is_sent(sandbox: Sandbox) -> None:
    for wrong in ({"source": "品牌"}, {"source": "a name too long"}, {"source": ""}):
        with pytest.raises(AdapterError, match="Sender"):
            Adapter(smpp_account(sandbox, **wrong)).send([message(1)])
    for tlv in ("17", "0x1", "reference"):
        with pytest.raises(AdapterError, match="0x1400"):
            Adapter(smpp_account(sandbox, reference_tlv=tlv))


@pytest.mark.parametrize("bind", ["separate", "transceiver"])
def test_receipts_name_message_and_attempt(sandbox: Sandbox, bind: str) -> None:
    both = Adapter(smpp_account(sandbox, bind=bind))
    both.listen_seconds = 0.5
    results = both.send([message(n) for n in range(50)])
    events = everything(both)
    both.close()
    assert {event.reference for event in events} == {sent.reference for sent in results}
    assert {event.detail["attempt_id"] for event in events} == set(range(50))
    assert {event.receipt for event in events} == {Receipt.DELIVERED}
    assert sandbox.call(sandbox.center.waiting) == 0


def test_receipts_not_acknowledged_are_told_again_to_the_next_worker(sandbox: Sandbox) -> None:
    first = Adapter(smpp_account(sandbox))
    first.send([message(n) for n in range(20)])
    told = first.poll([])
    assert len(told) == 20
    first.close()  # as a worker that was killed before its commit: nothing acknowledged
    second = Adapter(smpp_account(sandbox))
    again = everything(second)
    second.close()
    assert {event.dedupe_key for event in again} == {event.dedupe_key for event in told}
    assert sandbox.call(sandbox.center.waiting) == 0


def test_receipts_survive_a_restart_of_the_smsc_and_settle_lost_answers(tmp_path: Path) -> None:
    """The answers are lost and the SMSC is restarted: its receipts still name every attempt it took."""
    with start_sandbox(tmp_path, smpp={"receipt_seconds": 30}) as first:
        first.faults("smpp", silent=1.0)
        sending = Adapter(smpp_account(first, timeout=0.3))
        assert {sent.outcome for sent in sending.send([message(n) for n in range(10)])} == {Outcome.UNKNOWN}
        sending.close()
    with start_sandbox(tmp_path, smpp={"receipt_seconds": 0.01}) as second:
        reading = Adapter(smpp_account(second))
        events = everything(reading)
        reading.close()
        assert {event.detail["attempt_id"] for event in events} == set(range(10))
    with start_sandbox(tmp_path) as third:  # and are not told a third time once acknowledged
        assert third.call(third.center.waiting) == 0


def test_repeated_shuffled_and_early_receipts_are_one_event_each(sandbox: Sandbox) -> None:
    sandbox.faults("smpp", receipt_repeat=1.0, receipt_shuffle=True, receipt_early=0.5, seconds=0.05)
    both = Adapter(smpp_account(sandbox, bind="transceiver"))
    both.listen_seconds = 0.5
    results = both.send([message(n) for n in range(30)])
    assert {sent.outcome for sent in results} == {Outcome.ACCEPTED}
    events = everything(both)
    both.close()
    assert len(events) == 60
    assert len({event.dedupe_key for event in events}) == 30


def test_an_undeliverable_number_bounces_and_an_expired_message_too(tmp_path: Path) -> None:
    config = {"receipt_seconds": 1.1, "undeliverable_share": 0.5}
    with start_sandbox(tmp_path, smpp=config) as running:
        both = Adapter(smpp_account(running))
        both.listen_seconds = 2
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.5)
        late = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        both.send([message(1, expires_at=soon), *(message(n, expires_at=late) for n in range(2, 42))])
        codes = {event.detail["attempt_id"]: (event.receipt, event.code) for event in everything(both)}
        both.close()
    assert codes.pop(1)[0] is Receipt.BOUNCED
    assert set(codes.values()) == {(Receipt.DELIVERED, "DELIVRD"), (Receipt.BOUNCED, "UNDELIV 027")}


def test_replies_are_read_and_opt_out_words_known(adapter: Adapter, sandbox: Sandbox) -> None:
    for text in ("R", "退订。", "stop", "请问还有货吗？", "price [10] €?"):
        sandbox.call(sandbox.center.reply, PHONE, "10690000", text)
    events = everything(adapter)
    assert [(event.response, event.detail["text"]) for event in events] == [
        (ResponseKind.OPT_OUT, "R"), (ResponseKind.OPT_OUT, "退订。"), (ResponseKind.OPT_OUT, "stop"),
        (ResponseKind.REPLY, "请问还有货吗？"), (ResponseKind.REPLY, "price [10] €?"),
    ]  # fmt: skip
    assert {(event.identity_kind, event.identity_value) for event in events} == {("phone", PHONE)}


# Writing and reading, without a line --------------------------------------------------------------------------


@given(
    coding=st.sampled_from([0, 8]), text=st.binary(min_size=1, max_size=160), esm_class=st.sampled_from([0, 0x40]),
    receipt=st.booleans(), source=st.sampled_from(["10690000", "Evenreach", "8613800138000"]),
    digits=st.integers(10**5, 10**15 - 1), validity=st.sampled_from(["", "261123083000000+"]),
)  # fmt: skip
def test_our_submit_sm_is_octet_for_octet_that_of_smpplib(
    coding: int, text: bytes, esm_class: int, receipt: bool, source: str, digits: int, validity: str
) -> None:
    session = Session("127.0.0.1", 1, timeout=1)
    ton, npi = (3, 0) if source.isdigit() else (5, 0)
    sequence, octets = session.submit_octets(
        party(ton, npi, source), party(1, 1, str(digits)), text, esm_class=esm_class, coding=coding, receipt=receipt,
        validity=validity.encode(), tlvs=b"\x14\x01\0\x02ab",
    )  # fmt: skip
    theirs = smpp.make_pdu(
        "submit_sm", client=session, source_addr_ton=ton, source_addr_npi=npi, source_addr=source, dest_addr_ton=1,
        dest_addr_npi=1, destination_addr=str(digits), esm_class=esm_class, registered_delivery=int(receipt),
        data_coding=coding, short_message=text, validity_period=validity,
    )  # fmt: skip
    theirs.sequence = sequence
    plain = theirs.generate()
    assert octets == struct.pack(">L", len(plain) + 6) + plain[4:] + b"\x14\x01\0\x02ab"


def delivered(**fields: Any) -> Delivered:
    made = pdu.Message(source="8613800138000", source_ton=1, source_npi=1, destination="10690000", **fields)
    octets = pdu.frame(pdu.DELIVER_SM, 0, 7, pdu.make_message(made))
    return Session("127.0.0.1", 1, timeout=1).parse(octets)


def receipt(
    text: str = "", tlvs: dict[int, bytes] | None = None, wanted: Any = (), **reading: Any
) -> Inbound | None:
    now = dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC)
    made = delivered(esm_class=0x04, body=text.encode(), tlvs=tlvs or {})
    return read(made, Reading(**reading), now, wanted)


TEXT = (
    "id:{id} sub:001 dlvrd:001 submit date:2611231530 done date:2611231545 stat:{stat} err:000 text:hi stat:x"
)


@pytest.mark.parametrize(
    ("ids", "answer", "told"),
    [
        ("same", "01A2B", "01A2B"),
        ("hex_then_decimal", "0001A2B", "0000006699"),
        ("decimal_then_hex", "6699", "1A2B"),
    ],
)
def test_an_id_is_found_again_in_either_number_form(ids: str, answer: str, told: str) -> None:
    event = receipt(TEXT.format(id=told, stat="DELIVRD"), ids=ids)
    assert event is not None
    assert event.reference == Reading(ids=ids).answer_id(answer)


def test_an_id_is_found_among_the_references_asked_for_without_any_setting() -> None:
    for wanted, told in (
        ("1A2B", "6699"),
        ("00001a2b", "0000006699"),
        ("6699", "1A2B"),
        ("0000006699", "1a2b"),
    ):
        event = receipt(TEXT.format(id=told, stat="DELIVRD"), wanted=frozenset({wanted}))
        assert event is not None
        assert event.reference == wanted


@pytest.mark.parametrize(
    ("state", "number", "outcome"),
    [
        ("ENROUTE", 1, Receipt.ACCEPTED), ("DELIVRD", 2, Receipt.DELIVERED), ("EXPIRED", 3, Receipt.BOUNCED),
        ("DELETED", 4, Receipt.BOUNCED), ("UNDELIV", 5, Receipt.BOUNCED), ("ACCEPTD", 6, Receipt.ACCEPTED),
        ("UNKNOWN", 7, None), ("REJECTD", 8, Receipt.REJECTED),
    ],
)  # fmt: skip
def test_states_are_read_from_text_and_from_parameters(
    state: str, number: int, outcome: Receipt | None
) -> None:
    by_text = receipt(TEXT.format(id="A1", stat=state))
    by_tlv = receipt(tlvs={0x001E: b"A1\0", 0x0427: bytes((number,))})
    for event in (by_text, by_tlv):
        assert (event.receipt if event else None) == outcome
        assert event is None or (event.reference, event.code) == ("A1", state)


def test_the_done_date_counts_only_where_its_zone_is_known() -> None:
    text = TEXT.format(id="1", stat="DELIVRD")
    unknown, known = receipt(text), receipt(text, zone="Asia/Shanghai")
    assert unknown is not None
    assert known is not None
    assert unknown.occurred_at == dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC)
    assert known.occurred_at == dt.datetime(2026, 11, 23, 7, 45, tzinfo=dt.UTC)


def test_octets_that_are_no_deliver_sm_are_an_error_not_a_crash() -> None:
    session = Session("127.0.0.1", 1, timeout=1)
    for body in (b"", b"\0\1", struct.pack(">20B", *range(20)), b"\0" * 40):
        octets = pdu.frame(pdu.DELIVER_SM, 0, 1, body)
        try:
            read(session.parse(octets), Reading(), dt.datetime.now(dt.UTC))
        except ValueError:
            continue
