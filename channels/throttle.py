"""How fast a channel may send, shared by all workers on all machines.

Virtual scheduling (GCRA): the row holds when the next message may start. A worker takes a few messages at
a time, in a short transaction of its own; over any w seconds at most ``rate × (w + AHEAD) + 1`` may start.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from channels.queries import throttle as queries

AHEAD = 0.1
"""Seconds of messages that may be taken in advance: one lease a tenth of a second, and room for a late wake-up."""


@dataclass(frozen=True, slots=True)
class Leased:
    """``n`` messages may start now; when 0, ask again after ``wait_seconds``."""

    n: int
    wait_seconds: float = 0.0


def lease(channel_id: int, wanted: int, now: datetime | None = None) -> Leased:
    """Take up to ``wanted`` messages from the channel's throttle. Without ``now`` the database's clock is used.

    Must run outside a transaction (a waiting worker would otherwise hold the row): raises
    :class:`RuntimeError` inside one.
    """
    if wanted <= 0:
        return Leased(0)
    with transaction.atomic(durable=True):
        row = queries.lease(channel_id, wanted, AHEAD, now)
        if row is None:
            queries.ensure_throttle(channel_id)
            row = queries.lease(channel_id, wanted, AHEAD, now)
    if row is None:
        raise LookupError(f"no channel {channel_id}")
    return Leased(*row)


def back_off(channel_id: int, seconds: float, now: datetime | None = None) -> None:
    """The provider said: slower. Nothing starts for ``seconds``, on any worker."""
    with transaction.atomic():
        if not queries.back_off(channel_id, seconds, now):
            queries.ensure_throttle(channel_id)
            queries.back_off(channel_id, seconds, now)
