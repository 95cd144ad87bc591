"""SMPP 3.4 on the wire, as an SMSC needs it. Written from the specification, not with the client's library."""

import struct
from dataclasses import dataclass, field

HEADER = struct.Struct(">LLLL")

GENERIC_NACK = 0x80000000
BIND_RECEIVER, BIND_TRANSMITTER, BIND_TRANSCEIVER = 0x01, 0x02, 0x09
QUERY_SM, SUBMIT_SM, DELIVER_SM, UNBIND, ENQUIRE_LINK = 0x03, 0x04, 0x05, 0x06, 0x15
RESPONSE = 0x80000000

OK, INVALID_LENGTH, INVALID_COMMAND_LENGTH, INVALID_COMMAND, INVALID_BIND_STATE = 0x00, 0x01, 0x02, 0x03, 0x04
ALREADY_BOUND, SYSTEM_ERROR, INVALID_SOURCE, INVALID_DESTINATION, INVALID_ID = 0x05, 0x08, 0x0A, 0x0B, 0x0C
INVALID_PASSWORD, INVALID_SYSTEM_ID, QUEUE_FULL, SUBMIT_FAILED, THROTTLED = 0x0E, 0x0F, 0x14, 0x45, 0x58
INVALID_ESM_CLASS, INVALID_EXPIRY = 0x43, 0x62

TLV_RECEIPTED_ID, TLV_MESSAGE_STATE, TLV_PAYLOAD = 0x001E, 0x0427, 0x0424
LONGEST = 64 * 1024


class BadPDU(Exception):
    """The bytes are no PDU, or one whose fields run over its end. ``status`` is what to answer."""

    def __init__(self, text: str, status: int = INVALID_COMMAND_LENGTH) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class Message:
    """A submit_sm or deliver_sm."""

    source: str = ""
    destination: str = ""
    source_ton: int = 0
    source_npi: int = 0
    destination_ton: int = 1
    destination_npi: int = 1
    esm_class: int = 0
    schedule: str = ""
    validity: str = ""
    registered: int = 0
    data_coding: int = 0
    body: bytes = b""
    tlvs: dict[int, bytes] = field(default_factory=dict)

    @property
    def part(self) -> tuple[int, int, int]:
        """(reference, number, of how many) from the user data header; (0, 1, 1) without one."""
        header, _ = self.split_header()
        at = 0
        while at + 2 <= len(header):
            kind, length = header[at], header[at + 1]
            value = header[at + 2 : at + 2 + length]
            if kind == 0x00 and len(value) == 3:
                return value[0], value[2], value[1]
            if kind == 0x08 and len(value) == 4:
                return value[0] << 8 | value[1], value[3], value[2]
            at += 2 + length
        return 0, 1, 1

    def split_header(self) -> tuple[bytes, bytes]:
        """The user data header (without its length octet) and the text. Raises :class:`BadPDU`."""
        if not self.esm_class & 0x40:
            return b"", self.body
        if not self.body or self.body[0] + 1 > len(self.body):
            raise BadPDU("the user data header is longer than the message", INVALID_ESM_CLASS)
        return self.body[1 : self.body[0] + 1], self.body[self.body[0] + 1 :]


def cstring(data: bytes, at: int, longest: int) -> tuple[str, int]:
    """A C-octet string of at most ``longest`` octets with its NUL, and where the next field begins."""
    end = data.find(b"\0", at, at + longest)
    if end < 0:
        raise BadPDU(f"no end of string within {longest} octets at {at}")
    return data[at:end].decode("latin-1"), end + 1


def parse_message(data: bytes) -> Message:
    """The body of a submit_sm or deliver_sm. Raises :class:`BadPDU`."""
    message = Message()
    try:
        _service, at = cstring(data, 0, 6)
        message.source_ton, message.source_npi = data[at], data[at + 1]
        message.source, at = cstring(data, at + 2, 21)
        message.destination_ton, message.destination_npi = data[at], data[at + 1]
        message.destination, at = cstring(data, at + 2, 21)
        message.esm_class = data[at]
        message.schedule, at = cstring(data, at + 3, 17)
        message.validity, at = cstring(data, at, 17)
        message.registered, message.data_coding, length = data[at], data[at + 2], data[at + 4]
        at += 5
        if length > 254:
            raise BadPDU("sm_length is above 254", INVALID_LENGTH)
        message.body = data[at : at + length]
        if len(message.body) != length:
            raise BadPDU("short_message is shorter than sm_length", INVALID_LENGTH)
        at += length
        while at < len(data):
            tag, size = struct.unpack_from(">HH", data, at)
            if at + 4 + size > len(data):
                raise BadPDU("an optional parameter runs over the end", 0xC0)
            message.tlvs[tag] = data[at + 4 : at + 4 + size]
            at += 4 + size
    except (IndexError, struct.error) as error:
        raise BadPDU(f"the message ends too early: {error}") from error
    if TLV_PAYLOAD in message.tlvs:
        message.body = message.tlvs[TLV_PAYLOAD]
    return message


def make_message(message: Message) -> bytes:
    """The body of a deliver_sm."""
    tlvs = b"".join(struct.pack(">HH", tag, len(value)) + value for tag, value in message.tlvs.items())
    return (
        b"\0" + bytes((message.source_ton, message.source_npi)) + message.source.encode() + b"\0"
        + bytes((message.destination_ton, message.destination_npi)) + message.destination.encode() + b"\0"
        + bytes((message.esm_class, 0, 0)) + b"\0\0" + bytes((0, 0, message.data_coding, 0, len(message.body)))
        + message.body + tlvs
    )  # fmt: skip


def frame(command: int, status: int, sequence: int, body: bytes = b"") -> bytes:
    return HEADER.pack(16 + len(body), command, status, sequence) + body


GSM = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = {
    10: "\f", 20: "^", 40: "{", 41: "}", 47: "\\", 60: "[", 61: "~", 62: "]", 64: "|", 101: "€",
}  # fmt: skip


def text_of(body: bytes, data_coding: int) -> str:
    """What a phone shows of (whole) user data: UCS-2, Latin-1, or GSM septets one to an octet."""
    if data_coding == 8:
        return body.decode("utf-16-be", "replace")
    if data_coding == 3:
        return body.decode("latin-1")
    shown, escaped = [], False
    for octet in body:
        if escaped:
            shown.append(GSM_EXTENSION.get(octet, "?"))
            escaped = False
        elif octet == 0x1B:
            escaped = True
        else:
            shown.append(GSM[octet] if octet < 128 else "?")
    return "".join(shown)


def octets_of(text: str) -> tuple[bytes, int]:
    """A short text as (user data, data coding): GSM where it can be, else UCS-2."""
    if all(char in GSM and char != "\x1b" for char in text):
        return bytes(GSM.index(char) for char in text), 0
    return text.encode("utf-16-be"), 8


def longest_part(data_coding: int, has_header: bool, header_octets: int) -> int:
    """Octets that one radio message can hold behind its header (septets unpacked, one to an octet)."""
    if data_coding in {3, 4, 8}:
        return 140 - (header_octets + 1 if has_header else 0)
    if not has_header:
        return 160
    return 160 - -(-(header_octets + 1) * 8 // 7)
