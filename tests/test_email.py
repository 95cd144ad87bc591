"""Email against a mail server that is not ours (aiosmtpd), and against one that breaks off in the middle."""

import base64
import datetime as dt
import email
import email.policy
import hmac
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from typing import Any

import dkim
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from channels.accounts import defaults
from channels.adapters.base import (
    Account,
    AdapterError,
    BadSignature,
    BaseAdapter,
    InboundRequest,
    Outcome,
    Outgoing,
    Receipt,
)
from channels.adapters.email import Adapter
from channels.mail.compose import Sender, compose
from tests.adapter_contract import SECRET, AdapterContract, NetworkContract, SenderContract

ONE_CLICK = "https://evenreach.example/u/abcdefghijklmnopqrstuvwxyz0123456789-_"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Mailbox:
    """The handler of aiosmtpd: keeps what came, answers by the local part of the recipient."""

    def __init__(self) -> None:
        self.received: list[tuple[str, list[str], bytes]] = []
        self.connections = 0
        self.server: SMTP | None = None

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        if session.host_name is None:
            self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("banned"):
            return "550 5.7.1 this sender is banned"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        replies = {
            "gone": "550 5.1.1 no such user",
            "policy": "550 5.7.1 not wanted here",
            "full": "452 4.2.2 mailbox full",
            "grey": "450 4.7.1 greylisted",
            "plain": "550 no",
        }
        reply = replies.get(address.partition("@")[0])
        if reply:
            return reply
        if address.startswith("leave"):
            server.transport.abort()
            return "421 bye"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        (to,) = envelope.rcpt_tos
        if to.startswith("spam"):
            return "554 5.7.1 looks like spam"
        if to.startswith("later"):
            return "451 4.3.0 try again"
        if to.startswith("closing"):
            return "421 4.3.2 shutting down"
        assert isinstance(envelope.content, bytes)
        self.received.append((str(envelope.mail_from), envelope.rcpt_tos, envelope.content))
        if to.startswith("drop"):
            server.transport.abort()
        return "250 2.0.0 queued as 4711"

    def messages(self) -> list[EmailMessage]:
        return [
            email.message_from_bytes(raw, policy=email.policy.default)  # type: ignore[misc]
            for _from, _to, raw in self.received
        ]


def serve(handler: Any, **kwargs: Any) -> Controller:
    controller = Controller(handler, hostname="127.0.0.1", port=free_port(), **kwargs)
    controller.start()
    return controller


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    handler = Mailbox()
    controller = serve(handler, enable_SMTPUTF8=True)
    handler.port = controller.port  # type: ignore[attr-defined]
    try:
        yield handler
    finally:
        controller.stop()


def make(port: int, credentials: dict[str, str] | None = None, **settings: Any) -> Adapter:
    told = {
        "host": "127.0.0.1",
        "port": port,
        "tls": "none",
        "from_address": "news@shop.example",
        "timeout": 5,
    }
    return Adapter(Account(1, "main", "email", defaults(Adapter) | told | settings, credentials or {}))


@pytest.fixture
def adapter(mailbox: Mailbox) -> Iterator[Adapter]:
    made = make(mailbox.port)  # type: ignore[attr-defined]
    yield made
    made.close()


def to(local: str, attempt_id: int = 1, **fields: Any) -> Outgoing:
    fields = {"subject": "双十一", "text": "你好"} | fields
    return Outgoing(attempt_id, f"{local}@example.com", **fields)


class TestEmail(AdapterContract, SenderContract, NetworkContract):
    name = "email"

    @pytest.fixture
    def adapter(self, mailbox: Mailbox) -> Iterator[BaseAdapter]:
        made = make(mailbox.port)  # type: ignore[attr-defined]
        yield made
        made.close()

    @pytest.fixture
    def unreachable(self) -> BaseAdapter:
        return make(free_port(), {"password": SECRET}, username="user")

    @pytest.fixture
    def dropping(self, mailbox: Mailbox) -> BaseAdapter:
        class Dropping(Mailbox):
            async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
                server.transport.abort()
                return "250 OK"

        handler = Dropping()
        controller = serve(handler)
        self._controller = controller
        return make(controller.port, {"password": SECRET, "webhook_key": SECRET})

    @pytest.fixture(autouse=True)
    def _stop(self) -> Iterator[None]:
        yield
        controller = getattr(self, "_controller", None)
        if controller:
            controller.stop()


# What is sent ---------------------------------------------------------------------------------


def test_a_message_has_the_headers_a_mailbox_provider_asks_for(mailbox: Mailbox) -> None:
    adapter = make(
        mailbox.port,
        from_name="均达,商店",
        reply_to="help@shop.example",  # type: ignore[attr-defined]
        return_path="bounces@shop.example",
        postal_address="1 Road\nTown",
    )
    (sent,) = adapter.send(
        [
            to(
                "lin",
                4711,
                subject="双十一 🎉 " + "全场五折" * 20,
                unsubscribe_url=ONE_CLICK,
                html="<html><body><p>你好 <b>世界</b></p></body></html>",
            )
        ]
    )
    adapter.close()
    (message,) = mailbox.messages()
    assert mailbox.received[0][:2] == ("bounces@shop.example", ["lin@example.com"])
    assert message["From"].addresses[0].display_name == "均达,商店"
    assert message["From"].addresses[0].addr_spec == "news@shop.example"
    assert (message["To"], message["Reply-To"]) == ("lin@example.com", "help@shop.example")
    assert message["Subject"] == "双十一 🎉 " + "全场五折" * 20
    assert message["List-Unsubscribe"] == f"<{ONE_CLICK}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["X-Evenreach-Attempt"] == "4711"
    assert message["Message-ID"] == sent.reference
    assert sent.reference.startswith("<4711.")
    assert message["Date"]
    assert not message.defects
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert (
        plain.get_content()
        .replace("\r\n", "\n")
        .startswith("你好\n\n--\n1 Road\nTown\n退订 · Unsubscribe: https://evenreach")
    )
    assert "<b>世界</b></p><p>1 Road<br>Town<br><a href=" in html.get_content()
    assert max(len(line) for line in mailbox.received[0][2].split(b"\n")) < 998


def test_lines_arrive_as_written_dots_and_all(adapter: Adapter, mailbox: Mailbox) -> None:
    text = ".\n..begins with dots\n  spaces \nends\n.\n" + "x" * 2000 + "\n"
    adapter.send([to("lin", text=text)])
    assert mailbox.messages()[0].get_content().replace("\r\n", "\n") == text


def test_nobody_can_write_a_header_into_a_message(adapter: Adapter, mailbox: Mailbox) -> None:
    adapter.send([to("lin", subject="Sale\r\nBcc: everybody@example.com")])
    (message,) = mailbox.messages()
    assert message["Bcc"] is None
    assert message["Subject"] == "Sale Bcc: everybody@example.com"


def test_an_own_unsubscribe_link_is_not_repeated(adapter: Adapter, mailbox: Mailbox) -> None:
    adapter.send([to("lin", text=f"Leave: {ONE_CLICK}", unsubscribe_url=ONE_CLICK)])
    assert mailbox.messages()[0].get_content().count(ONE_CLICK) == 1


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def test_the_signature_covers_the_unsubscribe_headers(mailbox: Mailbox, rsa_key: rsa.RSAPrivateKey) -> None:
    adapter = make(mailbox.port, {"dkim_key": pem(rsa_key)}, dkim_domain="shop.example", dkim_selector="s1")  # type: ignore[attr-defined]
    adapter.send([to("lin", html="<p>你好</p>", unsubscribe_url=ONE_CLICK)])
    adapter.close()
    raw = mailbox.received[0][2]
    public = rsa_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    asked = []

    def dns(name: bytes, timeout: int = 5) -> bytes:
        asked.append(name)
        return record

    assert dkim.verify(raw, dnsfunc=dns)
    assert asked == [b"s1._domainkey.shop.example."]
    signed = email.message_from_bytes(raw)["DKIM-Signature"].replace("\r\n", "").replace("\n", "")
    names = {name.strip() for name in signed.split("h=")[1].split(";")[0].split(":")}
    assert {"from", "subject", "list-unsubscribe", "list-unsubscribe-post"} <= names
    for header in (b"List-Unsubscribe: <https://evil", b"Subject: other"):
        name = header.partition(b":")[0]
        start = raw.index(b"\n" + name + b":") + 1
        changed = raw[:start] + header + raw[raw.index(b"\r\n", start) :]
        assert not dkim.verify(changed, dnsfunc=dns)


def test_a_key_that_does_not_sign_stops_the_channel_and_tells(mailbox: Mailbox) -> None:
    adapter = make(mailbox.port, {"dkim_key": "-----BEGIN nonsense"}, dkim_selector="s1")  # type: ignore[attr-defined]
    with pytest.raises(AdapterError) as caught:
        adapter.send([to("lin")])
    assert (caught.value.stops_channel, caught.value.code) == (True, "dkim")
    assert not adapter.check().ok
    assert not mailbox.received


# What became of it ----------------------------------------------------------------------------


def outcome(adapter: Adapter, local: str) -> tuple[Outcome, str, bool]:
    (sent,) = adapter.send([to(local)])
    return sent.outcome, sent.code, sent.invalid_address


@pytest.mark.parametrize(
    ("local", "wanted"),
    [
        ("lin", (Outcome.ACCEPTED, "", False)),
        ("gone", (Outcome.REFUSED, "5.1.1", True)),
        ("policy", (Outcome.REFUSED, "5.7.1", False)),
        ("plain", (Outcome.REFUSED, "550", False)),
        ("full", (Outcome.THROTTLED, "4.2.2", False)),
        ("grey", (Outcome.THROTTLED, "4.7.1", False)),
        ("spam", (Outcome.REFUSED, "5.7.1", False)),
        ("later", (Outcome.THROTTLED, "4.3.0", False)),
        ("closing", (Outcome.THROTTLED, "4.3.2", False)),
        ("leave", (Outcome.THROTTLED, "lost", False)),
        ("drop", (Outcome.UNKNOWN, "lost", False)),
    ],
)
def test_each_answer_means_one_outcome(
    adapter: Adapter, local: str, wanted: tuple[Outcome, str, bool]
) -> None:
    assert outcome(adapter, local) == wanted


@pytest.mark.parametrize(("local", "alone"), [("full", True), ("grey", False), ("later", False)])
def test_a_full_mailbox_says_nothing_of_the_channel(adapter: Adapter, local: str, alone: bool) -> None:
    (sent,) = adapter.send([to(local)])
    assert (sent.outcome, sent.address_only) == (Outcome.THROTTLED, alone)


def test_one_bad_recipient_harms_no_other_and_one_connection_serves_all(
    adapter: Adapter, mailbox: Mailbox
) -> None:
    batch = [to(local, n) for n, local in enumerate(["a", "gone", "b", "spam", "grey", "c", "later", "d"])]
    outcomes = {sent.attempt_id: sent.outcome for sent in adapter.send(batch)}
    accepted = [n for n, outcome in outcomes.items() if outcome == Outcome.ACCEPTED]
    assert accepted == [0, 2, 5, 7]
    assert mailbox.connections == 1


@pytest.mark.parametrize(
    "address", ["a@b.example\r\nBcc: x@y.example", "a b@c.example", "<a@b.example>", "nobody", ""]
)
def test_an_address_that_is_none_is_refused_and_the_others_go(
    adapter: Adapter, mailbox: Mailbox, address: str
) -> None:
    batch = [to("a", 1), Outgoing(2, address, subject="x", text="x"), to("b", 3, text="\ud800"), to("c", 4)]
    results = adapter.send(batch)
    assert [sent.outcome for sent in results] == [
        Outcome.ACCEPTED,
        Outcome.REFUSED,
        Outcome.REFUSED,
        Outcome.ACCEPTED,
    ]
    assert [sent.invalid_address for sent in results] == [False, True, False, False]
    assert [recipients for _from, recipients, _raw in mailbox.received] == [
        ["a@example.com"],
        ["c@example.com"],
    ]


def test_an_address_in_another_script_goes_where_the_server_takes_it(
    adapter: Adapter, mailbox: Mailbox
) -> None:
    (sent,) = adapter.send([Outgoing(1, "林晓@例子.example", subject="x", text="你好")])
    assert sent.outcome == Outcome.ACCEPTED
    assert mailbox.received[0][1] == ["林晓@例子.example"]
    plain = serve(Mailbox(), enable_SMTPUTF8=False)
    try:
        (sent,) = make(plain.port).send([Outgoing(1, "林晓@例子.example", subject="x", text="你好")])
        assert (sent.outcome, sent.code) == (Outcome.REFUSED, "smtputf8")
    finally:
        plain.stop()


def test_a_lost_connection_in_a_batch_loses_one_message_only(adapter: Adapter, mailbox: Mailbox) -> None:
    results = adapter.send([to(local, n) for n, local in enumerate(["a", "drop", "b", "leave", "c"])])
    assert [sent.outcome for sent in results] == [
        Outcome.ACCEPTED,
        Outcome.UNKNOWN,
        Outcome.ACCEPTED,
        Outcome.THROTTLED,
        Outcome.ACCEPTED,
    ]
    assert [recipients[0][0] for _from, recipients, _raw in mailbox.received] == ["a", "d", "b", "c"]


def test_a_connection_closed_while_idle_is_opened_again() -> None:
    handler = Mailbox()
    controller = serve(handler, timeout=0.3)
    try:
        adapter = make(controller.port)
        assert adapter.send([to("a")])[0].outcome == Outcome.ACCEPTED
        time.sleep(0.8)
        assert adapter.send([to("b")])[0].outcome == Outcome.ACCEPTED
        adapter.close()
    finally:
        controller.stop()
    assert handler.connections == 2


def test_a_banned_sender_stops_the_channel_before_anything_is_sent(mailbox: Mailbox) -> None:
    adapter = make(mailbox.port, return_path="banned@shop.example")  # type: ignore[attr-defined]
    with pytest.raises(AdapterError) as caught:
        adapter.send([to("a"), to("b", 2)])
    assert caught.value.stops_channel
    adapter.close()


class Breaking:
    """A server that speaks SMTP up to a point and then closes the connection hard."""

    def __init__(
        self, reply: Callable[[bytes], bytes | None], bytes_of_data: int = 0, then: bytes = b""
    ) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.reply, self.bytes_of_data, self.then = reply, bytes_of_data, then
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            self._talk(connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    def _talk(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        connection.sendall(b"220 ready\r\n")
        while line := stream.readline():
            answer = self.reply(line.strip().upper())
            if answer is None:
                return
            connection.sendall(answer)
            if answer.startswith(b"354"):
                stream.read(self.bytes_of_data)
                connection.sendall(self.then)
                return

    def close(self) -> None:
        self.listener.close()


def polite(line: bytes) -> bytes:
    return b"354 go on\r\n" if line == b"DATA" else b"250 ok\r\n"


@pytest.mark.parametrize("last", [b"EHLO", b"MAIL", b"RCPT", b"DATA"])
def test_a_connection_lost_before_the_message_is_known_not_to_have_arrived(last: bytes) -> None:
    server = Breaking(lambda line: None if line.startswith(last) else polite(line))
    try:
        adapter = make(server.port)
        try:
            (sent,) = adapter.send([to("a")])
            told = (sent.outcome == Outcome.THROTTLED and bool(sent.retry_after), False)
        except AdapterError as error:
            told = (error.retryable, True)
        assert told == (True, last == b"EHLO")
    finally:
        server.close()


def test_a_connection_lost_inside_the_message_is_known_not_to_have_arrived() -> None:
    server = Breaking(polite, bytes_of_data=1000)
    try:
        (sent,) = make(server.port).send([to("a", text="x" * 20_000_000)])
        assert sent.outcome == Outcome.THROTTLED
    finally:
        server.close()


def test_a_connection_lost_after_the_final_dot_is_unknown() -> None:
    raw = compose(to("a"), Sender.of({"from_address": "news@shop.example"}, {}))
    server = Breaking(polite, bytes_of_data=len(raw) + len(".\r\n"))
    try:
        (sent,) = make(server.port).send([to("a")])
        assert (sent.outcome, sent.reference[:3]) == (Outcome.UNKNOWN, "<1.")
    finally:
        server.close()


def test_a_server_that_is_busy_is_tried_later_and_one_that_refuses_us_stops_the_channel() -> None:
    for greeting, retryable, stops in (
        (b"421 4.7.0 too many connections\r\n", True, False),
        (b"554 go away\r\n", False, True),
    ):
        listener = socket.create_server(("127.0.0.1", 0))

        def greet(listener: socket.socket = listener, greeting: bytes = greeting) -> None:
            connection, _address = listener.accept()
            connection.sendall(greeting)
            connection.close()

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(AdapterError) as caught:
            make(listener.getsockname()[1]).send([to("a")])
        assert (caught.value.retryable, caught.value.stops_channel) == (retryable, stops)
        listener.close()


# Encryption and log-in ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey) -> Path:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(rsa_key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(rsa_key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + pem(rsa_key).encode())
    return path


def let_in(server: Any, session: Any, envelope: Any, mechanism: Any, data: Any) -> AuthResult:
    return AuthResult(handled=False, success=(data.login, data.password) == (b"user", SECRET.encode()))


@pytest.fixture
def guarded(certificate: Path) -> Iterator[Controller]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    controller = serve(
        Mailbox(),
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=let_in,
    )
    try:
        yield controller
    finally:
        controller.stop()


def test_starttls_and_log_in(guarded: Controller) -> None:
    adapter = make(guarded.port, {"password": SECRET}, tls="starttls", verify=False, username="user")
    assert adapter.send([to("a")])[0].outcome == Outcome.ACCEPTED
    checked = adapter.check()
    assert checked.ok
    assert checked.facts["encryption"].startswith("TLS")
    adapter.close()


def test_a_wrong_password_stops_the_channel_and_is_not_told(guarded: Controller) -> None:
    adapter = make(
        guarded.port, {"password": "wrong-password"}, tls="starttls", verify=False, username="user"
    )
    with pytest.raises(AdapterError) as caught:
        adapter.send([to("a")])
    assert caught.value.stops_channel
    assert "wrong-password" not in str(caught.value)


def test_a_certificate_that_is_not_valid_stops_the_channel(guarded: Controller) -> None:
    with pytest.raises(AdapterError) as caught:
        make(guarded.port, tls="starttls").send([to("a")])
    assert (caught.value.code, caught.value.stops_channel) == ("certificate", True)


def test_a_server_without_starttls_is_not_trusted_with_anything(mailbox: Mailbox) -> None:
    with pytest.raises(AdapterError) as caught:
        make(mailbox.port, tls="starttls").send([to("a")])  # type: ignore[attr-defined]
    assert caught.value.stops_channel
    assert not mailbox.received


def test_a_password_is_not_sent_in_the_clear_to_another_machine() -> None:
    adapter = make(25, {"password": SECRET}, username="user", host="192.0.2.1")
    with pytest.raises(AdapterError) as caught:
        adapter.send([to("a")])
    assert caught.value.code == "tls"


# Reports --------------------------------------------------------------------------------------


def post(body: bytes, content_type: str, key: str = "", signature: str = "") -> Any:
    headers = {"content-type": content_type} | ({"x-evenreach-signature": signature} if signature else {})
    adapter = make(25, {"webhook_key": key} if key else {})
    return adapter.parse_inbound(InboundRequest("POST", "https://x/in/1/s/", headers, {}, body)).events


BOUNCE = b"""From: MAILER-DAEMON@mx.example.net\r
To: bounces@shop.example\r
Message-ID: <b1@mx.example.net>\r
Content-Type: multipart/report; report-type=delivery-status; boundary="B"\r
\r
--B\r
Content-Type: text/plain\r
\r
It could not be delivered.\r
--B\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mx.example.net\r
Arrival-Date: Mon, 23 Nov 2026 12:00:00 +0800\r
\r
Final-Recipient: rfc822; Lin@Example.com\r
Action: failed\r
Status: 5.1.1\r
Diagnostic-Code: smtp; 550 5.1.1\r
 no such user\r
\r
Final-Recipient: rfc822; other@example.com\r
Action: delayed\r
Status: 4.4.1\r
\r
--B\r
Content-Type: text/rfc822-headers\r
\r
Message-ID: <4711.abc@shop.example>\r
X-Evenreach-Attempt: 4711\r
\r
--B--\r
"""


def test_a_bounce_as_it_was_mailed_is_a_permanent_bounce_of_its_attempt() -> None:
    (event,) = post(BOUNCE, "message/rfc822")
    assert (event.receipt, event.permanent, event.code) == (Receipt.BOUNCED, True, "5.1.1")
    assert (event.reference, event.detail["attempt_id"]) == ("<4711.abc@shop.example>", 4711)
    assert (event.identity_kind, event.identity_value) == ("email", "lin@example.com")
    assert event.occurred_at == dt.datetime(2026, 11, 23, 4, 0, tzinfo=dt.UTC)
    assert event.detail["diagnostic"] == "smtp; 550 5.1.1 no such user"


def test_the_reports_own_body_reads_the_same() -> None:
    head, _sep, body = BOUNCE.partition(b"\r\n\r\n")
    (event,) = post(body, 'multipart/report; report-type=delivery-status; boundary="B"')
    assert event == post(BOUNCE, "message/rfc822")[0]
    bare = body.partition(b"message/delivery-status\r\n\r\n")[2].partition(b"--B")[0]
    assert [found.code for found in post(bare, "message/delivery-status")] == ["5.1.1"]


def test_a_delay_is_no_event_and_a_soft_failure_is_no_permanent_bounce() -> None:
    delayed = BOUNCE.replace(b"Action: failed", b"Action: delayed")
    assert post(delayed, "message/rfc822") == []
    (soft,) = post(BOUNCE.replace(b"5.1.1", b"4.4.7"), "message/rfc822")
    assert (soft.receipt, soft.permanent) == (Receipt.BOUNCED, False)


COMPLAINT = b"""From: fbl@provider.example\r
Message-ID: <f1@provider.example>\r
Content-Type: multipart/report; report-type=feedback-report; boundary="C"\r
\r
--C\r
Content-Type: message/feedback-report\r
\r
Feedback-Type: abuse\r
Original-Rcpt-To: <lin@example.com>\r
Arrival-Date: Mon, 23 Nov 2026 12:00:00 +0800\r
\r
--C\r
Content-Type: message/rfc822\r
\r
From: news@shop.example\r
Message-ID: <4711.abc@shop.example>\r
X-Evenreach-Attempt: 4711\r
\r
text\r
--C--\r
"""


def test_a_complaint_names_its_attempt() -> None:
    (event,) = post(COMPLAINT, "message/rfc822")
    assert (event.response, event.code, event.reference) == ("complaint", "abuse", "<4711.abc@shop.example>")
    assert (event.identity_value, event.detail["attempt_id"]) == ("lin@example.com", 4711)


def test_a_reply_is_a_reply_and_an_out_of_office_note_a_machines() -> None:
    mail = (
        b"From: Lin <lin@example.com>\r\nMessage-ID: <r1@example.com>\r\nIn-Reply-To: <4711.abc@shop.example>\r\n"
        b"Date: Mon, 23 Nov 2026 12:00:00 +0800\r\nSubject: =?utf-8?q?Re=3A_Sale?=\r\n\r\nYes please\r\n"
    )
    (event,) = post(mail, "message/rfc822")
    assert (event.response, event.reference, event.machine) == ("reply", "<4711.abc@shop.example>", False)
    (event,) = post(b"Auto-Submitted: auto-replied\r\n" + mail, "message/rfc822")
    assert event.machine


def test_events_of_a_mail_service_as_json() -> None:
    told = {
        "events": [
            {
                "type": "delivered",
                "message_id": "<1.a@shop.example>",
                "occurred_at": "2026-11-23T12:00:00+08:00",
            },
            {
                "type": "bounced",
                "attempt_id": 7,
                "recipient": "Lin <LIN@example.com>",
                "status": "5.1.1",
                "id": "e9",
            },
            {"type": "opt_out", "recipient": "lin@example.com", "occurred_at": 1795406400},
        ]
    }
    delivered, bounced, left = post(json.dumps(told).encode(), "application/json; charset=utf-8")
    assert (delivered.receipt, delivered.permanent) == (Receipt.DELIVERED, False)
    assert (bounced.receipt, bounced.permanent, bounced.dedupe_key) == (Receipt.BOUNCED, True, "mail:e9")
    assert (bounced.reference, bounced.identity_value) == ("attempt-7", "lin@example.com")
    assert (left.response, left.occurred_at) == ("opt_out", dt.datetime.fromtimestamp(1795406400, dt.UTC))
    again = post(json.dumps(told).encode(), "application/json")
    assert [event.dedupe_key for event in again] == [event.dedupe_key for event in (delivered, bounced, left)]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"events": [{"type": "teleported", "attempt_id": 1}]}', "application/json"),
        (b'{"events": [{"type": "bounced"}]}', "application/json"),
        (b"{", "application/json"),
        (b'{"events": 1}', "application/json"),
        (b"[1]", "application/json"),
        (b"\x00\xff", "message/rfc822"),
        (b"", "message/rfc822"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_why(body: bytes, kind: str) -> None:
    with pytest.raises(ValueError):
        post(body, kind)


def test_a_webhook_with_a_key_wants_its_signature() -> None:
    body = b'{"events": []}'
    good = "sha256=" + hmac.new(b"key", body, sha256).hexdigest()
    assert list(post(body, "application/json", "key", good)) == []
    for bad in ("", "sha256=00", good + "0", "密"):
        with pytest.raises(BadSignature):
            post(body, "application/json", "key", bad)
