"""Handing over: a batch is looked at once more, worded, given to the adapter, and what became of it told."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import DatabaseError, InterfaceError

from campaigns import content, employee_tasks, later_rules, offers, rule_breaks
from campaigns.dispatch.claiming import Claim
from campaigns.dispatch.sending import Sending
from campaigns.models import MessageVariant
from campaigns.queries import call as queries
from campaigns.queries.claim import Decided
from campaigns.retrying import is_gone, steadily
from campaigns.settlement import Acceptances, Told
from campaigns.vocabulary import Cause
from channels.adapters.base import AdapterError, BaseAdapter, Outcome, Outgoing, Sent
from channels.vocabulary import PriceModel

log = logging.getLogger(__name__)

AGAIN = timedelta(seconds=30)
LONGEST_AGAIN = timedelta(hours=1)
JUDGED_AGAIN = timedelta(minutes=1)  # by then the channel is paused, or the touch has other words
_GAPS = (Cause.OPTED_OUT, Cause.NO_CONSENT, Cause.ERASED)


@dataclass(slots=True)
class Called:
    """What a batch came to: facts to record, and what the channel as a whole was told."""

    taken: Acceptances | None = None  # what is as usual
    facts: list[Told] = field(default_factory=list)  # all else
    sent: list[Sent] = field(default_factory=list)  # for the channel's counts
    handed: int = 0
    slower: float = 0.0  # seconds the whole channel should wait
    stop: str = ""  # why the channel must be stopped


@dataclass(slots=True)
class Words:
    """Messages prepared on one channel, each once."""

    sending: Sending
    known: dict[tuple[int, int], content.PreparedMessage | None] = field(default_factory=dict)
    judge: rule_breaks.Judge | None = None

    def of(self, version_id: int | None, variant: int) -> content.PreparedMessage | None:
        if version_id is None:
            return None
        key = (version_id, variant)
        if key not in self.known:
            try:
                self.known[key] = content.prepare(version_id, variant, self.sending.channel)
            except MessageVariant.DoesNotExist:
                self.known[key] = None
        return self.known[key]

    def broken(self, row: Decided, now: datetime) -> bool:
        """Whether the words of a touch break a platform's rule of the day."""
        if row.message_version_id is None:
            return False
        self.judge = self.judge or rule_breaks.Judge(self.sending.channel)
        return self.judge.broken(row.message_version_id, self.sending.day(row.campaign_id, now))


def look(sending: Sending, claim: Claim, batch: Sequence[Decided], now: datetime | None) -> dict[int, str]:
    """Attempt → why it must not go out now; '' may. Committed before the call: these may have arrived."""
    return queries.look(
        queries.Look(claim.token, sending.channel.pk, sending.permission, sending.blocks),
        [row.attempt_id or 0 for row in batch],
        [row.customer_id for row in batch],
        [row.campaign_id for row in batch],
        now,
    )


def forbidden(row: Decided, why: str, now: datetime) -> Told:
    """What is recorded of an attempt that was stopped at the last moment: nothing arrived."""
    attempt_id = row.attempt_id or 0
    if why in _GAPS:
        return Told(row.campaign_id, attempt_id, "refused", now, code=why, cause=why)
    # Stopped, merged or lease over: the touch stands as planned, and its next claim decides.
    cause = why if why == Cause.CHANNEL_STOPPED else ""
    return Told(row.campaign_id, attempt_id, "withdrawn", now, code=why, cause=cause, again_at=now)


def obeying(words: Words, batch: Sequence[Decided], now: datetime) -> tuple[list[Decided], list[Told]]:
    """Those whose words break no rule of the day. The others stay planned, and their channel is judged by the next look:
    paused, or given the words of the approved change."""
    broken = [row for row in batch if words.broken(row, now)]
    if not broken:
        return list(batch), []
    pairs = sorted({(row.campaign_id, words.sending.channel.pk) for row in broken})
    if later_rules.again(pairs):
        log.warning("words break a rule of the day: (campaign, channel) %s", pairs)
    told = [
        Told(row.campaign_id, row.attempt_id or 0, "withdrawn", now, code="rule", cause=Cause.CONTENT,
             again_at=now + JUDGED_AGAIN)
        for row in broken
    ]  # fmt: skip
    held = {row.attempt_id for row in broken}
    return [row for row in batch if row.attempt_id not in held], told


def worded(
    sending: Sending, words: Words, batch: Sequence[Decided], now: datetime
) -> tuple[list[Outgoing], list[Told]]:
    """The messages of a batch; touches without usable content are gaps. Raises when the database is away."""
    prepared = {row.touch_id: words.of(row.message_version_id, row.variant) for row in batch}
    fields = sorted({name for message in prepared.values() if message for name in message.fields})
    values = content.values_of([row.customer_id for row in batch], fields)
    granted = _granted(prepared, batch, fields, now)
    senders = _senders(sending, batch)
    outgoing, gaps = [], []
    for row in batch:
        message = prepared[row.touch_id]
        known = values.get(row.customer_id, {})
        if granted is not None and message is not None and offers.names_one(message.fields):
            offer = granted.get((row.campaign_id, row.customer_id))
            if offer is None:
                gaps.append(
                    Told(
                        row.campaign_id, row.attempt_id or 0, "refused", now, code="offer", cause=Cause.OFFER
                    )
                )
                continue
            known = known | offer
        sender, employee_id = senders.get(row.identity_id or 0, ("", 0))
        try:
            if message is None:
                raise LookupError(f"no variant {row.variant} of message version {row.message_version_id}")
            filled = message.fill(
                known, campaign_id=row.campaign_id, touch_id=row.touch_id, customer_id=row.customer_id,
                employee_id=employee_id,
            )  # fmt: skip
        except Exception as error:  # one message that cannot be worded does not hold the others
            if isinstance(error, DatabaseError | InterfaceError) and is_gone(error):
                raise  # nothing is wrong with its words
            log.warning("touch %s of campaign %s has no words: %s", row.touch_id, row.campaign_id, error)
            gaps.append(
                Told(row.campaign_id, row.attempt_id or 0, "refused", now, code="content", text=str(error)[:200],
                     cause=Cause.CONTENT)
            )  # fmt: skip
            continue
        outgoing.append(
            Outgoing(
                attempt_id=row.attempt_id or 0,
                address=row.address or "",
                subject=filled.subject,
                text=filled.text,
                html=filled.html,
                sender=sender,
                unsubscribe_url=filled.unsubscribe,
                variables=filled.variables,
                template=message.template,
                expires_at=row.deadline_at,
            )
        )
    return outgoing, gaps


def _granted(
    prepared: Mapping[int, content.PreparedMessage | None],
    batch: Sequence[Decided],
    fields: Sequence[str],
    now: datetime,
) -> dict[tuple[int, int], dict[str, str]] | None:
    """What each person of the batch is offered, granted before the call; None where no message names an offer."""
    if not offers.names_one(fields):
        return None
    asked = [
        offers.Asked(row.campaign_id, row.customer_id, row.touch_id)
        for row in batch
        if (message := prepared[row.touch_id]) is not None and offers.names_one(message.fields)
    ]
    return offers.grant(asked, now)


def reserved(
    sending: Sending, outgoing: list[Outgoing], batch: Sequence[Decided], now: datetime, at_once: int
) -> tuple[list[Outgoing], employee_tasks.Reserved, list[Told]]:
    """What the employees' day has room for, each task of ``at_once`` customers at most reserved; the rest waits for the
    next day."""
    if not any(message.sender for message in outgoing):
        return outgoing, employee_tasks.Reserved(), []
    campaigns = {row.attempt_id or 0: row.campaign_id for row in batch}
    found = steadily(lambda: employee_tasks.reserve(sending.channel, outgoing, campaigns, now, at_once))
    late = {message.attempt_id for message in found.waiting}
    told = [
        Told(campaigns[attempt], attempt, "withdrawn", now, code="employee_day", cause=Cause.CAPACITY,
             again_at=found.next_day)
        for attempt in sorted(late)
    ]  # fmt: skip
    return [message for message in outgoing if message.attempt_id not in late], found, told


def beginning(adapter: BaseAdapter, outgoing: list[Outgoing], calls: int) -> list[Outgoing]:
    """As many of the first messages as go out in so many calls."""
    least, most = 0, len(outgoing)
    while least < most:
        n = (least + most + 1) // 2
        if adapter.calls(outgoing[:n]) <= calls:
            least = n
        else:
            most = n - 1
    return outgoing[:least]


def _senders(sending: Sending, batch: Sequence[Decided]) -> Mapping[int, tuple[str, int]]:
    if sending.channel.medium != "wecom":
        return {}
    return queries.senders(sending.channel.pk, [row.identity_id for row in batch if row.identity_id])


def hand_over(adapter: BaseAdapter, outgoing: Sequence[Outgoing]) -> tuple[list[Sent], AdapterError | None]:
    """One call of the adapter. What it leaves unsaid is unknown; only its own error says that nothing arrived."""
    try:
        results = adapter.send(outgoing)
    except AdapterError as error:
        return [], error
    except Exception as error:  # it may have broken after the provider took everything
        log.exception("adapter %s broke during a call", adapter.name)
        return [_unknown(message, type(error).__name__, str(error)) for message in outgoing], None
    asked = {message.attempt_id for message in outgoing}
    told = {sent.attempt_id: sent for sent in results if sent.attempt_id in asked}
    return [told.get(message.attempt_id) or _unknown(message, "unsaid", "") for message in outgoing], None


def _unknown(message: Outgoing, code: str, text: str) -> Sent:
    return Sent(message.attempt_id, Outcome.UNKNOWN, code=code, text=text[:200])


def facts_of(
    sending: Sending,
    claim: Claim,
    rows: Mapping[int, Decided],
    results: Sequence[Sent],
    now: datetime,
    place_at: datetime,
) -> Called:
    """What the results of a call mean, and whether the channel as a whole should go slower."""
    late = now > place_at
    usual = [] if late else [sent for sent in results if sent.outcome == Outcome.ACCEPTED]
    called = Called(taken=_taken(sending, usual, rows), sent=list(results), handed=len(results))
    waits = []
    for sent in results if len(usual) < len(results) else ():
        if sent.outcome == Outcome.ACCEPTED and not late:
            continue
        row = rows[sent.attempt_id]
        again_at = None
        if sent.outcome == Outcome.THROTTLED:
            again_at = now + _again(sent.retry_after, row.n)
            if not sent.address_only:
                waits.append(sent.retry_after or AGAIN.total_seconds())
        called.facts.append(
            Told(
                campaign_id=row.campaign_id,
                attempt_id=sent.attempt_id,
                told=str(sent.outcome),
                at=now,
                reference=sent.reference,
                code=sent.code,
                text=sent.text,
                parts=max(1, sent.parts),
                cost=_cost(sending, sent),
                again_at=again_at,
                late=late,
                invalid=sent.invalid_address and sent.outcome == Outcome.REFUSED,
            )
        )
    if waits and 2 * len(waits) > len(results):
        called.slower = max(1.0, min(waits))
    return called


def _taken(sending: Sending, usual: Sequence[Sent], rows: Mapping[int, Decided]) -> Acceptances:
    """What the provider took, in columns."""
    own = [rows[sent.attempt_id] for sent in usual]
    costs: dict[int, Decimal | None] = {}  # parts → what they cost, where the provider does not tell
    for sent in usual:
        if sent.cost is None and sent.parts not in costs:
            costs[sent.parts] = _cost(sending, sent)
    told = [sent.cost if sent.cost is not None else costs[sent.parts] for sent in usual]
    return Acceptances(
        channel_id=sending.channel.pk,
        attempt_id=[sent.attempt_id for sent in usual],
        campaign_id=[row.campaign_id for row in own],
        touch_id=[row.touch_id for row in own],
        n=[row.n for row in own],
        reference=[sent.reference[:160] for sent in usual],
        code=[sent.code[:80] for sent in usual],
        text=[sent.text[:254] for sent in usual],
        parts=[max(1, sent.parts) for sent in usual],
        cost=[row.reserved if cost is None else cost for row, cost in zip(own, told, strict=True)],
    )


def facts_of_error(rows: Sequence[Decided], error: AdapterError, now: datetime) -> Called:
    """A call that failed as a whole before anything can have arrived."""
    called = Called()
    wait = error.retry_after or AGAIN.total_seconds()
    for row in rows:
        attempt_id = row.attempt_id or 0
        if error.stops_channel:
            fact = Told(row.campaign_id, attempt_id, "withdrawn", now, code=error.code, text=str(error),
                        cause=Cause.CHANNEL_STOPPED, again_at=now)  # fmt: skip
        elif error.retryable:
            fact = Told(row.campaign_id, attempt_id, "throttled", now, code=error.code, text=str(error),
                        again_at=now + timedelta(seconds=wait))  # fmt: skip
        else:
            fact = Told(row.campaign_id, attempt_id, "refused", now, code=error.code, text=str(error))
        called.facts.append(fact)
    if error.stops_channel:
        called.stop = f"{error.code}: {error}".strip(": ")
    elif error.retryable:
        called.slower = min(wait, LONGEST_AGAIN.total_seconds())
    return called


def _again(retry_after: float | None, n: int) -> timedelta:
    """Longer with every try, from what the provider asked for."""
    seconds = (retry_after or AGAIN.total_seconds()) * 2 ** min(n - 1, 10)
    return max(timedelta(seconds=retry_after or 0), min(timedelta(seconds=seconds), LONGEST_AGAIN))


def _cost(sending: Sending, sent: Sent) -> Decimal | None:
    """What the provider tells, else unit price × parts, of messages it took; None leaves it to what is known."""
    if sent.cost is not None:
        return sent.cost
    if sent.outcome == Outcome.ACCEPTED and sending.channel.price_model == PriceModel.PER_MESSAGE:
        return sending.channel.unit_price * max(1, sent.parts)
    return None
