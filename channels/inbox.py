"""What providers tell us: stored at once and once, drained later by campaigns exactly once.

Storing never depends on what is known of campaigns, so a provider always gets its answer; a request or
an event that cannot be handled is set aside with its error and never stands in the way of others.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from datetime import datetime, timedelta
from typing import Any

from django.db import DataError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from audiences.models import Identity
from channels import counts, reply_rules
from channels.accounts import adapter_for
from channels.adapters.base import BadSignature, Inbound, InboundReply, InboundRequest
from channels.models import Channel, InboxEvent
from channels.queries import inbox as queries

SWEEP_SECONDS = 2.0
SETTLE = timedelta(seconds=4)
"""Clicks wait this long, so that all clicks of a scanner's sweep lie in one batch."""

KEPT_HEADERS = {
    "content-type",
    "user-agent",
    "x-twilio-signature",
    "x-hub-signature-256",
    "x-evenreach-signature",
}


def store(channel: Channel | int, events: Sequence[Inbound], received_at: datetime) -> int:
    """Store events that are not there yet, known by (channel, dedupe key); returns how many were new."""
    if not events:
        return 0
    if isinstance(channel, int):
        channel_id = channel
    else:
        channel_id = channel.pk
        events = reply_rules.judged(channel, events, received_at.date())
    columns = _columns(events)
    if connection.in_atomic_block:
        return queries.store(channel_id, columns, received_at)
    try:
        return queries.store(channel_id, columns, received_at)
    except (OperationalError, InterfaceError):
        # The server was restarted behind a connection that was kept. Storing twice stores once: try anew.
        connection.close()
        return queries.store(channel_id, columns, received_at)


def _columns(events: Sequence[Inbound]) -> dict[str, list[Any]]:
    return {
        "dedupe_key": _keys([event.dedupe_key for event in events]),
        "kind": ["receipt" if event.receipt else "response" for event in events],
        "outcome": [str(event.receipt or "") for event in events],
        "response": [str(event.response or "") for event in events],
        "reference": _texts([event.reference for event in events], 160),
        "campaign_id": [event.campaign_id for event in events],
        "touch_id": [event.touch_id for event in events],
        "identity_kind": [event.identity_kind for event in events],
        "identity_issuer": _texts([event.identity_issuer for event in events], 80),
        "identity_value": _texts([event.identity_value for event in events], 254),
        "occurred_at": [event.occurred_at for event in events],
        "machine": [event.machine for event in events],
        "value": [event.value for event in events],
        "currency": [event.currency[:3] for event in events],
        "code": _texts([event.code for event in events], 80),
        "detail": [_detail(event) for event in events],
    }


def _usual(texts: Sequence[str], longest: int) -> bool:
    """Whether a column takes all of these as they are: looked at once over the whole of them."""
    whole = "".join(texts)
    return whole.isascii() and "\0" not in whole and len(max(texts, key=len)) <= longest


def _keys(keys: list[str]) -> list[str]:
    return keys if _usual(keys, 160) else [_key(key) for key in keys]


def _key(key: str) -> str:
    """A key longer than the column keeps its identity as a hash."""
    key = _storable(key)
    return key if len(key) <= 160 else f"{key[:90]}~{hashlib.sha256(key.encode()).hexdigest()}"


def _texts(texts: list[str], longest: int) -> list[str]:
    return texts if _usual(texts, longest) else [_storable(text)[:longest] for text in texts]


def _storable(text: str) -> str:
    """Without what PostgreSQL keeps in no text: NUL, and halves of a character that JSON may carry alone."""
    text = text.replace("\0", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _detail(event: Inbound) -> str:
    if not event.detail and not event.permanent:
        return "{}"
    detail = dict(event.detail)
    if event.permanent:
        detail["permanent"] = True
    return _storable(json.dumps(detail, default=str, ensure_ascii=False).replace("\\u0000", ""))


def take(limit: int, now: datetime | None = None, *, kind: str = "", after: int = 0) -> list[InboxEvent]:
    """Lock up to ``limit`` new events, oldest first; events that another drainer holds are passed by.

    ``kind`` is receipt or response; ``after`` an event's id: those up to it were looked at and must wait.

    To be called in the drainer's transaction, which must mark or set aside each of them. With ``now``,
    clicks of the last :data:`SETTLE` wait for the next round, so that a scanner's sweep is seen whole.
    Clicks of a sweep come back with ``machine`` set.
    """
    new = InboxEvent.objects.filter(state=InboxEvent.State.NEW, id__gt=after)
    if kind:
        new = new.filter(kind=kind)
    if now is not None:
        new = new.exclude(response="click", received_at__gt=now - SETTLE)
    events = list(new.order_by("id").select_for_update(skip_locked=True, of=("self",))[:limit])
    clicked = [
        event.id for event in events if event.response == "click" and event.touch_id and not event.machine
    ]
    if len(clicked) > 1 and queries.mark_sweeps(clicked, SWEEP_SECONDS):
        swept = set(InboxEvent.objects.filter(id__in=clicked, machine=True).values_list("id", flat=True))
        for event in events:
            event.machine = event.machine or event.id in swept
    return events


def mark_drained(ids: Sequence[int], now: datetime | None = None) -> int:
    """These events have been turned into what they mean; same transaction as :func:`take`."""
    return queries.mark_drained(ids, now or timezone.now()) if ids else 0


def mark_ignored(ids: Sequence[int], reason: str) -> int:
    """These events mean nothing to us, for this reason."""
    return InboxEvent.objects.filter(id__in=ids).update(state=InboxEvent.State.IGNORED, error=reason)


def set_aside(event_id: int, error: str, now: datetime | None = None) -> None:
    """This event cannot be handled; it waits for a person, and others go on."""
    # Only one that is still new: another drainer may have done it since this one failed.
    new = InboxEvent.objects.filter(pk=event_id, state=InboxEvent.State.NEW)
    if new.update(state=InboxEvent.State.POISON, error=error.replace("\0", "")[:2000]):
        channel_id = InboxEvent.objects.values_list("channel_id", flat=True).get(pk=event_id)
        counts.count(channel_id, counts.POISON, now=now)


def replay(ids: Iterable[int], now: datetime | None = None) -> int:
    """Give events that were set aside another chance; returns how many.

    An unread request is parsed again by the channel's adapter as it is today. One that fails again stays
    set aside, with the new error.
    """
    now = now or timezone.now()
    done = 0
    chosen = Q(pk__in=list(ids), state=InboxEvent.State.POISON)
    for event in InboxEvent.objects.filter(chosen).select_related("channel__brand").order_by("id"):
        if "request" in event.detail:
            done += _parse_again(event, now)
        else:
            done += InboxEvent.objects.filter(pk=event.pk, state=InboxEvent.State.POISON).update(
                state=InboxEvent.State.NEW, error=""
            )
    return done


def _parse_again(event: InboxEvent, now: datetime) -> int:
    try:
        reply = adapter_for(event.channel).parse_inbound(
            _request_of(event.detail["request"], event.received_at)
        )
        with transaction.atomic():
            store(event.channel, reply.events, event.received_at)
            if reply.unread is not None:
                InboxEvent.objects.filter(pk=event.pk).update(error=_error_text(reply.unread))
                return 0
            moved = InboxEvent.objects.filter(pk=event.pk, state=InboxEvent.State.POISON).update(
                state=InboxEvent.State.DRAINED, drained_at=now, error="", detail={"events": len(reply.events)}
            )
    except Exception as error:  # whatever the parser raises belongs on the row, for the admin
        InboxEvent.objects.filter(pk=event.pk).update(error=_error_text(error))
        return 0
    return moved


def erasing(customer_id: int) -> None:
    """Before a person is blanked: what providers told of them loses the address and the words."""
    values = Identity.objects.filter(customer_id=customer_id).values_list("value", flat=True)
    InboxEvent.objects.filter(identity_value__in=list(values)).exclude(identity_value="").update(
        identity_value="", detail={}
    )


def receive(channel: Channel, request: InboundRequest, now: datetime) -> InboundReply:
    """One call of a provider: verified, parsed, stored. Raises :class:`BadSignature`, which is counted.

    A request that cannot be parsed is kept whole and answered as received: sent again it would fail again.
    """
    try:
        reply = adapter_for(channel).parse_inbound(request)
        try:
            _store_marked(channel, reply.events, now)
        except DataError as error:
            # One of them holds what no column takes: the others are stored, and the request is kept for it.
            for event in reply.events if len(reply.events) > 1 else ():
                with suppress(DataError):
                    _store_marked(channel, [event], now)
            keep_unread(channel.pk, request, error, now)
        if reply.unread is not None:
            keep_unread(channel.pk, request, reply.unread, now)
        return reply
    except BadSignature:
        counts.count(channel.pk, counts.BAD_SIGNATURE, now=now)
        raise
    except (OperationalError, InterfaceError):
        raise  # our fault, and it passes: the provider must send this again
    except Exception as error:  # a parser's bug or a provider's news: keep it, tell it, go on
        keep_unread(channel.pk, request, error, now)
        return InboundReply()


def _store_marked(channel: Channel, events: Sequence[Inbound], now: datetime) -> None:
    """One statement is a transaction of its own; only inside another one it needs a mark to go back to."""
    with transaction.atomic() if connection.in_atomic_block else nullcontext():
        store(channel, events, now)


def keep_unread(channel_id: int, request: InboundRequest, error: Exception, now: datetime) -> None:
    """Set a whole request aside. The same request sent again is the same row."""
    digest = hashlib.sha256(request.url.encode() + b"\0" + request.body).hexdigest()
    detail = json.dumps({"request": _as_json(request)}, ensure_ascii=False)
    with transaction.atomic():
        queries.set_aside_raw(channel_id, f"unread:{digest}", detail, _error_text(error), now)
        counts.count(channel_id, counts.POISON, now=now)


def _as_json(request: InboundRequest) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": request.url,
        "headers": {name: value for name, value in request.headers.items() if name in KEPT_HEADERS},
        "query": dict(request.query),
        "body": base64.b64encode(request.body).decode(),
    }


def _request_of(kept: dict[str, Any], received_at: datetime) -> InboundRequest:
    return InboundRequest(
        method=kept["method"],
        url=kept["url"],
        headers=kept["headers"],
        query=kept["query"],
        body=base64.b64decode(kept["body"]),
        received_at=received_at,
    )


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".replace("\0", "")[:2000]
