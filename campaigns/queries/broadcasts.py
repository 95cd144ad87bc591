"""Posts to many: who would see one, what they weigh, and what came back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

# Customers of employees, once each, with whom the campaign leaves alone: a Moments post is seen by them all the same.
SEEN_BY = """
WITH seen AS (
    SELECT DISTINCT coalesce(c.merged_into_id, c.id) AS customer_id
    FROM channels_employeecontact e
    JOIN audiences_identity i ON i.id = e.identity_id
    JOIN audiences_customer c ON c.id = i.customer_id
    WHERE e.removed_at IS NULL AND e.employee_id = ANY (%(employees)s)
)
SELECT count(*), count(*) FILTER (WHERE m.held_out),
       count(*) FILTER (WHERE s.blocked && %(blocks)s::varchar[] OR NOT %(permission)s = ANY (s.allowed))
FROM seen
JOIN audiences_contactstate s ON s.customer_id = seen.customer_id
LEFT JOIN campaigns_member m ON m.campaign_id = %(campaign)s AND m.customer_id = seen.customer_id
"""
# What each employee's customers were asked to see lately, in messages to one customer.
LATELY = """
SELECT t.employee_id, sum(b.weight)
FROM campaigns_broadcasttask t JOIN campaigns_broadcast b ON b.id = t.broadcast_id
WHERE t.employee_id = ANY (%(employees)s) AND t.state IN ('open', 'confirmed') AND t.asked_at > %(since)s
GROUP BY t.employee_id
"""
VISITS = """
SELECT (e.detail ->> 'link_id')::bigint, count(*)
FROM channels_inboxevent e
WHERE e.channel_id = ANY (%(channels)s) AND e.response = 'click' AND e.touch_id IS NULL AND NOT e.machine
  AND e.detail ->> 'link_id' = ANY (%(links)s::text[])
GROUP BY 1
"""
# A person told by a group's size may be in several groups, and a customer of several employees: shown is places.
OF_CAMPAIGN = """
SELECT b.channel_id, b.kind, b.weight, count(DISTINCT b.id) AS posts, count(t.id) AS tasks,
       count(t.id) FILTER (WHERE t.state IN ('planned', 'open')) AS waiting,
       count(t.id) FILTER (WHERE t.state = 'confirmed') AS confirmed,
       count(t.id) FILTER (WHERE t.state = 'unconfirmed') AS unconfirmed,
       count(t.id) FILTER (WHERE t.state = 'failed') AS failed,
       coalesce(sum(t.shown), 0)::bigint AS shown, coalesce(sum(t.likes), 0)::bigint AS likes,
       coalesce(sum(t.comments), 0)::bigint AS comments, array_remove(array_agg(DISTINCT b.link_id), NULL) AS links
FROM campaigns_broadcast b LEFT JOIN campaigns_broadcasttask t ON t.broadcast_id = b.id
WHERE b.campaign_id = %(campaign)s AND b.state IN ('approved', 'ended', 'cancelled')
  AND (b.state <> 'cancelled' OR EXISTS (
      SELECT 1 FROM campaigns_broadcasttask o WHERE o.broadcast_id = b.id AND o.state = 'confirmed'))
GROUP BY b.channel_id, b.kind, b.weight ORDER BY b.channel_id, b.kind, b.weight
"""


def seen_by(
    employees: Sequence[int], campaign_id: int, permission: str, blocks: Sequence[str]
) -> tuple[int, int, int]:
    """(customers of these employees, of them held out of the campaign, of them without consent or blocked)."""
    params = {
        "employees": list(employees), "campaign": campaign_id, "permission": permission, "blocks": list(blocks),
    }  # fmt: skip
    (row,) = _rows(SEEN_BY, params)
    return row[0], row[1], row[2]


def lately(employees: Sequence[int], since: datetime) -> dict[int, Any]:
    """Employee → weight of the posts asked since then and not failed."""
    return dict(_rows(LATELY, {"employees": list(employees), "since": since}))


def visits(channels: Sequence[int], links: Sequence[int]) -> dict[int, int]:
    """Link → clicks of people on it."""
    if not links:
        return {}
    return dict(_rows(VISITS, {"channels": list(channels), "links": [str(link) for link in links]}))


def of_campaign(campaign_id: int) -> list[dict[str, Any]]:
    """A campaign's approved posts by channel, kind and weight, with those cancelled after somebody confirmed."""
    with connection.cursor() as cursor:
        cursor.execute(OF_CAMPAIGN, {"campaign": campaign_id})
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _rows(sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()
