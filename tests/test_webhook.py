"""The webhook to one's own app: signed both ways, once by message id, and never to a private address unasked."""
# ruff: noqa: F401, F811  (the fixture is imported, and asked for by its name)

import datetime as dt
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from audiences.vocabulary import ResponseKind
from channels import outward
from channels.accounts import defaults
from channels.adapters.base import (
    Account,
    AdapterError,
    BadSignature,
    BaseAdapter,
    Inbound,
    InboundRequest,
    Outcome,
    Outgoing,
    Receipt,
)
from channels.adapters.webhook import Adapter, is_signed, signed
from channels.sandbox.server import Sandbox
from tests.adapter_contract import AdapterContract, NetworkContract, SenderContract
from tests.sandbox_fixture import sandbox, start_sandbox

SECRET = "sandbox-signing-secret"  # noqa: S105


@pytest.fixture(autouse=True)
def _this_machine_is_permitted(settings: Any) -> None:
    settings.PRIVATE_HOSTS = ["127.0.0.1"]


def account(url: str, medium: str = "webhook", secret: str = SECRET, **settings: Any) -> Account:
    told = defaults(Adapter) | {"url": url, "timeout": 5} | settings
    return Account(7, "main", medium, told, {"secret": secret})


def of(sandbox: Sandbox, **settings: Any) -> Account:
    return account(f"http://127.0.0.1:{sandbox.ports['webhook']}/hook", **settings)


@pytest.fixture
def adapter(sandbox: Sandbox) -> Iterator[Adapter]:
    made = Adapter(of(sandbox))
    yield made
    made.close()


def messages(n: int, first: int = 1000, **fields: Any) -> list[Outgoing]:
    return [Outgoing(first + k, f"M{first + k:08d}", text="双十一到店有礼", **fields) for k in range(n)]


class TestWebhook(AdapterContract, SenderContract, NetworkContract):
    name = "webhook"

    @pytest.fixture
    def adapter(self, sandbox: Sandbox) -> Iterator[BaseAdapter]:
        made = Adapter(of(sandbox))
        yield made
        made.close()

    @pytest.fixture
    def unreachable(self, sandbox: Sandbox) -> BaseAdapter:
        return Adapter(account("http://127.0.0.1:1/"))

    @pytest.fixture
    def dropping(self, sandbox: Sandbox) -> BaseAdapter:
        sandbox.faults("webhook", drop=1.0)
        return Adapter(of(sandbox))


# Out ----------------------------------------------------------------------------------------------


def test_a_batch_is_one_signed_call_and_each_message_has_its_own_answer(sandbox: Sandbox) -> None:
    sandbox.faults("webhook", next=["ok", "refuse", "throttle", "ok"])
    made = Adapter(of(sandbox))
    results = {sent.attempt_id: sent for sent in made.send(messages(4))}
    made.close()
    assert [results[1000 + n].outcome for n in range(4)] == [
        Outcome.ACCEPTED, Outcome.REFUSED, Outcome.THROTTLED, Outcome.ACCEPTED,
    ]  # fmt: skip
    assert results[1000].reference == "attempt-1000"
    assert (results[1001].code, results[1002].retry_after) == ("policy", 3.0)
    lines = sandbox.log_lines("webhook", "message")
    assert [(line["attempt"], line["verdict"]) for line in lines] == [
        ("1000", "accepted"),
        ("1001", "refused"),
        ("1003", "accepted"),
    ]


def test_an_address_the_app_does_not_know_is_marked(sandbox: Sandbox) -> None:
    sandbox.change({"vendors": {"webhook": {"unknown_share": 1.0}}})
    made = Adapter(of(sandbox))
    (sent,) = made.send(messages(1))
    made.close()
    assert (sent.outcome, sent.invalid_address) == (Outcome.REFUSED, True)


def test_a_message_given_again_is_taken_once(adapter: Adapter, sandbox: Sandbox) -> None:
    first, again = adapter.send(messages(3)), adapter.send(messages(3))
    assert first == again
    assert len(sandbox.log_lines("webhook", "message")) == 3
    assert sandbox.counters("webhook")["repeated"] == 3


def test_more_than_a_call_takes_goes_in_several_and_an_error_between_loses_nothing(sandbox: Sandbox) -> None:
    sandbox.change({"vendors": {"webhook": {"per_minute": 2}}})
    made = Adapter(of(sandbox, batch=10))
    results = made.send(messages(35))
    outcomes = [sent.outcome for sent in results]
    assert [sent.attempt_id for sent in results] == list(range(1000, 1035))
    assert outcomes[:10] == [Outcome.ACCEPTED] * 10
    assert {outcomes.count(Outcome.ACCEPTED), outcomes.count(Outcome.THROTTLED)} in ({20, 15}, {15, 20})
    assert len(sandbox.log_lines("webhook", "message")) == outcomes.count(Outcome.ACCEPTED)
    with pytest.raises(AdapterError) as caught:
        made.send(messages(35, first=5000))
    made.close()
    assert (caught.value.retryable, caught.value.retry_after) == (True, 7.0)


def test_a_call_that_is_refused_for_good_harms_no_other(server: int) -> None:
    Answering.status, Answering.body = 400, b"no"
    made = Adapter(account(f"http://127.0.0.1:{server}/", batch=1))
    assert [(sent.outcome, sent.code) for sent in made.send(messages(3))] == [(Outcome.REFUSED, "400")] * 3
    made.close()


def test_calls_of_a_batch_are_made_at_the_same_time(sandbox: Sandbox) -> None:
    sandbox.faults("webhook", seconds=0.2)
    made = Adapter(of(sandbox, batch=1, connections=5))
    began = time.monotonic()
    assert {sent.outcome for sent in made.send(messages(6))} == {Outcome.ACCEPTED}
    assert time.monotonic() - began < 6 * 0.2
    made.close()


def test_a_wrong_secret_stops_the_channel(sandbox: Sandbox) -> None:
    made = Adapter(of(sandbox, secret="another-secret-altogether"))
    with pytest.raises(AdapterError) as caught:
        made.send(messages(1))
    assert (caught.value.code, caught.value.stops_channel) == ("401", True)
    assert not made.check().ok
    made.close()


class Answering(BaseHTTPRequestHandler):
    """Answers every call with what the class is told; notes the Host header."""

    status, body, hosts = 200, b"{}", []  # type: ignore[var-annotated]  # noqa: RUF012

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.hosts.append(self.headers["Host"])
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[int]:
    Answering.hosts = []
    server = HTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""), (502, b"bad gateway"), (503, b""), (200, b""), (200, b"thanks"), (200, b'{"results": 3}'),
        (202, b'{"results": []}'), (200, b'{"results": [{"id": "1", "status": "accepted"}]}'),
        (200, b'{"results": [{"id": "1000", "status": "perhaps"}]}'),
    ],
)  # fmt: skip
def test_what_does_not_say_what_became_of_a_message_leaves_it_unknown(
    server: int, status: int, body: bytes
) -> None:
    Answering.status, Answering.body = status, body
    made = Adapter(account(f"http://127.0.0.1:{server}/"))
    assert [sent.outcome for sent in made.send(messages(1))] == [Outcome.UNKNOWN]
    made.close()


@pytest.mark.parametrize(
    ("status", "retryable", "stops"),
    [(400, False, False), (413, False, False), (404, False, True), (429, True, False), (302, False, True)],
)
def test_what_says_that_nothing_was_taken_is_an_error(
    server: int, status: int, retryable: bool, stops: bool
) -> None:
    Answering.status, Answering.body = status, b"no"
    made = Adapter(account(f"http://127.0.0.1:{server}/"))
    with pytest.raises(AdapterError) as caught:
        made.send(messages(2))
    made.close()
    assert (caught.value.retryable, caught.value.stops_channel) == (retryable, stops)


# Where it may go ----------------------------------------------------------------------------------

INLAND = [
    "127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "0.0.0.0",
    "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "::ffff:a00:1", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    "2002:a9fe:a9fe::", "2001::1", "2001:db8::1", "64:ff9b:1::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INLAND)
def test_an_address_that_is_not_on_the_public_internet_is_known(address: str) -> None:
    assert not outward.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "114.114.114.114", "2400:3200::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_a_public_address_is_known(address: str) -> None:
    assert outward.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0",
    ],
)
def test_every_way_to_write_this_machine_is_refused_before_anything_is_sent(
    server: int, settings: Any, host: str
) -> None:
    settings.PRIVATE_HOSTS = ["10.9.9.9"]
    made = Adapter(account(f"http://{host}:{server}/"))
    with pytest.raises(AdapterError) as caught:
        made.send(messages(1))
    checked = made.check()
    made.close()
    if host == "0177.0.0.1":  # the client itself knows no octal; the system does
        with pytest.raises(outward.NotAllowed):
            outward.addresses(host, server)
    else:
        assert caught.value.code == "not_public"
        assert "EVENREACH_PRIVATE_HOSTS" in str(caught.value)
    assert caught.value.stops_channel
    assert not checked.ok
    assert Answering.hosts == []


def test_a_permission_may_be_for_one_port_only(settings: Any) -> None:
    settings.PRIVATE_HOSTS = ["localhost:8080", "[::1]:9"]
    assert outward.is_named("LOCALHOST", 8080)
    assert not outward.is_named("localhost", 8081)
    assert outward.is_named("::1", 9)


def test_a_name_that_points_elsewhere_a_moment_later_is_called_at_the_checked_address(
    server: int, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the first answer is checked, and nobody asks a second time before connecting."""
    asked = []
    real = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "app.example":
            asked.append(host)
            address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    settings.PRIVATE_HOSTS = ["app.example"]
    Answering.status, Answering.body = 200, b'{"results": [{"id": "1000", "status": "accepted"}]}'
    made = Adapter(account(f"http://app.example:{server}/"))
    assert made.send(messages(1))[0].outcome is Outcome.ACCEPTED
    made.close()
    assert asked == ["app.example"]
    assert Answering.hosts == [f"app.example:{server}"], "the Host header stays that of the name"
    settings.PRIVATE_HOSTS = []
    with pytest.raises(AdapterError, match="not on the public Internet"):
        Adapter(account(f"http://app.example:{server}/")).send(messages(1))


def test_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def mixed(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", mixed)
    with pytest.raises(outward.NotAllowed):
        outward.addresses("app.example", 443)


def test_a_redirect_is_not_followed(server: int, sandbox: Sandbox) -> None:
    sandbox.change({"vendors": {"webhook": {"redirect": f"http://127.0.0.1:{server}/"}}})
    made = Adapter(of(sandbox))
    with pytest.raises(AdapterError, match="redirects"):
        made.send(messages(1))
    made.close()
    assert Answering.hosts == []


def test_the_certificate_is_that_of_the_name_not_of_the_address(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, Any, str]] = []

    def taking(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        told.append((str(request.url), request.extensions["sni_hostname"], request.headers["Host"]))
        return httpx.Response(200, content=b"{}")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", taking)
    monkeypatch.setattr(outward, "addresses", lambda host, port: ["8.8.8.8"])
    with outward.client(5) as client:
        client.post("https://app.example/hook", content=b"{}")
    assert told == [("https://8.8.8.8/hook", "app.example", "app.example")]


# In -----------------------------------------------------------------------------------------------

NOW = dt.datetime(2026, 11, 11, 4, tzinfo=dt.UTC)


def told(
    body: Any, secret: str = SECRET, at: float | None = None, received: dt.datetime = NOW
) -> InboundRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    header = signed(secret.encode(), raw, int(received.timestamp() if at is None else at))
    return InboundRequest("POST", "https://x/in/7/s/", {"x-evenreach-signature": header}, {}, raw, received)


def events(*given: dict[str, Any], medium: str = "webhook") -> list[Inbound]:
    return list(Adapter(account("http://x/", medium)).parse_inbound(told({"events": list(given)})).events)


def test_receipts_settle_by_our_own_id() -> None:
    delivered, bounced = events(
        {"id": "e1", "type": "delivered", "message": "1000", "at": "2026-11-11T12:00:00+08:00"},
        {"id": "e2", "type": "bounced", "message": "1001", "permanent": True, "code": "no_device"},
    )
    assert (delivered.receipt, delivered.reference, delivered.occurred_at) == (
        Receipt.DELIVERED,
        "attempt-1000",
        NOW,
    )
    assert (bounced.receipt, bounced.permanent, bounced.code) == (Receipt.BOUNCED, True, "no_device")
    assert delivered.detail == {"attempt_id": 1000}


def test_responses_name_a_message_or_a_person() -> None:
    click, gone, bought = events(
        {"id": "1", "type": "click", "message": "1000", "machine": True},
        {"id": "2", "type": "opt_out", "address": "M00000001"},
        {"id": "3", "type": "conversion", "message": "1000", "value": "99.50", "currency": "cny"},
    )
    assert (click.response, click.machine, click.reference) == (ResponseKind.CLICK, True, "attempt-1000")
    assert (gone.identity_kind, gone.identity_issuer, gone.identity_value) == (
        "member_number",
        "main",
        "M00000001",
    )
    assert (str(bought.value), bought.currency) == ("99.50", "CNY")
    (pushed,) = events(
        {"id": "2", "type": "opt_out", "address": "token", "issuer": "oaid"}, medium="app_push"
    )
    assert (pushed.identity_kind, pushed.identity_issuer) == ("device", "oaid")


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"type": "click", "message": "1"}, "with an id"),
        ({"id": "1", "type": "clicked", "message": "1"}, "no type"),
        ({"id": "1", "type": "delivered", "address": "M1"}, "needs a message"),
        ({"id": "1", "type": "open"}, "or an address"),
        ({"id": "1", "type": "open", "message": "one"}, "id of a message"),
        ({"id": "1", "type": "open", "message": "1", "at": "yesterday"}, "must be a time"),
        ({"id": "1", "type": "open", "message": "1", "at": "2026-11-11T00:00:00"}, "offset"),
        ({"id": "1", "type": "conversion", "message": "1", "value": "9"}, "currency"),
        ({"id": "1", "type": "open", "address": "M1", "address_kind": "shoe"}, "address_kind"),
    ],
)
def test_an_event_that_cannot_be_read_says_why(event: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        events(event)


def test_an_event_of_somebody_else_or_of_long_ago_is_refused() -> None:
    made = Adapter(account("http://x/"))
    body = {"events": [{"id": "1", "type": "open", "message": "1"}]}
    for request in (
        told(body, secret="another-secret-altogether"),
        told(body, at=NOW.timestamp() - 301),
        told(body, at=NOW.timestamp() + 301),
        InboundRequest("POST", "https://x/", {}, {}, b"{}", NOW),
    ):
        with pytest.raises(BadSignature):
            made.parse_inbound(request)
    changed = told(body)
    with pytest.raises(BadSignature):
        made.parse_inbound(InboundRequest("POST", changed.url, changed.headers, {}, changed.body + b" ", NOW))
    assert len(made.parse_inbound(told(body, at=NOW.timestamp() - 299)).events) == 1


def test_a_former_secret_is_taken_while_the_app_changes_over() -> None:
    both = Account(7, "main", "webhook", {"url": "http://x/"}, {"secret": "n" * 16, "former_secret": SECRET})
    body = {"events": [{"id": "1", "type": "open", "message": "1"}]}
    assert len(Adapter(both).parse_inbound(told(body)).events) == 1


def test_without_a_secret_nothing_is_taken() -> None:
    nobody = Account(7, "main", "webhook", {"url": "http://x/"}, {})
    with pytest.raises(BadSignature):
        Adapter(nobody).parse_inbound(told({"events": []}, secret=""))
    assert not is_signed(b"k", b"", "t=9999999999999999,v1=x", time.time())


# The whole way, over the wire ---------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_receipts_and_an_opt_out_come_back_through_our_own_door(
    tmp_path: Path, live_server: Any, settings: Any
) -> None:
    from channels.accounts import account_of, callback_url, save_channel
    from channels.models import Channel, InboxEvent
    from tests.channel_rows import make_brand

    settings.PUBLIC_URL = live_server.url
    channel = save_channel(
        Channel(
            brand=make_brand(),
            name="App",
            medium="webhook",
            adapter="webhook",
            credentials={"secret": SECRET},
        )
    )
    told = {"callback": callback_url(channel), "receipt_seconds": 0.0}
    with start_sandbox(tmp_path, vendors={"webhook": told}) as running:
        channel.settings = {"url": f"http://127.0.0.1:{running.ports['webhook']}/hook"}
        made = Adapter(account_of(channel))
        made.send(messages(3))
        made.close()
        running.call(running.vendors["webhook"].events, [{"type": "opt_out", "address": "M00001000"}])
        running.wait(lambda: InboxEvent.objects.count() == 4)
        running.faults("webhook", receipt_repeat=1.0)
        running.call(running.vendors["webhook"].events, [{"type": "click", "message": "1000"}])
        running.wait(lambda: running.vendors["webhook"].waiting() == 0)
    kinds = sorted(InboxEvent.objects.values_list("kind", "outcome", "response"))
    assert kinds == [("receipt", "delivered", "")] * 3 + [
        ("response", "", "click"),
        ("response", "", "opt_out"),
    ]
