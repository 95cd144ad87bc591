"""What comes back about an email: delivery reports (RFC 3464), complaints (RFC 5965), replies, and their JSON."""

import hmac
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from email.policy import compat32
from email.utils import parseaddr, parsedate_to_datetime
from hashlib import sha256
from typing import Any

from audiences.vocabulary import IdentityKind, ResponseKind
from channels.adapters.base import Inbound, Receipt
from channels.mail.compose import ATTEMPT

RECEIPTS = {
    "accepted": Receipt.ACCEPTED,
    "delivered": Receipt.DELIVERED,
    "bounced": Receipt.BOUNCED,
    "bounce": Receipt.BOUNCED,
    "rejected": Receipt.REJECTED,
}
RESPONSES = {
    "complaint": ResponseKind.COMPLAINT,
    "reply": ResponseKind.REPLY,
    "opt_out": ResponseKind.OPT_OUT,
    "unsubscribe": ResponseKind.OPT_OUT,
    "open": ResponseKind.OPEN,
    "click": ResponseKind.CLICK,
}
_BARE = re.compile(r"[\w.+-]+@[\w.-]+", re.ASCII)


def is_signed(key: str, body: bytes, header: str) -> bool:
    wanted = "sha256=" + hmac.new(key.encode(), body, sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), header.encode("utf-8", "replace"))


def from_json(told: Any, now: datetime) -> list[Inbound]:
    """``{"events": [{"type", "message_id" or "attempt_id", "recipient", "status", "permanent", "occurred_at", "id"}]}``.

    ``type`` is one of accepted, delivered, bounced, rejected, complaint, reply, opt_out, open, click. A bare list
    or one bare event will do. Raises :class:`ValueError` that names what is wrong.
    """
    if isinstance(told, Mapping):
        told = told.get("events", [told])
    if not isinstance(told, list):
        raise ValueError("events must be a list")
    return [_json_event(event, now) for event in told]


def _json_event(event: Any, now: datetime) -> Inbound:
    if not isinstance(event, Mapping):
        raise ValueError("an event must be an object")
    kind = str(event.get("type", ""))
    if kind not in RECEIPTS and kind not in RESPONSES:
        raise ValueError(f"unknown type {kind!r}; known: {', '.join([*RECEIPTS, *RESPONSES])}")
    reference, attempt = str(event.get("message_id") or ""), event.get("attempt_id")
    recipient, status = _address(str(event.get("recipient") or "")), str(event.get("status") or "")
    if not reference and attempt is None and not recipient:
        raise ValueError("an event needs a message_id, an attempt_id or a recipient")
    detail: dict[str, Any] = {} if attempt is None else {"attempt_id": int(attempt)}
    key = (
        event.get("id")
        or f"{reference or attempt or recipient}:{kind}:{status}:{event.get('occurred_at', '')}"
    )
    return Inbound(
        dedupe_key=f"mail:{key}",
        occurred_at=_moment(event.get("occurred_at"), now),
        receipt=RECEIPTS.get(kind),
        response=RESPONSES.get(kind),
        reference=reference or (f"attempt-{attempt}" if attempt is not None else ""),
        identity_kind=IdentityKind.EMAIL if recipient else "",
        identity_value=recipient,
        code=status,
        permanent=bool(event.get("permanent", status.startswith("5")))
        and RECEIPTS.get(kind) == Receipt.BOUNCED,
        machine=bool(event.get("machine", False)),
        detail=detail,
    )


def from_mail(body: bytes, content_type: str, now: datetime) -> list[Inbound]:
    """A report or a reply as it was mailed. ``content_type`` is that of the request: a whole message
    (``message/rfc822``), or the report's own body (``multipart/report``, ``message/delivery-status``).
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("multipart/report", "message/delivery-status", "message/feedback-report"):
        body = b"Content-Type: " + content_type.encode("ascii", "replace") + b"\r\n\r\n" + body
    message = message_from_bytes(body, policy=compat32)
    whole = [part for part in message.walk() if part.get_content_type() == "message/delivery-status"]
    original = _original(message)
    if whole:
        return list(_delivery(whole[0], original, now))
    feedback = [part for part in message.walk() if part.get_content_type() == "message/feedback-report"]
    if feedback:
        return [_complaint(feedback[0], original, now)]
    if message.get("From") and message.get("Message-ID"):
        return [_reply(message, now)]
    raise ValueError("neither a delivery report, nor a complaint, nor a reply")


def _original(message: Message) -> Mapping[str, str]:
    """Headers of the message the report is about."""
    for part in message.walk():
        kind = part.get_content_type()
        if kind == "message/rfc822":
            inner = part.get_payload()
            if isinstance(inner, list) and inner and isinstance(inner[0], Message):
                return _headers(inner[0])
        if kind == "text/rfc822-headers":
            payload = part.get_payload(decode=True)
            return _headers(
                message_from_bytes(payload if isinstance(payload, bytes) else b"", policy=compat32)
            )
    return {}


def _headers(message: Any) -> dict[str, str]:
    """Of a message or a group of fields, by lower-case names."""
    return {name.lower(): str(value) for name, value in message.items()}


def _delivery(status: Message, original: Mapping[str, str], now: datetime) -> Iterator[Inbound]:
    groups = status.get_payload()
    if not isinstance(groups, list):
        raise ValueError("a delivery report without its fields")
    of_message, recipients = _headers(groups[0]), groups[1:]
    for group in recipients:
        fields = _headers(group)
        action, code = (
            fields.get("action", "").lower().strip(),
            fields.get("status", "").split(" ")[0].strip(),
        )
        if action not in ("failed", "delivered"):
            continue  # delayed, relayed, expanded: nothing is decided
        failed = action == "failed"
        recipient = _address(fields.get("original-recipient") or fields.get("final-recipient", ""))
        reference, detail = _which(original)
        told = fields.get("last-attempt-date") or of_message.get("arrival-date")
        yield Inbound(
            dedupe_key=f"dsn:{reference or of_message.get('original-envelope-id', '')}:{recipient}:{action}:{code}",
            occurred_at=_moment(told, now),
            receipt=Receipt.BOUNCED if failed else Receipt.DELIVERED,
            reference=reference,
            identity_kind=IdentityKind.EMAIL if recipient else "",
            identity_value=recipient,
            code=code,
            permanent=failed and code.startswith("5"),
            detail=detail | {"diagnostic": " ".join(fields.get("diagnostic-code", "").split())[:300]},
        )


def _complaint(report: Message, original: Mapping[str, str], now: datetime) -> Inbound:
    groups = report.get_payload()
    if isinstance(groups, list):
        fields = _headers(groups[0])
    else:
        payload = report.get_payload(decode=True)
        fields = _headers(message_from_bytes(payload if isinstance(payload, bytes) else b"", policy=compat32))
    reference, detail = _which(original)
    recipient = _address(fields.get("original-rcpt-to", "") or original.get("to", ""))
    return Inbound(
        dedupe_key=f"arf:{reference or fields.get('arrival-date', '')}:{recipient}",
        occurred_at=_moment(fields.get("arrival-date") or fields.get("received-date"), now),
        response=ResponseKind.COMPLAINT,
        reference=reference,
        identity_kind=IdentityKind.EMAIL if recipient else "",
        identity_value=recipient,
        code=fields.get("feedback-type", "")[:80],
        detail=detail,
    )


def _reply(message: Message, now: datetime) -> Inbound:
    about = (
        str(message.get("In-Reply-To") or "").strip()
        or str(message.get("References") or "").split(" ")[-1].strip()
    )
    automatic = str(message.get("Auto-Submitted") or "no").lower().strip() != "no"
    sender = _address(str(message.get("From") or ""))
    return Inbound(
        dedupe_key=f"reply:{str(message.get('Message-ID')).strip()}",
        occurred_at=_moment(message.get("Date"), now),
        response=ResponseKind.REPLY,
        reference=about,
        identity_kind=IdentityKind.EMAIL if sender else "",
        identity_value=sender,
        machine=automatic,
        detail={"subject": " ".join(str(message.get("Subject") or "").split())[:200]},
    )


def _which(original: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Our Message-ID of the message a report is about, and the attempt's id where the report repeats it."""
    attempt = original.get(ATTEMPT.lower(), "").strip()
    return original.get("message-id", "").strip(), {"attempt_id": int(attempt)} if attempt.isdigit() else {}


def _address(told: str) -> str:
    """``rfc822; Somebody@Example.com`` or ``Somebody <somebody@example.com>`` → the bare address in lower case."""
    bare = (told.partition(";")[2] if ";" in told else told).strip()
    return (bare if _BARE.fullmatch(bare) else parseaddr(bare)[1]).lower()


def _moment(told: Any, now: datetime) -> datetime:
    """A time as ISO 8601, as a mail header writes it, or seconds of the epoch; ``now`` for none or nonsense."""
    moment: datetime | None = None
    try:
        if isinstance(told, int | float):
            moment = datetime.fromtimestamp(told, UTC)
        elif told:
            text = str(told).strip()
            moment = (
                datetime.fromisoformat(text)
                if text[:4].isdigit() and "-" in text[:5]
                else parsedate_to_datetime(text)
            )
    except (ValueError, TypeError, OverflowError, OSError):
        moment = None
    if moment is None:
        return now
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
