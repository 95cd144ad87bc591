"""Tokens that run out: exchanged by one worker at a time, and kept before anybody uses the new one.

Platforms take a refresh token once. So whoever finds the access token over asks here; one worker exchanges, the
others wait and are given what it got. The lock is the database's, of its own connection and outside of any
transaction's rows: a worker that dies lets go of it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from channels.adapters.base import AdapterError, Credentials
from channels.models import Channel

LOCK = 0x65_76_72_6E  # with the channel's number: who renews its token


@contextmanager
def renewing(channel_id: int) -> Iterator[None]:
    """Alone with this channel's credentials; waits for its turn."""
    key = (LOCK, channel_id % 2**31)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", key)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def renew(
    channel_id: int, stale: Credentials, exchange: Callable[[Credentials], Credentials]
) -> dict[str, Any]:
    """What opens the door now, instead of ``stale``. Raises what ``exchange`` raises; then nothing is changed.

    ``exchange`` is given what is stored and returns what changes. The channel's time of change stays, so that
    connections of other workers live on; they come here when they find their token over.
    """
    with renewing(channel_id):
        stored = Channel.objects.filter(pk=channel_id).values_list("credentials", flat=True).first()
        if stored is None:
            raise AdapterError("the channel is gone", code="gone")
        if dict(stored) != dict(stale):
            return dict(stored)
        fresh = {**stored, **exchange(stored)}
        Channel.objects.filter(pk=channel_id).update(credentials=fresh)
    return fresh
