"""Every answer that SMPP 3.4 names means the same to us whoever gives it: an SMSC that answers as it is told."""

import datetime as dt
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from audiences.vocabulary import ResponseKind
from channels import sms_text
from channels.accounts import defaults
from channels.adapters.base import Account, AdapterError, Outcome, Outgoing, Receipt
from channels.adapters.smpp import Adapter
from channels.sandbox import pdu
from channels.smpp.inbound import Reading, read
from channels.smpp.session import Session


class Told:
    """What the SMSC is to do, and what it saw."""

    def __init__(self) -> None:
        self.bind = 0
        self.answers: list[int | None] = []  # a status each; None closes the connection; then always 0
        self.nack = False  # answer with generic_nack
        self.backwards = 0  # so many answers are kept until the last, and given in the other order
        self.kept: list[bytes] = []
        self.binds = 0
        self.taken: list[bytes] = []
        self.port = 0

    def serve(self, line: socket.socket) -> None:
        buffer = b""
        while data := line.recv(1 << 16):
            buffer += data
            while len(buffer) >= 16:
                length, command, _status, sequence = pdu.HEADER.unpack_from(buffer)
                if len(buffer) < length:
                    break
                body, buffer = buffer[16:length], buffer[length:]
                if not self.answer(line, command, sequence, body):
                    return

    def answer(self, line: socket.socket, command: int, sequence: int, body: bytes) -> bool:
        if command in {pdu.BIND_RECEIVER, pdu.BIND_TRANSMITTER, pdu.BIND_TRANSCEIVER}:
            self.binds += 1
            line.sendall(pdu.frame(command | pdu.RESPONSE, self.bind, sequence, b"SMSC\0"))
        elif command == pdu.SUBMIT_SM:
            status = self.answers.pop(0) if self.answers else 0
            if status is None:
                return False
            self.taken.append(body)
            if self.backwards:
                self.kept.append(
                    pdu.frame(command | pdu.RESPONSE, 0, sequence, b"PART%d\0" % len(self.taken))
                )
                if len(self.kept) == self.backwards:
                    line.sendall(b"".join(reversed(self.kept)))
            elif self.nack:
                line.sendall(pdu.frame(pdu.GENERIC_NACK, status, sequence))
            else:
                line.sendall(pdu.frame(command | pdu.RESPONSE, status, sequence, b"" if status else b"1A\0"))
        elif not command & pdu.RESPONSE:
            line.sendall(pdu.frame(command | pdu.RESPONSE, 0, sequence))
        return True


@contextmanager
def smsc() -> Iterator[Told]:
    told = Told()
    with socket.create_server(("127.0.0.1", 0)) as server:
        told.port = server.getsockname()[1]

        def work() -> None:
            while True:
                try:
                    line, _address = server.accept()
                except OSError:
                    return
                with line:
                    told.serve(line)

        threading.Thread(target=work, daemon=True).start()
        yield told


def adapter(told: Told, **settings: Any) -> Adapter:
    given = {
        "host": "127.0.0.1",
        "port": told.port,
        "system_id": "x",
        "source": "1069",
        "timeout": 3,
    } | settings
    return Adapter(Account(1, "main", "sms", defaults(Adapter) | given, {"password": "x"}))


def message(attempt: int) -> Outgoing:
    return Outgoing(attempt, f"+86138{attempt:08d}", text="你好")


@pytest.mark.parametrize(
    ("status", "outcome", "invalid"),
    [
        (0x58, Outcome.THROTTLED, False), (0x14, Outcome.THROTTLED, False), (0x08, Outcome.THROTTLED, False),
        (0x64, Outcome.THROTTLED, False), (0x0B, Outcome.REFUSED, True), (0x0A, Outcome.REFUSED, False),
        (0x01, Outcome.REFUSED, False), (0x45, Outcome.REFUSED, False),
    ],
)  # fmt: skip
def test_each_status_is_slower_or_final_as_smpp_means_it(
    status: int, outcome: Outcome, invalid: bool
) -> None:
    with smsc() as told:
        told.answers = [status]
        sending = adapter(told, window=1)
        first, second = sending.send([message(1), message(2)])
        sending.close()
    assert (first.outcome, first.code, first.invalid_address) == (outcome, f"0x{status:02X}", invalid)
    slower = outcome is Outcome.THROTTLED
    assert second.outcome is (Outcome.THROTTLED if slower else Outcome.ACCEPTED)
    assert len(told.taken) == (1 if slower else 2), (
        "after “slower” nothing new begins; after a refusal it goes on"
    )


def test_a_long_message_is_known_by_its_last_part_in_whatever_order_the_answers_come() -> None:
    with smsc() as told:
        told.backwards = 3
        sending = adapter(told)
        (sent,) = sending.send([Outgoing(1, "+8613800000001", text="很长的短信" * 30)])
        sending.close()
    assert len(told.taken) == 3
    assert (sent.outcome, sent.parts, sent.reference) == (Outcome.ACCEPTED, 3, "PART3")


def test_an_answer_without_sense_is_no_acceptance() -> None:
    with smsc() as told:
        told.nack, told.answers = True, [0x03]
        sending = adapter(told)
        (sent,) = sending.send([message(1)])
        told.answers = [0]
        (again,) = sending.send([message(2)])
        sending.close()
    assert (sent.outcome, sent.code) == (Outcome.REFUSED, "0x03")
    assert again.outcome is Outcome.THROTTLED


@pytest.mark.parametrize(
    ("status", "stops"),
    [(0x0D, True), (0x0E, True), (0x0F, True), (0x53, True), (0x05, False), (0x08, False)],
)
def test_a_refused_bind_stops_the_channel_or_is_tried_again(status: int, stops: bool) -> None:
    with smsc() as told:
        told.bind = status
        with pytest.raises(AdapterError) as error:
            adapter(told).send([message(1)])
        assert (error.value.stops_channel, error.value.retryable) == (stops, not stops)
        assert not told.taken


def test_after_a_lost_line_the_next_batch_goes_over_a_new_one_and_nothing_goes_twice() -> None:
    with smsc() as told:
        told.answers = [0, 0, None]
        sending = adapter(told, window=2)
        results = sending.send([message(n) for n in range(1, 7)])
        more = sending.send([message(n) for n in range(7, 10)])
        sending.close()
    outcomes = [sent.outcome for sent in results]
    assert outcomes.count(Outcome.ACCEPTED) == 2
    assert 1 <= outcomes.count(Outcome.UNKNOWN) <= 2, "at most the window"
    assert outcomes.count(Outcome.THROTTLED) == 4 - outcomes.count(Outcome.UNKNOWN)
    assert {sent.outcome for sent in more} == {Outcome.ACCEPTED}
    assert told.binds == 2
    assert len(told.taken) == 5, "the unanswered one is not sent again"


def deliver(**fields: Any) -> Any:
    made = pdu.Message(source="8613800138000", source_ton=1, source_npi=1, destination="1069", **fields)
    octets = pdu.frame(pdu.DELIVER_SM, 0, 7, pdu.make_message(made))
    now = dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC)
    words = frozenset({"退订", "STOP"})
    return read(Session("127.0.0.1", 1, timeout=1).parse(octets), Reading(opt_out_words=words), now)


@pytest.mark.parametrize("esm_class", [0x04, 0x44, 0x84, 0x07])
def test_a_receipt_is_known_by_its_type_whatever_other_bits_say(esm_class: int) -> None:
    event = deliver(esm_class=esm_class, body=b"id:7 sub:001 dlvrd:001 stat:DELIVRD err:000 text:STOP")
    assert event.receipt is Receipt.DELIVERED, "and its words are no reply of a person"


@pytest.mark.parametrize("esm_class", [0x00, 0x40, 0x03])
def test_a_persons_message_is_read_behind_its_header(esm_class: int) -> None:
    header = bytes((5, 0, 3, 9, 1, 1)) if esm_class & 0x40 else b""
    event = deliver(esm_class=esm_class, data_coding=8, body=header + sms_text.encode_ucs2("退订"))
    assert event.response is ResponseKind.OPT_OUT
    assert event.detail["text"] == "退订"
