"""Tasks that employees must confirm: as many a day as each may get, reminded while they wait, ended when settled.

A task carries one message to many customers of one employee. It is reserved before the provider is called, with
the employee's row locked, so that tasks a day are exact under any number of workers.
"""

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction

from audiences.days import ONE, begins, day_of
from campaigns.models import EmployeeTask
from campaigns.queries import employee_tasks as queries
from channels.accounts import account_of, adapter_for
from channels.adapters import adapter_class
from channels.adapters.base import AdapterError, Outcome, Outgoing, Sent
from channels.models import Channel, Employee
from channels.platform_rules import country_of, rule_value

log = logging.getLogger(__name__)

MOST_REMINDERS = 3  # of one task in all; how many in 24 hours is a platform's rule
REMINDING_HOURS = range(9, 20)  # an employee is not reminded at night
UNNAMED_FOR = dt.timedelta(hours=1)  # a reservation whose worker died


@dataclass(slots=True)
class Reserved:
    """What a batch may hand over now, and what must wait for another day."""

    tasks: dict[int, list[int]] = field(default_factory=dict)  # reserved task → attempts it is to carry
    waiting: list[Outgoing] = field(default_factory=list)
    next_day: dt.datetime | None = None


def reserve(
    channel: Channel,
    outgoing: Sequence[Outgoing],
    campaigns: Mapping[int, int],
    now: dt.datetime,
    at_once: int = 2**31,
) -> Reserved:
    """Reserve a task for each employee and content, as long as the employee's day permits.

    ``campaigns``: attempt → campaign. ``at_once``: customers of one task at most.
    Messages without an employee need no reservation: the provider chooses.
    """
    wanted: dict[str, dict[Any, list[Outgoing]]] = {}
    for message in outgoing:
        if message.sender:
            content = (message.text, message.template, message.expires_at)
            wanted.setdefault(message.sender, {}).setdefault(content, []).append(message)
    reserved = Reserved()
    if not wanted:
        return reserved
    day = day_of(now)
    reserved.next_day = begins(day + ONE)
    with transaction.atomic():
        employees = {
            employee.external_id: employee
            for employee in Employee.objects.select_for_update(no_key=True)
            .filter(channel=channel, external_id__in=wanted)
            .order_by("pk")
        }
        taken = queries.taken([employee.pk for employee in employees.values()], day)
        tasks: list[EmployeeTask] = []
        carried: list[list[int]] = []
        for sender, contents in wanted.items():
            employee = employees.get(sender)
            left = employee.daily_tasks - taken.get(employee.pk, 0) if employee else 0
            tasked = (
                same[start : start + at_once]
                for same in contents.values()
                for start in range(0, len(same), at_once)
            )
            for number, messages in enumerate(tasked):
                if employee is None or number >= left:
                    reserved.waiting += messages
                    continue
                attempts = [message.attempt_id for message in messages]
                tasks.append(
                    EmployeeTask(
                        channel=channel, employee=employee, day=day, campaign_id=campaigns[attempts[0]],
                        attempt_id=attempts[0], customers=len(attempts), made_at=now,
                    )
                )  # fmt: skip
                carried.append(attempts)
        made = EmployeeTask.objects.bulk_create(tasks)
        reserved.tasks = {task.pk: attempts for task, attempts in zip(made, carried, strict=True)}
    return reserved


def made(reserved: Reserved, results: Sequence[Sent]) -> None:
    """What became of the reservations: named by the provider's task, or given back where none was made."""
    if not reserved.tasks:
        return
    told = {sent.attempt_id: sent for sent in results}
    named: list[tuple[int, str, int, int]] = []
    dropped: list[int] = []
    for task, attempts in reserved.tasks.items():
        held = [
            told[attempt]
            for attempt in attempts
            if attempt in told and told[attempt].outcome in (Outcome.HELD, Outcome.UNKNOWN)
        ]
        if held:
            head = held[0].reference.partition(":")[0][:80]
            named.append((task, head, len(held), held[0].attempt_id))
        else:
            dropped.append(task)
    with transaction.atomic():
        queries.name(named)
        EmployeeTask.objects.filter(pk__in=dropped).delete()


def settle(now: dt.datetime) -> int:
    """Tasks whose messages are known to have gone out, or not: ended. Returns how many. Those of lost calls that were
    found get their names."""
    with transaction.atomic():
        queries.name_found()
        return queries.settle(now, UNNAMED_FOR)


def remind_all(now: dt.datetime) -> int:
    """Remind employees of tasks that wait for long; returns how many were."""
    if now.astimezone(ZoneInfo(settings.TIME_ZONE)).hour not in REMINDING_HOURS:
        return 0
    done = 0
    for channel in Channel.objects.filter(state=Channel.State.ACTIVE).select_related("brand").order_by("pk"):
        with suppress(LookupError):
            if "remind" in adapter_class(channel.adapter).verbs():
                done += _remind(channel, now)
    return done


def _remind(channel: Channel, now: dt.datetime) -> int:
    hours = float(account_of(channel).settings.get("remind_hours") or 0)
    if hours <= 0:
        return 0
    a_day = rule_value(
        channel.medium, "reminders_a_day", channel=channel, country=country_of(channel), on=day_of(now),
        default=MOST_REMINDERS,
    )  # fmt: skip
    adapter, done = adapter_for(channel), 0
    for task in queries.to_remind(channel.pk, now, dt.timedelta(hours=hours), MOST_REMINDERS, int(a_day)):
        # Noted first: two workers, or a kill, remind once less rather than once more.
        if not queries.note_reminder(task.pk, task.reminded_at, now):
            continue
        try:
            adapter.remind(task.reference)
            done += 1
        except AdapterError as error:
            log.warning("employee task %s cannot be reminded: %s", task.pk, error)
            if error.retryable or error.stops_channel:
                break
    return done


@dataclass(frozen=True, slots=True)
class Share:
    """Of one employee: tasks of today, and of the last seven days."""

    today: int = 0
    confirmed_today: int = 0
    week: int = 0
    confirmed_week: int = 0

    @property
    def confirmed_share(self) -> float | None:
        return self.confirmed_week / self.week if self.week else None


def shares(channel: Channel, now: dt.datetime) -> dict[int, Share]:
    """Employee → tasks made and confirmed."""
    day = day_of(now)
    return {row[0]: Share(*row[1:]) for row in queries.shares(channel.pk, day)}
