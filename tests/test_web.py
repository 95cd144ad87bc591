"""The web server as `up` starts it: what a caller says is all it knows, and its processes end with it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from config import web
from config.up import free_port
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"


class Served:
    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.process, self.port = process, port

    def ask(self, path: str = "/", body: bytes | None = None, **headers: str) -> dict[str, Any]:
        request = urllib.request.Request(f"http://{HOST}:{self.port}{path}", body, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=20) as answer:
            told: dict[str, Any] = json.load(answer)
            return told

    def processes(self) -> set[int]:
        """Those of its session: the server's own and the ones that answer."""
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid and fields[0] != "Z":
                    found.add(int(stat.parent.name))
        return found


@pytest.fixture
def served() -> Iterator[Served]:
    port = free_port(HOST, 18700 + os.getpid() % 200)
    environment = os.environ | {
        "EVENREACH_WEB_WORKERS": "2", "EVENREACH_WEB_THREADS": "2", "DATABASE_PASSWORD": "hidden", "HTTP_PROXY": "hidden",
    }  # fmt: skip
    process = subprocess.Popen(
        web.command(f"{HOST}:{port}", "tests.web_app:application"), cwd=ROOT, env=environment,
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    found = Served(process, port)
    try:
        assert until(lambda: answers(found)), "it never answered"
        yield found
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(served: Served) -> bool:
    with suppress(OSError):
        return bool(served.ask())
    return False


def told(served: Served) -> set[int]:
    """Who answers ten calls, if all are answered."""
    with suppress(OSError):
        return {served.ask()["pid"] for _n in range(10)}
    return set()


def test_an_application_is_told_what_the_caller_said_and_nothing_of_this_machine(served: Served) -> None:
    said = served.ask("/a%2Fb/%E4%B8%AD?x=%20y", b"12345", **{"X-Thing": "1"})
    assert "hidden" not in said.values()
    assert "PATH" not in said
    assert said["PATH_INFO"].encode("latin-1").decode() == "/a/b/中"
    wanted = {
        "REQUEST_METHOD": "POST", "QUERY_STRING": "x=%20y", "REMOTE_ADDR": HOST, "HTTP_X_THING": "1", "body": 5,
        "SERVER_PORT": str(served.port), "wsgi.url_scheme": "http", "SCRIPT_NAME": "",
    }  # fmt: skip
    assert {name: said.get(name) for name in wanted} == wanted


def test_processes_end_with_a_server_that_is_killed(served: Served) -> None:
    assert until(lambda: len(served.processes()) == 3)
    os.kill(served.process.pid, signal.SIGKILL)
    assert until(lambda: not served.processes()), served.processes()
    with pytest.raises(urllib.error.URLError):
        served.ask()


def test_a_process_that_is_killed_is_replaced_while_the_other_answers(served: Served) -> None:
    assert until(lambda: len(told(served)) == 2), "both answer"
    killed = served.ask()["pid"]
    os.kill(killed, signal.SIGKILL)
    assert until(lambda: bool(told(served))), (
        "what had just come to the killed one is lost, what comes next is not"
    )
    assert until(lambda: len(told(served) - {killed}) == 2), "and then there are two again"


def test_told_to_stop_it_finishes_what_it_answers_and_leaves_nothing(served: Served) -> None:
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(served.ask, "/slow") for _n in range(2)]
        time.sleep(0.5)
        served.process.send_signal(signal.SIGTERM)
        assert all(each.result()["PATH_INFO"] == "/slow" for each in slow)
    assert served.process.wait(20) == 0
    assert served.processes() == set()


def test_told_to_stop_before_its_application_is_loaded_it_does_not_wait_for_it() -> None:
    environment = os.environ | {"EVENREACH_WEB_WORKERS": "1", "TEST_WEB_LOADS": "8"}
    process = subprocess.Popen(
        web.command(f"{HOST}:{free_port(HOST, 18950)}", "tests.web_app:application"), cwd=ROOT, env=environment,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert until(lambda: len(Served(process, 0).processes()) == 2)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def has_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


@pytest.mark.parametrize(
    "address", ["localhost:{}", ":{}", "127.0.0.1:{}", *(["[::1]:{}"] if has_ipv6() else [])]
)
def test_an_address_may_be_a_name_a_number_or_all_of_this_machines(address: str) -> None:
    port = free_port(HOST, 18960 + os.getpid() % 30)
    command = [sys.executable, "-m", "config.web", address.format(port), "tests.web_app:application"]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        host = "::1" if "::1" in address else HOST
        assert until(lambda: not refused(host, port)), "nobody listens"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def refused(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), 1):
        return False
    return True


def test_an_error_of_the_application_is_told_as_such_and_written_down(served: Served) -> None:
    with pytest.raises(urllib.error.HTTPError, match="500"):
        served.ask("/fail")
    assert served.ask()["pid"], "the next caller is answered"
    os.killpg(served.process.pid, signal.SIGKILL)
    assert b"RuntimeError: as asked" in served.process.communicate()[0]
