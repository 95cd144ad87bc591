"""Employees, their customers, tags and groups, brought up to date from what the provider tells.

Rows are the truth for everybody who reads; a sync makes them what the provider says now, in sets, and may be
repeated or broken off at any time. What cannot be read leaves what was known.
"""

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from audiences import identity, jobs
from audiences.days import ONE, day_of
from audiences.models import Job
from channels import fetching
from channels.accounts import adapter_for
from channels.adapters import adapter_class
from channels.adapters.base import AdapterError, RosterReader
from channels.fetching import Kind
from channels.models import Channel, Employee
from channels.queries import employees as queries
from channels.queries.locks import alone

log = logging.getLogger(__name__)

SYNC_JOB = "employees"
SYNC_LOCK = 730_144_195
AT_ONCE = 5000
TAGS_AT_ONCE = 1000  # contacts whose tags are changed at the provider in one sync
DAYS = 7  # figures of a day settle: so many days are read again


@dataclass(slots=True)
class Synced:
    """What one sync changed."""

    employees: int = 0
    left: int = 0
    born: int = 0  # customers nobody knew
    contacts: int = 0
    removed: int = 0
    tagged: int = 0  # tags that came to us, or went from us
    sent_tags: int = 0  # contacts whose tags were changed at the provider
    groups: int = 0
    days: int = 0
    errors: list[str] = field(default_factory=list)


def sync_all(now: dt.datetime) -> dict[int, Synced]:
    """Every active channel with a roster."""
    found = Channel.objects.filter(state=Channel.State.ACTIVE).select_related("brand").order_by("pk")
    return {channel.pk: sync(channel, now) for channel in found if Kind.EMPLOYEES in fetching.kinds(channel)}


def run(job: Job) -> Mapping[str, Any]:
    """One channel, asked for by somebody."""
    done = sync(Channel.objects.select_related("brand").get(pk=job.arguments["channel"]), timezone.now())
    if done.errors:
        raise jobs.JobFailed(" ".join(dict.fromkeys(done.errors)))
    return {
        "employees": done.employees,
        "contacts": done.contacts,
        "removed": done.removed,
        "born": done.born,
    }


def sync(channel: Channel, now: dt.datetime) -> Synced:
    """One channel, by one worker at a time. What fails is told in ``errors``; the rest is done all the same."""
    done = Synced()
    with alone(SYNC_LOCK, channel.pk) as mine:
        if not mine:
            done.errors.append(_("A sync of this channel runs already."))
            return done
        try:
            _sync(channel, adapter_for(channel).roster(), now, done)
        except AdapterError as error:
            done.errors.append(str(error))
    if done.errors:
        fetching.failed(Kind.EMPLOYEES, channel, " ".join(dict.fromkeys(done.errors)), now)
    else:
        fetching.succeeded(Kind.EMPLOYEES, channel, now)
    for text in done.errors:
        log.warning("employees of channel %s: %s", channel.pk, text)
    return done


def _sync(channel: Channel, roster: RosterReader, now: dt.datetime, done: Synced) -> None:
    known = dict(Employee.objects.filter(channel=channel).values_list("external_id", "name"))
    told = roster.employees(known)
    if not told and known:
        done.errors.append(_("The provider names no employee at all; nothing was changed."))
        return
    left = roster.departures()
    with transaction.atomic():
        done.employees = queries.employees(channel.pk, list(told), list(told.values()))
        done.left = queries.departed(channel.pk, list(told), list(left), list(left.values()), now)
    _contacts(channel, roster, sorted(told), now, done)
    for part in (_groups, _days):
        try:
            part(channel, roster, sorted(told), now, done)
        except AdapterError as error:  # another permission of the app than the one for contacts
            done.errors.append(str(error))


def _contacts(
    channel: Channel, roster: RosterReader, employees: Sequence[str], now: dt.datetime, done: Synced
) -> None:
    kind, issuer = adapter_class(channel.adapter).address_kinds[0], _issuer(channel)
    source = f"channel:{channel.pk}"
    outward = _tags_out(channel)
    queries.begin()
    try:
        stream = roster.contacts(employees)
        while some := list(islice(stream, AT_ONCE)):
            done.born += identity.know_all(
                kind, issuer, {one.address: one.name for one in some if one.address}, source, now
            )
            queries.tell(some)
        # Everything was read: only now is somebody missing who is not among them.
        with transaction.atomic():
            done.contacts = queries.contacts(channel.pk, kind, issuer)
            done.removed = queries.removed(channel.pk, kind, issuer, now)
            done.tagged = queries.tags(kind, issuer, source, outward, now)
        _send_tags(roster, queries.tags_to_send(kind, issuer, outward, TAGS_AT_ONCE), done)
    finally:
        queries.end()


def _send_tags(
    roster: RosterReader, changes: Sequence[tuple[str, str, list[str], list[str]]], done: Synced
) -> None:
    for employee, address, add, remove in changes:
        try:
            roster.tag(employee, address, add, remove)
        except AdapterError as error:
            done.errors.append(str(error))
            if error.retryable or error.stops_channel:
                return
        else:
            done.sent_tags += 1


def _groups(
    channel: Channel, roster: RosterReader, employees: Sequence[str], now: dt.datetime, done: Synced
) -> None:
    told = list(roster.groups())
    with transaction.atomic():
        done.groups = queries.groups(channel.pk, told, now)


def _days(
    channel: Channel, roster: RosterReader, employees: Sequence[str], now: dt.datetime, done: Synced
) -> None:
    """Yesterday and the days before it, once a day: they are not counted earlier."""
    last = day_of(now) - ONE
    if queries.has_day(channel.pk, last):
        return
    told = list(roster.days(employees, last - dt.timedelta(days=DAYS - 1), last))
    with transaction.atomic():
        done.days = queries.days(channel.pk, told)


def _issuer(channel: Channel) -> str:
    return str(channel.settings.get("corp_id") or "")


def _tags_out(channel: Channel) -> list[str]:
    told = str(channel.settings.get("tags_out") or "").replace("，", ",")
    return sorted({name.strip()[:80] for name in told.split(",") if name.strip()})


# What the screen shows ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """An employee today and in the last seven days."""

    pk: int
    external_id: str
    name: str
    store: str
    daily_tasks: int
    left_at: dt.datetime | None
    contacts: int
    groups: int
    customers_added: int
    deletions: int
    first_reply_minutes: float | None
    clicks: int  # on shared links, people's


def of_channel(channel: Channel, now: dt.datetime) -> list[Row]:
    """Everybody of a channel who is or was an employee, those who left last."""
    since = now - dt.timedelta(days=7)
    rows = queries.summary(channel.pk, since.astimezone(dt.UTC).date(), since)
    return [Row(*row) for row in rows]


def set_daily_tasks(employee: Employee, tasks: int) -> None:
    """How many messages to customers a day an employee may be asked to confirm."""
    if not 0 <= tasks <= 100_000:
        raise ValueError(_("Give a number from 0 to 100,000."))
    Employee.objects.filter(pk=employee.pk).update(daily_tasks=tasks)
