"""The inbox, drained exactly once: receipts settle attempts, responses drive the stop rule and exits.

An event is taken, turned into what it means and marked in one transaction: a kill repeats it whole or not at
all. Receipts and responses go apart, since they lock in another order. An event that breaks is found by
halving, set aside with its error, and others go on.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.utils import timezone

from audiences import consent, contact_state
from audiences.identity import know
from audiences.vocabulary import ResponseKind
from campaigns import exits, settlement
from campaigns.queries import responses as queries
from campaigns.queries.settle import Settled
from campaigns.retrying import is_conflict, is_gone, steadily
from channels import inbox
from channels.models import InboxEvent

log = logging.getLogger(__name__)

AT_ONCE = 2000
BORN_BY = frozenset({ResponseKind.FOLLOW, ResponseKind.LEAD, ResponseKind.REGISTRATION})
"""What makes somebody a customer who was none: customers come from responses too."""
NOBODY = "Nobody has this identity."
NO_ATTEMPT = "No attempt of ours has this reference."


@dataclass(slots=True)
class _Pass:
    """One walk through the inbox, so that events that must wait are passed by."""

    kind: str
    now: datetime
    after: int = 0
    drained: int = 0


def drain(limit: int = 50_000, now: datetime | None = None) -> int:
    """Drain up to ``limit`` events of each kind; returns how many were turned into what they mean.

    Runs outside of a transaction; any number may run at once.
    """
    at = now or timezone.now()
    total = 0
    for kind, work in ((InboxEvent.Kind.RECEIPT, _receipts), (InboxEvent.Kind.RESPONSE, _responses)):
        walk = _Pass(kind, at)
        while walk.drained < limit and _batch(walk, min(AT_ONCE, limit - walk.drained), work):
            pass
        total += walk.drained
    return total


Work = Callable[[Sequence[InboxEvent], datetime], list[Settled]]


def _batch(walk: _Pass, size: int, work: Work) -> bool:
    """Take and do one batch; False when there was nothing to take."""
    taken: list[int] = []

    def attempt() -> tuple[int, list[Settled]]:
        with transaction.atomic():
            events = inbox.take(size, walk.now, kind=walk.kind, after=walk.after)
            taken[:] = [event.pk for event in events]
            return len(events), work(events, walk.now) if events else []

    try:
        seen, settled = steadily(attempt)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        if isinstance(error, DatabaseError) and (is_conflict(error) or is_gone(error)):
            raise
        if size == 1:
            log.exception("inbox event %s is set aside", taken)
            for event_id in taken:
                inbox.set_aside(event_id, f"{type(error).__name__}: {error}", walk.now)
            walk.after = max([walk.after, *taken])
            return bool(taken)
        return all(_batch(walk, max(1, size // 2), work) for _half in range(2))
    settlement.give_back(settled, walk.now)
    walk.after = max([walk.after, *taken])
    walk.drained += seen
    return seen > 0


def _receipts(events: Sequence[InboxEvent], now: datetime) -> list[Settled]:
    matched, settled = settlement.settle(events, now)
    inbox.mark_drained(matched.settled, now)
    if matched.strange:
        inbox.mark_ignored(matched.strange, NO_ATTEMPT)
    return settled


def _responses(events: Sequence[InboxEvent], now: datetime) -> list[Settled]:
    whose = queries.resolve([event.pk for event in events])
    known = {row.event_id for row in whose}
    born = [event for event in events if event.pk not in known and _makes_a_customer(event)]
    for event in born:
        who = (event.identity_kind, event.identity_issuer, event.identity_value)
        know([who], f"channel:{event.channel_id}", now)
    if born:
        more = queries.resolve([event.pk for event in born])
        whose += more
        known |= {row.event_id for row in more}
    contact_state.lock({row.customer_id for row in whose})
    effects(queries.store(whose), now)
    nobodys = [event for event in events if event.pk not in known]
    for event in nobodys:
        _suppress_stranger(event)
    inbox.mark_drained(sorted(known), now)
    if nobodys:
        inbox.mark_ignored([event.pk for event in nobodys], NOBODY)
    return []


def _makes_a_customer(event: InboxEvent) -> bool:
    return event.response in BORN_BY and bool(event.identity_value) and not event.machine


def _suppress_stranger(event: InboxEvent) -> None:
    """Somebody we do not know wants nothing from us: remembered, for the day we load them."""
    if event.response in (ResponseKind.OPT_OUT, ResponseKind.COMPLAINT) and event.identity_value:
        consent.suppress(
            event.identity_kind, event.identity_issuer, event.identity_value, str(event.response),
            medium=event.channel.medium, brand_id=event.channel.brand_id,
        )  # fmt: skip


def effects(response_ids: Sequence[int], now: datetime) -> None:
    """What responses mean for people and campaigns; in the caller's transaction.

    Also for responses that came by import or API. Opt-outs and complaints withdraw consent for the medium and
    brand and close what is unsent there in every campaign; exits end campaigns; reactions end silence.
    """
    if not response_ids:
        return
    contact_state.lock(queries.customers_of(response_ids))
    leaving: list[tuple[int, int | None, str]] = []
    for customer_id, kind, occurred_at, brand_id, medium, source, told_by, withdrawn in queries.opt_outs(
        response_ids
    ):
        for brand, what in _withdrawn(withdrawn, brand_id, medium):
            if not told_by:  # an unsubscribe page has withdrawn consent already, and more exactly
                consent.opt_out(customer_id, what, brand, kind, source, occurred_at)
            leaving.append((customer_id, brand, what))
    queries.reacted(response_ids, now)
    exits.opted_out(leaving, now)
    exits.exit_members(queries.exits(response_ids), now)


def _withdrawn(told: Any, brand_id: int | None, medium: str | None) -> list[tuple[int | None, str]]:
    """(brand, medium) pairs a person withdrew from: those a preference page lists, else the channel's own."""
    pairs: list[tuple[int | None, str]] = []
    for entry in told if isinstance(told, list) else []:
        brand, _sep, what = str(entry).partition(":")
        if brand.isdigit() and what:
            pairs.append((int(brand), what))
    return pairs or ([(brand_id, medium)] if medium else [])
