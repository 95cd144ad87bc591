"""Fetching from providers: one channel after the other, and how each kind of it fares, kept for the channel's health.

One provider that fails never keeps others from being asked.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django.db import InterfaceError, OperationalError
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils.functional import Promise

from audiences.days import begins, day_of
from channels import states
from channels.adapters import adapter_class
from channels.adapters.base import AdapterError
from channels.models import Channel, ChannelFetch

log = logging.getLogger(__name__)
Kind = ChannelFetch.Kind

VERBS: dict[str, frozenset[str]] = {
    Kind.REPORTS: frozenset({"fetch_report"}),
    Kind.BALANCES: frozenset({"fetch_balance"}),
    Kind.EMPLOYEES: frozenset({"roster"}),
    Kind.EVENTS: frozenset({"poll", "status"}),
}
"""What an adapter must be able to say, one of it, for a kind to be fetched."""
OFTEN = timedelta(minutes=1)
"""What is asked for every few seconds is kept so often, unless it failed before."""


def kinds(channel: Channel) -> list[str]:
    """What is fetched from a channel's provider."""
    try:
        verbs = adapter_class(channel.adapter).verbs()
    except LookupError:  # the adapter of an old channel may be gone
        return []
    return [kind for kind, asked in VERBS.items() if asked & verbs]


def each(
    kind: str, channels: Iterable[Channel], fetch: Callable[[Channel, datetime], int], now: datetime
) -> dict[int, int | str]:
    """Every channel whose adapter tells this kind: what ``fetch`` returned, or what went wrong."""
    done: dict[int, int | str] = {}
    for channel in channels:
        if kind not in kinds(channel):
            continue
        try:
            done[channel.pk] = once(kind, channel, fetch, now)
        except AdapterError as error:
            done[channel.pk] = str(error)
    return done


def once(kind: str, channel: Channel, fetch: Callable[[Channel, datetime], int], now: datetime) -> int:
    """Fetch, and keep how it went. Raises :class:`AdapterError`; an account that is refused stops its channel."""
    try:
        done = fetch(channel, now)
    except AdapterError as error:
        failed(kind, channel, str(error), now, final=not (error.retryable or error.stops_channel))
        if error.stops_channel:
            states.stop(channel, str(error))
        raise
    except (OperationalError, InterfaceError):  # our own database
        raise
    except Exception as error:  # a vendor's client may raise anything; others must still be asked
        log.exception("%s of channel %s", kind, channel.pk)
        text = f"{type(error).__name__}: {error}"[:500]
        failed(kind, channel, text, now)
        raise AdapterError(text, code="unexpected", retryable=True) from error
    succeeded(kind, channel, now)
    return done


def of(kind: str, channel: Channel) -> ChannelFetch:
    """The row of a kind; made where there is none."""
    return ChannelFetch.objects.get_or_create(channel=channel, kind=kind)[0]


def succeeded(kind: str, channel: Channel, now: datetime) -> None:
    """The last failure stays, with its time: it is told as what was."""
    ChannelFetch.objects.filter(pk=of(kind, channel).pk).update(
        succeeded_at=now, answered_at=now, failing_since=None
    )


def still_succeeds(kind: str, channel: Channel, now: datetime) -> None:
    """:func:`succeeded` for what is asked for all the time: it writes once in a while."""
    told = Q(failing_since=None, succeeded_at__gt=now - OFTEN, succeeded_at__lte=now)
    if not ChannelFetch.objects.filter(told, channel=channel, kind=kind).exists():
        succeeded(kind, channel, now)


def failed(kind: str, channel: Channel, error: str | Promise, now: datetime, *, final: bool = False) -> None:
    """``final``: the same question would be refused again today."""
    ChannelFetch.objects.filter(pk=of(kind, channel).pk).update(
        failed_at=now,
        failing_since=Coalesce("failing_since", now),
        error=str(error)[:500],
        answered_at=now if final else F("answered_at"),
    )


def answered_today(kind: str, now: datetime) -> set[int]:
    """Channels whose provider gave an answer of this kind that holds for today."""
    rows = ChannelFetch.objects.filter(kind=kind, answered_at__gte=begins(day_of(now)))
    return set(rows.values_list("channel_id", flat=True))
