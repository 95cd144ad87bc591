"""Append-only money entries, the documents behind them, and the periods finance opens and closes."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

MONEY: dict[str, Any] = {"max_digits": 18, "decimal_places": 4}


class SourceDocument(models.Model):
    """What a figure rests on: an invoice, a platform report, a price agreement, a file of receipts."""

    class Kind(models.TextChoices):
        PLATFORM_REPORT = "platform_report", _("Platform report")
        DELIVERY_RECORD = "delivery_record", _("Delivery record")
        INVOICE = "invoice", _("Invoice")
        PAYMENT = "payment", _("Payment")
        COMMITMENT = "commitment", _("Commitment")
        COST_FILE = "cost_file", _("Cost file")
        ORDER_FILE = "order_file", _("Order file")
        CORRECTION = "correction", _("Correction")

    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    number = models.CharField(_("number"), max_length=160)
    counterparty = models.CharField(_("counterparty"), max_length=160, blank=True)
    day = models.DateField(_("date"))
    sha256 = models.CharField(max_length=64, blank=True)
    import_batch = models.ForeignKey(
        "audiences.ImportBatch", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    detail = models.JSONField(default=dict, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("kind", "number"), name="a_document_is_registered_once"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


class LedgerPeriod(models.Model):
    """A month that finance opens and closes. ``month`` is its first day. Closing is for good."""

    class State(models.TextChoices):
        OPEN = "open", pgettext_lazy("period", "Open")
        CLOSED = "closed", pgettext_lazy("period", "Closed")

    month = models.DateField(_("month"), unique=True)
    state = models.CharField(_("state"), max_length=6, choices=State, default=State.OPEN)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ("-month",)
        constraints = (models.CheckConstraint(condition=models.Q(month__day=1), name="a_period_is_a_month"),)

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"


class FxRate(models.Model):
    """One unit of ``base`` in ``quote`` on a day, with its source."""

    day = models.DateField()
    base = models.CharField(max_length=3)
    quote = models.CharField(max_length=3)
    rate = models.DecimalField(max_digits=18, decimal_places=8)
    source = models.CharField(max_length=120)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("base", "quote", "day"), name="a_rate_is_one_row_a_day"),
        )

    def __str__(self) -> str:
        return f"{self.day} {self.base}/{self.quote} {self.rate}"


class LedgerBatch(models.Model):
    """Entries posted together, balanced. ``digest`` chains to the batch before (SHA-256, hex)."""

    description = models.CharField(max_length=254)
    document = models.ForeignKey(SourceDocument, on_delete=models.PROTECT, related_name="batches")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    posted_at = models.DateTimeField()
    previous_digest = models.CharField(max_length=64, blank=True)
    digest = models.CharField(max_length=64)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"batch {self.pk}"


class LedgerEntry(models.Model):
    """One line. Never changed, never deleted, never in a closed period (triggers refuse it).

    ``amount`` is positive, in ``currency``, rounded once to the currency's minor unit, half-even;
    ``residual`` = exact − rounded, shown. ``functional_amount`` = amount × fx_rate in the company's
    currency. Corrections are reversals in the open period.
    """

    class Side(models.TextChoices):
        DEBIT = "debit", _("Debit")
        CREDIT = "credit", _("Credit")

    class Stage(models.TextChoices):
        BUDGET = "budget", _("Budget")
        COMMITTED = "committed", _("Committed")
        ACCRUED = "accrued", _("Accrued")
        INVOICED = "invoiced", _("Invoiced")
        PAID = "paid", pgettext_lazy("ledger", "Paid")

    class Account(models.TextChoices):
        MEDIA_COST = "media_cost", _("Media")
        MESSAGE_FEES = "message_fees", _("Message fees")
        AGENCY = "agency", _("Agency")
        INCENTIVES = "incentives", _("Incentives")
        CREATIVE = "creative", _("Creative")
        OTHER_COST = "other_cost", _("Other cost")
        ACCRUALS = "accruals", _("Accrued liabilities")
        PAYABLES = "payables", _("Payables")
        PREPAID = "prepaid", _("Prepaid media")
        BANK = "bank", _("Bank")
        TAX = "tax", _("Recoverable VAT")
        FX_DIFFERENCE = "fx_difference", _("FX difference")
        COMMITMENTS = "commitments", _("Commitments")

    batch = models.ForeignKey(LedgerBatch, on_delete=models.PROTECT, related_name="entries")
    line = models.SmallIntegerField()
    side = models.CharField(max_length=6, choices=Side)
    stage = models.CharField(max_length=10, choices=Stage)
    account = models.CharField(max_length=20, choices=Account)
    legal_entity = models.CharField(max_length=120, blank=True)
    campaign_id = models.BigIntegerField(null=True, blank=True)
    channel_id = models.BigIntegerField(null=True, blank=True)
    cost_centre = models.CharField(max_length=60, blank=True)
    service_date = models.DateField()
    period = models.ForeignKey(LedgerPeriod, on_delete=models.PROTECT, related_name="entries")
    amount = models.DecimalField(**MONEY)
    residual = models.DecimalField(max_digits=14, decimal_places=6, default=0)
    currency = models.CharField(max_length=3)
    fx_rate = models.DecimalField(max_digits=18, decimal_places=8, default=1)
    fx_source = models.CharField(max_length=120, blank=True)
    fx_day = models.DateField(null=True, blank=True)
    functional_amount = models.DecimalField(**MONEY)
    tax = models.DecimalField(default=0, **MONEY)
    document = models.ForeignKey(SourceDocument, on_delete=models.PROTECT, related_name="entries")
    source_line = models.CharField(max_length=64, unique=True)  # hash of the source's line: posted once
    allocation = models.CharField(max_length=160, blank=True)  # how it was shared out, in words
    reverses = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="reversed_by"
    )

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = (
            models.UniqueConstraint(fields=("batch", "line"), name="a_ledger_line_has_one_number"),
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="a_ledger_amount_is_not_negative"),
        )
        indexes = (
            models.Index(fields=("campaign_id", "stage", "service_date"), name="ledger_by_campaign"),
            models.Index(fields=("period", "account"), name="ledger_by_period"),
        )

    def __str__(self) -> str:
        return f"{self.batch_id}.{self.line} {self.side} {self.amount} {self.currency}"
