"""Tasks of employees: how many a day, which have ended, which wait for long."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection

from campaigns.models import EmployeeTask

TAKEN = """
SELECT employee_id, count(*) FROM campaigns_employeetask
WHERE employee_id = ANY (%(employees)s) AND day = %(day)s GROUP BY employee_id
"""
NAME = """
UPDATE campaigns_employeetask t SET reference = g.reference, customers = g.customers, attempt_id = g.attempt_id
FROM unnest(%(tasks)s::bigint[], %(references)s::text[], %(customers)s::integer[], %(attempts)s::bigint[])
    AS g (id, reference, customers, attempt_id)
WHERE t.id = g.id
"""
# All messages of a task settle together: one of them tells. What was taken back or expired was not confirmed.
SETTLE = """
UPDATE campaigns_employeetask t
SET state = CASE WHEN a.state IN ('accepted', 'delivered', 'bounced') THEN 'confirmed' ELSE 'ended' END,
    ended_at = coalesce(CASE WHEN a.state IN ('accepted', 'delivered') THEN a.sent_at END, %(now)s)
FROM campaigns_attempt a
WHERE t.state = 'open' AND a.campaign_id = t.campaign_id AND a.id = t.attempt_id
  AND (a.state NOT IN ('held', 'recorded', 'unknown') OR (t.reference = '' AND t.made_at < %(now)s - %(unnamed)s))
"""
# The answer to its call was lost, and the task was found since.
FOUND = """
UPDATE campaigns_employeetask t SET reference = split_part(a.reference, ':', 1)
FROM campaigns_attempt a
WHERE t.state = 'open' AND left(t.reference, 1) = '~' AND a.campaign_id = t.campaign_id AND a.id = t.attempt_id
  AND a.state = 'held' AND left(a.reference, 1) <> '~'
"""
NOTE = """
UPDATE campaigns_employeetask SET reminders = reminders + 1, reminded_at = %(now)s
WHERE id = %(task)s AND state = 'open' AND reminded_at IS NOT DISTINCT FROM %(before)s::timestamptz
"""
SHARES = """
SELECT employee_id,
       count(*) FILTER (WHERE day = %(day)s), count(*) FILTER (WHERE day = %(day)s AND state = 'confirmed'),
       count(*), count(*) FILTER (WHERE state = 'confirmed')
FROM campaigns_employeetask
WHERE day > %(day)s::date - 7 AND employee_id IN (SELECT id FROM channels_employee WHERE channel_id = %(channel)s)
GROUP BY employee_id
"""


def taken(employees: Sequence[int], day: date) -> dict[int, int]:
    """Employee → tasks of that day, made and reserved."""
    return dict(_rows(TAKEN, {"employees": list(employees), "day": day}))


def name(rows: Sequence[tuple[int, str, int, int]]) -> int:
    """(task, provider's reference, customers, one of its attempts) of tasks that were made."""
    if not rows:
        return 0
    tasks, references, customers, attempts = zip(*rows, strict=True)
    return _run(
        NAME,
        {
            "tasks": list(tasks), "references": list(references), "customers": list(customers),
            "attempts": list(attempts),
        },
    )  # fmt: skip


def settle(now: datetime, unnamed: timedelta) -> int:
    """Open tasks whose attempts have ended."""
    return _run(SETTLE, {"now": now, "unnamed": unnamed})


def name_found() -> int:
    """Open tasks of lost calls that were found, called as the provider does."""
    return _run(FOUND, {})


def to_remind(channel_id: int, now: datetime, wait: timedelta, most: int, a_day: int) -> list[EmployeeTask]:
    """Open tasks nobody was reminded of for ``wait``; ``most`` reminders of a task in all, ``a_day`` in any 24 hours: after
    the first so many, none while there was one in the last 24 hours."""
    if a_day < 1:
        return []
    found = EmployeeTask.objects.filter(channel_id=channel_id, state=EmployeeTask.State.OPEN).exclude(
        reference=""
    )
    found = found.exclude(reference__startswith="~").filter(made_at__lte=now - wait, reminders__lt=most)
    return [
        task
        for task in found.order_by("made_at")[:500]
        if task.reminded_at is None
        or task.reminded_at <= now - (wait if task.reminders < a_day else max(wait, timedelta(hours=24)))
    ]


def note_reminder(task: int, before: datetime | None, now: datetime) -> int:
    """A reminder that is about to be made, unless somebody else made it."""
    return _run(NOTE, {"task": task, "before": before, "now": now})


def shares(channel_id: int, day: date) -> list[tuple[Any, ...]]:
    """(employee, tasks and confirmed of the day, tasks and confirmed of its week)."""
    return _rows(SHARES, {"channel": channel_id, "day": day})


def _run(sql: str, params: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.rowcount


def _rows(sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()
