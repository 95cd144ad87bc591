from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from config import heartbeat
from config.models import Heartbeat

pytestmark = pytest.mark.django_db


def test_healthz_asks_nothing_of_the_database(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert client.get("/healthz").content == b"ok\n"


def test_readyz_names_the_parts_that_are_missing(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {
        "database": "ok",
        "migrations": "ok",
        "queue": "ok",
        "worker": "worker was never seen",
        "beat": "beat was never seen",
    }


def test_readyz_is_ready_once_worker_and_beat_were_seen(client: Client) -> None:
    heartbeat.mark(heartbeat.WORKER, pid=1)
    heartbeat.mark(heartbeat.BEAT)
    assert client.get("/readyz").status_code == 200


def test_a_part_not_seen_for_a_minute_is_late(client: Client) -> None:
    heartbeat.mark(heartbeat.BEAT)
    heartbeat.mark(heartbeat.WORKER)
    Heartbeat.objects.filter(name=heartbeat.WORKER).update(at=timezone.now() - timedelta(seconds=75))
    answer = client.get("/readyz").json()
    assert answer["checks"]["worker"].startswith("worker was last seen 75 s ago")
    assert answer["checks"]["beat"] == "ok"


def test_metrics_tell_the_age_of_each_part(client: Client) -> None:
    heartbeat.mark(heartbeat.WORKER)
    text = client.get("/metrics").content.decode()
    assert 'evenreach_heartbeat_age_seconds{part="worker"}' in text


def test_metrics_are_for_this_machine_or_for_those_who_know_the_token(client: Client, settings: Any) -> None:
    assert client.get("/metrics", REMOTE_ADDR="203.0.113.9").status_code == 403
    assert client.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"}).status_code == 403
    settings.METRICS_TOKEN = "letmein"
    assert client.get("/metrics").status_code == 403
    assert client.get("/metrics", headers={"authorization": "Bearer letmein"}).status_code == 200
