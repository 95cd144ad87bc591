"""Long work that a person may watch and cancel.

A job is a row; a task only wakes a worker. Whoever runs it holds a lease and renews it from a thread of
its own, on a connection of its own, so that

- progress is seen while the work sits in one long transaction, and the row is never locked by it;
- a worker that died is noticed within :data:`LEASE`, and the sweep hands its job to another;
- a cancel interrupts even one long SQL statement.

The work of a kind must bear being begun again from the start: it runs at most :data:`TRIES` times.

Register a kind in ``AppConfig.ready``::

    job_kind("import", imports.load_batch, _("Import of a file"))

    def load_batch(job: Job) -> Mapping[str, Any]:
        for done in chunks:
            report(job, done, total, _("Checking lines"))   # raises Cancelled when asked to stop
        return {"url": reverse("audiences:import", args=[...]), "rows": total}

and start it with ``start("import", "import:12", {"batch": 12}, user)``.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pghistory
from celery import current_app
from django.conf import settings
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connection, connections, transaction
from django.utils import translation
from django.utils.translation import gettext as _
from psycopg.errors import QueryCanceled

from audiences.access import ANYBODY, has_role
from audiences.models import Job
from audiences.queries import jobs as queries
from audiences.registers import Register

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)  # a worker silent for this long is taken for dead
BEAT = 1.0  # seconds between two looks at the row
TRIES = 3
INTERRUPTS = 3  # statements cancelled under work that does not report
TASK = "audiences.tasks.run_job"
FINAL = (Job.State.DONE, Job.State.FAILED, Job.State.CANCELLED)


class Cancelled(Exception):
    """Somebody asked for the work to stop. Let it pass: the runner records it."""


class LeaseLost(Exception):
    """Another worker has the job now. Let it pass: this one must write nothing more."""


class JobFailed(Exception):
    """The work cannot be done, and the message tells a person why and what to do."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """``run`` does the work and returns JSON values to keep; ``url`` among them is where to go after."""

    label: Any
    run: Callable[[Job], Mapping[str, Any] | None]
    roles: tuple[str, ...] = ANYBODY


job_kinds: Register[JobKind] = Register("job kind")


def job_kind(
    name: str,
    run: Callable[[Job], Mapping[str, Any] | None],
    label: Any = "",
    roles: Iterable[str] = ANYBODY,
) -> None:
    """Registers a kind. ``roles`` may watch and cancel it; who started it always may."""
    job_kinds.add(name, JobKind(label or name, run, tuple(roles)))


# Starting, watching, stopping -----------------------------------------------------------------


def start(
    kind: str,
    subject: str = "",
    arguments: Mapping[str, Any] | None = None,
    user: AbstractUser | AnonymousUser | None = None,
) -> Job:
    """Makes the row and wakes a worker once the caller's transaction is committed.

    Raises :class:`KeyError` for a kind nobody registered.
    """
    job_kinds.get(kind)
    job = Job.objects.create(
        kind=kind, subject=subject, arguments=dict(arguments or {}), created_by_id=getattr(user, "pk", None)
    )
    queries.mark_woken(job.pk, LEASE)
    transaction.on_commit(lambda: wake([job.pk]))
    return job


def wake(job_ids: Iterable[int]) -> None:
    """Publishes a task per job. A broker that is down delays the work until the sweep, no more."""
    for job_id in job_ids:
        try:
            current_app.send_task(TASK, args=[job_id])
        except Exception:  # every broker raises errors of its own  # noqa: BLE001
            logger.warning("Job %s stays waiting: the queue does not take it. The sweep tries again.", job_id)


def may_see(user: AbstractUser | AnonymousUser, job: Job) -> bool:
    """Whether this person may watch and cancel the job."""
    roles = job_kinds.get(job.kind).roles if job.kind in job_kinds else ANYBODY
    return (user.is_authenticated and job.created_by_id == user.pk) or has_role(user, *roles)


def cancel(job_id: int) -> bool:
    """Asks a job to stop; one that waits is cancelled at once. False when it has ended already."""
    return bool(queries.ask_cancel(job_id))


def sweep() -> dict[str, int]:
    """Wakes workers for jobs nobody runs: never begun, or left by a worker that died.

    A job that took :data:`TRIES` workers with it fails, so that it does not go on for ever.
    """
    failed = queries.give_up(
        TRIES,
        _("The worker stopped %(n)d times during this work. Look at the worker's log and its memory.")
        % {"n": TRIES},
    )
    woken = queries.to_wake(LEASE)
    wake(woken)
    return {"woken": len(woken), "given_up": failed}


# Running ---------------------------------------------------------------------------------------


def run(job_id: int) -> Job | None:
    """Runs a job if nobody else does and it is due; the finished job, or None when it was not ours.

    Never raises for what the work raises: that is the job's error.
    """
    lease = queries.claim(job_id, LEASE, TRIES)
    if lease is None:
        return None
    job = Job.objects.select_related("created_by").get(pk=job_id)
    _Running(job, lease).go()
    job.refresh_from_db()
    return job


def run_now(
    kind: str,
    subject: str = "",
    arguments: Mapping[str, Any] | None = None,
    user: AbstractUser | AnonymousUser | None = None,
    progress: Callable[[Job], None] | None = None,
) -> Job:
    """Makes a job and runs it here, without a queue: for commands and tests.

    ``progress`` is called with the job at each report. Raises :class:`JobFailed` when the work failed.
    """
    job_kinds.get(kind)
    job = Job.objects.create(
        kind=kind, subject=subject, arguments=dict(arguments or {}), created_by_id=getattr(user, "pk", None)
    )
    lease = queries.claim(job.pk, LEASE, TRIES)
    if lease is None:  # pragma: no cover  (only a sweep between two statements could be first)
        raise JobFailed(_("Another worker has taken the job."))
    job.refresh_from_db()
    _Running(job, lease, progress).go()
    job.refresh_from_db()
    if job.state == Job.State.FAILED:
        raise JobFailed(job.error)
    return job


def report(job: Job, done: int = 0, total: int = 0, step: Any = "") -> None:
    """Tells how far the work is. Cheap: call it as often as you like; it writes nothing itself.

    Raises :class:`Cancelled` when somebody asked for a stop, :class:`LeaseLost` when the job was given away.
    """
    running: _Running | None = getattr(job, "_running", None)
    if running is None:
        return
    job.done, job.total = done, total
    if step:
        job.step = str(step)[:120]
    running.reported()


@dataclass
class _Running:
    """One run of one job by one worker. ``lease`` is the fencing token: the row holds it while we do."""

    job: Job
    lease: datetime
    progress: Callable[[Job], None] | None = None
    cancelled: bool = False
    lost: bool = False
    told: bool = False
    interrupts: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _renewed: float = 0.0

    def go(self) -> None:
        self.job._running = self  # type: ignore[attr-defined]
        self._renewed = time.monotonic()
        self._threaded = not connection.in_atomic_block  # inside a transaction no other could see the row
        self._worker = connections[DEFAULT_DB_ALIAS]  # the object itself: the proxy is another in each thread
        thread = threading.Thread(target=self._beat, name=f"job-{self.job.pk}", daemon=True)
        if self._threaded:
            thread.start()
        try:
            state, result, error = self._work()
        except BaseException:
            # Ctrl-C or a worker told to stop: leave the lease to run out now, so that another begins soon.
            self._end(thread)
            queries.let_go(self.job.pk, self.lease)
            raise
        self._end(thread)
        if state is None or self.lost:
            return
        self._finish(state, result, error)

    def _work(self) -> tuple[Job.State | None, dict[str, Any], str]:
        """The state the job ends in; None when nothing may be recorded."""
        user = self.job.created_by
        language = getattr(user, "language", "") or settings.LANGUAGE_CODE
        try:
            with (
                translation.override(language),
                pghistory.context(user=self.job.created_by_id, job=self.job.pk),
                # Within somebody's transaction an error of the work must leave the transaction usable.
                nullcontext() if self._threaded else transaction.atomic(),
            ):
                kind = job_kinds.get(self.job.kind)
                result = dict(kind.run(self.job) or {})
            return Job.State.DONE, result, ""
        except Cancelled:
            return Job.State.CANCELLED, {}, ""
        except LeaseLost:
            logger.error("Job %s was given to another worker while this one still ran.", self.job.pk)
            return None, {}, ""
        except JobFailed as error:
            return Job.State.FAILED, {}, str(error)
        except Exception as error:  # whatever it is, a person must read it  # noqa: BLE001
            if self.cancelled and isinstance(error.__cause__, QueryCanceled):
                return Job.State.CANCELLED, {}, ""
            gone = isinstance(error, OperationalError | InterfaceError) and not isinstance(
                error.__cause__, QueryCanceled
            )
            if gone and not connection.in_atomic_block:
                # The database went away under the work. The lease runs out and the sweep begins again.
                logger.warning("Job %s lost the database and will be begun again: %s", self.job.pk, error)
                connection.close()
                return None, {}, ""
            logger.exception("Job %s (%s) failed", self.job.pk, self.job.kind)
            with translation.override(language):
                return (
                    Job.State.FAILED,
                    {},
                    _("Unexpected: %(kind)s: %(text)s. The log of the worker has more.")
                    % {
                        "kind": type(error).__name__,
                        "text": str(error)[:500],
                    },
                )

    def _end(self, thread: threading.Thread) -> None:
        self._stop.set()
        if thread.is_alive():
            thread.join()

    def _finish(self, state: Job.State, result: dict[str, Any], error: str) -> None:
        for attempt in (1, 2):
            try:
                queries.finish(self.job, self.lease, state, result, error)
                return
            except OperationalError as failure:
                # A cancel meant for the work's last statement can arrive at this one.
                if attempt == 2 or not isinstance(failure.__cause__, QueryCanceled):
                    raise

    # In the working thread

    def reported(self) -> None:
        if self.progress is not None:
            self.progress(self.job)
        if not self._threaded and time.monotonic() - self._renewed >= BEAT / 2:
            self._look()
        if self.lost or self.cancelled:
            self.told = True  # what the work does now is tidying up: leave it alone
            raise LeaseLost if self.lost else Cancelled

    # In the thread that renews

    def _beat(self) -> None:
        try:
            while not self._stop.wait(BEAT):
                try:
                    self._look()
                except (OperationalError, InterfaceError):
                    connections[DEFAULT_DB_ALIAS].close()  # the database restarts; the next beat tries again
                if (self.lost or self.cancelled) and not self.told and self.interrupts < INTERRUPTS:
                    self.interrupts += 1
                    self._interrupt()
        finally:
            connections[DEFAULT_DB_ALIAS].close()

    def _look(self) -> None:
        """Writes progress, renews the lease, and learns whether to stop."""
        seen = queries.renew(self.job, self.lease, LEASE)
        self._renewed = time.monotonic()
        if seen is None:
            self.lost = True
            return
        self.lease, self.cancelled = seen

    def _interrupt(self) -> None:
        """Cancels the statement the work waits for, if it waits for one."""
        raw = self._worker.connection
        if raw is None or raw.closed:
            return
        try:
            raw.cancel_safe(timeout=5)
        except Exception:  # it ended by itself, or the server is gone: both end the work  # noqa: BLE001
            logger.debug("Job %s: nothing to interrupt", self.job.pk)
