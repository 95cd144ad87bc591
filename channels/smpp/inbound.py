"""What a deliver_sm says: a receipt of one of our messages, or a message of a person."""

import datetime as dt
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from channels import sms_replies, sms_text
from channels.adapters.base import Inbound, Receipt
from channels.smpp.session import Delivered

RECEIPTED_ID, MESSAGE_STATE, MESSAGE_PAYLOAD = 0x001E, 0x0427, 0x0424
RECEIPT_TYPE, RECEIPT_MASK, HAS_HEADER = 0x04, 0x3C, 0x40
INTERNATIONAL = 1  # type of number
STATES = {
    1: "ENROUTE", 2: "DELIVRD", 3: "EXPIRED", 4: "DELETED", 5: "UNDELIV", 6: "ACCEPTD", 7: "UNKNOWN", 8: "REJECTD",
}  # fmt: skip
RECEIPTS = {
    "ENROUTE": Receipt.ACCEPTED, "ACCEPTD": Receipt.ACCEPTED, "DELIVRD": Receipt.DELIVERED,
    "EXPIRED": Receipt.BOUNCED, "DELETED": Receipt.BOUNCED, "UNDELIV": Receipt.BOUNCED, "REJECTD": Receipt.REJECTED,
}  # fmt: skip
_FIELD = re.compile(r"\b(id|stat|err|done date):(\S*)", re.IGNORECASE)
_ECHO = re.compile(r"\btext:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reading:
    """How this SMSC writes."""

    ids: str = (
        "same"  # same, hex_then_decimal, decimal_then_hex: the id in the answer, then in a receipt's text
    )
    reference_tlv: int = 0
    zone: str = ""  # of "done date"; unknown: the time of arrival counts
    opt_out_words: Collection[str] = ()

    def answer_id(self, message_id: str) -> str:
        """Our form of an id as an answer (or the receipt's TLV) writes it."""
        return _renumbered(message_id, {"hex_then_decimal": 16, "decimal_then_hex": 10}.get(self.ids))

    def receipt_id(self, message_id: str, wanted: Collection[str] = ()) -> str:
        """Our form of an id as a receipt's text writes it; one of ``wanted`` where either number form is."""
        own = _renumbered(message_id, {"hex_then_decimal": 10, "decimal_then_hex": 16}.get(self.ids))
        if own in wanted or not wanted:
            return own
        for base in (10, 16):
            number = _renumbered(message_id, base)
            for form in (number, f"{int(number):X}" if number.isdigit() else "", message_id.lstrip("0")):
                for padded in (form, form.lower(), form.zfill(8), form.zfill(8).lower(), form.zfill(10)):
                    if padded in wanted:
                        return padded
        return own


def _renumbered(message_id: str, base: int | None) -> str:
    """The id as a decimal number, or as it is where it is none."""
    if base is None:
        return message_id
    try:
        return str(int(message_id, base))
    except ValueError:
        return message_id


def read(
    delivered: Delivered, reading: Reading, now: dt.datetime, wanted: Collection[str] = ()
) -> Inbound | None:
    """One event, or None where there is nothing to tell (a state of no meaning)."""
    tlvs = delivered.tlvs
    octets = tlvs.get(MESSAGE_PAYLOAD) or delivered.short_message or b""
    if (delivered.esm_class or 0) & RECEIPT_MASK == RECEIPT_TYPE:
        return _receipt(tlvs, octets.decode("latin-1"), reading, now, wanted)
    return _message(delivered, octets, reading, now)


def _receipt(
    tlvs: Mapping[int, bytes], text: str, reading: Reading, now: dt.datetime, wanted: Collection[str]
) -> Inbound | None:
    text = _ECHO.split(text, maxsplit=1)[0]  # behind "text:" stand words of the message itself
    told = {name.lower(): value for name, value in _FIELD.findall(text)}
    if RECEIPTED_ID in tlvs:
        reference = reading.answer_id(tlvs[RECEIPTED_ID].rstrip(b"\0").decode("latin-1"))
    else:
        reference = reading.receipt_id(told.get("id", ""), wanted)
    state = STATES.get((tlvs.get(MESSAGE_STATE) or b"\0")[-1], "") or told.get("stat", "").upper()[:7]
    receipt = RECEIPTS.get(state)
    if receipt is None or not reference:
        return None
    detail: dict[str, Any] = {name: value for name, value in told.items() if name != "id"}
    attempt = tlvs.get(reading.reference_tlv, b"").rstrip(b"\0") if reading.reference_tlv else b""
    if attempt.isdigit():
        detail["attempt_id"] = int(attempt)
    return Inbound(
        dedupe_key=f"receipt:{reference}:{state}",
        occurred_at=_done(told.get("done date", ""), reading.zone, now),
        receipt=receipt,
        reference=reference,
        code=state if told.get("err", "0").strip("0") == "" else f"{state} {told['err']}",
        permanent=receipt is Receipt.REJECTED,
        detail=detail,
    )


def _done(text: str, zone: str, now: dt.datetime) -> dt.datetime:
    """When it arrived, by the SMSC's clock; never after now."""
    if not zone:
        return now
    for pattern in ("%y%m%d%H%M", "%y%m%d%H%M%S"):
        try:
            return min(now, dt.datetime.strptime(text, pattern).replace(tzinfo=ZoneInfo(zone)))
        except ValueError:
            continue
    return now


def _message(delivered: Delivered, octets: bytes, reading: Reading, now: dt.datetime) -> Inbound:
    """A reply. SMPP gives it no id."""
    if (delivered.esm_class or 0) & HAS_HEADER and octets:
        octets = octets[octets[0] + 1 :]
    coding = delivered.data_coding or 0
    text = {8: sms_text.decode_ucs2, 3: lambda raw: raw.decode("latin-1")}.get(coding, sms_text.decode_gsm7)(
        octets
    )
    sender = (delivered.source_addr or b"").decode("latin-1")
    if delivered.source_addr_ton == INTERNATIONAL and not sender.startswith("+"):
        sender = f"+{sender}"
    number = (delivered.destination_addr or b"").decode("latin-1")
    return sms_replies.reply(sender, text, reading.opt_out_words, now, to=number)
