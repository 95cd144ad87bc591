"""Redis in the place of the queue in the database: published by one process, done by another."""

import os
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest
from django.db import connection

from config import heartbeat

PUBLISH = "import django; django.setup(); from config.tasks import queue_round_trip; queue_round_trip.delay()"


@pytest.mark.needs_redis
@pytest.mark.django_db(transaction=True)
def test_work_gets_through_redis(redis_url: str) -> None:
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    environment = os.environ | {
        "DATABASE_URL": url,
        "BROKER_URL": redis_url,
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
