"""Costs from a file: every line becomes a balanced pair in the ledger, traced to its document.

A line is known by (document, line): loading it again changes nothing; with another amount it is refused,
since the ledger is corrected by a further document, never by a change.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.access import Role
from audiences.imports.staging import Staged
from audiences.registers import ImportColumn, ImportKind
from reports import ledger
from reports.models import LedgerEntry, SourceDocument

COSTS_BY_ACCOUNT = {
    LedgerEntry.Account.MEDIA_COST,
    LedgerEntry.Account.MESSAGE_FEES,
    LedgerEntry.Account.AGENCY,
    LedgerEntry.Account.INCENTIVES,
    LedgerEntry.Account.CREATIVE,
    LedgerEntry.Account.OTHER_COST,
}
STAGES = (LedgerEntry.Stage.ACCRUED, LedgerEntry.Stage.INVOICED)

COLUMNS = (
    ImportColumn(
        "document", gettext_lazy("Document number"), required=True, aliases=("发票号", "单据号", "invoice")
    ),
    ImportColumn(
        "line_of_document",
        gettext_lazy("Line"),
        gettext_lazy("The line of the document; empty: the line of the file"),
        kind="integer",
        aliases=("行号",),
    ),
    ImportColumn(
        "service_date", gettext_lazy("Service date"), required=True, kind="date", aliases=("日期", "date")
    ),
    ImportColumn(
        "amount",
        gettext_lazy("Amount"),
        gettext_lazy("Without recoverable VAT; negative for a credit note"),
        required=True,
        kind="decimal",
        aliases=("金额",),
    ),
    ImportColumn("currency", gettext_lazy("Currency"), aliases=("币种",)),
    ImportColumn(
        "account", gettext_lazy("Account"), choices=tuple(sorted(COSTS_BY_ACCOUNT)), aliases=("科目",)
    ),
    ImportColumn("stage", gettext_lazy("Stage"), choices=STAGES),
    ImportColumn(
        "campaign",
        gettext_lazy("Campaign"),
        gettext_lazy("Number, name or id; empty: unallocated"),
        aliases=("活动",),
    ),
    ImportColumn("channel", gettext_lazy("Channel"), aliases=("渠道",)),
    ImportColumn("counterparty", gettext_lazy("Counterparty"), aliases=("供应商",)),
    ImportColumn("cost_centre", gettext_lazy("Cost centre"), aliases=("成本中心",)),
    ImportColumn("legal_entity", gettext_lazy("Legal entity"), aliases=("法人主体",)),
    ImportColumn(
        "allocation",
        gettext_lazy("Allocation"),
        gettext_lazy("How the amount was shared out, in words"),
        aliases=("分摊说明",),
    ),
)

WITH_PLACES = """
SELECT r.*, coalesce(r.line_of_document, r.line) AS position,
       (SELECT c.id FROM campaigns_campaign c
        WHERE r.campaign IN (nullif(c.number, ''), c.name, c.id::text)
        ORDER BY (c.number = r.campaign) DESC, (c.name = r.campaign) DESC, c.id DESC LIMIT 1) AS campaign_id,
       (SELECT h.id FROM channels_channel h WHERE h.name = r.channel) AS channel_id
FROM {rows} r
"""


def _key(document: str, position: int) -> str:
    return ledger.source_line("cost file", document, position)


def check(staged: Staged) -> None:
    """Refuse rows that name an unknown campaign or channel, or that contradict what was posted."""
    staged.refuse(
        "campaign",
        _("There is no such campaign."),
        "r.campaign IS NOT NULL AND NOT EXISTS (SELECT FROM campaigns_campaign c"
        " WHERE r.campaign IN (nullif(c.number, ''), c.name, c.id::text))",
    )
    staged.refuse(
        "channel",
        _("There is no such channel."),
        "r.channel IS NOT NULL AND NOT EXISTS (SELECT FROM channels_channel h WHERE h.name = r.channel)",
    )
    staged.refuse(
        "currency",
        _("There is no exchange rate on or before the service date. Enter one under Finance."),
        "coalesce(r.currency, %(own)s) <> %(own)s AND NOT EXISTS (SELECT FROM reports_fxrate f"
        " WHERE f.base = r.currency AND f.quote = %(own)s AND f.day <= r.service_date)",
        own=settings.DEFAULT_CURRENCY,
    )
    staged.refuse(
        "line_of_document",
        _("The same line of the same document stands in the file twice."),
        "EXISTS (SELECT FROM {rows} o WHERE o.document = r.document AND o.line < r.line"
        " AND coalesce(o.line_of_document, o.line) = coalesce(r.line_of_document, r.line))",
    )
    known = _known(staged)
    contradicted = [row["line"] for row in _rows(staged) if _contradicts(row, known)]
    staged.refuse(
        "amount",
        _("This line was posted with other values. Correct it by a further document."),
        "r.line = ANY(%(contradicted)s)",
        contradicted=contradicted,
    )


def _rows(staged: Staged) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(staged.sql(WITH_PLACES))
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _known(staged: Staged) -> dict[str, LedgerEntry]:
    keys = [ledger.source_line(_key(row["document"], row["position"]), "cost") for row in _rows(staged)]
    return {entry.source_line: entry for entry in LedgerEntry.objects.filter(source_line__in=keys)}


def _exact(entry: LedgerEntry) -> Decimal:
    return (entry.amount + entry.residual) * (1 if entry.side == LedgerEntry.Side.DEBIT else -1)


def _contradicts(row: Mapping[str, Any], known: Mapping[str, LedgerEntry]) -> bool:
    entry = known.get(ledger.source_line(_key(row["document"], row["position"]), "cost"))
    if entry is None:
        return False
    return (_exact(entry), entry.service_date, entry.campaign_id) != (
        row["amount"],
        row["service_date"],
        row["campaign_id"],
    )


def load(staged: Staged) -> dict[str, int]:
    """Post the lines not posted before, a batch for each document."""
    known, new, same = _known(staged), 0, 0
    by_document: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(staged):
        if ledger.source_line(_key(row["document"], row["position"]), "cost") in known:
            same += 1
        else:
            by_document.setdefault(row["document"], []).append(row)
    for number, rows in by_document.items():
        document, _made = SourceDocument.objects.get_or_create(
            kind=SourceDocument.Kind.COST_FILE,
            number=number[:160],
            defaults={
                "day": min(row["service_date"] for row in rows),
                "counterparty": rows[0]["counterparty"] or "",
                "sha256": staged.batch.sha256,
                "import_batch": staged.batch,
                "created_by": staged.batch.created_by,
            },
        )
        lines = [line for row in rows for line in _lines(row)]
        ledger.post(
            lines,
            document=document,
            description=_("Cost file %(name)s") % {"name": staged.batch.name},
            user=staged.batch.created_by,
            now=staged.now,
        )
        new += len(rows)
    return {"new": new, "changed": 0, "same": same}


def _lines(row: Mapping[str, Any]) -> list[ledger.Line]:
    allocation = row["allocation"] or (
        _("direct: the file names the campaign")
        if row["campaign_id"]
        else _("unallocated: no campaign is named")
    )
    stage = row["stage"] or LedgerEntry.Stage.ACCRUED
    return ledger.cost_lines(
        row["account"] or LedgerEntry.Account.MEDIA_COST,
        row["amount"],
        against=(
            LedgerEntry.Account.PAYABLES
            if stage == LedgerEntry.Stage.INVOICED
            else LedgerEntry.Account.ACCRUALS
        ),
        stage=stage,
        currency=row["currency"] or settings.DEFAULT_CURRENCY,
        service_date=row["service_date"],
        campaign_id=row["campaign_id"],
        channel_id=row["channel_id"],
        allocation=allocation,
        cost_centre=row["cost_centre"] or "",
        legal_entity=row["legal_entity"] or "",
        source_line=_key(row["document"], row["position"]),
    )


def stored(staged: Staged) -> dict[str, Any]:
    """The amounts of the file's lines as they stand in the ledger."""
    return {"amount": str(sum((_exact(entry) for entry in _known(staged).values()), Decimal(0)))}


COSTS = ImportKind(
    label=gettext_lazy("Costs"),
    columns=COLUMNS,
    check=check,
    load=load,
    stored=stored,
    help=gettext_lazy(
        "Invoices and agreed costs by campaign and channel. They go to the ledger and cannot be taken back."
    ),
    role=Role.FINANCE,
    sums=("amount",),
    url_name="reports:ledger",
)
