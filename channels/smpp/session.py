"""One bound SMPP session: many messages on their way at once, and nothing forgotten when the line goes.

``smpplib`` writes and reads most PDUs; submit_sm, the window, the time-outs and the unanswered rest are ours.
"""

import logging
import socket
import ssl
import struct
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from smpplib import consts, exceptions, smpp
from smpplib.client import Client
from smpplib.command import DeliverSM

Key = TypeVar("Key", bound=Hashable)
RESPONSE = 0x80000000
SUBMIT_SM, SUBMIT_SM_RESP, GENERIC_NACK = 0x04, 0x80000004, 0x80000000
DELIVER_SM, UNBIND, ENQUIRE_LINK = 0x05, 0x06, 0x15
HEADER = struct.Struct(">LLLL")
LONGEST = 1 << 20
RECEIVE_REJECTED = 0x65  # ESME_RX_P_APPN: do not send this again

logger = logging.getLogger("evenreach.smpp")
logging.getLogger("smpplib").setLevel(logging.WARNING)  # at DEBUG it prints every message, password included


class Lost(Exception):
    """The line is gone, or silent for too long."""


class Rejected(Exception):
    """The SMSC refused the bind."""

    def __init__(self, status: int) -> None:
        super().__init__(describe(status))
        self.status = status


def describe(status: int) -> str:
    return f"{status:#04x} {consts.DESCRIPTIONS.get(status, 'unknown code')}"


def party(type_of_number: int, plan: int, address: str) -> bytes:
    """A sender or recipient as a submit_sm holds it."""
    return bytes((type_of_number, plan)) + address.encode("ascii") + b"\0"


class Delivered(DeliverSM):  # type: ignore[misc]
    """A deliver_sm with all its optional parameters, those of vendors included, as octets by tag."""

    tlvs: dict[int, bytes]

    def parse_optional_params(self, data: bytes) -> None:
        self.tlvs = {}
        at = 0
        while at + 4 <= len(data):
            tag, size = struct.unpack_from(">HH", data, at)
            self.tlvs[tag] = data[at + 4 : at + 4 + size]
            at += 4 + size


class Session(Client):  # type: ignore[misc]
    """A connection. Not to be shared by threads. All waits are in seconds."""

    _socket: Any

    def __init__(
        self, host: str, port: int, *, timeout: float, tls: bool = False, verify: bool = True
    ) -> None:
        context = None
        if tls:
            context = ssl.create_default_context()
            if not verify:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        super().__init__(
            host, port, timeout=timeout, allow_unknown_opt_params=True, logger_name="smpplib.evenreach"
        )
        self._tls_context = context
        self._read = b""
        self._answered: dict[int, int] = {}  # sequence of our enquire_link → status
        self.incoming: list[tuple[int, bytes]] = []  # deliver_sm not yet answered: sequence, PDU

    def _create_socket(self) -> socket.socket:
        """A socket of the address' own family, without delay, its TLS bound to the host's name."""
        family = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0][0]
        raw = socket.socket(family, socket.SOCK_STREAM)
        raw.settimeout(self.timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._tls_context.wrap_socket(raw, server_hostname=self.host) if self._tls_context else raw

    def open(self, command: str, system_id: str, password: str, system_type: str) -> None:
        """Connect and bind. Raises :class:`Lost`, :class:`Rejected`."""
        try:
            self.connect()
            self._bind(command, system_id=system_id, password=password, system_type=system_type)
        except exceptions.PDUError as error:
            self.drop()
            raise Rejected(error.args[1] if len(error.args) > 1 else consts.SMPP_ESME_RBINDFAIL) from None
        except (exceptions.ConnectionError, exceptions.UnknownCommandError, OSError) as error:
            self.drop()
            raise Lost(f"{self.host}:{self.port} does not answer ({_reason(error)})") from error

    def submit_octets(
        self, source: bytes, destination: bytes, text: bytes, *, esm_class: int = 0, coding: int = 0, receipt: bool = False,
        validity: bytes = b"", tlvs: bytes = b"",
    ) -> tuple[int, bytes]:  # fmt: skip
        """A submit_sm as (sequence, PDU). Ours, since smpplib takes most of a message's time to write one, and knows no
        vendor parameters. ``source`` and ``destination`` are made by :func:`party`; ``tlvs`` are octets."""
        sequence = self.next_sequence()
        body = b"".join((
            b"\0", source, destination, bytes((esm_class, 0, 0)), b"\0", validity, b"\0",
            bytes((receipt, 0, coding, 0, len(text))), text, tlvs,
        ))  # fmt: skip
        return sequence, HEADER.pack(16 + len(body), SUBMIT_SM, 0, sequence) + body

    # -- sending -----------------------------------------------------------------------------------------
    def exchange(
        self,
        window: int,
        following: Callable[[], tuple[Key, int, bytes] | None],
        answered: Callable[[Key, int, str], None],
    ) -> list[Key]:
        """Keep ``window`` messages on their way until ``following`` gives no more and all are answered.

        ``following`` returns (key, sequence, PDU); ``answered`` is told key, status and message id. Returns the keys
        never answered (the line went): whether they arrived is unknown. Does not raise for the line's sake.
        """
        waiting: dict[int, tuple[Key, float]] = {}
        more = True
        try:
            while more or waiting:
                out = []
                now = time.monotonic()
                while more and len(waiting) < window:
                    found = following()
                    if found is None:
                        more = False
                        break
                    key, sequence, octets = found
                    waiting[sequence] = (key, now)
                    out.append(octets)
                if out:
                    self._write(b"".join(out))
                if not waiting:
                    break
                oldest = next(iter(waiting.values()))[1]
                for command, status, sequence, pdu in self._pdus(oldest + self.timeout - now):
                    if command in {SUBMIT_SM_RESP, GENERIC_NACK} and sequence in waiting:
                        key, _ = waiting.pop(sequence)
                        message_id = pdu[16:].split(b"\0", 1)[0].decode("latin-1")
                        answered(
                            key,
                            status or (consts.SMPP_ESME_RSYSERR if command == GENERIC_NACK else 0),
                            message_id,
                        )
                    else:
                        self._other(command, status, sequence, pdu)
        except Lost as error:
            logger.warning("%s:%s: %s, %d messages unanswered", self.host, self.port, error, len(waiting))
            self.drop()
        return [key for key, _ in waiting.values()]

    # -- receiving ---------------------------------------------------------------------------------------
    def listen(self, wait: float, idle: float, most: int) -> None:
        """Gather deliver_sm into ``incoming``: wait for the first, then until none comes for ``idle`` seconds.

        Raises :class:`Lost`."""
        while len(self.incoming) < most:
            pdus = self._pdus(idle if self.incoming else wait, raises=False)
            if not pdus:
                return
            for pdu in pdus:
                self._other(*pdu)

    def confirm(self, sequences: list[int], status: int = consts.SMPP_ESME_ROK) -> None:
        """Answer deliver_sm: the SMSC may forget them. Raises :class:`Lost`."""
        self._write(
            b"".join(
                HEADER.pack(17, DELIVER_SM | RESPONSE, status, sequence) + b"\0" for sequence in sequences
            )
        )

    def parse(self, pdu: bytes) -> Delivered:
        """Raises :class:`ValueError` when the octets are no deliver_sm."""
        delivered = Delivered("deliver_sm", need_sequence=False, allow_unknown_opt_params=True)
        delivered.tlvs = {}
        try:
            delivered.parse(pdu)
        except (
            struct.error,
            IndexError,
            TypeError,
            exceptions.PDUError,
            exceptions.UnknownCommandError,
        ) as error:
            raise ValueError(f"a deliver_sm cannot be read: {error}") from error
        return delivered

    def still_open(self) -> bool:
        """Whether the line stands, as far as one can know without asking: what came meanwhile is read."""
        try:
            self._socket.settimeout(0)
            data = self._socket.recv(1 << 16)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except (OSError, AttributeError):
            data = b""
        if not data:
            self.drop()
            return False
        self._read += data
        try:
            for pdu in self._pdus(0, raises=False):
                self._other(*pdu)
        except Lost:
            self.drop()
        return self.is_open

    def alive(self) -> bool:
        """Whether the SMSC answers an enquire_link."""
        try:
            pdu = smpp.make_pdu("enquire_link", client=self)
            self._write(pdu.generate())
            until = time.monotonic() + self.timeout
            while pdu.sequence not in self._answered:
                for found in self._pdus(until - time.monotonic()):
                    self._other(*found)
        except Lost:
            self.drop()
            return False
        self._answered.clear()
        return True

    def _other(self, command: int, status: int, sequence: int, pdu: bytes) -> None:
        """A PDU that answers no message of ours. Raises :class:`Lost` when the SMSC takes its leave."""
        if command == DELIVER_SM:
            self.incoming.append((sequence, pdu))
        elif command == ENQUIRE_LINK:
            self._write(HEADER.pack(16, ENQUIRE_LINK | RESPONSE, 0, sequence))
        elif command == ENQUIRE_LINK | RESPONSE:
            self._answered[sequence] = status
        elif command == UNBIND:
            self._write(HEADER.pack(16, UNBIND | RESPONSE, 0, sequence))
            raise Lost("the SMSC ended the session")
        elif not command & RESPONSE:
            self._write(HEADER.pack(16, GENERIC_NACK, consts.SMPP_ESME_RINVCMDID, sequence))

    def _pdus(self, wait: float, raises: bool = True) -> list[tuple[int, int, int, bytes]]:
        """Whole PDUs, at least one within ``wait`` (else :class:`Lost`, or none if not ``raises``)."""
        until = time.monotonic() + wait
        while True:
            found, at, read = [], 0, self._read
            while len(read) - at >= 16:
                length, command, status, sequence = HEADER.unpack_from(read, at)
                if not 16 <= length <= LONGEST:
                    raise Lost("the SMSC does not speak SMPP")
                if len(read) - at < length:
                    break
                found.append((command, status, sequence, read[at : at + length]))
                at += length
            self._read = read[at:]
            if found:
                return found
            try:
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._socket.settimeout(left)
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                if raises:
                    raise Lost(f"no answer within {self.timeout:g} s") from None
                return []
            except (OSError, AttributeError) as error:
                raise Lost(_reason(error)) from error
            if not data:
                raise Lost("the SMSC closed the connection")
            self._read += data

    def _write(self, octets: bytes) -> None:
        try:
            self._socket.settimeout(self.timeout)
            self._socket.sendall(octets)
        except (OSError, AttributeError) as error:
            raise Lost(_reason(error)) from error

    # -- end ---------------------------------------------------------------------------------------------
    def leave(self) -> None:
        """Unbind in good order, as far as the SMSC plays along, and close."""
        if self._socket is None:
            return
        try:
            self._write(smpp.make_pdu("unbind", client=self).generate())
            until = time.monotonic() + min(2.0, self.timeout)
            while not any(
                command == UNBIND | RESPONSE for command, *_ in self._pdus(until - time.monotonic())
            ):
                pass
        except Lost:
            pass
        self.drop()

    def drop(self) -> None:
        """Close without a word."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self.state = consts.SMPP_CLIENT_STATE_CLOSED

    @property
    def is_open(self) -> bool:
        return self._socket is not None


def _reason(error: BaseException) -> str:
    return str(error.__cause__ or error.__context__ or error) or type(error).__name__
