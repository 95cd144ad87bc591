"""Signs of life of the processes, as rows: they need no broker feature and survive every restart."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from config.models import Heartbeat

EVERY = 10.0  # seconds between two beats
LATE = 60.0  # seconds after which a part counts as gone
BEAT, WORKER, ROUND_TRIP = "beat", "worker", "queue"


@dataclass(frozen=True)
class Sign:
    name: str
    at: datetime
    age: float  # seconds
    detail: dict[str, Any]

    @property
    def late(self) -> bool:
        return self.age > LATE


def mark(name: str, **detail: Any) -> None:
    Heartbeat.objects.update_or_create(name=name, defaults={"at": timezone.now(), "detail": detail})


def signs() -> dict[str, Sign]:
    now = timezone.now()
    return {
        row.name: Sign(row.name, row.at, (now - row.at).total_seconds(), row.detail)
        for row in Heartbeat.objects.all()
    }
