"""A worker on one channel: claim, call, record, until nothing is due or its time is up."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection
from django.utils import timezone

from campaigns import changes, employee_tasks, pressure, settlement, silence
from campaigns.dispatch import calling, claiming
from campaigns.dispatch import sending as reading
from campaigns.dispatch.calling import Called, Words
from campaigns.dispatch.claiming import START, Claim
from campaigns.dispatch.sending import Sending
from campaigns.queries import call as call_queries
from campaigns.queries.claim import Decided
from campaigns.retrying import steadily
from campaigns.settlement import Acceptances, Told
from campaigns.spending import Purse
from campaigns.vocabulary import Cause
from channels import calls, counts, states, throttle
from channels.accounts import adapter_for
from channels.adapters.base import BaseAdapter, Outgoing
from channels.models import Channel
from channels.vocabulary import Guarantee

log = logging.getLogger(__name__)

LARGEST = 4000  # touches in one claim
SECONDS = 10.0  # a worker's turn; beat wakes the next one
PATIENCE = 60.0  # seconds a record waits for a database that went away
SHORTEST_NAP = 0.01
CALL = 0.2  # seconds of messages in one call
SMALLEST_CALL = 5  # of a slow provider: all of a call is unknown when its worker dies


@dataclass(slots=True)
class Dispatched:
    """What one turn did. ``decisions`` counts touches by what claims decided of them."""

    claimed: int = 0
    accepted: int = 0
    held: int = 0
    refused: int = 0
    throttled: int = 0
    unknown: int = 0
    returned: int = 0  # claimed and not handed over
    decisions: Counter[str] = field(default_factory=Counter)

    def count(self, facts: Sequence[Told]) -> None:
        for fact in facts:
            name = "returned" if fact.told == "withdrawn" else fact.told
            setattr(self, name, getattr(self, name) + 1)


@dataclass(slots=True)
class Pace:
    """How many touches a claim and a call take: a claim is handed over in time, and a kill costs little.

    What a dead worker was calling about is unknown for good where the provider does not tell. So a call takes
    what is handed over in :data:`CALL`, unless the adapter itself finds out later (confirmed later).
    """

    largest: int  # messages in one call of the adapter, at most
    whole: bool  # each call takes as many as it can
    per_second: float = 0.0  # touches from claim to record
    calling: float = 0.0  # seconds of the adapter's for one message

    @property
    def claim_size(self) -> int:
        if not self.per_second:
            return min(2 * self.largest, LARGEST)
        return max(1, min(LARGEST, int(self.per_second * START.total_seconds() * 0.5)))

    @property
    def call_size(self) -> int:
        if self.whole:
            return self.largest
        if not self.calling:
            return min(self.largest, SMALLEST_CALL)
        return max(1, min(self.largest, max(SMALLEST_CALL, int(CALL / self.calling))))

    def learn_call(self, handed: int, seconds: float) -> None:
        if handed:
            self.calling = _mean(self.calling, max(seconds, 1e-6) / handed)

    def learn_claim(self, handed: int, seconds: float) -> None:
        if handed:
            self.per_second = _mean(self.per_second, handed / max(seconds, 0.001))


def _mean(known: float, seen: float) -> float:
    return 0.5 * (known + seen) if known else seen


def dispatch_channel(
    channel_id: int,
    *,
    worker: str = "",
    limit: int | None = None,
    now: datetime | None = None,
    seconds: float = SECONDS,
) -> Dispatched:
    """Send what is due on a channel. Any number of workers may do so at once.

    ``limit``: touches claimed at most. ``now`` stands still for the whole turn (tests); without it the
    database's clock is used. Must run outside of a transaction.
    """
    return _Turn(channel_id, worker or claiming.worker_name(), now).run(limit, seconds)


class _Turn:
    def __init__(self, channel_id: int, worker: str, now: datetime | None) -> None:
        self.channel_id, self.worker, self.now = channel_id, worker, now
        self.purse = Purse(worker, channel_id)
        self.dispatched = Dispatched()
        self.counted: Counter[str] = Counter()
        self.sending: Sending | None = None
        self.words: Words | None = None
        self.read_at = 0.0
        self.average: dict[int, Decimal] = {}  # campaign → mean reserve of its touches
        self.money: dict[int, Decimal] = {}  # campaign → what the purse still has

    @property
    def present(self) -> datetime:
        return self.now or timezone.now()

    # The turn ----------------------------------------------------------------------------------

    def run(self, limit: int | None, seconds: float) -> Dispatched:
        ends = time.monotonic() + seconds
        try:
            while time.monotonic() < ends and (limit is None or self.dispatched.claimed < limit):
                most = LARGEST if limit is None else limit - self.dispatched.claimed
                if not self._step(most, ends):
                    break
        finally:
            self._leave()
        return self.dispatched

    def _step(self, most: int, ends: float) -> bool:
        """One claim and its calls; False when there is nothing more to do now."""
        sending = self._sending()
        if sending is None:
            return False
        adapter = adapter_for(sending.channel)
        adapter.most_recipients = sending.calls.recipients
        pace = _pace(self.channel_id, adapter)
        wanted = min(most, pace.claim_size)
        if sending.calls.counted:
            wanted = min(wanted, self._room(sending, ends) * adapter.at_once)
        tokens = self._tokens(sending, wanted, ends)
        if not tokens:
            return False
        self._fill(sending, tokens)
        claim = self._claim(sending, tokens)
        if claim is None:
            return False
        self.dispatched.decisions.update(claim.decisions)
        self.dispatched.claimed += len(claim.touches)
        if claim.touches:
            self._call(sending, adapter, pace, claim)
        if claim.silent:
            silence.found(claim.silent, claim.now)
        for campaign_id in claim.withdrawn:
            steadily(lambda pk=campaign_id: changes.let_go(pk, claim.now))  # type: ignore[misc]
        for campaign_id, amount in claim.short.items():
            self._lease(campaign_id, amount * 2)
        return bool(claim.moved or claim.new_zones or claim.short)

    def _sending(self) -> Sending | None:
        if self.sending is None or time.monotonic() - self.read_at > reading.READ_EVERY:
            self.sending = reading.read(self.channel_id, self.present)
            self.read_at = time.monotonic()
            if self.sending:
                self.purse.bind(self.sending.campaigns)
                self.words = Words(self.sending)
        return self.sending

    def _tokens(self, sending: Sending, wanted: int, ends: float) -> int:
        """How many messages may start now, by the channel's throttle; waits for the first of them."""
        if sending.channel.rate_per_second is None:
            back_off = throttle.lease(self.channel_id, wanted, self.now)
            return back_off.n
        while True:
            leased = throttle.lease(self.channel_id, wanted, self.now)
            if leased.n or self.now is not None or time.monotonic() + leased.wait_seconds > ends:
                return leased.n
            time.sleep(max(SHORTEST_NAP, min(leased.wait_seconds, 1.0)))

    def _room(self, sending: Sending, ends: float) -> int:
        """How many calls the platform allows at this moment, over all workers; waits for the first of them."""
        while True:
            found = calls.room(self.channel_id, sending.calls, self.now)
            if found.n or self.now is not None or time.monotonic() + found.wait_seconds > ends:
                return found.n
            time.sleep(max(SHORTEST_NAP, min(found.wait_seconds, 1.0)))

    # Money -------------------------------------------------------------------------------------

    def _fill(self, sending: Sending, touches: int) -> None:
        """Lease ahead what the next claim may take, so that it need not be claimed twice."""
        self.purse.renew(self.present)
        if self.purse.opened_at is None:
            self.money.clear()
        for campaign_id in sending.campaigns:
            if not self.purse.budgets.get(campaign_id) or campaign_id in self.purse.exhausted:
                continue
            need = touches * self.average.get(campaign_id, sending.channel.unit_price)
            if self.money.get(campaign_id, Decimal(0)) < need:
                self._lease(campaign_id, 2 * need)

    def _lease(self, campaign_id: int, amount: Decimal) -> None:
        got = self.purse.fill(campaign_id, amount, self.present)
        self.money[campaign_id] = self.money.get(campaign_id, Decimal(0)) + got

    # Claim, call, record -----------------------------------------------------------------------

    def _claim(self, sending: Sending, most: int) -> Claim | None:
        scan = most if most >= 500 else 500

        def work() -> Claim:
            return claiming.claim(sending, self.purse, most=most, scan=scan, worker=self.worker, now=self.now)

        claim = steadily(work)
        if claim.unknown_contacts:
            pressure.bring_into_force(claim.now)  # once: from here on they are kept
            claim = steadily(work)
        for campaign_id, amount in claim.used.items():
            taken = [row for row in claim.touches if row.campaign_id == campaign_id]
            self.average[campaign_id] = amount / len(taken)
            if campaign_id in self.money:
                self.money[campaign_id] -= amount
        return claim

    def _call(self, sending: Sending, adapter: BaseAdapter, pace: Pace, claim: Claim) -> None:
        started = time.monotonic()
        words = self.words or Words(sending)
        left = list(claim.touches)
        handed = 0
        while left:
            if time.monotonic() - started > START.total_seconds():
                break  # too slow: what has not begun by now is given back
            size = pace.call_size if adapter.recipients_a_call else min(pace.call_size, adapter.at_once)
            batch, left = left[:size], left[size:]
            called = self._one_batch(sending, adapter, pace, words, claim, batch, started)
            handed += called.handed
            if called.stop:
                self._stop_channel(sending.channel, called.stop)
                break
            if called.slower:
                throttle.back_off(self.channel_id, called.slower, self.now)
                break
        pace.learn_claim(handed, time.monotonic() - started)
        if left:
            at = self._at(claim, started)
            self._record([
                Told(row.campaign_id, row.attempt_id or 0, "withdrawn", at, code="not_started", again_at=at) for row in left
            ], at)  # fmt: skip
        steadily(lambda: call_queries.forget(claim.token), PATIENCE)

    def _one_batch(
        self,
        sending: Sending,
        adapter: BaseAdapter,
        pace: Pace,
        words: Words,
        claim: Claim,
        batch: Sequence[Decided],
        started: float,
    ) -> Called:
        looked = steadily(lambda: calling.look(sending, claim, batch, self.now), PATIENCE)
        if time.monotonic() - started > START.total_seconds():
            looked = {}  # the database was away for a while: too late to begin
        at = self._at(claim, started)
        free = [row for row in batch if looked.get(row.attempt_id or 0, "stopped") == ""]
        facts = [
            calling.forbidden(row, looked.get(row.attempt_id or 0, "stopped"), at)
            for row in batch
            if looked.get(row.attempt_id or 0, "stopped") != ""
        ]
        free, ruled = steadily(lambda: calling.obeying(words, free, at), PATIENCE)
        outgoing, gaps = steadily(lambda: calling.worded(sending, words, free, at), PATIENCE)
        if time.monotonic() - started > START.total_seconds():  # it was away while we looked for words
            at = self._at(claim, started)
            outgoing, gaps = [], [calling.forbidden(row, "not_started", at) for row in free]
        outgoing, reserved, late = calling.reserved(sending, outgoing, free, at, adapter.at_once)
        gaps += late
        outgoing, taken, late = self._within_calls(sending, adapter, outgoing, free, at)
        gaps += late
        called = Called()
        if not outgoing and reserved.tasks:  # nothing is left to hand over: the employees' day has them back
            steadily(lambda: employee_tasks.made(reserved, ()), PATIENCE)
        if outgoing:
            rows = {row.attempt_id or 0: row for row in free}
            began = time.monotonic()
            results, error = calling.hand_over(adapter, outgoing)
            pace.learn_call(len(results), time.monotonic() - began)
            if taken is not None:
                steadily(lambda: calls.ended(self.channel_id, taken, self.now), PATIENCE)
            if reserved.tasks:
                steadily(lambda: employee_tasks.made(reserved, results), PATIENCE)
            at = self._at(claim, started)
            if error is not None:
                called = calling.facts_of_error([rows[message.attempt_id] for message in outgoing], error, at)
            else:
                called = calling.facts_of(sending, claim, rows, results, at, claim.now + START)
        if called.taken:
            self._accept(called.taken, at)
        self._record([*facts, *ruled, *gaps, *called.facts], at)
        self.counted.update(counts.of_sent(called.sent))
        return called

    def _within_calls(
        self,
        sending: Sending,
        adapter: BaseAdapter,
        outgoing: list[Outgoing],
        batch: Sequence[Decided],
        at: datetime,
    ) -> tuple[list[Outgoing], calls.Taken | None, list[Told]]:
        """What the platform's limits of calls leave of a batch, its calls taken; the rest is given back until more may
        be made."""
        if not outgoing or not sending.calls.counted:
            return outgoing, None, []
        wanted = adapter.calls(outgoing)
        taken = steadily(lambda: calls.take(self.channel_id, wanted, sending.calls, self.now), PATIENCE)
        if taken.n >= wanted:
            return outgoing, taken, []
        first = calling.beginning(adapter, outgoing, taken.n)
        wait = taken.wait_seconds or calls.room(self.channel_id, sending.calls, self.now).wait_seconds
        again_at = at + timedelta(seconds=wait)
        campaigns = {row.attempt_id: row.campaign_id for row in batch}
        told = [
            Told(campaigns[message.attempt_id], message.attempt_id, "withdrawn", at, code="calls",
                 cause=Cause.CAPACITY, again_at=again_at)
            for message in outgoing[len(first):]
        ]  # fmt: skip
        return first, taken, told

    def _at(self, claim: Claim, started: float) -> datetime:
        """The present, counted from the claim's own clock."""
        return (
            claim.now if self.now is not None else claim.now + timedelta(seconds=time.monotonic() - started)
        )

    def _accept(self, taken: Acceptances, at: datetime) -> None:
        steadily(lambda: settlement.accept(taken, at), PATIENCE)
        self.dispatched.accepted += len(taken.attempt_id)

    def _record(self, facts: Sequence[Told], at: datetime) -> None:
        """What is known must not be lost with a connection: it is told again until the database is back."""
        if not facts:
            return
        steadily(lambda: settlement.apply(facts, at), PATIENCE)
        self.dispatched.count(facts)

    def _stop_channel(self, channel: Channel, reason: str) -> None:
        steadily(lambda: states.stop(channel, reason), PATIENCE)
        log.error("channel %s stopped: %s", self.channel_id, reason)

    def _leave(self) -> None:
        """Unused money returns and counts are written; if that fails, leases expire."""
        try:
            self.purse.close()
            if self.counted:
                counts.count_many(self.channel_id, self.counted, self.present)
        except Exception:
            connection.close()
            log.exception("a turn on channel %s ended badly; its leases expire", self.channel_id)


_paces: dict[tuple[int, str], Pace] = {}


def _pace(channel_id: int, adapter: BaseAdapter) -> Pace:
    """What this process learned of the channel's speed."""
    whole = adapter.guarantee != Guarantee.IMMEDIATE
    return _paces.setdefault((channel_id, adapter.name), Pace(adapter.batch_size, whole))
