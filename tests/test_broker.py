"""Redis or RabbitMQ in the place of the queue in the database: published by one process, done by another."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connection

from config import heartbeat
from config.up import free_port

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one on PATH wants to be root
PUBLISH = "import django; django.setup(); from config.tasks import queue_round_trip; queue_round_trip.delay()"


@pytest.fixture
def rabbitmq_url(tmp_path: Path) -> Iterator[str]:
    """A RabbitMQ node of this test's own, with a name service of its own, which goes with it."""
    port, other, names = (free_port("127.0.0.1", first) for first in (25672, 26672, 27672))
    environment = os.environ | {
        "HOME": str(tmp_path), "ERL_EPMD_PORT": str(names), "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"evenreach{port}@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port), "RABBITMQ_DIST_PORT": str(other), "RABBITMQ_PID_FILE": str(tmp_path / "pid"),
        "RABBITMQ_MNESIA_BASE": str(tmp_path / "data"), "RABBITMQ_LOG_BASE": str(tmp_path / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(tmp_path / "plugins"),
    }  # fmt: skip
    with (tmp_path / "out").open("wb") as out:
        node = subprocess.Popen(
            [str(RABBITMQ)], env=environment, cwd=tmp_path, stdout=out, stderr=out, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            assert node.poll() is None, (tmp_path / "out").read_text(errors="replace")[-2000:]
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "it does not listen"
                time.sleep(0.2)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        os.killpg(node.pid, signal.SIGTERM)
        node.wait(30)
        subprocess.run(["epmd", "-port", str(names), "-kill"], env=environment, capture_output=True)


# Where no RabbitMQ is installed nothing of it is claimed, and docs/limits.md says where it was tried.
BROKERS = [
    pytest.param("redis_url", marks=pytest.mark.needs_redis, id="redis"),
    *([pytest.param("rabbitmq_url", id="rabbitmq")] if RABBITMQ.exists() else []),
]


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.django_db(transaction=True)
def test_work_gets_through_another_broker(broker: str, request: pytest.FixtureRequest) -> None:
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    environment = os.environ | {
        "DATABASE_URL": url,
        "BROKER_URL": request.getfixturevalue(broker),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    subprocess.run([sys.executable, "-c", PUBLISH], env=environment, check=True, timeout=60)
    assert heartbeat.ROUND_TRIP not in heartbeat.signs()
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "--quiet", "-A", "config", "worker"]
        + ["--pool", "threads", "--concurrency", "1", "--loglevel", "WARNING"],
        env=environment,
    )
    try:
        deadline = time.monotonic() + 90
        while heartbeat.ROUND_TRIP not in heartbeat.signs() and time.monotonic() < deadline:
            assert worker.poll() is None, "the worker ended"
            time.sleep(0.2)
        assert heartbeat.ROUND_TRIP in heartbeat.signs()
    finally:
        worker.terminate()
        worker.wait(30)
