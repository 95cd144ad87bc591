"""One message as bytes: headers, parts, footer, DKIM signature."""

import base64
import quopri
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime, formataddr
from hashlib import sha256
from html import escape
from typing import Any

import dkim

from channels.adapters.base import Outgoing

ATTEMPT = "X-Evenreach-Attempt"
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
# List-Unsubscribe and its Post header must be covered by the signature (RFC 8058 §4).
SIGNED = (
    b"from",
    b"to",
    b"reply-to",
    b"subject",
    b"date",
    b"message-id",
    b"mime-version",
    b"content-type",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
)


@dataclass(frozen=True, slots=True)
class Sender:
    """The account's own part of every message."""

    address: str
    name: str = ""
    reply_to: str = ""
    return_path: str = ""
    postal_address: str = ""
    unsubscribe_words: str = ""
    dkim_domain: str = ""
    dkim_selector: str = ""
    dkim_key: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, settings: Mapping[str, Any], credentials: Mapping[str, Any]) -> "Sender":
        address = _line(settings.get("from_address"))
        return cls(
            address=address,
            name=_line(settings.get("from_name")),
            reply_to=_line(settings.get("reply_to")),
            return_path=_line(settings.get("return_path")) or address,
            postal_address=str(settings.get("postal_address") or "").strip(),
            unsubscribe_words=_line(settings.get("unsubscribe_words")),
            dkim_domain=_line(settings.get("dkim_domain")) or address.rpartition("@")[2],
            dkim_selector=_line(settings.get("dkim_selector")),
            dkim_key=str(credentials.get("dkim_key") or "").encode(),
        )

    @property
    def signs(self) -> bool:
        return bool(self.dkim_key and self.dkim_selector and self.dkim_domain)

    @property
    def host(self) -> str:
        return self.address.rpartition("@")[2] or "localhost"


def message_id(message: Outgoing, sender: Sender) -> str:
    """Begins with the attempt's id; the same attempt always has the same one."""
    tail = sha256(f"{message.attempt_id} {message.address}".encode()).hexdigest()[:12]
    return f"<{message.attempt_id}.{tail}@{sender.host}>"


def compose(message: Outgoing, sender: Sender, now: datetime | None = None) -> bytes:
    """The whole message with CRLF line ends, signed where the sender has a key."""
    headers = [
        ("From", formataddr((sender.name, sender.address), "utf-8")),
        ("To", message.address),
        ("Subject", _subject(message.subject)),
        ("Date", format_datetime(now or datetime.now(UTC))),
        ("Message-ID", message_id(message, sender)),
        (ATTEMPT, str(message.attempt_id)),
        ("MIME-Version", "1.0"),
    ]
    if sender.reply_to:
        headers.append(("Reply-To", sender.reply_to))
    if message.unsubscribe_url:
        headers.append(("List-Unsubscribe", f"<{_line(message.unsubscribe_url)}>"))
        headers.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
    text, html = with_footer(message, sender)
    more, body = _parts(text, html, message.attempt_id)
    raw = "".join(f"{name}: {value}\r\n" for name, value in [*headers, *more]).encode() + b"\r\n" + body
    return _signed(raw, sender)


def with_footer(message: Outgoing, sender: Sender) -> tuple[str, str]:
    """Text and HTML with the postal address, and with an unsubscribe link where they have none."""
    text, html, url = message.text, message.html, message.unsubscribe_url
    below_text, below_html = [], []
    if sender.postal_address:
        below_text.append(sender.postal_address)
        below_html.append("<br>".join(escape(line) for line in sender.postal_address.splitlines()))
    if url and sender.unsubscribe_words:
        if url not in text:
            below_text.append(f"{sender.unsubscribe_words}: {url}")
        if escape(url) not in html:
            below_html.append(f'<a href="{escape(url)}">{escape(sender.unsubscribe_words)}</a>')
    if text and below_text:
        text = text.rstrip() + "\r\n\r\n--\r\n" + "\r\n".join(below_text) + "\r\n"
    if html and below_html:
        footer = f"<p>{'<br>'.join(below_html)}</p>"
        end = _BODY_END.search(html)
        html = html[: end.start()] + footer + html[end.start() :] if end else html + footer
    return text, html


def _parts(text: str, html: str, attempt_id: int) -> tuple[list[tuple[str, str]], bytes]:
    if not html:
        return _leaf("plain", text)
    if not text:
        return _leaf("html", html)
    boundary = f"=_evenreach_{attempt_id}_{sha256(text.encode()).hexdigest()[:16]}"
    body = b""
    for kind, content in (("plain", text), ("html", html)):
        headers, coded = _leaf(kind, content)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        body += f"--{boundary}\r\n{head}\r\n".encode() + coded + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return [("Content-Type", f'multipart/alternative; boundary="{boundary}"')], body


def _leaf(kind: str, content: str) -> tuple[list[tuple[str, str]], bytes]:
    """Base64 where most of a text is not ASCII, quoted-printable otherwise: the shorter one, readable if it can be."""
    raw = _LINE_ENDS.sub("\r\n", content).encode()
    foreign = sum(byte > 127 for byte in raw)
    if foreign * 6 > len(raw):
        coding, coded = "base64", base64.encodebytes(raw).replace(b"\n", b"\r\n")
    else:
        lines = quopri.encodestring(raw.replace(b"\r\n", b"\n"), quotetabs=False)
        coding, coded = "quoted-printable", lines.replace(b"\n", b"\r\n")
    return [("Content-Type", f"text/{kind}; charset=utf-8"), ("Content-Transfer-Encoding", coding)], coded


def _signed(raw: bytes, sender: Sender) -> bytes:
    if not sender.signs:
        return raw
    present = {line.partition(b":")[0].lower() for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n")}
    signature: bytes = dkim.sign(
        raw,
        sender.dkim_selector.encode(),
        sender.dkim_domain.encode(),
        sender.dkim_key,
        canonicalize=(b"relaxed", b"relaxed"),
        signature_algorithm=b"rsa-sha256" if b"-----BEGIN" in sender.dkim_key else b"ed25519-sha256",
        include_headers=[name for name in SIGNED if name in present],
    )
    return signature + raw


def _subject(subject: str) -> str:
    line = _line(subject)
    return line if line.isascii() else Header(line, "utf-8", header_name="Subject").encode(linesep="\r\n")


def _line(value: Any) -> str:
    """One line, whatever was given: a line end would begin another header."""
    return " ".join(str(value or "").split())
