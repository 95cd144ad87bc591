"""Text messages over SMPP 3.4, to an SMSC or an aggregator: own window, own segmentation, receipts and replies.

What arrived is known as exactly as the protocol allows: a message is accepted when all its parts were; parts that
were sent and never answered leave it unknown. Receipts and replies are answered only after they are stored.
"""

import datetime as dt
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import IdentityKind, Medium
from channels import sms_replies, sms_text
from channels.adapters import _sms_calls
from channels.adapters.base import (
    Account,
    AdapterError,
    BaseAdapter,
    Checked,
    Inbound,
    Outcome,
    Outgoing,
    Sent,
    Setting,
)
from channels.smpp.inbound import Reading, read
from channels.smpp.session import RECEIVE_REJECTED, Lost, Rejected, Session, describe, logger, party
from channels.vocabulary import Domain, Guarantee, Observability

SLOWER = {0x08, 0x14, 0x58, 0x64}  # system error, queue full, throttled, temporary: it did not arrive
STOPS = {0x0D, 0x0E, 0x0F, 0x53}  # bind failed, password, system id, system type: a person must act
NO_SUCH_NUMBER = {0x0B}
WAIT, LOST_WAIT = 1.0, 5.0  # seconds to the next try, after a throttle and after a lost line
STALE = 20.0  # a session idle for longer is asked whether it is still there
LONGEST_VALIDITY = dt.timedelta(hours=72)  # SMSCs keep a message no longer, and some refuse to be told more
MOST_EVENTS, IDLE = 1000, 0.03
LONGEST_ADDRESS = 20
HAS_HEADER, ALPHANUMERIC, INTERNATIONAL, NETWORK_SPECIFIC, ISDN = 0x40, 5, 1, 3, 1


@dataclass(slots=True)
class _Flight:
    """One message on its way, part by part."""

    message: Outgoing
    parts: list[tuple[int, int, bytes]]  # esm class, data coding, octets
    sent: int = 0
    ids: dict[int, str] = field(default_factory=dict)  # part → the SMSC's id
    failure: int = 0  # the first status that was not 0
    unanswered: int = 0

    @property
    def begun(self) -> bool:
        return self.sent > 0

    @property
    def goes_on(self) -> bool:
        return self.sent < len(self.parts) and not self.failure


class Adapter(BaseAdapter):
    name = "smpp"
    label = gettext_lazy("SMS (SMPP 3.4)")
    media: ClassVar[tuple[str, ...]] = (Medium.SMS,)
    domain = Domain.PRIVATE
    guarantee = Guarantee.IMMEDIATE
    observability = Observability.PERSON_OBSERVED
    address_kinds: ClassVar[tuple[str, ...]] = (IdentityKind.PHONE,)
    batch_size = 1000
    recipients_a_call = 1
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("host", gettext_lazy("SMSC"), gettext_lazy("Such as smpp.example.com.")),
        Setting("port", gettext_lazy("Port"), kind="number", default=2775),
        Setting("tls", gettext_lazy("TLS"), kind="boolean", default=False, required=False),
        Setting(
            "verify",
            gettext_lazy("Check the server's certificate"),
            kind="boolean",
            default=True,
            required=False,
        ),
        Setting("system_id", gettext_lazy("System id")),
        Setting("password", gettext_lazy("Password"), kind="password", secret=True, required=False),
        Setting("system_type", gettext_lazy("System type"), required=False),
        Setting(
            "source",
            gettext_lazy("Sender"),
            gettext_lazy("The number or name recipients see, such as 10690000."),
        ),
        Setting(
            "signature",
            gettext_lazy("Signature"),
            gettext_lazy("For mainland China: the approved signature, put in 【】 before every message."),
            required=False,
        ),
        _sms_calls.country(),
        Setting(
            "bind",
            gettext_lazy("Sessions"),
            kind="choice",
            default="separate",
            choices=(
                ("separate", gettext_lazy("A transmitter to send, a receiver for receipts")),
                ("transceiver", gettext_lazy("Transceivers for both")),
            ),
        ),
        Setting(
            "window",
            gettext_lazy("Window"),
            gettext_lazy("Messages on their way without an answer; as the SMSC permits."),
            "number",
            default=100,
        ),
        Setting(
            "receipts",
            gettext_lazy("Ask for delivery receipts"),
            kind="boolean",
            default=True,
            required=False,
        ),
        Setting(
            "message_ids",
            gettext_lazy("Message ids"),
            kind="choice",
            default="same",
            choices=(
                ("same", gettext_lazy("Written alike in answers and receipts")),
                ("hex_then_decimal", gettext_lazy("Hexadecimal in answers, decimal in receipts")),
                ("decimal_then_hex", gettext_lazy("Decimal in answers, hexadecimal in receipts")),
            ),
        ),
        Setting(
            "reference_tlv",
            gettext_lazy("Parameter for our reference"),
            gettext_lazy(
                "A vendor parameter (such as 0x1401) that the SMSC repeats in receipts; empty: none."
            ),
            required=False,
        ),
        Setting(
            "receipt_zone",
            gettext_lazy("Time zone of receipts"),
            gettext_lazy("Such as Asia/Shanghai; empty: the time of arrival counts."),
            required=False,
        ),
        sms_replies.SETTING,
        Setting(
            "timeout", gettext_lazy("Seconds to wait for the SMSC"), kind="number", default=10, required=False
        ),
    )

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        told = account.settings
        self._sender: Session | None = None
        self._receiver: Session | None = None
        self._used = 0.0
        self._told: list[int] = []  # deliver_sm returned by poll and not yet acknowledged
        self._timeout = float(told.get("timeout") or 10)
        self._window = max(1, int(told.get("window") or 100))
        self._tlv = _tag(str(told.get("reference_tlv") or ""))
        self._reading = Reading(
            ids=str(told.get("message_ids") or "same"),
            reference_tlv=self._tlv,
            zone=str(told.get("receipt_zone") or ""),
            opt_out_words=sms_replies.words_of(told),
        )
        self._source = str(told.get("source") or "").strip()
        self._from = b""
        self._receipts = bool(told.get("receipts", True))
        self.listen_seconds = 0.5

    # Sending --------------------------------------------------------------------------------------

    def send(self, batch: Sequence[Outgoing]) -> list[Sent]:
        """All messages through one window. Raises :class:`AdapterError` only before anything was sent."""
        self._check_source()
        flights = [_Flight(message, self._parts(message)) for message in batch]
        if any(flight.parts for flight in flights):
            session = self._ready_to_send()
            slower = [False]
            following = self._following(session, flights, slower)

            def answered(key: tuple[_Flight, int], status: int, message_id: str) -> None:
                flight, part = key
                if status:
                    flight.failure = flight.failure or status
                    slower[0] = slower[0] or status in SLOWER
                else:
                    flight.ids[part] = message_id

            for flight, _part in session.exchange(self._window, lambda: next(following, None), answered):
                flight.unanswered += 1
            self._used = time.monotonic()
        return [self._result(flight) for flight in flights]

    def calls(self, batch: Sequence[Outgoing]) -> int:
        """A submit_sm for each part."""
        return sum(len(self._parts(message)) for message in batch)

    def _following(
        self, session: Session, flights: Sequence[_Flight], slower: Sequence[bool]
    ) -> Iterator[tuple[tuple[_Flight, int], int, bytes]]:
        """Part after part. Once the SMSC said "slower" no new message begins; begun ones are completed."""
        for flight in flights:
            if slower[0]:
                return
            while flight.goes_on:
                part = flight.sent
                last = part == len(flight.parts) - 1
                sequence, octets = self._octets(session, flight.message, *flight.parts[part], last)
                flight.sent += 1
                yield (flight, part), sequence, octets

    def _parts(self, message: Outgoing) -> list[tuple[int, int, bytes]]:
        """(esm class, data coding, octets) of each part; none where there is nothing to send."""
        text = _sms_calls.signed(self.account.settings, message.text)
        if not text or not _is_number(message.address):
            return []
        mainland = message.address.startswith(_sms_calls.MAINLAND)
        counting = sms_text.Counting.MAINLAND if mainland else sms_text.Counting.INTERNATIONAL
        cut = sms_text.cut(text, counting)
        gsm = cut.encoding == sms_text.Encoding.GSM7
        encode = sms_text.encode_gsm7 if gsm else sms_text.encode_ucs2
        coding, n = 0 if gsm else 8, len(cut.parts)
        if n == 1:
            return [(0, coding, encode(text))]
        reference = message.attempt_id & 0xFF
        return [
            (HAS_HEADER, coding, bytes((5, 0, 3, reference, n, number)) + encode(part))
            for number, part in enumerate(cut.parts, 1)
        ]

    def _check_source(self) -> None:
        """Raises :class:`AdapterError` when the sender cannot be written in SMPP."""
        name = self._source.lstrip("+")
        if not name or not name.isascii() or len(name) > (20 if name.isdigit() else 11):
            raise AdapterError(
                _("“Sender” must be a number of up to 20 digits, or up to 11 Latin letters and digits."),
                code="settings", stops_channel=True,
            )  # fmt: skip
        self._from = party(*_source_type(self._source), name)

    def _octets(
        self, session: Session, message: Outgoing, esm_class: int, coding: int, octets: bytes, last: bool
    ) -> tuple[int, bytes]:
        # One receipt a message: that of its last part. Receipts of every part would contradict each other.
        attempt = str(message.attempt_id).encode()
        return session.submit_octets(
            self._from, party(INTERNATIONAL, ISDN, message.address.lstrip("+")), octets, esm_class=esm_class,
            coding=coding, receipt=last and self._receipts, validity=_validity(message.expires_at),
            tlvs=struct.pack(">HH", self._tlv, len(attempt)) + attempt if self._tlv else b"",
        )  # fmt: skip

    def _result(self, flight: _Flight) -> Sent:
        attempt, n = flight.message.attempt_id, len(flight.parts)
        # The receipt is of the last part, so its id is the one to know, in whatever order the answers came.
        reference = self._reading.answer_id(flight.ids[n - 1]) if n - 1 in flight.ids else ""
        if not n:
            known = _is_number(flight.message.address)
            code, text = ("empty", "no text") if known else ("0x0B", "the address is no phone number")
            return Sent(attempt, Outcome.REFUSED, code=code, text=text, invalid_address=code == "0x0B")
        if flight.unanswered:
            return Sent(
                attempt, Outcome.UNKNOWN, reference, code="lost", text="sent, but never answered", parts=n
            )
        if len(flight.ids) == n:
            return Sent(attempt, Outcome.ACCEPTED, reference, parts=n)
        if flight.ids:
            text = f"{len(flight.ids)} of {n} parts accepted; {describe(flight.failure)}"
            return Sent(attempt, Outcome.UNKNOWN, reference, code=_code(flight.failure), text=text, parts=n)
        if not flight.begun:
            return Sent(attempt, Outcome.THROTTLED, code="not_begun", retry_after=self._retry_after, parts=n)
        outcome = Outcome.THROTTLED if flight.failure in SLOWER else Outcome.REFUSED
        return Sent(
            attempt, outcome, code=_code(flight.failure), text=describe(flight.failure), parts=n,
            retry_after=WAIT if outcome is Outcome.THROTTLED else None,
            invalid_address=flight.failure in NO_SUCH_NUMBER,
        )  # fmt: skip

    @property
    def _retry_after(self) -> float:
        return WAIT if self._sender and self._sender.is_open else LOST_WAIT

    # Receipts and replies -------------------------------------------------------------------------

    def poll(self, references: Iterable[str] = ()) -> list[Inbound]:
        """Receipts and replies waiting at the SMSC, at most 1,000; it keeps them until :meth:`acknowledge`.

        Waits ``listen_seconds`` for the first. Where there are none left the receiver is unbound, so that no
        receipt waits at a session that nobody reads.
        """
        self._told = []
        session = self._ready_to_receive()
        try:
            session.listen(self.listen_seconds, IDLE, MOST_EVENTS)
        except Lost as error:
            session.drop()
            raise AdapterError(str(error), code="lost", retryable=True, retry_after=LOST_WAIT) from error
        events = self._events(session, frozenset(references))
        if not events and session is self._receiver:
            session.leave()
            self._receiver = None
        return events

    def _events(self, session: Session, wanted: frozenset[str]) -> list[Inbound]:
        """What was gathered, read; what tells nothing is answered at once."""
        now = dt.datetime.now(dt.UTC)
        events, empty, broken = [], [], []
        for sequence, pdu in session.incoming:
            try:
                event = read(session.parse(pdu), self._reading, now, wanted)
            except (ValueError, LookupError, struct.error) as error:
                # One that cannot be read holds no others.
                logger.warning("channel %s: %s", self.account.channel_id, error)
                broken.append(sequence)
                continue
            if event is None:
                empty.append(sequence)
            else:
                events.append(event)
                self._told.append(sequence)
        session.incoming.clear()
        try:
            if empty:
                session.confirm(empty)
            if broken:
                session.confirm(broken, RECEIVE_REJECTED)
        except Lost:
            session.drop()
        return events

    def acknowledge(self) -> None:
        """What the last poll returned is stored: its deliver_sm are answered. If the line went meanwhile, the SMSC
        tells them again, and the inbox knows them."""
        told, self._told = self._told, []
        session = self._receiver or self._sender
        if told and session and session.is_open:
            try:
                session.confirm(told)
            except Lost:
                session.drop()

    # Sessions -------------------------------------------------------------------------------------

    def _ready_to_send(self) -> Session:
        """A bound session that was alive a moment ago. Raises :class:`AdapterError`."""
        session = self._sender
        if session is not None and session.is_open and session.still_open():
            rested = time.monotonic() - self._used
            if rested < STALE or session.alive():
                return session
        self._sender = self._bound("bind_transceiver" if self._both else "bind_transmitter")
        self._used = time.monotonic()
        return self._sender

    def _ready_to_receive(self) -> Session:
        if self._both:
            return self._ready_to_send()
        if self._receiver is None or not self._receiver.is_open:
            self._receiver = self._bound("bind_receiver")
        return self._receiver

    @property
    def _both(self) -> bool:
        return self.account.settings.get("bind") == "transceiver"

    def _bound(self, command: str) -> Session:
        told = self.account.settings
        session = Session(
            str(told.get("host") or ""), int(told.get("port") or 2775), timeout=self._timeout,
            tls=bool(told.get("tls")), verify=bool(told.get("verify", True)),
        )  # fmt: skip
        password = str(self.account.credentials.get("password") or "")
        try:
            session.open(
                command, str(told.get("system_id") or ""), password, str(told.get("system_type") or "")
            )
        except Rejected as error:
            stops = error.status in STOPS
            raise AdapterError(
                _("The SMSC refused the bind: %s") % error, code=_code(error.status), retryable=not stops,
                stops_channel=stops, retry_after=None if stops else LOST_WAIT,
            ) from None  # fmt: skip
        except Lost as error:
            raise AdapterError(str(error), code="connect", retryable=True, retry_after=LOST_WAIT) from error
        return session

    def check(self) -> Checked:
        """Bind, ask for a sign of life, unbind."""
        try:
            session = self._bound("bind_transceiver" if self._both else "bind_transmitter")
        except AdapterError as error:
            return Checked(False, str(error))
        alive = session.alive()
        session.leave()
        if not alive:
            return Checked(False, _("The SMSC bound us but does not answer."))
        return Checked(True, _("The SMSC bound us and answers."), {"host": f"{session.host}:{session.port}"})

    def close(self) -> None:
        for session in (self._sender, self._receiver):
            if session is not None:
                session.leave()
        self._sender = self._receiver = None
        self._told = []


def _tag(text: str) -> int:
    """The number of an optional parameter; 0 for none. Raises :class:`AdapterError`."""
    if not text:
        return 0
    try:
        tag = int(text, 0)
    except ValueError:
        tag = -1
    if not 0x1400 <= tag <= 0x3FFF:
        raise AdapterError(
            _("“Parameter for our reference” must be a vendor's number, from 0x1400 to 0x3FFF."),
            code="settings", stops_channel=True,
        )  # fmt: skip
    return tag


def _is_number(address: str) -> bool:
    """Whether SMPP can carry it; whether it exists the SMSC tells."""
    digits = address.lstrip("+")
    return digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_ADDRESS


def _code(status: int) -> str:
    return f"0x{status:02X}"


def _source_type(source: str) -> tuple[int, int]:
    """(type of number, numbering plan) of a sender: a name, a full number, or a short one."""
    if not source.lstrip("+").isdigit():
        return ALPHANUMERIC, 0
    return (INTERNATIONAL, ISDN) if source.startswith("+") else (NETWORK_SPECIFIC, 0)


def _validity(until: dt.datetime | None) -> bytes:
    """An SMPP time in UTC; nothing without a deadline, or for one so far that the SMSC's own limit comes first."""
    if until is None or until - dt.datetime.now(dt.UTC) > LONGEST_VALIDITY:
        return b""
    return f"{until.astimezone(dt.UTC):%y%m%d%H%M%S}000+".encode()
