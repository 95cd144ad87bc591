"""The sandbox's log: what was answered is on the disk, whatever happens next."""

import asyncio
import contextlib
import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from channels.adapters.base import AdapterError, Outcome, Outgoing
from channels.adapters.smpp import Adapter
from channels.sandbox.config import BadConfig, Config, build, update
from channels.sandbox.faults import Fault, Faults
from channels.sandbox.log import Log, read_log
from channels.sandbox.server import PortTaken, Sandbox
from tests.sandbox_fixture import smpp_account, start_sandbox

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")


def run(story: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own: a browser's test may have left an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, story).result()


def test_a_line_is_on_the_disk_when_flushed_returns(tmp_path: Path) -> None:
    async def story() -> None:
        log = Log(tmp_path)
        log.write("smpp", "submit", attempt="1")
        assert list(read_log(tmp_path, "smpp")) == []
        await asyncio.gather(log.flushed(), log.flushed())
        assert [line["attempt"] for line in read_log(tmp_path, "smpp")] == ["1"]
        await log.close()

    run(story())


def test_who_waits_for_a_flush_never_gets_ahead_of_it(tmp_path: Path) -> None:
    """Lines written while an earlier flush runs belong to the next one."""

    async def one(log: Log, n: int) -> bool:
        await asyncio.sleep(0.0005 * (n % 7))
        log.write("smtp", "message", attempt=str(n))
        await log.flushed()
        return any(line["attempt"] == str(n) for line in read_log(tmp_path, "smtp"))

    async def story() -> list[bool]:
        log = Log(tmp_path)
        found = await asyncio.gather(*(one(log, n) for n in range(60)))
        await log.close()
        return found

    assert run(story()) == [True] * 60


def test_a_line_cut_short_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "smtp.jsonl").write_bytes(b'{"event":"message","attempt":"1"}\n{"event":"mess')

    async def story() -> None:
        log = Log(tmp_path)
        log.write("smtp", "message", attempt="2")
        await log.close()

    run(story())
    assert [line["attempt"] for line in read_log(tmp_path, "smtp")] == ["1", "2"]


def test_faults_are_the_same_for_the_same_messages() -> None:
    faults = Faults(throttle=0.3, drop=0.2)
    first = [faults.decide(7, str(n)) for n in range(2000)]
    assert first == [faults.decide(7, str(n)) for n in range(2000)]
    assert 0.27 < first.count(Fault.THROTTLE) / 2000 < 0.33
    assert 0.17 < first.count(Fault.DROP) / 2000 < 0.23
    faults.next = ["silent"]
    assert [faults.decide(7, "1"), faults.decide(7, "1")] == [Fault.SILENT, first[1]]


def test_a_configuration_with_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadConfig, match=r"smpp\.windows is not known; known: .*window"):
        build(Config, {"smpp": {"windows": 3}})
    with pytest.raises(BadConfig, match=r"smpp\.window must be int"):
        build(Config, {"smpp": {"window": "many"}})
    config = build(Config, {"smpp": {"receipt_seconds": 1}})
    with pytest.raises(BadConfig):
        update(config, {"smpp": {"window": 5, "faults": {"trottle": 1}}})
    assert config.smpp.window == 1000
    update(config, {"smpp": {"faults": {"throttle": 0.5}}})
    assert (config.smpp.faults.throttle, config.smpp.receipt_seconds) == (0.5, 1.0)


def test_ports_stay_the_same_over_a_restart(tmp_path: Path) -> None:
    with start_sandbox(tmp_path) as first:
        ports = dict(first.ports)
    with start_sandbox(tmp_path) as second:
        assert second.ports == ports
    assert json.loads((tmp_path / "ports.json").read_text())["smpp"] == ports["smpp"]


def test_a_taken_port_is_told_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with (
            pytest.raises(PortTaken, match="--ports smpp=0"),
            Sandbox(tmp_path, ports={"smpp": taken, "smtp": 0}),
        ):
            pass


def start(folder: Path) -> tuple[subprocess.Popen[str], dict[str, int]]:
    """The sandbox as a program of its own, and its ports."""
    program = subprocess.Popen(
        [sys.executable, "-m", "channels.sandbox", "--dir", str(folder), "--ports", "0"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    assert "Sandbox ready" in program.stdout.readline()
    return program, json.loads((folder / "ports.json").read_text())


def end(program: subprocess.Popen[str]) -> None:
    program.kill()
    program.wait()
    if program.stdout:
        program.stdout.close()


def test_the_mail_server_survives_kill_9_with_every_answer_it_gave(tmp_path: Path) -> None:
    """Killed in the middle of it; each message answered with 250 is in the log, once."""
    answered: list[str] = []
    for round_ in range(3):
        program, ports = start(tmp_path)
        with contextlib.suppress(smtplib.SMTPException, OSError):
            client = smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=5)
            for n in range(200):
                attempt = f"{round_}{n:05d}"
                client.sendmail("a@example.com", [f"c{n}@example.com"], (
                    f"From: a@example.com\r\nDate: x\r\nMessage-ID: <{attempt}@x>\r\n"
                    f"X-Evenreach-Attempt: {attempt}\r\n\r\nhello\r\n"
                ))  # fmt: skip
                answered.append(attempt)
                if n == 40:
                    os.kill(program.pid, signal.SIGKILL)
        end(program)
    logged = [line["attempt"] for line in read_log(tmp_path, "smtp") if line["verdict"] == "accepted"]
    assert len(answered) >= 3 * 41
    assert set(answered) <= set(logged)
    assert len(logged) == len(set(logged))


def test_the_smsc_survives_kill_9_and_its_ids_do_not_begin_anew(tmp_path: Path) -> None:
    """Killed with a window full of messages: what it accepted is logged, and every receipt is told in the end."""
    accepted: dict[str, int] = {}
    known: set[int] = set()
    for round_ in range(3):
        program, ports = start(tmp_path)
        threading.Timer(0.25, os.kill, (program.pid, signal.SIGKILL)).start()
        adapter = Adapter(smpp_account(SimpleNamespace(ports=ports)))  # type: ignore[arg-type]
        number = round_ * 1_000_000
        with contextlib.suppress(AdapterError):
            while True:
                batch = [
                    Outgoing(n, f"+86138{n % 10**8:08d}", text="你好") for n in range(number, number + 200)
                ]
                number += 200
                known |= {message.attempt_id for message in batch}
                for sent in adapter.send(batch):
                    if sent.outcome is Outcome.ACCEPTED:
                        assert sent.reference not in accepted
                        accepted[sent.reference] = sent.attempt_id
        end(program)
    logged = {
        int(line["attempt"]) for line in read_log(tmp_path, "smpp") if line.get("verdict") == "accepted"
    }
    assert len(accepted) > 200
    assert set(accepted.values()) <= logged <= known
    program, ports = start(tmp_path)
    adapter = Adapter(smpp_account(SimpleNamespace(ports=ports)))  # type: ignore[arg-type]
    told: set[int] = set()
    while events := adapter.poll([]):
        told |= {event.detail["attempt_id"] for event in events}
        adapter.acknowledge()
    adapter.close()
    end(program)
    assert told == logged


def test_a_log_of_many_lines_is_read_in_a_moment(tmp_path: Path) -> None:
    """A sandbox that took 100,000 messages starts again within seconds."""
    folder = tmp_path / "log"
    folder.mkdir()
    line = (
        '{"at":"2026-11-23T08:00:00.000+00:00","kind":"smpp","event":"submit","verdict":"accepted","attempt":"%d",'
        '"address":"+8613800138000","source":"1069","digest":"x","message_id":"%08X","part":1,"parts":1,"receipt":0,'
        '"validity":"","code":"0x00","answered":true}\n'
    )
    (folder / "smpp.jsonl").write_text("".join(line % (n, n) for n in range(1, 100_001)))
    began = time.monotonic()
    with start_sandbox(tmp_path) as running:
        assert time.monotonic() - began < 5
        adapter = Adapter(smpp_account(running))
        (sent,) = adapter.send([Outgoing(1, "+8613800138000", text="你好")])
        adapter.close()
    assert int(sent.reference, 16) == 100_001
