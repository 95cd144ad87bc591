"""An SMSC that speaks SMPP 3.4 to clients: takes messages, tells receipts, carries replies.

Every submit_sm is on the disk before its answer leaves. A receipt or reply counts as told when the client has
answered its deliver_sm; until then it is told again, on another session, and after a restart as well.
"""

import asyncio
import datetime as dt
import heapq
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from channels.sandbox import pdu
from channels.sandbox.config import Smpp
from channels.sandbox.faults import Fault, chance
from channels.sandbox.log import Log, digest, read_log

KIND = "smpp"
STATES = {"DELIVRD": 2, "EXPIRED": 3, "UNDELIV": 5, "REJECTD": 8}
RECEIVES = {pdu.BIND_RECEIVER, pdu.BIND_TRANSCEIVER}
SENDS = {pdu.BIND_TRANSMITTER, pdu.BIND_TRANSCEIVER}

# (phone, our number, whole text, attempt)
Arrived = Callable[[str, str, str, str], None]


@dataclass(slots=True)
class Delivery:
    """A deliver_sm that a client has not answered yet."""

    key: str  # message id of a receipt; "" for a reply
    body: bytes
    state: str = ""


@dataclass
class Center:
    """What all sessions share: ids, receipts waiting, counters."""

    config: Smpp
    log: Log
    seed: int
    arrived: Arrived | None = None
    counters: dict[str, int] = field(default_factory=dict)
    sessions: list["Session"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ids = itertools.count(1)
        self._due: list[tuple[float, int, Delivery]] = []
        self._order = itertools.count()
        self._pump: asyncio.TimerHandle | None = None
        self._parts: OrderedDict[tuple[str, str, int], dict[int, str]] = OrderedDict()
        self._second = (0, 0)
        self._turn = 0

    # -- taking messages ---------------------------------------------------------------------------------
    def restore(self) -> None:
        """Read the log: ids go on behind the last one, receipts not yet told are told again."""
        highest, waiting = 0, {}
        for line in read_log(self.log.directory.parent, KIND):
            if line["event"] == "submit" and line["verdict"] == "accepted":
                highest = max(highest, int(line["message_id"], 16))
                if line["receipt"]:
                    waiting[line["message_id"]] = line
            elif line["event"] == "receipt":
                waiting.pop(line["message_id"], None)
        self._ids = itertools.count(highest + 1)
        for line in waiting.values():
            self._plan_receipt(
                line["message_id"], line["address"], line["source"], line["attempt"], line["validity"]
            )

    def count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1

    def take(self, data: bytes, outstanding: int) -> tuple[int, str, Fault]:
        """Judge one submit_sm and queue its log line: (status, message id, how to answer)."""
        config = self.config
        try:
            message = pdu.parse_message(data)
            status = self._check(message)
            reference, number, parts = message.part
        except pdu.BadPDU as error:
            self.log.write(
                KIND, "submit", verdict="refused", attempt="", address="", code=f"{error.status:#04x}"
            )
            self.count("refused")
            return error.status, "", Fault.OK
        attempt = message.tlvs.get(config.reference_tlv, b"").rstrip(b"\0").decode("latin-1")
        fault = config.faults.decide(self.seed, f"{attempt or message.destination}:{number}")
        if fault is Fault.DROP_BEFORE:
            return 0, "", fault
        if status == pdu.OK and (fault is Fault.THROTTLE or outstanding > config.window or self._too_fast()):
            status = pdu.THROTTLED
        elif status == pdu.OK and fault is Fault.REFUSE:
            status = pdu.INVALID_DESTINATION
        verdict = {pdu.OK: "accepted", pdu.THROTTLED: "throttled"}.get(status, "refused")
        message_id = f"{next(self._ids):08X}" if status == pdu.OK else ""
        self.log.write(
            KIND, "submit", verdict=verdict, attempt=attempt, address=f"+{message.destination}",
            source=message.source, digest=digest(message.body), message_id=message_id, part=number, parts=parts,
            receipt=message.registered & 0x03, validity=message.validity, code=f"{status:#04x}",
            answered=fault not in {Fault.SILENT, Fault.DROP},
        )  # fmt: skip
        self.count(verdict)
        if status == pdu.OK:
            self._carry(message, message_id, attempt, reference, number, parts)
        return status, message_id, fault

    def _check(self, message: pdu.Message) -> int:
        """The command status a real SMSC gives for these fields."""
        if not message.destination.isdigit() or not 6 <= len(message.destination) <= 15:
            return pdu.INVALID_DESTINATION
        if not message.source or (message.source_ton != 5 and not message.source.isdigit()):
            return pdu.INVALID_SOURCE
        header, text = message.split_header()
        longest = pdu.longest_part(message.data_coding, bool(message.esm_class & 0x40), len(header))
        if pdu.TLV_PAYLOAD not in message.tlvs and len(text) > longest:
            return pdu.INVALID_LENGTH
        if not text or (message.data_coding == 8 and len(text) % 2):
            return pdu.INVALID_LENGTH
        _, number, parts = message.part
        if not 1 <= number <= parts:
            return pdu.INVALID_ESM_CLASS
        if message.validity and _instant(message.validity) is None:
            return pdu.INVALID_EXPIRY
        return pdu.OK

    def _too_fast(self) -> bool:
        if not self.config.per_second:
            return False
        second = int(time.monotonic())
        n = self._second[1] + 1 if self._second[0] == second else 1
        self._second = (second, n)
        return n > self.config.per_second

    def _carry(
        self, message: pdu.Message, message_id: str, attempt: str, reference: int, number: int, parts: int
    ) -> None:
        """On to the phone: the receipt is planned, the text goes to the person when its parts are all there."""
        phone = f"+{message.destination}"
        if message.registered & 0x03:
            self._plan_receipt(message_id, phone, message.source, attempt, message.validity)
        if self.arrived is None or self._final_state(phone, message.validity, time.time()) != "DELIVRD":
            return
        text = pdu.text_of(message.split_header()[1], message.data_coding)
        if parts > 1:
            key = (message.source, phone, reference)
            pieces = self._parts.setdefault(key, {})
            pieces[number] = text
            if len(self._parts) > 20_000:
                self._parts.popitem(last=False)
            if len(pieces) < parts:
                return
            text = "".join(pieces[n] for n in sorted(self._parts.pop(key)))
        self.arrived(phone, message.source, text, attempt)

    async def close(self) -> None:
        """End every session, as a restart does."""
        for session in self.sessions:
            session.transport.abort()
        if self._pump is not None:
            self._pump.cancel()
        await asyncio.sleep(0)

    # -- receipts and replies ----------------------------------------------------------------------------
    def _final_state(self, phone: str, validity: str, at: float) -> str:
        until = _instant(validity) if validity else None
        if until is not None and at > until:
            return "EXPIRED"
        return (
            "UNDELIV"
            if chance(self.seed, "unreachable", phone) < self.config.undeliverable_share
            else "DELIVRD"
        )

    def _plan_receipt(self, message_id: str, phone: str, source: str, attempt: str, validity: str) -> None:
        faults = self.config.faults
        wait = self.config.receipt_seconds + faults.receipt_seconds
        if chance(self.seed, "early", message_id) < faults.receipt_early:
            wait = 0
        elif faults.receipt_shuffle:
            wait *= 2 * chance(self.seed, "shuffle", message_id)
        state = self._final_state(phone, validity, time.time() + wait)
        body = self._receipt(message_id, phone, source, attempt, state)
        times = 2 if chance(self.seed, "repeat", message_id) < faults.receipt_repeat else 1
        for n in range(times):
            self._schedule(wait + n * 0.05, Delivery(message_id, body, state))

    def _receipt(self, message_id: str, phone: str, source: str, attempt: str, state: str) -> bytes:
        config = self.config
        now = dt.datetime.now(dt.UTC)
        told = message_id if config.receipt_id == "same" else f"{int(message_id, 16):010d}"
        delivered = state == "DELIVRD"
        text = (
            f"id:{told} sub:001 dlvrd:{delivered:03d} submit date:{now:%y%m%d%H%M} done date:{now:%y%m%d%H%M} "
            f"stat:{state} err:{0 if delivered else 27:03d} text:"
        )
        message = pdu.Message(source=phone.lstrip("+"), source_ton=1, source_npi=1, esm_class=0x04)
        message.destination = source
        if config.receipt_form in {"text", "both"}:
            message.body = text.encode()
        if config.receipt_form in {"tlv", "both"}:
            message.tlvs[pdu.TLV_RECEIPTED_ID] = message_id.encode() + b"\0"
            message.tlvs[pdu.TLV_MESSAGE_STATE] = bytes((STATES[state],))
        if attempt and config.repeats_reference:
            message.tlvs[config.reference_tlv] = attempt.encode("latin-1")
        return pdu.make_message(message)

    def reply(self, phone: str, destination: str, text: str) -> None:
        """A message of a person to one of our numbers."""
        body, coding = pdu.octets_of(text)
        message = pdu.Message(source=phone.lstrip("+"), source_ton=1, source_npi=1, destination=destination)
        message.body, message.data_coding = body[:254], coding
        self.count("replies")
        self._schedule(0, Delivery("", pdu.make_message(message)))

    def _schedule(self, wait: float, delivery: Delivery) -> None:
        heapq.heappush(self._due, (time.monotonic() + wait, next(self._order), delivery))
        self.pump()

    def waiting(self) -> int:
        """Receipts and replies no client has answered yet."""
        return len(self._due) + sum(len(session.delivering) for session in self.sessions)

    def pump(self) -> None:
        """Tell what is due over the sessions that receive, and come back for the rest."""
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None
        now = time.monotonic()
        out: dict[Session, list[Delivery]] = {}
        while self._due and self._due[0][0] <= now:
            session = self._receiver(out)
            if session is None:
                return  # a session that binds, or an answer, calls again
            out.setdefault(session, []).append(heapq.heappop(self._due)[2])
        for session, deliveries in out.items():
            session.deliver(deliveries)
        if self._due:
            loop = asyncio.get_running_loop()
            self._pump = loop.call_later(max(0.005, self._due[0][0] - now), self.pump)

    def _receiver(self, out: dict["Session", list[Delivery]]) -> "Session | None":
        able = [
            session for session in self.sessions
            if session.bound in RECEIVES
            and len(session.delivering) + len(out.get(session, ())) < self.config.deliver_window
        ]  # fmt: skip
        if not able:
            for session, deliveries in out.items():
                session.deliver(deliveries)
            out.clear()
            return None
        self._turn += 1
        return able[self._turn % len(able)]

    def told(self, delivery: Delivery, status: int) -> None:
        """The client answered: it has it (0), or it wants it again later."""
        if status != pdu.OK:
            self._schedule(1.0, delivery)
            return
        self.count("receipts" if delivery.key else "replies_told")
        if delivery.key:
            self.log.write(KIND, "receipt", message_id=delivery.key, state=delivery.state)
        if self._due:
            self.pump()

    def again(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            heapq.heappush(self._due, (time.monotonic(), next(self._order), delivery))
        self.pump()


class Session(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, center: Center) -> None:
        self.center = center
        self.bound = 0
        self.outstanding = 0
        self.delivering: dict[int, tuple[float, Delivery]] = {}
        self._sequence = itertools.count(1)
        self._buffer = b""
        self._watch: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport
        self.center.sessions.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.center.sessions.remove(self)
        if self._watch:
            self._watch.cancel()
        left, self.delivering = [delivery for _, delivery in self.delivering.values()], {}
        self.bound = 0
        self.center.again(left)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        at, submits = 0, []
        while len(buffer) - at >= 16:
            length, command, status, sequence = pdu.HEADER.unpack_from(buffer, at)
            if not 16 <= length <= pdu.LONGEST:
                self.transport.write(pdu.frame(pdu.GENERIC_NACK, pdu.INVALID_COMMAND_LENGTH, sequence))
                self.transport.close()
                return
            if len(buffer) - at < length:
                break
            body = buffer[at + 16 : at + length]
            at += length
            if command == pdu.SUBMIT_SM:
                submits.append((sequence, body))
            else:
                self._handle(command, status, sequence, body)
        self._buffer = buffer[at:]
        if submits:
            task = asyncio.ensure_future(self._submit(submits))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _handle(self, command: int, status: int, sequence: int, body: bytes) -> None:
        if command in {pdu.BIND_RECEIVER, pdu.BIND_TRANSMITTER, pdu.BIND_TRANSCEIVER}:
            self._bind(command, sequence, body)
        elif command == pdu.ENQUIRE_LINK:
            self.transport.write(pdu.frame(command | pdu.RESPONSE, pdu.OK, sequence))
        elif command == pdu.UNBIND:
            self.bound = 0
            self.transport.write(pdu.frame(command | pdu.RESPONSE, pdu.OK, sequence))
            self.transport.close()
        elif command == pdu.DELIVER_SM | pdu.RESPONSE:
            found = self.delivering.pop(sequence, None)
            if found:
                self.center.told(found[1], status)
        elif command & pdu.RESPONSE:
            return
        else:
            self.transport.write(pdu.frame(pdu.GENERIC_NACK, pdu.INVALID_COMMAND, sequence))

    def _bind(self, command: int, sequence: int, body: bytes) -> None:
        config, status = self.center.config, pdu.OK
        try:
            system_id, at = pdu.cstring(body, 0, 16)
            password, at = pdu.cstring(body, at, 9)
        except pdu.BadPDU as error:
            system_id = password = ""
            status = error.status
        if status == pdu.OK and self.bound:
            status = pdu.ALREADY_BOUND
        elif status == pdu.OK and system_id != config.system_id:
            status = pdu.INVALID_SYSTEM_ID
        elif status == pdu.OK and password != config.password:
            status = pdu.INVALID_PASSWORD
        self.transport.write(pdu.frame(command | pdu.RESPONSE, status, sequence, b"EVENREACH-SMSC\0"))
        if status == pdu.OK:
            self.bound = command
            self.center.count("binds")
            if command in RECEIVES:
                asyncio.get_running_loop().call_soon(self.center.pump)
        else:
            self.center.count("bad_binds")

    async def _submit(self, submits: list[tuple[int, bytes]]) -> None:
        """Judge, log, flush, wait as told, then answer: all that came in one read share the flush."""
        began = time.monotonic()
        command = pdu.SUBMIT_SM | pdu.RESPONSE
        if self.bound not in SENDS:
            for sequence, _ in submits:
                self.transport.write(pdu.frame(command, pdu.INVALID_BIND_STATE, sequence))
            return
        answers, close = [], False
        for sequence, body in submits:
            self.outstanding += 1
            status, message_id, fault = self.center.take(body, self.outstanding)
            close = close or fault in {Fault.DROP, Fault.DROP_BEFORE}
            if fault is Fault.OK or status:
                answers.append(
                    pdu.frame(command, status, sequence, message_id.encode() + b"\0" if not status else b"")
                )
            if close:
                break
        await self.center.log.flushed()
        wait = (
            self.center.config.answer_seconds + self.center.config.faults.seconds - (time.monotonic() - began)
        )
        if wait > 0:
            await asyncio.sleep(wait)
        self.outstanding -= len(submits)
        if self.transport.is_closing():
            return
        self.transport.write(b"".join(answers))
        if close:
            self.transport.close()

    def deliver(self, deliveries: list[Delivery]) -> None:
        out, now = [], time.monotonic()
        for delivery in deliveries:
            sequence = next(self._sequence)
            self.delivering[sequence] = (now, delivery)
            out.append(pdu.frame(pdu.DELIVER_SM, pdu.OK, sequence, delivery.body))
        self.transport.write(b"".join(out))
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(
                self.center.config.resend_seconds, self._resend
            )

    def _resend(self) -> None:
        """What the client has not answered in time is told again (perhaps to another session)."""
        limit = time.monotonic() - self.center.config.resend_seconds
        old = [sequence for sequence, (since, _) in self.delivering.items() if since <= limit]
        self._watch = None
        late = [self.delivering.pop(sequence)[1] for sequence in old]
        if self.delivering:
            self._watch = asyncio.get_running_loop().call_later(
                self.center.config.resend_seconds, self._resend
            )
        if late:
            self.center.again(late)


def _instant(text: str) -> float | None:
    """An SMPP time (``YYMMDDhhmmsstnnp``, absolute or relative) as seconds since 1970; None if it is none."""
    if len(text) != 16 or not text[:15].isdigit():
        return None
    numbers = [int(text[n : n + 2]) for n in range(0, 12, 2)]
    quarters, sign = int(text[13:15]), text[15]
    try:
        if sign == "R":
            years, months, days, hours, minutes, seconds = numbers
            return (
                time.time()
                + (((years * 365 + months * 30 + days) * 24 + hours) * 60 + minutes) * 60
                + seconds
            )
        if sign not in "+-":
            return None
        offset = dt.timedelta(minutes=15 * quarters) * (1 if sign == "+" else -1)
        year, month, day, hour, minute, second = numbers
        local = dt.datetime(2000 + year, month, day, hour, minute, second, tzinfo=dt.UTC)
        return (local - offset).timestamp()
    except ValueError:
        return None


async def serve(center: Center, host: str, port: int) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Session(center), host, port, reuse_address=True)
