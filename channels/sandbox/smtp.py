"""A receiving mail server: takes messages as a large mailbox provider would, and reports on them later.

It records whether a message is signed (DKIM) and can be left by one click (RFC 8058), refuses what such a
provider refuses, and posts delivery events as JSON to ``smtp.webhook``, signed by
``X-Evenreach-Signature: sha256=<HMAC-SHA256 of the body under smtp.webhook_key>``:

    {"events": [{"id": "…", "type": "delivered" | "bounced", "message_id": "<…>", "attempt_id": 17,
                 "recipient": "a@b.c", "status": "5.1.1", "permanent": true, "occurred_at": "2026-11-23T08:00:00+00:00"}]}
"""

import asyncio
import datetime as dt
import email
import email.policy
import itertools
import re
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, cast

import dkim
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from channels.sandbox.config import Smtp
from channels.sandbox.faults import Fault, chance
from channels.sandbox.log import Log, digest, read_log

KIND = "smtp"
ATTEMPT_HEADER = "X-Evenreach-Attempt"
REQUIRED = ("From", "Date", "Message-ID")
LINK = re.compile(r"https?://[^\s\"'<>]+")


@dataclass(frozen=True, slots=True)
class Mail:
    """What the mailbox shows, for the people behind."""

    recipient: str
    attempt: str
    links: tuple[str, ...]
    pixels: tuple[str, ...]
    unsubscribe: str  # one-click address, or ""


@dataclass
class MailServer:
    """The handler of aiosmtpd: one for all connections."""

    config: Smtp
    log: Log
    seed: int
    arrived: Callable[[Mail], None] | None = None
    report: Callable[[dict[str, Any]], None] | None = None
    counters: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._queue_ids = itertools.count(1)
        self.connections: weakref.WeakSet[SMTP] = weakref.WeakSet()

    def count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1

    def restore(self) -> None:
        """Read the log: what was taken and not yet told to the webhook is told again."""
        waiting: dict[str, dict[str, Any]] = {}
        for line in read_log(self.log.directory.parent, KIND):
            if line["event"] == "message" and line["verdict"] == "accepted":
                event = self._event(line["message_id"], line["attempt"], line["address"])
                waiting[event["id"]] = event
            elif line["event"] == "reported":
                for name in line["ids"]:
                    waiting.pop(name, None)
        if self.report:
            for event in waiting.values():
                self.report(event)

    async def close(self) -> None:
        """End every connection, as a restart does."""
        for connection in list(self.connections):
            _drop(connection)
        await asyncio.sleep(0)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", address):
            return "553 5.1.3 the address is no e-mail address"
        if chance(self.seed, "no mailbox", address.lower()) < self.config.unknown_share:
            self.log.write(
                KIND, "message", verdict="refused", attempt="", address=address.lower(), code="5.1.1"
            )
            self.count("refused")
            await self.log.flushed()
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        raw = cast(bytes, envelope.original_content)
        message = email.message_from_bytes(raw, policy=email.policy.default)
        attempt = str(message[ATTEMPT_HEADER] or "").strip()
        fault = self.config.faults.decide(self.seed, attempt or str(message["Message-ID"]))
        if fault is Fault.DROP_BEFORE:
            return _drop(server)
        code, text = await self._judge(raw, message, fault)
        verdict = {"2": "accepted", "4": "throttled"}.get(code[0], "refused")
        queue_id = f"{next(self._queue_ids):08x}"
        for address in envelope.rcpt_tos:
            self.log.write(
                KIND, "message", verdict=verdict, attempt=attempt, address=address.lower(),
                digest=digest(str(message["Subject"] or ""), _payload(message)), code=code,
                message_id=str(message["Message-ID"] or ""), signed="DKIM-Signature" in message,
                one_click="List-Unsubscribe" in message and "List-Unsubscribe-Post" in message,
                answered=fault not in {Fault.SILENT, Fault.DROP},
            )  # fmt: skip
            self.count(verdict)
        await self.log.flushed()
        if verdict == "accepted":
            self._deliver(message, envelope.rcpt_tos, attempt)
        if self.config.faults.seconds:
            await asyncio.sleep(self.config.faults.seconds)
        if fault is Fault.SILENT:
            await asyncio.sleep(3600)
        if fault is Fault.DROP:
            return _drop(server)
        return f"{code[0]}{ {'2': '50', '4': '51', '5': '50'}[code[0]] } {code} {text or f'queued as {queue_id}'}"

    async def _judge(self, raw: bytes, message: EmailMessage, fault: Fault) -> tuple[str, str]:
        """(enhanced status code, text) of a large mailbox provider."""
        if fault is Fault.THROTTLE:
            return "4.7.28", "too many messages from this sender; try again later"
        if fault is Fault.REFUSE:
            return "5.7.1", "the message is refused by policy"
        missing = [name for name in REQUIRED if name not in message]
        if missing:
            return "5.6.0", f"the message has no {missing[0]} header (RFC 5322)"
        if "List-Unsubscribe" in message and "List-Unsubscribe-Post" not in message:
            return "5.7.1", "bulk mail needs one-click unsubscription (RFC 8058)"
        if self.config.dkim_required and "DKIM-Signature" not in message:
            return "5.7.26", "the message is not signed (DKIM)"
        if self.config.dkim_keys and "DKIM-Signature" in message:
            return await asyncio.get_running_loop().run_in_executor(None, self._verify, raw, message)
        return "2.0.0", ""

    def _verify(self, raw: bytes, message: EmailMessage) -> tuple[str, str]:
        def dns(name: bytes, timeout: int = 5) -> bytes | None:
            record = self.config.dkim_keys.get(name.decode().rstrip("."))
            return record.encode() if record else None

        try:
            valid = dkim.verify(raw, dnsfunc=dns)
        except dkim.DKIMException as error:
            return "5.7.20", f"the signature cannot be read: {error}"
        if not valid:
            return "5.7.20", "the signature (DKIM) does not match"
        covered = re.search(r"\bh=([^;]*)", str(message["DKIM-Signature"]))
        signed = {name.strip().lower() for name in covered.group(1).split(":")} if covered else set()
        for name in ("List-Unsubscribe", "List-Unsubscribe-Post"):
            if name in message and name.lower() not in signed:
                return "5.7.20", f"the signature does not cover {name} (RFC 8058)"
        return "2.0.0", ""

    def _deliver(self, message: EmailMessage, recipients: list[str], attempt: str) -> None:
        html, text = _bodies(message)
        pixels = tuple(_unescape(url) for url in re.findall(r"<img[^>]+src=[\"']([^\"']+)", html, re.I))
        links = re.findall(r"<a[^>]+href=[\"']([^\"']+)", html, re.I) if html else LINK.findall(text)
        unsubscribe = ""
        if "List-Unsubscribe-Post" in message:
            found = re.search(r"<(https?://[^>]+)>", str(message["List-Unsubscribe"] or ""))
            unsubscribe = found.group(1) if found else ""
        for address in recipients:
            event = self._event(str(message["Message-ID"] or ""), attempt, address.lower())
            if self.report:
                self.report(event)
            if event["type"] == "delivered" and self.arrived:
                shown = tuple(dict.fromkeys(_unescape(link) for link in links))
                self.arrived(Mail(address.lower(), attempt, shown, pixels, unsubscribe))

    def _event(self, message_id: str, attempt: str, address: str) -> dict[str, Any]:
        """What is reported of a message: always the same, so it can be told again."""
        bounced = chance(self.seed, "bounce", address) < self.config.bounce_share
        event: dict[str, Any] = {
            "id": digest(message_id, address, str(bounced)),
            "type": "bounced" if bounced else "delivered",
            "message_id": message_id,
            "recipient": address,
            "status": "5.1.1" if bounced else "2.0.0",
            "permanent": bounced,
            "occurred_at": dt.datetime.now(dt.UTC).isoformat(),
        }
        if attempt.isdigit():
            event["attempt_id"] = int(attempt)
        return event


def _payload(message: EmailMessage) -> bytes:
    html, text = _bodies(message)
    return f"{text}\0{html}".encode()


def _bodies(message: EmailMessage) -> tuple[str, str]:
    """(HTML, plain text), either may be empty."""
    found = {"text/html": "", "text/plain": ""}
    for part in message.walk():
        kind = part.get_content_type()
        if kind in found and not found[kind]:
            found[kind] = str(cast(Any, part).get_content())
    return found["text/html"], found["text/plain"]


def _unescape(url: str) -> str:
    return url.replace("&amp;", "&")


def _drop(server: SMTP) -> str:
    """Close the connection at once; the answer returned goes nowhere."""
    if isinstance(server.transport, asyncio.WriteTransport):
        server.transport.abort()
    return "421 4.4.2 connection dropped"


async def serve(mail: MailServer, host: str, port: int) -> asyncio.Server:
    config = mail.config

    def authenticate(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        good = isinstance(data, LoginPassword) and data == LoginPassword(
            config.user.encode(), config.password.encode()
        )
        return AuthResult(success=good, handled=good)

    loop = asyncio.get_running_loop()

    def connection() -> SMTP:
        made = SMTP(
            mail, hostname="sandbox.evenreach.invalid", enable_SMTPUTF8=True, loop=loop, ident="Evenreach sandbox",
            authenticator=authenticate if config.user else None, auth_required=bool(config.user),
            auth_require_tls=False, command_call_limit={"*": 1_000_000},
        )  # fmt: skip
        mail.connections.add(made)
        return made

    return await loop.create_server(connection, host, port)
