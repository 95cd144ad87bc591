"""Events that a provider tells only when asked: confirmed tasks, mailboxes, SMPP sessions, lost answers.

They go through the inbox like all others: stored, committed, then acknowledged; so a kill tells them again.
"""

import logging
from collections.abc import Sequence
from datetime import datetime

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from campaigns.models import Clock
from campaigns.queries import polling as queries
from channels import fetching, inbox
from channels.accounts import adapter_for
from channels.adapters import adapter_class
from channels.adapters.base import AdapterError, BaseAdapter, Inbound
from channels.fetching import Kind
from channels.models import Channel
from channels.queries.locks import alone

log = logging.getLogger(__name__)

AT_ONCE = 10_000  # references in one round; the next round goes on after them
ROUNDS = 200  # polls of one visit: a provider with an endless stream does not hold a worker for ever
BESIDE_LOST = 30  # minutes around a lost call in which another of the same words could be taken for it
POLL_LOCK = 730_144_191


def poll_all(now: datetime | None = None) -> int:
    """Ask every channel that can be asked; returns how many events were new. A paused one sends nothing, and is told
    what became of all that was sent, and who opts out. What breaks on one channel does not hold the others."""
    done = 0
    asked = Channel.objects.filter(state__in=(Channel.State.ACTIVE, Channel.State.PAUSED))
    for channel in asked.select_related("brand").order_by("pk"):
        try:
            verbs = adapter_class(channel.adapter).verbs()
        except LookupError:  # its adapter is gone
            continue
        try:
            if verbs & {"poll", "status"}:
                done += poll(channel, now)
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            log.exception("channel %s cannot be asked", channel.pk)
            fetching.failed(Kind.EVENTS, channel, f"{type(error).__name__}: {error}", now or timezone.now())
    return done


def poll(channel: Channel, now: datetime | None = None) -> int:
    """Ask one channel; one worker at a time. Returns how many events were new."""
    with alone(POLL_LOCK, channel.pk) as mine:
        if not mine:
            return 0
        at = now or timezone.now()
        try:
            done = _poll(channel, at)
        except AdapterError as error:
            log.warning("channel %s cannot be asked: %s", channel.pk, error)
            fetching.failed(Kind.EVENTS, channel, str(error), at)
            return 0
        fetching.still_succeeds(Kind.EVENTS, channel, at)
        return done


def _poll(channel: Channel, now: datetime) -> int:
    adapter = adapter_for(channel)
    verbs = adapter.verbs()
    done = 0
    if "poll" in verbs:
        rows = _next(channel, "poll", ["held", "unknown"], now)
        references = [reference for _attempt, reference in rows]
        # Whoever looks for a lost call by its words must not find one that is known to be another's.
        references += queries.beside_lost(channel.pk, [attempt for attempt, _reference in rows], BESIDE_LOST)
        for turn in range(ROUNDS):
            events = adapter.poll(references if turn == 0 else ())
            done += _keep(channel, adapter, events, now)
            if not events:
                break
    if "status" in verbs:
        rows = _next(channel, "status", ["unknown"], now)
        if rows:
            done += _keep(channel, adapter, adapter.status([reference for _attempt, reference in rows]), now)
    return done


def _keep(channel: Channel, adapter: BaseAdapter, events: Sequence[Inbound], now: datetime) -> int:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "SET LOCAL synchronous_commit TO on"
            )  # once acknowledged it is told to nobody again
        new = inbox.store(channel, events, now)
    adapter.acknowledge()
    return new


def _next(channel: Channel, verb: str, states: list[str], now: datetime) -> list[tuple[int, str]]:
    """The next (attempt, reference) to ask for, in turns over all that are open."""
    name = f"{verb}:{channel.pk}"
    clock, _made = Clock.objects.get_or_create(name=name, defaults={"at": now})
    rows = queries.open_references(channel.pk, states, clock.value, AT_ONCE)
    if not rows and clock.value:
        rows = queries.open_references(channel.pk, states, 0, AT_ONCE)
    last = rows[-1][0] if len(rows) == AT_ONCE else 0
    if last != clock.value:
        Clock.objects.filter(name=name).update(at=now, value=last)
    return rows
