import pytest

from config import beat, heartbeat, tasks
from config.models import Heartbeat


@pytest.mark.django_db
def test_a_part_has_one_row_however_often_it_is_seen() -> None:
    heartbeat.mark(heartbeat.WORKER, pid=1)
    heartbeat.mark(heartbeat.WORKER, pid=2)
    assert list(Heartbeat.objects.values_list("name", "detail")) == [("worker", {"pid": 2})]
    assert not heartbeat.signs()["worker"].late


@pytest.mark.django_db
def test_a_published_task_leaves_proof_that_it_got_through() -> None:
    tasks.queue_round_trip.delay()
    assert heartbeat.ROUND_TRIP in heartbeat.signs()


def test_every_scheduled_task_exists() -> None:
    from config.celery import app

    app.loader.import_default_modules()
    missing = {entry["task"] for entry in beat.schedule().values()} - set(app.tasks)
    assert missing == set()
