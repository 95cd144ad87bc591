"""A large release fills tables of its own and attaches them as partitions.

Filling, indexing and checking happen where nobody looks. Attaching takes locks that others would wait for, so
each is asked for with a short patience and asked again; it holds them for milliseconds. What a killed release
had filled completely is found by its mark and only attached; anything less is thrown away and filled anew.
"""

import time
from collections.abc import Callable
from datetime import datetime

from django.db import OperationalError, transaction
from django.utils.translation import gettext as _
from psycopg.errors import DeadlockDetected, LockNotAvailable

from campaigns.planner.work import Outcome, Report
from campaigns.queries import binary
from campaigns.queries import release as queries
from campaigns.release import rows

MEMBER, TARGET, TOUCH, ATTEMPT = queries.TABLES
STEPS = 8
WAIT = 400  # milliseconds for a lock: less than the server itself waits before it looks for deadlocks
TRIES = 150
PAUSE = 0.2  # seconds between two tries


def fill(outcome: Outcome, now: datetime, report: Report | None, mark: str) -> None:
    """Write an outcome into tables that stand aside, and mark them as complete."""
    campaign_id = outcome.spec.campaign.pk
    tell = report or (lambda _done, _total, _step: None)
    tell(0, STEPS, _("Filling the tables"))
    for table in queries.TABLES:
        queries.make_bare(table, campaign_id)
    binary.load(queries.partition(MEMBER, campaign_id), rows.MEMBER, rows.members(outcome, now))
    tell(1, STEPS, "")
    binary.load(queries.partition(TARGET, campaign_id), rows.MEMBER_TARGET, rows.member_targets(outcome))
    tell(2, STEPS, "")
    binary.load(queries.partition(TOUCH, campaign_id), rows.TOUCH, rows.touches(outcome, now))
    tell(3, STEPS, _("Indexing"))
    for table in queries.TABLES:
        queries.index(table, campaign_id)
    queries.analyse(queries.partition(table, campaign_id) for table in queries.TABLES[:3])
    queries.mark(TOUCH, campaign_id, mark)


def attach(campaign_id: int, report: Report | None, keep: Callable[[], None]) -> None:
    """Show filled tables. Members come first and touches last; ``keep`` runs in the transaction of the last."""
    tell = report or (lambda _done, _total, _step: None)
    for done, table in enumerate((MEMBER, TARGET, ATTEMPT, TOUCH), start=4):
        tell(done, STEPS, _("Attaching"))
        if queries.is_attached(table, campaign_id):
            continue
        patiently(lambda table=table: queries.bind(table, campaign_id))  # type: ignore[misc]
        if table == TOUCH:
            patiently(lambda: queries.bind_attempts(campaign_id))
        queries.check_keys(table, campaign_id)
        patiently(lambda table=table: queries.promise_absence(table, campaign_id))  # type: ignore[misc]
        queries.check_absence(table, campaign_id)
        last = keep if table == TOUCH else _nothing
        patiently(lambda table=table, last=last: _show(table, campaign_id, last))  # type: ignore[misc]


def _show(table: str, campaign_id: int, keep: Callable[[], None]) -> None:
    keep()
    queries.lock_shared(table)
    queries.attach(table, campaign_id)


def _nothing() -> None:
    pass


def patiently(step: Callable[[], object]) -> None:
    """Run a short step in a transaction of its own; where a lock is not to be had at once, again later."""
    for turn in range(TRIES):
        try:
            with transaction.atomic():
                queries.wait_at_most(WAIT)
                step()
            return
        except OperationalError as error:
            if turn == TRIES - 1 or not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
                raise
            time.sleep(PAUSE)


def drop(campaign_id: int) -> None:
    """Throw away what stands aside for a campaign. Partitions stay."""
    for table in reversed(queries.TABLES):
        patiently(lambda table=table: queries.drop_bare(table, campaign_id))  # type: ignore[misc]


def drop_leftovers(but: int) -> int:
    """Throw away what releases of other campaigns left aside when their workers died; how many."""
    dropped = 0
    for campaign_id in queries.leftovers():
        with transaction.atomic():
            if campaign_id != but and queries.try_hold(campaign_id):
                drop(campaign_id)
                dropped += 1
    return dropped
