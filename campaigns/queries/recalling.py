"""Held attempts that must not go out any more, and those that share a task with them."""

from collections.abc import Sequence
from typing import Any

from django.db import connection

UNWANTED = """
SELECT DISTINCT split_part(a.reference, ':', 1)
FROM campaigns_attempt a
JOIN campaigns_campaign c ON c.id = a.campaign_id
JOIN campaigns_channelplan p ON p.campaign_id = a.campaign_id AND p.channel_id = a.channel_id
JOIN campaigns_member m ON m.campaign_id = a.campaign_id AND m.customer_id = a.customer_id
JOIN audiences_contactstate s ON s.customer_id = a.customer_id
JOIN channels_channel ch ON ch.id = a.channel_id
WHERE a.channel_id = %(channel)s AND a.state = 'held' AND a.reference <> ''
  AND (c.state <> 'running' OR ch.state = 'paused' OR p.paused_at IS NOT NULL OR m.state <> 'active' OR s.erased
       OR (NOT s.absorbed AND (s.blocked && %(blocks)s::varchar[] OR NOT %(permission)s = ANY (s.allowed))))
LIMIT %(limit)s
"""

IN_TASKS = """
SELECT reference, campaign_id, id FROM campaigns_attempt
WHERE channel_id = %(channel)s AND state = 'held' AND split_part(reference, ':', 1) = ANY (%(tasks)s)
ORDER BY campaign_id, touch_id, n
"""


def unwanted(channel_id: int, permission: str, blocks: Sequence[str], limit: int) -> list[str]:
    """Tasks (the head of a held reference) with somebody whom the campaign must not contact now."""
    params: dict[str, Any] = {
        "channel": channel_id,
        "permission": permission,
        "blocks": list(blocks),
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(UNWANTED, params)
        return [row[0] for row in cursor.fetchall()]


def in_tasks(channel_id: int, tasks: Sequence[str]) -> list[tuple[str, int, int]]:
    """(reference, campaign, attempt) of everything held in these tasks."""
    with connection.cursor() as cursor:
        cursor.execute(IN_TASKS, {"channel": channel_id, "tasks": list(tasks)})
        return cursor.fetchall()
