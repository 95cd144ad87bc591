"""The mail server as a strict mailbox provider: signatures, one-click unsubscription, log-ins; and the command."""

import base64
import smtplib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.management import call_command
from django.core.management.base import CommandError

from channels.adapters.base import AdapterError, Outcome, Outgoing
from channels.adapters.email import Adapter
from channels.sandbox.server import Sandbox
from tests.sandbox_fixture import email_account, start_sandbox

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
).decode()
PUBLIC = KEY.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
RECORD = f"v=DKIM1; k=rsa; p={base64.b64encode(PUBLIC).decode()}"
ZONE = {"s1._domainkey.example.com": RECORD}
BULK = Outgoing(
    7, "c@example.org", "双十一", "Hello", "<p>Hello</p>", unsubscribe_url="https://e.example/u/abc"
)


def signing(sandbox: Sandbox, **settings: Any) -> Adapter:
    account = email_account(sandbox, dkim_domain="example.com", dkim_selector="s1", **settings)
    account.credentials["dkim_key"] = PEM  # type: ignore[index]
    return Adapter(account)


def test_a_signed_bulk_message_is_taken_and_a_damaged_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_sandbox(tmp_path, smtp={"dkim_keys": ZONE, "dkim_required": True}) as running:
        adapter = signing(running)
        assert adapter.send([BULK])[0].outcome is Outcome.ACCEPTED
        real = Adapter._body
        monkeypatch.setattr(
            Adapter, "_body", staticmethod(lambda smtp, raw: real(smtp, raw.replace(b"Hello", b"Hallo")))
        )
        (damaged,) = adapter.send([BULK])
        adapter.close()
        unsigned = Adapter(email_account(running))
        monkeypatch.undo()
        (without,) = unsigned.send([BULK])
        unsigned.close()
        verdicts = [(line["verdict"], line["code"]) for line in running.log_lines("smtp", "message")]
    assert (damaged.outcome, without.outcome) == (Outcome.REFUSED, Outcome.REFUSED)
    assert verdicts == [("accepted", "2.0.0"), ("refused", "5.7.20"), ("refused", "5.7.26")]


def raw(*headers: str) -> bytes:
    return (
        "".join(f"{header}\r\n" for header in ("From: a@example.com", "Date: x", *headers)).encode()
        + b"\r\nHi\r\n"
    )


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (raw(), b"5.6.0"),
        (raw("Message-ID: <1@x>"), b"2.0.0"),
        (raw("Message-ID: <1@x>", "List-Unsubscribe: <https://e.example/u>"), b"5.7.1"),
    ],
)  # fmt: skip
def test_what_a_mailbox_provider_refuses_is_refused(tmp_path: Path, message: bytes, code: bytes) -> None:
    with start_sandbox(tmp_path) as running, smtplib.SMTP("127.0.0.1", running.ports["smtp"]) as client:
        client.ehlo()
        client.mail("a@example.com")
        client.rcpt("b@example.com")
        assert client.data(message)[1].startswith(code)


def test_a_signature_that_does_not_cover_the_one_click_headers_is_refused(tmp_path: Path) -> None:
    message = raw(
        "Message-ID: <1@x>",
        "List-Unsubscribe: <https://e.example/u>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
    )
    signature = dkim.sign(message, b"s1", b"example.com", PEM.encode(), include_headers=[b"from", b"date"])
    with start_sandbox(tmp_path, smtp={"dkim_keys": ZONE}) as running:
        with (
            smtplib.SMTP("127.0.0.1", running.ports["smtp"]) as client,
            pytest.raises(smtplib.SMTPDataError) as caught,
        ):
            client.sendmail("a@example.com", ["b@example.com"], signature + message)
    assert b"does not cover List-Unsubscribe" in caught.value.smtp_error


def test_a_log_in_is_asked_for_where_it_is_set(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, smtp={"user": "u", "password": "right"}) as running:
        for password, stops in (("right", False), ("wrong", True)):
            account = email_account(running, username="u")
            account.credentials["password"] = password  # type: ignore[index]
            adapter = Adapter(account)
            if stops:
                with pytest.raises(AdapterError) as caught:
                    adapter.send([BULK])
                assert caught.value.stops_channel
            else:
                assert adapter.send([BULK])[0].outcome is Outcome.ACCEPTED
                adapter.close()


def test_unknown_mailboxes_are_refused_the_same_ones_each_time(tmp_path: Path) -> None:
    found = []
    for folder in ("1", "2"):
        with start_sandbox(tmp_path / folder, smtp={"unknown_share": 0.3}) as running:
            adapter = Adapter(email_account(running))
            batch = [Outgoing(n, f"c{n}@example.org", "s", "t") for n in range(60)]
            found.append({sent.attempt_id for sent in adapter.send(batch) if sent.invalid_address})
            adapter.close()
    assert found[0] == found[1]
    assert 6 < len(found[0]) < 32


def test_the_command_tells_what_is_wrong_with_its_options(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"smpp": {"windows": 1}}')
    with pytest.raises(CommandError, match=r"smpp\.windows is not known"):
        call_command("sandbox", dir=tmp_path)
    with pytest.raises(CommandError, match="write side=port"):
        call_command("sandbox", dir=tmp_path / "new", ports="smsc=1")
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "population.csv").write_text("name\n")
    # In a thread of its own: a browser's test may have left an event loop in this one.
    with ThreadPoolExecutor(1) as pool, pytest.raises(CommandError, match="no column key"):
        pool.submit(call_command, "sandbox", dir=tmp_path / "people", ports="0").result()
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("sandbox", dir=tmp_path / "new", config=tmp_path / "none.json")
