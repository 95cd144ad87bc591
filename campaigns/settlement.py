"""What became of attempts: results of calls, receipts, statuses asked for, and leases that ran out.

All of them come here as :class:`Told`; one statement moves attempts, touches, places and money together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import connection, transaction

from campaigns import quotas
from campaigns.queries import settle as queries
from campaigns.queries.settle import Settled
from campaigns.retrying import steadily
from channels.adapters.base import Receipt
from channels.models import InboxEvent

OWN = "attempt-"
"""The head of a reference that is our own attempt id, given back by the provider."""
UNMATCHED_FOR = timedelta(minutes=15)
"""How long a receipt waits for the reference it names: its answer may still be on the way to us."""

# Of several things told of one attempt at once, the first of these; a delivery is never undone.
_STRENGTH = {
    "delivered": 0, "bounced": 1, "rejected": 1, "refused": 1, "expired": 2, "sent": 3, "accepted": 4, "held": 5,
    "throttled": 6, "withdrawn": 7, "unknown": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """One thing told of one attempt.

    ``told`` is an Outcome, a Receipt, or ``withdrawn`` (never handed over, so planned again). ``cause`` is the
    gap's or the waiting's where the outcome alone does not say it; ``late`` that the contact came later than
    its place says; ``invalid`` that the address does not exist.
    """

    campaign_id: int
    attempt_id: int
    told: str
    at: datetime
    reference: str = ""
    code: str = ""
    text: str = ""
    parts: int | None = None
    cost: Decimal | None = None
    again_at: datetime | None = None
    cause: str = ""
    late: bool = False
    invalid: bool = False


def apply(facts: Sequence[Told], now: datetime) -> list[Settled]:
    """Settle attempts, then wake who waited for the places that became free. In a transaction of its own."""
    if not facts:
        return []

    def work() -> list[Settled]:
        with transaction.atomic():
            return apply_within(facts, now)

    settled = steadily(work) if not connection.in_atomic_block else work()
    give_back(settled, now)
    return settled


def apply_within(facts: Sequence[Told], now: datetime) -> list[Settled]:
    """The same in the caller's transaction, giving no places back."""
    chosen = strongest(facts)
    columns: dict[str, list[Any]] = {
        "campaign_id": [fact.campaign_id for fact in chosen],
        "attempt_id": [fact.attempt_id for fact in chosen],
        "told": [str(fact.told) for fact in chosen],
        "at": [fact.at for fact in chosen],
        "reference": [fact.reference[:160] for fact in chosen],
        "code": [fact.code[:80] for fact in chosen],
        "text": [fact.text[:254] for fact in chosen],
        "parts": [fact.parts for fact in chosen],
        "cost": [fact.cost for fact in chosen],
        "again_at": [fact.again_at for fact in chosen],
        "cause": [str(fact.cause) for fact in chosen],
        "late": [fact.late for fact in chosen],
        "invalid": [fact.invalid for fact in chosen],
    }
    return queries.settle(columns, now)


@dataclass(slots=True)
class Acceptances:
    """Results of one call that are as usual, in columns: the attempt was recorded, and the provider took it."""

    channel_id: int
    attempt_id: list[int] = field(default_factory=list)
    campaign_id: list[int] = field(default_factory=list)
    touch_id: list[int] = field(default_factory=list)
    n: list[int] = field(default_factory=list)
    reference: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    cost: list[Decimal] = field(default_factory=list)

    def columns(self) -> dict[str, list[Any]]:
        """In key order, the order in which all lock attempts."""
        keys = list(zip(self.campaign_id, self.touch_id, strict=True))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        names = ("campaign_id", "touch_id", "n", "reference", "code", "text", "parts", "cost")
        if order == list(range(len(keys))):
            return {name: getattr(self, name) for name in names}
        return {name: [getattr(self, name)[i] for i in order] for name in names}

    def facts(self, among: set[int], at: datetime) -> list[Told]:
        """Those whose attempts did not stand as expected: a receipt or a sweep came first."""
        return [
            Told(
                self.campaign_id[i], attempt_id, "accepted", at, reference=self.reference[i], code=self.code[i],
                text=self.text[i], parts=self.parts[i], cost=self.cost[i],
            )
            for i, attempt_id in enumerate(self.attempt_id)
            if attempt_id not in among
        ]  # fmt: skip


def accept(taken: Acceptances, at: datetime) -> None:
    """Record what a call had accepted; in a transaction of its own."""
    if not taken.attempt_id:
        return
    columns = taken.columns()

    def work() -> set[int]:
        with transaction.atomic():
            return queries.accept(taken.channel_id, columns, at)

    done = steadily(work)
    if len(done) < len(taken.attempt_id):
        apply(taken.facts(done, at), at)


def strongest(facts: Iterable[Told]) -> list[Told]:
    """One fact an attempt: the strongest, and of equals the earliest."""
    best: dict[tuple[int, int], Told] = {}
    for fact in facts:
        key = (fact.campaign_id, fact.attempt_id)
        known = best.get(key)
        if known is None or (_STRENGTH[fact.told], fact.at) < (_STRENGTH[known.told], known.at):
            best[key] = fact
    return list(best.values())


def give_back(settled: Sequence[Settled], now: datetime) -> int:
    """What was settled without having arrived frees places: of the day, and of the customer.

    Touches of the customers that wait for a place are due at once; how many. After the transaction that settled:
    a claim locks the places of a day first.
    """
    quotas.give_back(
        (row.channel_id, row.campaign_id, row.started_at)
        for row in settled
        if row.before == "recorded" and row.after == "throttled"
    )
    freed = {
        row.customer_id for row in settled if row.after in ("refused", "throttled", "bounced", "expired")
    }  # fmt: skip
    return queries.wake(sorted(freed), now) if freed else 0


@dataclass(frozen=True, slots=True)
class Matched:
    """Receipts by what became of them: inbox event ids."""

    settled: list[int]
    waiting: list[int]  # nobody has this reference yet
    strange: list[int]  # nobody ever will


def settle(events: Sequence[InboxEvent], now: datetime) -> tuple[Matched, list[Settled]]:
    """Receipts settle the attempts they name, in the caller's transaction.

    An event names its attempt by the provider's reference, by ``attempt-<id>``, or by our id in its detail.
    """
    own = [own_id(event) for event in events]
    found = queries.find([event.channel_id for event in events], [event.reference for event in events], own)
    matched = Matched([], [], [])
    facts = []
    for position, event in enumerate(events):
        if position not in found:
            waits = own[position] is None and now - event.received_at < UNMATCHED_FOR
            (matched.waiting if waits else matched.strange).append(event.pk)
            continue
        campaign_id, attempt_id = found[position]
        facts.append(_fact(event, campaign_id, attempt_id, now))
        matched.settled.append(event.pk)
    return matched, apply_within(facts, now) if facts else []


def own_id(event: InboxEvent) -> int | None:
    """Our attempt's id, where the provider repeated it."""
    told = event.detail.get("attempt_id") if isinstance(event.detail, dict) else None
    if told is None and event.reference.startswith(OWN):
        told = event.reference.removeprefix(OWN)
    try:
        number = int(str(told))
    except ValueError:
        return None
    return number if 0 < number < 2**63 else None


def _fact(event: InboxEvent, campaign_id: int, attempt_id: int, now: datetime) -> Told:
    detail = event.detail if isinstance(event.detail, dict) else {}
    permanent = bool(detail.get("permanent"))
    return Told(
        campaign_id=campaign_id,
        attempt_id=attempt_id,
        told=event.outcome,
        at=min(event.occurred_at, now),  # a provider's clock may be ahead of ours
        reference=_named(event, detail),
        code=event.code,
        cost=_amount(detail.get("cost")),
        invalid=permanent and event.outcome in (Receipt.BOUNCED, Receipt.REJECTED),
    )


def _named(event: InboxEvent, detail: dict[str, Any]) -> str:
    """How the provider calls the attempt from now on."""
    if told := str(detail.get("reference") or ""):
        return told
    return "" if event.reference.startswith(OWN) else event.reference


def _amount(told: object) -> Decimal | None:
    """A cost from a receipt's detail; what is no amount is no cost."""
    try:
        amount = Decimal(str(told))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount < 100_000_000 else None
