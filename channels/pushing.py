"""The daily spend sheet, pushed to robots and mailboxes: once a day, late rather than never, never twice.

A push is claimed by a row that is unique for its destination and day, and committed before the call. Whoever
is killed in between leaves it *unknown*, which is shown and never repeated by itself.
"""

import datetime as dt
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from channels import consumption, robots, spend_note, spend_sheet
from channels.accounts import adapter_for
from channels.adapters.base import AdapterError, Outcome, Outgoing
from channels.models import Channel, PushDestination, SpendPush
from channels.queries import pushing as queries
from channels.robots import Delivery

log = logging.getLogger(__name__)

Kind, State = PushDestination.Kind, SpendPush.State
LEASE = dt.timedelta(minutes=3)
"""Longer than any call may take: a claim older than this belongs to nobody any more."""
MOST_TRIES = 20
LONGEST_WAIT = dt.timedelta(minutes=30)


class TooOften(Exception):
    """The robot takes no more messages in this minute."""


def zone() -> ZoneInfo:
    """The installation's zone: its days and its 09:30."""
    return ZoneInfo(settings.TIME_ZONE)


def due_at(destination: PushDestination, day: dt.date) -> dt.datetime:
    """The moment of a day at which its sheet is due."""
    return dt.datetime.combine(day, destination.at, tzinfo=zone())


def save(destination: PushDestination, now: dt.datetime) -> PushDestination:
    """Save a destination. New, or moved to a time that is past, it begins tomorrow; a push of today that failed
    is tried again, since somebody has mended what was wrong."""
    today = timezone.localdate(now, zone())
    known = PushDestination.objects.filter(pk=destination.pk).first() if destination.pk else None
    if known is None or (known.at, known.active) != (destination.at, destination.active):
        pending = now < due_at(destination, today)
        destination.first_day = today if pending else today + dt.timedelta(days=1)
    with transaction.atomic():
        destination.save()
        queries.again(destination.pk, today, now)
    return destination


def push_due(now: dt.datetime) -> int:
    """Push what is due and was not pushed today; returns how many were handed over.

    Runs outside of a transaction; any number may run at once.
    """
    today = timezone.localdate(now, zone())
    queries.abandoned(now, _("Whoever sent it did not come back. Look whether it arrived."))
    queries.over(today, now)
    waiting = _due(today, now)
    if waiting:
        consumption.accrue(now)  # what was reported and handed over up to now stands on the sheet
    done = 0
    for destination in waiting:
        with transaction.atomic(durable=True):
            # One more claim at a time for a destination, so that its robot's limit is counted rightly.
            PushDestination.objects.select_for_update().get(pk=destination.pk)
            if _full(destination, now):
                continue
            claimed = queries.claim(destination.pk, today, now, now + LEASE)
        if claimed is not None:
            _deliver(destination, *claimed, today, now)
            done += 1
    return done


def _due(today: dt.date, now: dt.datetime) -> list[PushDestination]:
    """Destinations whose time has come today and that have no push yet, or one that is to be tried again."""
    settled = SpendPush.objects.filter(test=False, day=today).exclude(state=State.WAITING, again_at__lte=now)
    found = PushDestination.objects.filter(active=True, first_day__lte=today)
    found = found.exclude(pk__in=settled.values("destination_id")).select_related("channel__brand")
    return [destination for destination in found if now >= due_at(destination, today)]


def send_now(destination: PushDestination, now: dt.datetime) -> SpendPush:
    """Send the sheet at once, by the button: beside the day's push, not in its place. Raises :class:`TooOften`."""
    today = timezone.localdate(now, zone())
    with transaction.atomic(durable=True):
        PushDestination.objects.select_for_update().get(pk=destination.pk)
        if _full(destination, now):
            raise TooOften(_("This robot takes no more messages in this minute. Wait a moment."))
        push = SpendPush.objects.create(
            destination=destination, day=today, test=True, state=State.SENDING, started_at=now,
            lease_until=now + LEASE,
        )  # fmt: skip
    _deliver(destination, push.pk, 1, today, now, test=True)
    push.refresh_from_db()
    return push


def _full(destination: PushDestination, now: dt.datetime) -> bool:
    robot = robots.ROBOTS.get(destination.kind)
    if robot is None:
        return False
    return queries.lately(destination.pk, now - dt.timedelta(minutes=1)) >= robot.per_minute


def _deliver(
    destination: PushDestination,
    push_id: int,
    tries: int,
    today: dt.date,
    now: dt.datetime,
    test: bool = False,
) -> None:
    try:
        delivery = _handed_over(destination, push_id, today)
    except Exception as error:  # before anything was handed over: told on the row, others go on
        log.exception("the spend sheet for %s was not made", destination.pk)
        delivery = Delivery(Outcome.REFUSED, type(error).__name__, str(error)[:200])
    state, again = State.SENT, None
    if delivery.outcome == Outcome.UNKNOWN:
        state = State.UNKNOWN
    elif delivery.outcome != Outcome.ACCEPTED:
        again = None if test else _again(destination, delivery, tries, today, now)
        state = State.FAILED if again is None else State.WAITING
    with transaction.atomic():
        queries.record(push_id, tries, state, delivery.code, delivery.text, again, timezone.now())
    if state != State.SENT:
        log.warning("spend sheet to %s: %s %s %s", destination.pk, state, delivery.code, delivery.text)


def _again(
    destination: PushDestination, delivery: Delivery, tries: int, today: dt.date, now: dt.datetime
) -> dt.datetime | None:
    """When to try again, within the day; None when only a person can mend it."""
    if delivery.retry_after is None or tries >= MOST_TRIES:
        return None
    doubled = min(dt.timedelta(seconds=30) * 2 ** min(tries, 10), LONGEST_WAIT)
    at = now + max(doubled, dt.timedelta(seconds=delivery.retry_after))
    return at if timezone.localdate(at, zone()) == today else None


def _handed_over(destination: PushDestination, push_id: int, today: dt.date) -> Delivery:
    """The sheet of yesterday, worded and handed over."""
    with translation.override(destination.language):
        note = spend_note.note(spend_sheet.sheet(today - dt.timedelta(days=1)), destination.keyword)
        if destination.kind == Kind.EMAIL:
            return _by_email(destination, note, push_id)
        robot = robots.ROBOTS[destination.kind]
        short = robots.fitted(note, robot.longest, spend_note.more)
    told = destination.credentials
    return robots.send(destination.kind, told.get("address", ""), told.get("secret", ""), short)


def _by_email(destination: PushDestination, note: robots.Note, push_id: int) -> Delivery:
    """One letter to each mailbox by a connected email channel. The day is sent when every mailbox is settled:
    one that may have got it is not written to again, so any unknown makes the whole unknown."""
    channel = destination.channel
    if channel is None or channel.state == Channel.State.ARCHIVED:
        return Delivery(Outcome.REFUSED, "channel", _("Choose a connected email channel to send by."))
    text, html = spend_note.letter(note)
    # Numbers below zero: these are no attempts of a campaign, and must not be taken for one.
    batch = [
        Outgoing(-(push_id * 1000 + n), address, subject=note.title, text=text, html=html)
        for n, address in enumerate(mailboxes(destination.recipients))
    ]
    try:
        sent = adapter_for(channel).send(batch)
    except AdapterError as error:
        return Delivery(
            Outcome.THROTTLED if error.retryable else Outcome.REFUSED, error.code, str(error)[:200],
            error.retry_after or 60.0 if error.retryable else None,
        )  # fmt: skip
    worst = max(sent, key=lambda one: _GRAVITY[one.outcome])
    if any(one.outcome == Outcome.ACCEPTED for one in sent) and worst.outcome == Outcome.THROTTLED:
        # Some have it already: trying all again would give it to them twice.
        return Delivery(Outcome.REFUSED, worst.code, worst.text)
    return Delivery(worst.outcome, worst.code, worst.text, worst.retry_after)


_GRAVITY = {
    Outcome.ACCEPTED: 0, Outcome.HELD: 0, Outcome.THROTTLED: 1, Outcome.REFUSED: 2, Outcome.UNKNOWN: 3,
}  # fmt: skip


def mailboxes(text: str) -> list[str]:
    """Addresses of a field: one a line, or separated by commas; each once."""
    return list(
        dict.fromkeys(word for word in text.replace(",", " ").replace("，", " ").replace(";", " ").split())
    )


@dataclass(frozen=True, slots=True)
class Trouble:
    """A destination whose last push did not arrive, or may not have."""

    destination: PushDestination
    push: SpendPush


def troubles() -> list[Trouble]:
    """Destinations in use whose newest push (tests left aside) is not in order."""
    newest = (
        SpendPush.objects.filter(test=False, destination__active=True)
        .order_by("destination_id", "-day")
        .distinct("destination_id")
        .select_related("destination")
    )
    bad = (State.FAILED, State.UNKNOWN, State.WAITING)
    return [Trouble(push.destination, push) for push in newest if push.state in bad]


def checked_address(kind: str, address: str) -> str:
    """The webhook's address as the vendor gives it. Raises :class:`ValidationError` saying what is missing."""
    parts = urlsplit(address.strip())
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ValidationError(_("Give the whole address of the robot's webhook, beginning with https://."))
    query: Mapping[str, Any] = parse_qs(parts.query)
    if kind == Kind.WECOM and "key" not in query:
        raise ValidationError(_("A WeCom robot's address ends with …/webhook/send?key=…"))
    if kind == Kind.DINGTALK and "access_token" not in query:
        raise ValidationError(_("A DingTalk robot's address ends with …/robot/send?access_token=…"))
    if kind == Kind.FEISHU and "/hook/" not in parts.path:
        raise ValidationError(_("A Feishu robot's address ends with …/open-apis/bot/v2/hook/…"))
    return address.strip()
