"""Pushes of the daily spend sheet in SQL: claimed once a day, recorded by who claimed."""

from datetime import date, datetime
from typing import Any

from django.db import connection

# The unique index decides between any number of workers: who gets a row back is the one that sends.
CLAIM = """
INSERT INTO channels_spendpush (destination_id, day, test, state, tries, started_at, lease_until, code, error)
SELECT d.id, %(day)s, false, 'sending', 1, %(now)s, %(until)s, '', ''
FROM channels_pushdestination d WHERE d.id = %(destination)s AND d.active AND d.first_day <= %(day)s
ON CONFLICT (destination_id, day) WHERE NOT test DO UPDATE
SET state = 'sending', tries = channels_spendpush.tries + 1, started_at = excluded.started_at,
    lease_until = excluded.lease_until, again_at = NULL
WHERE channels_spendpush.state = 'waiting' AND channels_spendpush.again_at <= %(now)s
RETURNING id, tries
"""

RECORD = """
UPDATE channels_spendpush SET state = %(state)s, code = %(code)s, error = %(error)s, again_at = %(again)s,
       done_at = CASE WHEN %(state)s = 'waiting' THEN NULL ELSE %(now)s END, lease_until = NULL
WHERE id = %(push)s AND tries = %(tries)s AND state IN ('sending', 'unknown')
"""

# Whoever sent them is gone: they may have arrived. And a day that is over is not made up for.
ABANDONED = """
UPDATE channels_spendpush SET state = 'unknown', done_at = %(now)s, error = %(text)s, lease_until = NULL
WHERE state = 'sending' AND lease_until < %(now)s
"""
OVER = """
UPDATE channels_spendpush SET state = 'failed', done_at = %(now)s, again_at = NULL
WHERE state = 'waiting' AND day < %(today)s
"""

LATELY = """
SELECT count(*) FROM channels_spendpush WHERE destination_id = %(destination)s AND started_at > %(since)s
"""

AGAIN = """
UPDATE channels_spendpush SET state = 'waiting', again_at = %(now)s, done_at = NULL
WHERE destination_id = %(destination)s AND day = %(day)s AND NOT test AND state = 'failed'
"""


def claim(destination_id: int, day: date, now: datetime, until: datetime) -> tuple[int, int] | None:
    """(push, which try) if this caller is to send the day's sheet; None if somebody did, does, or it must wait."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, {"destination": destination_id, "day": day, "now": now, "until": until})
        row = cursor.fetchone()
    return (row[0], row[1]) if row else None


def record(
    push_id: int, tries: int, state: str, code: str, error: str, again: datetime | None, now: datetime
) -> int:
    """What became of a claimed push."""
    return _run(
        RECORD,
        push=push_id, tries=tries, state=state, code=code[:40], error=error[:254], again=again, now=now,
    )  # fmt: skip


def abandoned(now: datetime, text: str) -> int:
    """Pushes whose sender did not come back."""
    return _run(ABANDONED, now=now, text=text[:254])


def over(today: date, now: datetime) -> int:
    """Pushes of earlier days that still waited."""
    return _run(OVER, today=today, now=now)


def again(destination_id: int, day: date, now: datetime) -> int:
    """The day's push that failed, due once more: its destination was mended."""
    return _run(AGAIN, destination=destination_id, day=day, now=now)


def lately(destination_id: int, since: datetime) -> int:
    """How many messages this destination was handed since."""
    with connection.cursor() as cursor:
        cursor.execute(LATELY, {"destination": destination_id, "since": since})
        return int(cursor.fetchone()[0])


def _run(sql: str, **params: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.rowcount
