"""How far a released campaign is, counted from its own rows."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection

MEMBERS = """
SELECT held_out, state, reason, count(*) FROM campaigns_member WHERE campaign_id = %(campaign)s GROUP BY 1, 2, 3
"""

TARGETS = """
SELECT channel_id, cause, sum(target), sum(planned)
FROM campaigns_member_target WHERE campaign_id = %(campaign)s GROUP BY 1, 2
"""

TOUCHES = """
SELECT channel_id, state, reason, deferred, count(*), sum(cost),
    sum(reserved) FILTER (WHERE state IN ('planned', 'claimed', 'held'))
FROM campaigns_touch WHERE campaign_id = %(campaign)s GROUP BY 1, 2, 3, 4
"""

ERRORS = """
SELECT channel_id, state, code, max(text), count(*), max(started_at)
FROM campaigns_attempt
WHERE campaign_id = %(campaign)s AND state IN ('refused', 'throttled', 'bounced', 'expired', 'unknown')
GROUP BY 1, 2, 3 ORDER BY 6 DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class TouchCount:
    channel_id: int
    state: str
    reason: str
    deferred: str
    n: int
    cost: Decimal
    reserved: Decimal


@dataclass(frozen=True, slots=True)
class TargetCount:
    channel_id: int
    cause: str
    target: int
    planned: int


@dataclass(frozen=True, slots=True)
class MemberCount:
    held_out: bool
    state: str
    reason: str
    n: int


@dataclass(frozen=True, slots=True)
class ErrorCount:
    channel_id: int
    state: str
    code: str
    text: str
    n: int
    last_at: Any


def members(campaign_id: int) -> list[MemberCount]:
    """Members by side, state and reason."""
    return [MemberCount(*row) for row in _rows(MEMBERS, campaign_id)]


def targets(campaign_id: int) -> list[TargetCount]:
    """Targets and planned touches by channel and cause of the shortfall."""
    return [
        TargetCount(channel, cause, int(target), int(planned))
        for channel, cause, target, planned in _rows(TARGETS, campaign_id)
    ]


def touches(campaign_id: int) -> list[TouchCount]:
    """Touches by channel, state and reason, with what they cost and still may cost."""
    return [
        TouchCount(channel, state, reason, deferred, n, cost or Decimal(0), reserved or Decimal(0))
        for channel, state, reason, deferred, n, cost, reserved in _rows(TOUCHES, campaign_id)
    ]


def errors(campaign_id: int, limit: int = 20) -> list[ErrorCount]:
    """Attempts that did not reach anybody, by channel and code, the latest first."""
    return [ErrorCount(*row) for row in _rows(ERRORS, campaign_id, limit=limit)]


def _rows(statement: str, campaign_id: int, **values: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"campaign": campaign_id, **values})
        return cursor.fetchall()
