"""Text message vendors in a test: accounts for their far sides, and a webhook that an adapter reads.

Far side and adapter meet over HTTP in both directions; nothing of either is replaced.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from channels.accounts import defaults
from channels.adapters import adapter_class
from channels.adapters.base import Account, BadSignature, BaseAdapter, Inbound, InboundRequest
from channels.sandbox.server import Sandbox

PHONE = "+8613800138000"
SIGNATURE = "Evenreach"


def account(
    sandbox: Sandbox, adapter: str, told: dict[str, Any], secrets: dict[str, str], **settings: Any
) -> Account:
    callback = settings.pop("callback_url", "https://evenreach.example/in/7/secret-of-the-path/")
    told = {
        "base_url": f"http://127.0.0.1:{sandbox.ports[adapter]}",
        "timeout": 5,
        "signature": SIGNATURE,
    } | told
    return Account(7, "main", "sms", defaults(adapter_class(adapter)) | told | settings, secrets, callback)


def aliyun_account(sandbox: Sandbox, **settings: Any) -> Account:
    secret = settings.pop("secret", sandbox.config.vendors.aliyun_sms.access_key_secret)  # type: ignore[attr-defined]
    told = {"access_key_id": "LTAIsandbox"}
    return account(sandbox, "aliyun_sms", told, {"access_key_secret": secret}, **settings)


def tencent_account(sandbox: Sandbox, **settings: Any) -> Account:
    secret = settings.pop("secret", sandbox.config.vendors.tencent_sms.secret_key)  # type: ignore[attr-defined]
    told = {"secret_id": "AKIDsandbox", "app_id": "1400006666"}
    return account(sandbox, "tencent_sms", told, {"secret_key": secret}, **settings)


def twilio_account(sandbox: Sandbox, **settings: Any) -> Account:
    config = sandbox.config.vendors.twilio  # type: ignore[attr-defined]
    secret = settings.pop("secret", config.auth_token)
    told = {"account_sid": config.account_sid, "source": config.senders[0], "signature": ""}
    return account(sandbox, "twilio", told, {"auth_token": secret}, **settings)


class Webhook:
    """Our address at a provider: what comes in is read by ``adapter``; ``events`` are what it read."""

    def __init__(self) -> None:
        self.adapter: BaseAdapter | None = None
        self.events: list[Inbound] = []
        self.statuses: list[int] = []
        self.refuse = 0  # so many calls are answered 500 first
        self.url = ""

    def take(self, request: InboundRequest) -> tuple[int, bytes, str]:
        if self.refuse > 0 or self.adapter is None:
            self.refuse -= 1
            return 500, b"", "text/plain"
        try:
            reply = self.adapter.parse_inbound(request)
        except BadSignature:
            return 403, b"", "text/plain"
        self.events += reply.events
        return reply.status, reply.body, reply.content_type


@contextmanager
def gateway(status: int, body: bytes = b"<html>Bad gateway</html>") -> Iterator[tuple[str, list[bytes]]]:
    """Something between us and a vendor that answers every call so: its address, and the calls that came."""
    came: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with _serving(Handler) as address:
        yield address, came


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def webhook() -> Iterator[Webhook]:
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = urlsplit(self.path)
            root = f"http://{self.headers['Host']}"
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = InboundRequest("POST", root + self.path, headers, dict(parse_qsl(path.query)), body)
            status, answer, kind = hook.take(request)
            hook.statuses.append(status)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with _serving(Handler) as address:
        hook.url = f"{address}/in/7/secret-of-the-path/"
        yield hook
