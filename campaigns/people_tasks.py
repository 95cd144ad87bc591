"""Touches and placements made by people: calls, visits, KOL posts. Each is a task with a due time and an outcome.

What an employee reports settles the attempt, as a provider's receipt would.
"""

from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from audiences.vocabulary import Medium
from campaigns import settlement
from campaigns.models import PeopleTask
from campaigns.queries import people_tasks as queries
from campaigns.settlement import Told
from campaigns.vocabulary import Cause

BY_PEOPLE = (Medium.CALL,)
AT_ONCE = 20_000


class AlreadyDone(Exception):
    """Somebody reported on this task before."""


def make(now: datetime) -> int:
    """Tasks for what waits for people; those whose touch ended otherwise expire. Returns how many are new."""
    queries.expire(now)
    return queries.make_calls([str(medium) for medium in BY_PEOPLE], AT_ONCE) + queries.make_placements(now)


def report(task: PeopleTask, *, reached: bool, outcome: str, now: datetime, note: str = "") -> PeopleTask:
    """What became of it: the person was reached (the touch is sent), or was not (a gap of the employee).

    Raises :class:`AlreadyDone`.
    """
    with transaction.atomic():
        task = PeopleTask.objects.select_for_update().get(pk=task.pk)
        if task.state != PeopleTask.State.OPEN:
            raise AlreadyDone(_("Somebody has reported on this task already."))
        task.state = PeopleTask.State.DONE if reached else PeopleTask.State.FAILED
        task.outcome, task.note, task.done_at = outcome[:40], note, now
        task.save(update_fields=["state", "outcome", "note", "done_at"])
    if task.campaign_id and task.touch_id:
        found = queries.held_attempt(task.campaign_id, task.touch_id)
        if found:
            told = "sent" if reached else "expired"
            cause = "" if reached else Cause.UNCONFIRMED
            settlement.apply([Told(*found, told=told, at=now, code=outcome[:80], cause=cause)], now)
    return task
