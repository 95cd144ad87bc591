"""The market live: people behind the far sides open, click, answer, leave and buy, and our side hears of it."""

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from django.test import Client

from audiences.vocabulary import ResponseKind
from channels.adapters import email, smpp, wecom
from channels.adapters.base import InboundRequest, Outcome, Outgoing, Receipt
from channels.sandbox.market import Truth, true_lift
from channels.sandbox.people import Person
from channels.sandbox.server import Sandbox
from tests.sandbox_fixture import email_account, smpp_account, start_sandbox, wecom_account

DAY_A_SECOND = 86400.0
CROWD = [
    Person(f"p{n}", f"+86138{n:08d}", f"customer{n}@example.com", f"M{n:05d}", f"wm{n}", f"staff{n % 3}")
    for n in range(400)
]  # fmt: skip


class OurSide:
    """Stands for Evenreach: notes each call and answers as told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, str], bytes]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.calls.append(
                    (self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                )
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = _any  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def paths(self, method: str, head: str) -> list[str]:
        return [path for verb, path, _, _ in list(self.calls) if verb == method and path.startswith(head)]

    def orders(self) -> dict[str, dict[str, str]]:
        rows = [
            row
            for _, path, _, body in list(self.calls)
            if "orders" in path
            for row in json.loads(body)["rows"]
        ]
        return {row["number"]: row for row in rows}


@pytest.fixture
def ours() -> Iterator[OurSide]:
    side = OurSide()
    yield side
    side.server.shutdown()
    side.server.server_close()


def market(ours: OurSide, truth: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    quiet = {"base_rate": 0.0, "scanner_share": 0.0}
    return {
        "speed": DAY_A_SECOND, "app_url": ours.url, "api_url": f"{ours.url}/api/v1", "api_key": "er_key", "per_second": 3000,
        "truth": quiet | (truth or {}), **fields,
    }  # fmt: skip


def curve(**fields: float) -> dict[str, float]:
    """Nobody does anything but what is named."""
    return {"ceiling": 0.0, "speed": 1.0, "opt_out": 0.0, "open": 0.0, "click": 0.0, "reply": 0.0} | fields


def settle(sandbox: Sandbox) -> None:
    sandbox.wait(lambda: sandbox.state()["waiting"]["market"] == 0, 20)


def mails(ours: OurSide, n: int) -> list[Outgoing]:
    return [
        Outgoing(
            k, CROWD[k].email, subject="双十一", text=f"Look: {ours.url}/l/text{k}",
            html=f'<a href="{ours.url}/l/shop{k}?a=1&amp;b=2">shop</a><a href="https://elsewhere.example/x">x</a>'
            f'<img src="{ours.url}/o/pixel{k}.gif">',
            unsubscribe_url=f"{ours.url}/u/leave{k}",
        )
        for k in range(n)
    ]  # fmt: skip


def test_readers_of_mail_open_click_and_leave_by_one_click(tmp_path: Path, ours: OurSide) -> None:
    truth = {"curves": {"email": curve(open=10.0, click=10.0, opt_out=1.0)}}
    with start_sandbox(tmp_path, CROWD, market=market(ours, truth)) as running:
        adapter = email.Adapter(email_account(running))
        assert {sent.outcome for sent in adapter.send(mails(ours, 50))} == {Outcome.ACCEPTED}
        running.wait(lambda: len(ours.paths("POST", "/u/")) == 50, 20)
        settle(running)
        # Who has left does not react any more, whatever we send.
        before = len(ours.calls)
        adapter.send(mails(ours, 50))
        running.wait(lambda: running.counters("market").get("email ignored") == 50)
        adapter.close()
    assert len(ours.calls) == before
    assert sorted(ours.paths("GET", "/o/")) == sorted(f"/o/pixel{n}.gif" for n in range(50))
    clicked = set(ours.paths("GET", "/l/"))
    assert clicked == {f"/l/shop{n}?a=1&b=2" for n in range(50)}
    one_click = [(headers, body) for verb, path, headers, body in ours.calls if path == "/u/leave7"]
    assert [body for _, body in one_click] == [b"List-Unsubscribe=One-Click"]
    assert "cookie" not in one_click[0][0]
    assert all("iPhone" in headers["user-agent"] for _, _, headers, _ in ours.calls)


def test_scanners_follow_every_link_at_once_even_the_one_to_leave_and_never_post(
    tmp_path: Path, ours: OurSide
) -> None:
    truth = {"scanner_share": 1.0, "curves": {"email": curve()}}
    with start_sandbox(tmp_path, CROWD, market=market(ours, truth)) as running:
        adapter = email.Adapter(email_account(running))
        adapter.send(mails(ours, 5))
        running.wait(lambda: len(ours.calls) == 10)
        settle(running)
        adapter.close()
    assert {verb for verb, *_ in ours.calls} == {"GET"}
    assert set(ours.paths("GET", "/u/")) == {f"/u/leave{n}" for n in range(5)}
    assert all("scanner" in headers["user-agent"] for _, _, headers, _ in ours.calls)


def test_who_gets_a_text_message_clicks_its_link_and_answers_r(tmp_path: Path, ours: OurSide) -> None:
    truth = {"curves": {"sms": curve(click=10.0, opt_out=1.0)}}
    with start_sandbox(
        tmp_path, CROWD, smpp={"receipt_seconds": 0.01}, market=market(ours, truth)
    ) as running:
        adapter = smpp.Adapter(smpp_account(running))
        adapter.listen_seconds = 1
        text = "【品牌】" + "双十一大促" * 15 + f" {ours.url}/l/abc 拒收请回复R"
        adapter.send([Outgoing(n, CROWD[n].phone, text=text) for n in range(40)])
        settle(running)
        events = []
        while found := adapter.poll([]):
            events += found
            adapter.acknowledge()
        adapter.close()
    assert len(ours.paths("GET", "/l/abc")) == 40
    left = {event.identity_value for event in events if event.response is ResponseKind.OPT_OUT}
    assert left == {person.phone for person in CROWD[:40]}
    assert sum(event.receipt is Receipt.DELIVERED for event in events) == 40


def test_wecom_customers_react_only_once_the_employee_has_confirmed(tmp_path: Path, ours: OurSide) -> None:
    truth = {"curves": {"wecom": curve(click=10.0, opt_out=1.0)}}
    config = {"confirm_seconds": 1e6, "callback": f"{ours.url}/in/3/secret/"}
    with start_sandbox(tmp_path, CROWD, wecom=config, market=market(ours, truth)) as running:
        adapter = wecom.Adapter(wecom_account(running))
        held = adapter.send([Outgoing(n, f"wm{n}", text=f"看看 {ours.url}/l/abc") for n in range(0, 30, 3)])
        settle(running)
        assert ours.calls == []
        msgid = held[0].reference.split(":")[0]
        assert httpx.post(
            f"http://127.0.0.1:{running.ports['control']}/wecom/confirm", json={"msgid": msgid, "userid": "staff0"}
        ).json() == {"sent": True}  # fmt: skip
        running.wait(lambda: len(ours.paths("POST", "/in/3/secret/")) == 10)
        settle(running)
        told = [
            adapter.parse_inbound(InboundRequest("POST", path, {}, dict(parse_qsl(urlsplit(path).query)), body)).events
            for verb, path, _, body in ours.calls if verb == "POST"
        ]  # fmt: skip
        adapter.close()
    assert len(ours.paths("GET", "/l/abc")) == 10
    assert {(event.response, event.identity_value) for (event,) in told} == {
        (ResponseKind.OPT_OUT, f"wm{n}") for n in range(0, 30, 3)
    }


def test_touched_people_buy_more_as_the_truth_says_and_others_buy_too(tmp_path: Path, ours: OurSide) -> None:
    """Orders reach the API with the person's keys; their number is that of the seed, the same on a second run."""
    truth = {"base_rate": 0.02, "order_days": 0.2, "curves": {"sms": curve(ceiling=0.5)}}

    def run(folder: Path) -> dict[str, dict[str, str]]:
        ours.calls.clear()
        with start_sandbox(folder, CROWD, market=market(ours, truth)) as running:
            adapter = smpp.Adapter(smpp_account(running))
            adapter.send([Outgoing(n, CROWD[n].phone, text="【品牌】你好") for n in range(200)])
            running.wait(lambda: running.crowd and running.crowd.now() > 2.5)
            adapter.close()
        return ours.orders()

    first, second = run(tmp_path / "1"), run(tmp_path / "2")
    caused = {number: row for number, row in first.items() if ":sms:" in number}
    base = [number for number in first if "base" in number]
    expected = 200 * true_lift(Truth.of({"seed": 1, **truth}), {"sms": 1})["orders"]
    assert abs(len(caused) - expected) < 4 * expected**0.5
    assert 0.3 * 400 * 0.02 * 2.5 < len(base) < 2 * 400 * 0.02 * 3
    known = {person.member_number for person in CROWD[:200]}
    assert {row["member_number"] for row in caused.values()} <= known
    for row in first.values():
        assert float(row["paid"]) >= 1
        assert dt.datetime.fromisoformat(row["placed_at"]).tzinfo is not None
    headers = next(headers for _, path, headers, _ in ours.calls if path == "/api/v1/orders/batch/")
    assert headers["authorization"] == "Bearer er_key"
    assert headers["idempotency-key"]
    caused_again = {number: row["paid"] for number, row in second.items() if ":sms:" in number}
    assert caused_again == {number: row["paid"] for number, row in caused.items()}


@pytest.mark.django_db
def test_the_orders_of_the_market_are_what_the_real_api_takes(
    tmp_path: Path, ours: OurSide, log_in: Callable[[str], Client]
) -> None:
    with start_sandbox(tmp_path, CROWD, market=market(ours, {"base_rate": 0.05})) as running:
        running.wait(lambda: ours.orders())
    body = next(body for _, path, _, body in ours.calls if "orders" in path)
    answer = log_in("marketer").post("/api/v1/orders/batch/", body, content_type="application/json")
    assert answer.status_code == 200, answer.content
    assert answer.json()["read"] == len(json.loads(body)["rows"])
    assert {row["column"] for row in answer.json()["bad_rows"]} <= {"phone", "email", "member_number"}


def test_reactions_that_wait_survive_a_restart_and_are_done_once(tmp_path: Path, ours: OurSide) -> None:
    truth = {"curves": {"email": curve(click=10.0)}, "click_days": 5.0}
    with start_sandbox(tmp_path, CROWD, market=market(ours, truth, speed=1.0)) as first:
        adapter = email.Adapter(email_account(first))
        adapter.send(mails(ours, 30))
        first.wait(lambda: first.counters("market").get("email touches") == 30)
        adapter.close()
    assert ours.calls == []
    for _ in range(2):
        with start_sandbox(tmp_path, CROWD, market=market(ours, truth, speed=1e7)) as later:
            settle(later)
    assert sorted(ours.paths("GET", "/l/")) == sorted(f"/l/shop{n}?a=1&b=2" for n in range(30))


def test_while_our_side_is_down_people_try_again(
    tmp_path: Path, ours: OurSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channels.sandbox.reactions.PATIENCE", 0.05)
    ours.status = 503
    truth = {"curves": {"email": curve(click=10.0)}}
    with start_sandbox(tmp_path, CROWD, market=market(ours, truth)) as running:
        adapter = email.Adapter(email_account(running))
        adapter.send(mails(ours, 3))
        running.wait(lambda: len(ours.calls) >= 4)
        ours.status = 302  # a tracked link leads on to the shop
        settle(running)
        assert running.counters("market")["click"] == 3
        adapter.close()


def told(ours: OurSide) -> set[int]:
    """Attempts that our webhook has heard of."""
    return {event["attempt_id"] for *_, body in list(ours.calls) for event in json.loads(body)["events"]}


def test_delivery_events_reach_the_email_channels_webhook(tmp_path: Path, ours: OurSide) -> None:
    config = {"webhook": f"{ours.url}/in/1/secret/", "webhook_key": "k", "bounce_share": 0.5}
    with start_sandbox(tmp_path, smtp=config) as running:
        adapter = email.Adapter(email_account(running))
        adapter.account.credentials["webhook_key"] = "k"  # type: ignore[index]
        adapter.send(mails(ours, 40))
        running.wait(lambda: len(told(ours)) == 40)
        events = [
            event
            for _, path, headers, body in ours.calls
            for event in adapter.parse_inbound(InboundRequest("POST", path, headers, {}, body)).events
        ]
        logged = {int(line["attempt"]): line for line in running.log_lines("smtp", "message")}
        adapter.close()
    assert {event.detail["attempt_id"] for event in events} == set(range(40)) == set(logged)
    receipts = {event.receipt for event in events}
    assert receipts == {Receipt.DELIVERED, Receipt.BOUNCED}
    assert all(event.permanent == (event.receipt is Receipt.BOUNCED) for event in events)
    assert {event.reference for event in events} == {line["message_id"] for line in logged.values()}
    assert all(line["one_click"] for line in logged.values())


def test_delivery_events_that_nobody_took_are_told_after_a_restart(tmp_path: Path, ours: OurSide) -> None:
    """The answer to each message was lost and the webhook is down; the events still name every attempt."""
    ours.status = 503
    config = {"webhook": "/in/1/secret/", "faults": {"drop": 1.0}}
    with start_sandbox(tmp_path, smtp=config, market={"app_url": ours.url}) as first:
        adapter = email.Adapter(email_account(first))
        assert {sent.outcome for sent in adapter.send(mails(ours, 5))} == {Outcome.UNKNOWN}
        adapter.close()
        first.wait(lambda: ours.calls)
    ours.calls.clear()
    ours.status = 200
    for _ in range(2):
        with start_sandbox(tmp_path, smtp=config, market={"app_url": ours.url}) as later:
            later.wait(lambda: later.state()["waiting"]["webhook"] == 0)
            later.wait(lambda: later.log_lines("smtp", "reported"))
    told = [event["attempt_id"] for _, _, _, body in ours.calls for event in json.loads(body)["events"]]
    assert sorted(told) == list(range(5)), "once, and not again after the second restart"


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("throttle", Outcome.THROTTLED),
        ("refuse", Outcome.REFUSED),
        ("drop", Outcome.UNKNOWN),
        ("ok", Outcome.ACCEPTED),
    ],
)
def test_the_mail_server_fails_as_told_and_logs_what_it_took(
    tmp_path: Path, ours: OurSide, fault: str, outcome: Outcome
) -> None:
    with start_sandbox(tmp_path) as running:
        running.faults("smtp", next=[fault])
        adapter = email.Adapter(email_account(running))
        (sent,) = adapter.send(mails(ours, 1))
        adapter.close()
        (line,) = running.log_lines("smtp", "message")
    assert sent.outcome is outcome
    taken = outcome in {Outcome.UNKNOWN, Outcome.ACCEPTED}
    assert (line["verdict"] == "accepted", line["attempt"]) == (taken, "0")


def test_the_control_door_changes_speed_and_faults_and_refuses_nonsense(
    tmp_path: Path, ours: OurSide
) -> None:
    with start_sandbox(tmp_path, CROWD, market=market(ours, speed=1.0)) as running:
        door = f"http://127.0.0.1:{running.ports['control']}"
        assert (
            httpx.post(
                f"{door}/config", json={"market": {"speed": 50}, "smpp": {"faults": {"drop": 0.5}}}
            ).json()
            == {}
        )
        state = httpx.get(door).json()
        assert (state["config"]["market"]["speed"], state["config"]["smpp"]["faults"]["drop"]) == (50.0, 0.5)
        assert state["ports"] == running.ports
        wrong = httpx.post(f"{door}/config", json={"smpp": {"wndow": 1}})
        assert (wrong.status_code, "wndow is not known" in wrong.json()["error"]) == (400, True)
        assert httpx.post(f"{door}/smpp/reply", json={"phone": "+8613800138000"}).status_code == 400
