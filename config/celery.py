"""Celery only wakes workers; what there is to do stands in our tables.

Embedded, the queue lives in the same database and workers are threads: with it, killed pool processes hang
the worker. Elsewhere BROKER_URL names Redis (AOF on, `noeviction`) or RabbitMQ.
"""

import os
import threading
import time
import warnings
from typing import Any

from celery import Celery
from celery.signals import beat_init, worker_init, worker_ready
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Root is what a container often is; messages are JSON, so nobody gets code run by sending one.
warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")

app = Celery("evenreach")
app.config_from_object("config.broker:OPTIONS")
app.autodiscover_tasks(lambda: ["config", *settings.ROAD])


@worker_init.connect
@beat_init.connect
def hold_database(**kwargs: Any) -> None:
    """The queue opens its connections past Django, so the embedded server is started here."""
    from config import postgres

    postgres.hold_default()


@worker_ready.connect
def keep_marking(**kwargs: Any) -> None:
    threading.Thread(target=_mark_forever, daemon=True, name="heartbeat").start()


def _mark_forever() -> None:
    from django.db import Error, connection

    from config import heartbeat

    while True:
        try:
            heartbeat.mark(heartbeat.WORKER, pid=os.getpid())
        except Error:
            connection.close()  # the database restarts; /readyz tells meanwhile
        time.sleep(heartbeat.EVERY)
