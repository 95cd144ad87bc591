"""What dead workers left behind."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

EXPIRED_CLAIMS = """
SELECT token, channel_id, called FROM campaigns_dispatch_claim WHERE lease_until < %(now)s
ORDER BY token LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""

# Attempts still recorded past their lease. No claim row means that nothing is known of the call.
ABANDONED = """
SELECT a.campaign_id, a.id, a.worker
FROM campaigns_attempt a
WHERE a.channel_id = %(channel)s AND a.state = 'recorded' AND a.lease_until < %(now)s
  AND (a.worker = ANY (%(tokens)s)
       OR NOT EXISTS (SELECT FROM campaigns_dispatch_claim c WHERE c.token = a.worker))
ORDER BY a.campaign_id, a.touch_id, a.n
"""

FORGET = "DELETE FROM campaigns_dispatch_claim WHERE token = ANY (%(tokens)s)"

RECORDED_CHANNELS = """
SELECT DISTINCT channel_id FROM campaigns_attempt WHERE state = 'recorded' AND lease_until < %(now)s
"""

UNCONFIRMED = """
SELECT a.campaign_id, a.id
FROM campaigns_attempt a
JOIN campaigns_touch t ON t.campaign_id = a.campaign_id AND t.id = a.touch_id
WHERE a.channel_id = %(channel)s AND a.state = 'held' AND t.deadline_at < %(now)s::timestamptz - %(grace)s
LIMIT %(limit)s
"""


def expired_claims(now: datetime, limit: int) -> list[tuple[str, int, list[int]]]:
    """(token, channel, called attempts) of claims whose lease is over, locked."""
    return _rows(EXPIRED_CLAIMS, {"now": now, "limit": limit})


def abandoned(channel_id: int, tokens: Sequence[str], now: datetime) -> list[tuple[int, int, str]]:
    """(campaign, attempt, token) of a channel's attempts that those claims, or nobody any more, hold."""
    return _rows(ABANDONED, {"channel": channel_id, "tokens": list(tokens), "now": now})


def recorded_channels(now: datetime) -> list[int]:
    """Channels with attempts recorded past their lease."""
    return [row[0] for row in _rows(RECORDED_CHANNELS, {"now": now})]


def unconfirmed(channel_id: int, now: datetime, grace: timedelta, limit: int) -> list[tuple[int, int]]:
    """(campaign, attempt) held for longer than ``grace`` after the deadline of their touch."""
    return _rows(UNCONFIRMED, {"channel": channel_id, "now": now, "grace": grace, "limit": limit})


def forget(tokens: Sequence[str]) -> int:
    """Claims that were swept."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, {"tokens": list(tokens)})
        return cursor.rowcount


def _rows(sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()
