"""What waits to be sent, in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

# As a claim takes them, whatever the channel's own state: what waits there goes out once it works again.
DUE = """
SELECT ch.id, sum(due.n)::bigint, min(due.since)
FROM channels_channel ch
JOIN campaigns_channelplan p ON p.channel_id = ch.id AND p.paused_at IS NULL
JOIN campaigns_campaign c ON c.id = p.campaign_id AND c.state = 'running'
    AND (c.starts_at IS NULL OR c.starts_at <= %(now)s)
CROSS JOIN LATERAL (
    SELECT count(*) AS n, min(t.due_at) AS since FROM campaigns_touch t
    WHERE t.campaign_id = c.id AND t.channel_id = ch.id AND t.state = 'planned' AND t.due_at <= %(now)s
      AND t.deadline_at > %(now)s
) AS due
WHERE ch.id = ANY(%(channels)s) AND ch.guarantee <> 'aggregate' AND due.n > 0
GROUP BY ch.id
"""


def due(channel_ids: Sequence[int], now: datetime) -> list[tuple[Any, ...]]:
    """(channel, due touches of running plans, since when the oldest is due) where there are any."""
    with connection.cursor() as cursor:
        cursor.execute(DUE, {"channels": list(channel_ids), "now": now})
        return cursor.fetchall()
