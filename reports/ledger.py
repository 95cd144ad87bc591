"""The ledger: append-only, balanced, chained; and the periods finance closes.

Money: amounts are rounded once per line, half-even, to the currency's minor unit; what rounding took is
kept as the line's residual. The company's (functional) currency is ``settings.DEFAULT_CURRENCY``.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils.translation import gettext as _

from reports.fx import Rate, rate
from reports.models import LedgerBatch, LedgerEntry, LedgerPeriod, SourceDocument

# ISO 4217 currencies without a minor unit of two digits that our users meet.
MINOR_DIGITS = {"JPY": 0, "KRW": 0, "VND": 0}

Account = LedgerEntry.Account
Stage = LedgerEntry.Stage
Side = LedgerEntry.Side


class LedgerRefused(Exception):
    """A posting or a close that must not happen; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One side of a posting. ``exact`` is unrounded and positive, in ``currency``.

    ``source_line`` identifies the line of the source for ever: the same one is never posted twice.
    """

    side: str
    stage: str
    account: str
    exact: Decimal
    currency: str
    service_date: dt.date
    source_line: str
    campaign_id: int | None = None
    channel_id: int | None = None
    allocation: str = ""
    tax: Decimal = Decimal(0)
    cost_centre: str = ""
    legal_entity: str = ""
    reverses_id: int | None = None


def rounded(exact: Decimal, currency: str) -> Decimal:
    """To the currency's minor unit, half-even."""
    return exact.quantize(Decimal(1).scaleb(-MINOR_DIGITS.get(currency, 2)), rounding=ROUND_HALF_EVEN)


def source_line(*parts: object) -> str:
    """A stable 64-character name for a line of a source."""
    return hashlib.sha256("|".join(str(part) for part in parts).encode()).hexdigest()


def period_for(day: dt.date, today: dt.date) -> LedgerPeriod:
    """The open period a service date posts to: its own month, or this month when that one is closed."""
    own, _made = LedgerPeriod.objects.get_or_create(month=day.replace(day=1))
    if own.state == LedgerPeriod.State.OPEN:
        return own
    current, _made = LedgerPeriod.objects.get_or_create(month=today.replace(day=1))
    if current.state == LedgerPeriod.State.OPEN:
        return current
    later = (
        LedgerPeriod.objects.filter(state=LedgerPeriod.State.OPEN, month__gt=own.month)
        .order_by("month")
        .first()
    )
    if later is None:
        following = (current.month + dt.timedelta(days=32)).replace(day=1)
        later, _made = LedgerPeriod.objects.get_or_create(month=following)
    return later


def cost_lines(
    account: str, exact: Decimal, *, against: str = Account.ACCRUALS, stage: str = Stage.ACCRUED, **rest: Any
) -> list[Line]:
    """A cost and its counter-entry. A negative amount (a correction) swaps the sides."""
    positive = exact >= 0
    key = rest.pop("source_line")
    debit, credit = (Side.DEBIT, Side.CREDIT) if positive else (Side.CREDIT, Side.DEBIT)
    return [
        Line(
            side=debit,
            stage=stage,
            account=account,
            exact=abs(exact),
            source_line=source_line(key, "cost"),
            **rest,
        ),
        Line(
            side=credit,
            stage=stage,
            account=against,
            exact=abs(exact),
            source_line=source_line(key, "against"),
            **rest,
        ),
    ]


@transaction.atomic
def post(
    lines: Sequence[Line],
    *,
    document: SourceDocument,
    description: str,
    user: Any | None,
    now: dt.datetime,
    approved_by: Any | None = None,
) -> LedgerBatch | None:
    """Post balanced lines as one batch; ``None`` when every line was posted before.

    Raises :class:`LedgerRefused` when only some of the lines are known, when they do not balance, or when
    a rate is missing.
    """
    # One posting at a time: the chain of digests has one end.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('reports.ledger'))")
    known = set(
        LedgerEntry.objects.filter(source_line__in=[line.source_line for line in lines]).values_list(
            "source_line", flat=True
        )
    )
    if known and len(known) == len(lines):
        return None
    if known:
        raise LedgerRefused(
            _("A part of this document was posted before. Post the rest as a document of its own.")
        )
    previous = LedgerBatch.objects.order_by("-id").values_list("digest", flat=True).first() or ""
    entries = [_entry(position, line, document, now) for position, line in enumerate(lines, start=1)]
    balance = sum(
        (entry.functional_amount if entry.side == Side.DEBIT else -entry.functional_amount)
        for entry in entries
    )
    if balance:
        raise LedgerRefused(_("The lines are out of balance by %(amount)s.") % {"amount": balance})
    description = description[:254]
    batch = LedgerBatch.objects.create(
        description=description,
        document=document,
        created_by=user,
        approved_by=approved_by,
        posted_at=now,
        previous_digest=previous,
        digest=_digest(previous, document.pk, description, entries),
    )
    for entry in entries:
        entry.batch = batch
    try:
        LedgerEntry.objects.bulk_create(entries)
    except IntegrityError as error:
        raise LedgerRefused(str(error).split("\n")[0]) from error
    return batch


def _digest(previous: str, document_id: int, description: str, entries: Sequence[LedgerEntry]) -> str:
    content = [
        [
            entry.side,
            entry.stage,
            entry.account,
            f"{entry.amount:.4f}",
            entry.currency,
            f"{entry.functional_amount:.4f}",
            entry.service_date.isoformat(),
            entry.campaign_id,
            entry.channel_id,
            entry.source_line,
        ]
        for entry in entries
    ]
    return hashlib.sha256(json.dumps([previous, document_id, description, content]).encode()).hexdigest()


def _entry(position: int, line: Line, document: SourceDocument, now: dt.datetime) -> LedgerEntry:
    amount = rounded(line.exact, line.currency)
    functional = settings.DEFAULT_CURRENCY
    fx: Rate = rate(line.currency, functional, line.service_date)
    return LedgerEntry(
        line=position,
        side=line.side,
        stage=line.stage,
        account=line.account,
        campaign_id=line.campaign_id,
        channel_id=line.channel_id,
        service_date=line.service_date,
        period=period_for(line.service_date, now.date()),
        amount=amount,
        residual=line.exact - amount,
        currency=line.currency,
        fx_rate=fx.value,
        fx_source=fx.source,
        fx_day=fx.day,
        functional_amount=rounded(amount * fx.value, functional),
        tax=line.tax,
        document=document,
        source_line=line.source_line,
        allocation=line.allocation[:160],
        cost_centre=line.cost_centre,
        legal_entity=line.legal_entity,
        reverses_id=line.reverses_id,
    )


def reverse(batch: LedgerBatch, *, reason: str, user: Any, now: dt.datetime) -> LedgerBatch | None:
    """Post the opposite of a batch in the open period; ``None`` when it is reversed already."""
    document, _made = SourceDocument.objects.get_or_create(
        kind=SourceDocument.Kind.CORRECTION,
        number=f"reversal of batch {batch.pk}",
        defaults={"day": now.date(), "detail": {"reason": reason}, "created_by": user},
    )
    lines = [
        Line(
            side=Side.CREDIT if entry.side == Side.DEBIT else Side.DEBIT,
            stage=entry.stage,
            account=entry.account,
            exact=entry.amount,
            currency=entry.currency,
            service_date=entry.service_date,
            source_line=source_line("reversal", entry.pk),
            campaign_id=entry.campaign_id,
            channel_id=entry.channel_id,
            allocation=entry.allocation,
            reverses_id=entry.pk,
        )
        for entry in batch.entries.order_by("line")
    ]
    return post(
        lines,
        document=document,
        description=_("Reversal: %(reason)s") % {"reason": reason},
        user=user,
        now=now,
    )


@transaction.atomic
def close(month: dt.date, *, user: Any, now: dt.datetime) -> LedgerPeriod:
    """Close a month for good. Refused while it is not over, or an earlier one is open."""
    period = LedgerPeriod.objects.select_for_update().filter(month=month.replace(day=1)).first()
    if period is None:
        raise LedgerRefused(_("There is nothing in this month."))
    if period.state == LedgerPeriod.State.CLOSED:
        raise LedgerRefused(_("This month is closed already."))
    if (period.month + dt.timedelta(days=32)).replace(day=1) > now.date():
        raise LedgerRefused(_("This month is not over yet."))
    earlier = LedgerPeriod.objects.filter(month__lt=period.month, state=LedgerPeriod.State.OPEN).first()
    if earlier is not None:
        raise LedgerRefused(_("Close %(month)s first.") % {"month": f"{earlier.month:%Y-%m}"})
    period.state, period.closed_at, period.closed_by = LedgerPeriod.State.CLOSED, now, user
    period.save(update_fields=["state", "closed_at", "closed_by"])
    return period


def chain_is_whole() -> bool:
    """Whether every batch still names the digest of the one before it, and its own content."""
    previous = ""
    for batch in LedgerBatch.objects.order_by("id").prefetch_related("entries").iterator(chunk_size=500):
        entries = sorted(batch.entries.all(), key=lambda entry: entry.line)
        digest = _digest(previous, batch.document_id, batch.description, entries)
        if (batch.previous_digest, batch.digest) != (previous, digest):
            return False
        previous = batch.digest
    return True
