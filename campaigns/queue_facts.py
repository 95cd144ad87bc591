"""What campaigns tell a channel's health: messages that are due and were not handed over yet, as dispatch sees them."""

import datetime as dt
from collections.abc import Sequence

from campaigns.queries import queue_facts as queries
from channels.registers import DueMessages, due_messages


def due(channel_ids: Sequence[int], now: dt.datetime) -> Sequence[DueMessages]:
    """By channel. On platforms nothing is sent: whom they shall hold is counted there."""
    return [DueMessages(*row) for row in queries.due(list(channel_ids), now)]


def register() -> None:
    """Called once, from ``CampaignsConfig.ready``."""
    due_messages.add("campaigns", due)
