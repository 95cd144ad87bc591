"""Touches and placements made by people: calls, visits, KOL posts. Each is a task with a due time and an outcome.

What an employee reports settles the attempt, as a provider's receipt would; a little later, so that a slip of the
thumb can be taken back.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Case, IntegerField, QuerySet, When
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import Medium, ResponseKind
from campaigns import settlement
from campaigns.models import PeopleTask
from campaigns.queries import people_tasks as queries
from campaigns.queries.settle import Settled
from campaigns.retrying import steadily
from campaigns.settlement import Told
from campaigns.vocabulary import Cause
from channels import inbox
from channels.adapters.base import Inbound
from channels.models import Employee

BY_PEOPLE = (Medium.CALL,)
AT_ONCE = 20_000
SETTLED_AT_ONCE = 500
UNDO = timedelta(minutes=2)
"""How long a report can be taken back before it takes force."""

State = PeopleTask.State
WRONG_NUMBER, REFUSED = "wrong_number", "refused"
REACHED = (
    ("interested", gettext_lazy("Interested")),
    ("reached", gettext_lazy("Told, no answer yet")),
    ("not_interested", gettext_lazy("Not interested")),
    ("call_back", gettext_lazy("Call back later")),
)
MISSED = (
    ("no_answer", gettext_lazy("No answer")),
    (WRONG_NUMBER, gettext_lazy("Wrong number")),
    (REFUSED, gettext_lazy("Does not want to be called")),
)
PLACED = (("done", gettext_lazy("Done")),)
NOT_PLACED = (("not_done", gettext_lazy("Could not be done")),)
OUTCOMES = {**dict(REACHED), **dict(MISSED), **dict(PLACED), **dict(NOT_PLACED)}


def choices(task: PeopleTask) -> tuple[tuple[tuple[str, Any], ...], tuple[tuple[str, Any], ...]]:
    """(it came off, it did not): of a person who is called or visited, or of a thing that is placed."""
    return (REACHED, MISSED) if task.touch_id or task.customer_id else (PLACED, NOT_PLACED)


class AlreadyDone(Exception):
    """Somebody reported on this task before."""


class TooLate(Exception):
    """The report has taken force."""


def make(now: datetime) -> int:
    """Tasks for what waits for people; those whose touch ended otherwise expire. Returns how many are new."""
    settle_due(now)
    queries.expire(now)
    return queries.make_calls([str(medium) for medium in BY_PEOPLE], AT_ONCE) + queries.make_placements(now)


def report(task: PeopleTask, *, reached: bool, outcome: str, now: datetime, note: str = "") -> PeopleTask:
    """What became of it: the person was reached (the touch is sent), or was not (a gap of the employee).

    It takes force after :data:`UNDO`. Raises :class:`AlreadyDone`.
    """
    with transaction.atomic():
        task = PeopleTask.objects.select_for_update().get(pk=task.pk)
        if task.state != State.OPEN:
            raise AlreadyDone(_("Somebody has reported on this task already."))
        task.state = State.DONE if reached else State.FAILED
        task.outcome, task.note, task.done_at, task.settles_at = outcome[:40], note, now, now + UNDO
        task.save(update_fields=["state", "outcome", "note", "done_at", "settles_at"])
    return task


def may_do(task: PeopleTask) -> QuerySet[Employee]:
    """Employees who can be given the task: who work today, those of its channel first, then those of others by name."""
    here = Case(When(channel_id=task.channel_id, then=0), default=1, output_field=IntegerField())
    found = Employee.objects.filter(left_at=None).select_related("channel")
    if task.touch_id:
        # Who calls a person does so for this channel: theirs are its numbers and its day's places.
        found = found.filter(channel_id=task.channel_id)
    return found.order_by(here, "name", "pk")


def assign(task: PeopleTask, employee: Employee | None) -> PeopleTask:
    """Give an open task to somebody, or to nobody. Raises :class:`AlreadyDone`, and :class:`ValidationError` for one who
    cannot have it."""
    with transaction.atomic():
        task = PeopleTask.objects.select_for_update().get(pk=task.pk)
        if task.state != State.OPEN:
            raise AlreadyDone(_("Somebody has reported on this task already."))
        if employee is not None and not may_do(task).filter(pk=employee.pk).exists():
            raise ValidationError(_("Choose somebody who works on this channel today."))
        task.employee = employee
        task.save(update_fields=["employee"])
    return task


def undo(task: PeopleTask, now: datetime) -> PeopleTask:
    """Take a report back: the task is open again, with its note. Raises :class:`TooLate`."""
    with transaction.atomic():
        task = PeopleTask.objects.select_for_update().get(pk=task.pk)
        if task.state not in (State.DONE, State.FAILED) or task.settles_at is None or task.settles_at <= now:
            raise TooLate(_("It has taken force already and cannot be taken back."))
        task.state, task.outcome, task.done_at, task.settles_at = State.OPEN, "", None, None
        task.save(update_fields=["state", "outcome", "done_at", "settles_at"])
    return task


def can_undo(task: PeopleTask, now: datetime) -> bool:
    return task.settles_at is not None and task.settles_at > now


def settle_due(now: datetime) -> int:
    """Reports whose time to be taken back is over, settled; returns how many. Any number may run at once."""
    done = 0
    while True:
        seen, settled = steadily(lambda: _settle_some(now))
        settlement.give_back(settled, now)
        done += seen
        if seen < SETTLED_AT_ONCE:
            return done


def _settle_some(now: datetime) -> tuple[int, list[Settled]]:
    with transaction.atomic():
        found = PeopleTask.objects.select_for_update(skip_locked=True, of=("self",)).select_related("channel")
        tasks = list(found.filter(settles_at__lte=now).order_by("pk")[:SETTLED_AT_ONCE])
        facts = list(_facts(tasks))
        settled = settlement.apply_within(facts, now) if facts else []
        for task in tasks:
            if task.outcome == REFUSED and task.touch_id:
                inbox.store(task.channel, [_no_more(task, now)], now)
        PeopleTask.objects.filter(pk__in=[task.pk for task in tasks]).update(settles_at=None)
        return len(tasks), settled


def _facts(tasks: Iterable[PeopleTask]) -> Iterable[Told]:
    for task in tasks:
        if not task.campaign_id or not task.touch_id or task.done_at is None:
            continue
        if (attempt := queries.held_attempt(task.campaign_id, task.touch_id)) is None:
            continue
        code = task.outcome[:80]
        if task.state == State.DONE:
            yield Told(*attempt, told="sent", at=task.done_at, code=code)
        elif task.outcome == WRONG_NUMBER:
            yield Told(*attempt, told="bounced", at=task.done_at, code=code, invalid=True)
        else:
            yield Told(*attempt, told="expired", at=task.done_at, code=code, cause=Cause.UNCONFIRMED)


def _no_more(task: PeopleTask, now: datetime) -> Inbound:
    """Who says on the phone that they want no calls has opted out, as by any other way."""
    return Inbound(
        dedupe_key=f"task:{task.pk}:opt_out",
        occurred_at=task.done_at or now,
        response=ResponseKind.OPT_OUT,
        campaign_id=task.campaign_id,
        touch_id=task.touch_id,
        detail={"task": task.pk},
    )
