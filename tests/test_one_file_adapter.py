"""An adapter is one new file: dropped into a folder the scan looks at, it is offered, connected and sends.

The folder is a temporary one, added to the package's path for the test alone: other tests scan the real one.
"""

import hmac
import importlib
import json
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from campaigns import dispatch
from campaigns.models import Attempt
from channels import adapters
from channels.accounts import release_adapters
from channels.models import Channel
from tests import factories as make

NAME = "dovecote"
FILE = '''
"""Messages over signed HTTP, as any small provider takes them."""

import hmac
import json
from hashlib import sha256

import httpx

from channels.adapters.base import BaseAdapter, Checked, Outcome, Sent, Setting
from channels.vocabulary import Domain, Guarantee, Observability


class Adapter(BaseAdapter):
    name = "dovecote"
    label = "Dovecote"
    media = ("sms",)
    domain = Domain.PRIVATE
    guarantee = Guarantee.IMMEDIATE
    observability = Observability.PERSON_OBSERVED
    address_kinds = ("phone",)
    settings = (Setting("base_url", "Address", kind="url"), Setting("key", "Key", kind="password", secret=True))

    def _post(self, path, body):
        raw = json.dumps(body).encode()
        proof = hmac.new(self.account.credentials["key"].encode(), raw, sha256).hexdigest()
        return httpx.post(self.account.settings["base_url"] + path, content=raw, headers={"X-Proof": proof})

    def send(self, batch):
        sent = []
        for message in batch:
            try:
                answer = self._post("/send", {"id": message.attempt_id, "to": message.address, "text": message.text})
            except httpx.ConnectError as error:
                sent.append(Sent(message.attempt_id, Outcome.THROTTLED, text=str(error), retry_after=60))
            except httpx.HTTPError as error:
                sent.append(Sent(message.attempt_id, Outcome.UNKNOWN, text=str(error)))
            else:
                outcome = Outcome.ACCEPTED if answer.status_code == 200 else Outcome.REFUSED
                sent.append(Sent(message.attempt_id, outcome, f"d{message.attempt_id}", str(answer.status_code)))
        return sent

    def check(self):
        return Checked(ok=self._post("/check", {}).status_code == 200, text="asked")
'''


class Provider(ThreadingHTTPServer):
    """A far side that computes each proof again, and keeps what it took."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Take)
        self.taken: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Take(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        wanted = hmac.new(b"coo", raw, sha256).hexdigest()
        good = hmac.compare_digest(wanted, self.headers.get("X-Proof", ""))
        if good and self.path == "/send":
            self.server.taken.append(json.loads(raw))
        self.send_response(200 if good else 403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Tests are quiet."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The one new file; afterwards the process knows nothing of it."""
    path = tmp_path / f"{NAME}.py"
    path.write_text(FILE)
    monkeypatch.setattr(adapters, "__path__", [*adapters.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    adapters._scanned.cache_clear()
    yield path
    release_adapters()
    sys.modules.pop(f"channels.adapters.{NAME}", None)
    vars(adapters).pop(NAME, None)
    adapters._scanned.cache_clear()


@pytest.mark.django_db(transaction=True)
def test_a_dropped_file_is_offered_connected_and_sends_signed_without_a_migration(
    dropped: Path, provider: Provider, as_channel_admin: Client
) -> None:
    make.brand()
    choices = as_channel_admin.get(reverse("channels:connect"), {"medium": "sms"}).content.decode()
    assert "Dovecote" in choices
    form = {
        "name": "Doves", "brand": make.brand().pk, "currency": "CNY", "price_model": "per_message",
        "unit_price": "0.05", "adapter-base_url": provider.url, "adapter-key": "coo",
    }  # fmt: skip
    url = reverse("channels:connect") + f"?medium=sms&adapter={NAME}"
    assert as_channel_admin.post(url, form).status_code == 302
    channel = Channel.objects.get()
    as_channel_admin.post(reverse("channels:check", args=[channel.pk]))
    channel.refresh_from_db()
    assert channel.last_check["ok"] is True
    found = make.campaign([channel])
    Channel.objects.update(settings=channel.settings | {"signature": "Doves"})
    make.released(found, make.customers(3, ("sms",)), version=make.message("sms"))
    assert dispatch.dispatch_channel(channel.pk, now=make.NOW).accepted == 3
    assert {told["id"] for told in provider.taken} == set(Attempt.objects.values_list("id", flat=True))
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)  # exits when one is missing


@pytest.mark.django_db
def test_afterwards_nobody_knows_it() -> None:
    assert NAME not in adapters.all_adapters()
    assert not (Path(adapters.__file__).parent / f"{NAME}.py").exists()
