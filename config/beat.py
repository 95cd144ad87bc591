"""Beat, with the schedules of all apps and a sign of life in the database."""

import time
from typing import Any

from celery.beat import PersistentScheduler
from django.conf import settings
from django.db import Error, close_old_connections

from config import heartbeat
from config.collect import modules

OWN: dict[str, dict[str, Any]] = {
    "queue-round-trip": {
        "task": "config.tasks.queue_round_trip",
        "schedule": 15.0,
        # Nobody needs yesterday's proof of life.
        "options": {"expires": 60},
    },
    "forget-old": {"task": "config.tasks.forget_old", "schedule": 3600.0},
}


def schedule() -> dict[str, dict[str, Any]]:
    """Our own entries and `BEAT` of each app's `schedule.py`; two entries of one name are an error."""
    entries = dict(OWN)
    for module in modules("schedule"):
        for name, entry in module.BEAT.items():
            if name in entries:
                raise ValueError(f"{module.__name__} repeats the schedule entry {name!r}")
            entries[name] = entry
    return entries


class Scheduler(PersistentScheduler):
    _marked = 0.0

    def setup_schedule(self) -> None:
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        self.app.conf.beat_schedule = schedule()
        super().setup_schedule()

    def tick(self, *args: Any, **kwargs: Any) -> float:
        wait: float = super().tick(*args, **kwargs)
        if time.monotonic() - self._marked >= heartbeat.EVERY:
            try:
                heartbeat.mark(heartbeat.BEAT)
                self._marked = time.monotonic()
            except Error:
                # The database restarts; the next tick tries again, and /readyz tells meanwhile.
                close_old_connections()
        return min(wait, heartbeat.EVERY / 2)
