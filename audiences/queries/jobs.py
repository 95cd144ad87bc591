"""Claims, leases and ends of jobs. Every change names the state it expects, and tells whether it was so."""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import F, Q
from django.db.models.functions import Now

from audiences.models import Job

WAITING, RUNNING = Job.State.WAITING, Job.State.RUNNING

CLAIM = """
UPDATE audiences_job
SET state = 'running', lease_until = clock_timestamp() + %(lease)s, attempts = attempts + 1,
    started_at = COALESCE(started_at, clock_timestamp()), error = ''
WHERE id = %(id)s AND NOT cancel_asked AND attempts < %(tries)s
  AND (state = 'waiting' OR (state = 'running' AND lease_until < clock_timestamp()))
RETURNING lease_until
"""

RENEW = """
UPDATE audiences_job
SET lease_until = clock_timestamp() + %(lease)s, done = %(done)s, total = %(total)s, step = %(step)s
WHERE id = %(id)s AND state = 'running' AND lease_until = %(held)s
RETURNING lease_until, cancel_asked
"""

TO_WAKE = """
UPDATE audiences_job
SET state = 'waiting', lease_until = clock_timestamp() + %(lease)s
WHERE id IN (
    SELECT id FROM audiences_job
    WHERE state IN ('waiting', 'running') AND (lease_until IS NULL OR lease_until < clock_timestamp())
    ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
)
RETURNING id
"""


def _row(sql: str, values: dict[str, Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()


def claim(job_id: int, lease: timedelta, tries: int) -> datetime | None:
    """The lease of the job if it was free and nobody asked for its end, else None."""
    row = _row(CLAIM, {"id": job_id, "lease": lease, "tries": tries})
    return row[0] if row else None


def renew(job: Job, held: datetime, lease: timedelta) -> tuple[datetime, bool] | None:
    """The new lease and whether a stop is asked, for the holder of ``held``; None when it is lost."""
    values = {
        "done": job.done,
        "total": job.total,
        "step": job.step,
        "id": job.pk,
        "held": held,
        "lease": lease,
    }
    row = _row(RENEW, values)
    return (row[0], row[1]) if row else None


def finish(job: Job, held: datetime, state: Job.State, result: dict[str, Any], error: str) -> int:
    """Ends the job for the holder of ``held``: 1, or 0 when the lease is lost and nothing was written."""
    return Job.objects.filter(pk=job.pk, state=RUNNING, lease_until=held).update(
        state=state,
        result=result,
        error=error,
        done=job.done,
        total=job.total,
        step=job.step,
        lease_until=None,
        finished_at=Now(),
    )


def let_go(job_id: int, held: datetime) -> int:
    """Gives the job back unfinished; the try does not count. 1 for the holder of ``held``, else 0."""
    return Job.objects.filter(pk=job_id, state=RUNNING, lease_until=held).update(
        state=WAITING, lease_until=Now(), attempts=F("attempts") - 1
    )


def mark_woken(job_id: int, lease: timedelta) -> int:
    """Notes that a task for a waiting job is on its way, so that the sweep leaves it alone for a while."""
    return Job.objects.filter(pk=job_id, state=WAITING).update(lease_until=Now() + lease)


def to_wake(lease: timedelta) -> list[int]:
    """Jobs that nobody runs, put back to waiting, at most 100; each is given out once in ``lease``."""
    with connection.cursor() as cursor:
        values: dict[str, Any] = {"lease": lease}
        cursor.execute(TO_WAKE, values)
        return sorted(row[0] for row in cursor.fetchall())


def give_up(tries: int, error: str) -> int:
    """Ends jobs whose worker died: cancelled where a stop was asked, failed after so many tries. Rowcount."""
    expired = Job.objects.filter(state__in=(WAITING, RUNNING), lease_until__lt=Now())
    stopped = expired.filter(cancel_asked=True).update(
        state=Job.State.CANCELLED, lease_until=None, finished_at=Now()
    )
    return stopped + expired.filter(attempts__gte=tries).update(
        state=Job.State.FAILED, error=error, lease_until=None, finished_at=Now()
    )


def ask_cancel(job_id: int) -> int:
    """Cancels a job that waits, asks one that runs to stop. 0 when it has ended."""
    ended = Job.objects.filter(pk=job_id, state=WAITING).update(
        state=Job.State.CANCELLED, cancel_asked=True, lease_until=None, finished_at=Now()
    )
    return ended or Job.objects.filter(Q(pk=job_id), state=RUNNING).update(cancel_asked=True)
