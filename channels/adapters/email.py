"""Email over SMTP, with DKIM and one-click unsubscribe (RFC 8058), and reports of bounces and complaints.

What arrived is known exactly: until the final dot is sent a message cannot have arrived (throttled, may be
tried again); once it is sent and the reply is lost, it may have (unknown, never tried again).
"""

import json
import re
import smtplib
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import dkim
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import IdentityKind, Medium
from channels.adapters.base import (
    Account,
    AdapterError,
    BadSignature,
    BaseAdapter,
    Checked,
    Inbound,
    InboundReply,
    InboundRequest,
    Outcome,
    Outgoing,
    Sent,
    Setting,
)
from channels.mail import reports
from channels.mail.compose import Sender, compose, message_id
from channels.vocabulary import Domain, Guarantee, Observability

GREYLISTED = 300.0  # a server that says "later" means minutes
LOST = 30.0
NO_SUCH_ADDRESS = ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1")
_UNFIT = re.compile(r"[\s<>\x00-\x1f\x7f]")


class _NotArrived(Exception):
    """The connection went before the message was complete."""


class _MayHaveArrived(Exception):
    """The connection went after the final dot, before the reply."""


class Adapter(BaseAdapter):
    name = "email"
    label = gettext_lazy("Email (SMTP)")
    media: ClassVar[tuple[str, ...]] = (Medium.EMAIL,)
    domain = Domain.PRIVATE
    guarantee = Guarantee.IMMEDIATE
    observability = Observability.PERSON_OBSERVED
    address_kinds: ClassVar[tuple[str, ...]] = (IdentityKind.EMAIL,)
    batch_size = 100
    recipients_a_call = 1
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("host", gettext_lazy("SMTP server"), gettext_lazy("Such as smtp.example.com.")),
        Setting(
            "port",
            gettext_lazy("Port"),
            gettext_lazy("587 with STARTTLS, 465 with TLS."),
            "number",
            default=587,
        ),
        Setting(
            "tls",
            gettext_lazy("Encryption"),
            kind="choice",
            default="starttls",
            choices=(
                ("starttls", "STARTTLS"),
                ("tls", "TLS"),
                ("none", gettext_lazy("None (a server on this machine only)")),
            ),
        ),
        Setting(
            "verify",
            gettext_lazy("Check the server's certificate"),
            kind="boolean",
            default=True,
            required=False,
        ),
        Setting("username", gettext_lazy("User name"), required=False),
        Setting("password", gettext_lazy("Password"), kind="password", secret=True, required=False),
        Setting("from_address", gettext_lazy("Sender's address"), gettext_lazy("Such as news@example.com.")),
        Setting("from_name", gettext_lazy("Sender's name"), required=False),
        Setting("reply_to", gettext_lazy("Replies go to"), required=False),
        Setting(
            "return_path",
            gettext_lazy("Bounces go to"),
            gettext_lazy("Empty: the sender's address."),
            required=False,
        ),
        Setting(
            "postal_address",
            gettext_lazy("Postal address"),
            gettext_lazy("Added below every message."),
            required=False,
        ),
        Setting(
            "unsubscribe_words",
            gettext_lazy("Words of the unsubscribe link"),
            gettext_lazy("Added below a message that has no unsubscribe link of its own."),
            required=False,
            default="退订 · Unsubscribe",
        ),
        Setting(
            "country",
            gettext_lazy("Country of the recipients"),
            gettext_lazy("Two letters, such as US; empty: several."),
            required=False,
        ),
        Setting("dkim_domain", gettext_lazy("DKIM domain"), required=False),
        Setting("dkim_selector", gettext_lazy("DKIM selector"), required=False),
        Setting(
            "dkim_key", gettext_lazy("DKIM private key (PEM)"), kind="textarea", secret=True, required=False
        ),
        Setting(
            "webhook_key",
            gettext_lazy("Key of the bounce webhook"),
            gettext_lazy("If set, reports must carry X-Evenreach-Signature: sha256=HMAC of the body."),
            "password",
            secret=True,
            required=False,
        ),
        Setting(
            "timeout",
            gettext_lazy("Seconds to wait for the server"),
            kind="number",
            default=30,
            required=False,
        ),
    )

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._smtp: smtplib.SMTP | None = None
        self._sender = Sender.of(account.settings, account.credentials)

    # Sending --------------------------------------------------------------------------------------

    def send(self, batch: Sequence[Outgoing]) -> list[Sent]:
        """All messages over one connection. Raises :class:`AdapterError` only before anything was sent."""
        results: list[Sent] = []
        for position, message in enumerate(batch):
            try:
                results.append(self._one(message))
            except AdapterError as error:
                if not any(
                    sent.outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.REFUSED) for sent in results
                ):
                    raise
                # Some are gone: what is left of the batch is told one by one, never lost by an exception.
                wait = error.retry_after or GREYLISTED
                results += [
                    Sent(
                        left.attempt_id,
                        Outcome.THROTTLED,
                        code=error.code,
                        text=str(error)[:200],
                        retry_after=wait,
                    )
                    for left in batch[position:]
                ]
                break
        return results

    def _one(self, message: Outgoing) -> Sent:
        if _UNFIT.search(message.address) or "@" not in message.address:
            return Sent(message.attempt_id, Outcome.REFUSED, code="address", invalid_address=True)
        reused = self._smtp is not None
        smtp = self._connected()
        try:
            raw = compose(message, self._sender)
        except dkim.DKIMException as error:
            raise AdapterError(
                _("The DKIM key does not sign: %s") % error, code="dkim", stops_channel=True
            ) from None
        except ValueError as error:  # a text that no encoding can carry: this message only
            return Sent(message.attempt_id, Outcome.REFUSED, code="content", text=str(error)[:200])
        try:
            try:
                return self._transaction(smtp, message, raw)
            except _NotArrived as error:
                self.close()
                if not reused:
                    return self._lost(message, error)
                # A server may close a connection that waited too long: that is no answer to this message.
                return self._transaction(self._connected(), message, raw)
        except _NotArrived as error:
            self.close()
            return self._lost(message, error)
        except _MayHaveArrived as error:
            self.close()
            return Sent(
                message.attempt_id,
                Outcome.UNKNOWN,
                message_id(message, self._sender),
                code="lost",
                text=str(error)[:200],
            )

    def _lost(self, message: Outgoing, error: Exception) -> Sent:
        return Sent(
            message.attempt_id, Outcome.THROTTLED, code="lost", text=str(error)[:200], retry_after=LOST
        )

    def _transaction(self, smtp: smtplib.SMTP, message: Outgoing, raw: bytes) -> Sent:
        """MAIL, RCPT, DATA for one message, judged reply by reply."""
        needs_utf8 = not message.address.isascii()
        if needs_utf8 and not smtp.has_extn("smtputf8"):
            return Sent(
                message.attempt_id, Outcome.REFUSED, code="smtputf8", text="the server takes no such address"
            )
        options = ["SMTPUTF8", "BODY=8BITMIME"] if needs_utf8 else []
        if smtp.has_extn("size"):
            options.append(f"size={len(raw)}")
        code, reply = _ask(smtp.mail, self._sender.return_path, options)
        if code >= 500:  # nothing of this sender will be taken: a person must look
            self._reset(smtp, code)
            raise AdapterError(_text(code, reply), code=_enhanced(code, reply), stops_channel=True)
        if code == 250:
            code, reply = _ask(smtp.rcpt, message.address)
        if code not in (250, 251):
            self._reset(smtp, code)
            return self._judged(message, code, reply)
        code, reply = _ask(smtp.docmd, "DATA")
        if code != 354:
            self._reset(smtp, code)
            return self._judged(message, code, reply)
        self._body(smtp, raw)
        try:
            code, reply = smtp.getreply()
        except (smtplib.SMTPException, OSError) as error:
            raise _MayHaveArrived(str(error)) from error
        if code == 250:
            return Sent(
                message.attempt_id,
                Outcome.ACCEPTED,
                message_id(message, self._sender),
                text=_text(code, reply),
            )
        self._reset(smtp, code)
        return self._judged(message, code, reply)

    @staticmethod
    def _body(smtp: smtplib.SMTP, raw: bytes) -> None:
        """The message, then the dot by itself: a failure before the dot leaves nothing on the other side."""
        sock = smtp.sock
        assert sock is not None  # noqa: S101 - a connection that answered has one
        try:
            sock.sendall(_stuffed(raw))
        except OSError as error:
            raise _NotArrived(str(error)) from error
        try:
            sock.sendall(b".\r\n")
        except OSError as error:
            raise _MayHaveArrived(str(error)) from error

    def _judged(self, message: Outgoing, code: int, reply: bytes) -> Sent:
        enhanced, text = _enhanced(code, reply), _text(code, reply)
        if 500 <= code < 600:
            gone = enhanced in NO_SUCH_ADDRESS
            return Sent(message.attempt_id, Outcome.REFUSED, code=enhanced, text=text, invalid_address=gone)
        return Sent(
            message.attempt_id, Outcome.THROTTLED, code=enhanced, text=text, retry_after=GREYLISTED,
            address_only=enhanced.startswith(("4.1.", "4.2.")),  # a full mailbox says nothing of the server
        )  # fmt: skip

    def _reset(self, smtp: smtplib.SMTP, code: int) -> None:
        """After a refusal the connection is as before; a server that said 421 or does not answer is left."""
        try:
            if code == 421 or smtp.rset()[0] != 250:
                self.close()
        except (smtplib.SMTPException, OSError):
            self.close()

    # The connection -------------------------------------------------------------------------------

    def _connected(self) -> smtplib.SMTP:
        if self._smtp is None:
            self._smtp = self._connect()
        return self._smtp

    def _connect(self) -> smtplib.SMTP:
        """Raises :class:`AdapterError`; nothing can have arrived."""
        told = self.account.settings
        host, port, tls = str(told["host"]), int(told.get("port") or 587), told.get("tls", "starttls")
        username, password = told.get("username") or "", self.account.credentials.get("password", "")
        if username and tls == "none" and not _is_local(host):
            raise AdapterError(
                _("A password is not sent without encryption. Choose STARTTLS or TLS."),
                code="tls",
                stops_channel=True,
            )
        context = ssl.create_default_context()
        if not told.get("verify", True):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        try:
            smtp = _open(host, port, tls, float(told.get("timeout") or 30), context)
            try:
                if username:
                    smtp.login(username, password)
            except BaseException:
                smtp.close()
                raise
            return smtp
        except smtplib.SMTPAuthenticationError as error:
            text = _text(error.smtp_code, error.smtp_error)
            raise AdapterError(text, code=str(error.smtp_code), stops_channel=True) from None
        except ssl.SSLCertVerificationError as error:
            text = _("The server's certificate is not valid: %s") % error.verify_message
            raise AdapterError(text, code="certificate", stops_channel=True) from None
        except smtplib.SMTPNotSupportedError as error:
            raise AdapterError(str(error), code="unsupported", stops_channel=True) from None
        except smtplib.SMTPResponseException as error:
            final = error.smtp_code >= 500
            raise AdapterError(
                _text(error.smtp_code, error.smtp_error),
                code=str(error.smtp_code),
                retryable=not final,
                stops_channel=final,
                retry_after=None if final else GREYLISTED,
            ) from None
        except (smtplib.SMTPException, OSError) as error:
            raise AdapterError(
                f"{host}:{port}: {error}", code="connect", retryable=True, retry_after=LOST
            ) from None

    def close(self) -> None:
        smtp, self._smtp = self._smtp, None
        if smtp is None:
            return
        try:
            if smtp.sock is not None:
                smtp.sock.settimeout(2)
            smtp.quit()
        except (smtplib.SMTPException, OSError):
            smtp.close()

    def check(self) -> Checked:
        try:
            smtp = self._connect()
        except AdapterError as error:
            return Checked(False, str(error), {"code": error.code})
        try:
            facts = {"server": f"{self.account.settings['host']}:{self.account.settings.get('port')}"}
            if isinstance(smtp.sock, ssl.SSLSocket):
                facts["encryption"] = str(smtp.sock.version())
            facts["extensions"] = " ".join(sorted(smtp.esmtp_features))
            facts["DKIM"] = (
                _("signed by %s") % self._sender.dkim_domain if self._sender.signs else _("not signed")
            )
            compose(Outgoing(0, "nobody@example.com", text="test"), self._sender)
            return Checked(True, _("The server answers and lets us in."), facts)
        except dkim.DKIMException as error:
            return Checked(False, _("The DKIM key does not sign: %s") % error, facts)
        finally:
            smtp.close()

    # What comes back ------------------------------------------------------------------------------

    def parse_inbound(self, request: InboundRequest) -> InboundReply:
        """Bounces, complaints and replies: JSON of a mail service, or the raw report or reply as it was mailed."""
        key = self.account.credentials.get("webhook_key", "")
        if key and not reports.is_signed(key, request.body, request.headers.get("x-evenreach-signature", "")):
            raise BadSignature("X-Evenreach-Signature")
        kind = request.headers.get("content-type", "")
        now = datetime.now(UTC)
        if kind.partition(";")[0].strip().lower() == "application/json":
            events: Sequence[Inbound] = reports.from_json(json.loads(request.body), now)
        else:
            events = reports.from_mail(request.body, kind, now)
        return InboundReply(events, 200, b"ok")


def _open(host: str, port: int, tls: str, timeout: float, context: ssl.SSLContext) -> smtplib.SMTP:
    if tls == "tls":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=timeout, context=context)
    else:
        smtp = smtplib.SMTP(host, port, timeout=timeout)
    try:
        if tls == "starttls":
            smtp.starttls(context=context)
        smtp.ehlo_or_helo_if_needed()
        if (
            smtp.sock is not None
        ):  # the dot goes by itself and must not wait for the acknowledgement of the text
            smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        smtp.close()
        raise
    return smtp


def _ask(command: Any, *arguments: Any) -> tuple[int, bytes]:
    """A command before the message is complete: a broken connection means that nothing arrived."""
    try:
        code, reply = command(*arguments)
        return int(code), reply
    except (smtplib.SMTPException, OSError) as error:
        raise _NotArrived(str(error)) from error


def _stuffed(raw: bytes) -> bytes:
    """Lines that begin with a dot get another one (RFC 5321 §4.5.2); the last line ends."""
    if raw.startswith(b"."):
        raw = b"." + raw
    raw = raw.replace(b"\r\n.", b"\r\n..")
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


def _text(code: int, reply: bytes | str) -> str:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return f"{code} {' '.join(text.split())}"[:200]


def _enhanced(code: int, reply: bytes) -> str:
    """The enhanced status (RFC 3463) a reply begins with, or the plain code."""
    first = reply.decode("ascii", "replace").split(maxsplit=1)[:1]
    parts = first[0].split(".") if first else []
    return first[0] if len(parts) == 3 and all(part.isdigit() for part in parts) else str(code)


def _is_local(host: str) -> bool:
    try:
        return all(info[4][0] in ("127.0.0.1", "::1") for info in socket.getaddrinfo(host, None))
    except OSError:
        return False
