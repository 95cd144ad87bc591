"""Who is woken: channels with something due."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.utils import timezone

from campaigns import lateness
from campaigns.queries import claim as queries

MOST_WORKERS = 64
SLOT_LOCK = 730_144_190


def workers() -> int:
    """Turns that may run on one channel at a time, over all machines."""
    return max(1, min(MOST_WORKERS, settings.DISPATCH_WORKERS))


def tick(wake: Callable[[int], object], now: datetime | None = None) -> int:
    """Look once: overdue things are seen to, and channels with due touches are woken.

    Returns how many channels were.
    """
    at = now or timezone.now()
    lateness.watch(at)
    channels = queries.due_channels(at)
    for channel_id in channels:
        wake(channel_id)
    return len(channels)


@contextmanager
def slot(channel_id: int) -> Iterator[bool]:
    """One of the channel's places for a turn; False when all are taken. A dead worker's place is free at once."""
    with connection.cursor() as cursor:
        taken = None
        for number in range(workers()):
            key = channel_id * MOST_WORKERS + number
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [SLOT_LOCK, key])
            if cursor.fetchone()[0]:
                taken = key
                break
    try:
        yield taken is not None
    finally:
        if taken is not None and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [SLOT_LOCK, taken])
