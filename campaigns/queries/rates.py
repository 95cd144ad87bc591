"""Statements that count what touches brought."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

RATES = """
WITH seen AS (
    SELECT t.campaign_id, t.id, t.channel_id, t.stage, t.ordinal, t.state_at
    FROM campaigns_touch t
    WHERE t.channel_id = ANY (%(channels)s) AND t.state IN ('sent', 'delivered')
        AND t.state_at > %(since)s AND t.state_at <= %(until)s
),
reactions AS (
    SELECT r.campaign_id, r.touch_id, bool_or(r.kind = ANY (%(converted)s)) AS converted
    FROM campaigns_response r
    WHERE r.touch_id IS NOT NULL AND NOT r.machine AND r.kind <> ALL (%(silent)s)
        AND r.occurred_at > %(since)s AND r.occurred_at <= %(now)s
    GROUP BY r.campaign_id, r.touch_id
)
SELECT s.channel_id, s.stage, s.ordinal, count(*),
    count(*) FILTER (WHERE r.converted), count(*) FILTER (WHERE r.touch_id IS NOT NULL)
FROM seen s LEFT JOIN reactions r ON r.campaign_id = s.campaign_id AND r.touch_id = s.id
GROUP BY s.channel_id, s.stage, s.ordinal
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """How many touches of a kind had their whole window to bring something, and how many did."""

    channel_id: int
    stage: str
    ordinal: int
    touches: int
    converted: int
    reacted: int


def rates(
    channels: Sequence[int],
    now: dt.datetime,
    days: int,
    window: int,
    converted: Sequence[str],
    silent: Sequence[str],
) -> list[Seen]:
    """Touches of these channels in the last ``days`` whose ``window`` of days is over, by stage and ordinal."""
    parameters: dict[str, Any] = {
        "channels": list(channels),
        "since": now - dt.timedelta(days=days),
        "until": now - dt.timedelta(days=window),
        "now": now,
        "converted": list(converted),
        "silent": list(silent),
    }
    with connection.cursor() as cursor:
        cursor.execute(RATES, parameters)
        return [Seen(*row) for row in cursor.fetchall()]
