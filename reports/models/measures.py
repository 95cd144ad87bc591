"""Versioned measurements: attribution, lift. Never in the ledger."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class AttributionRun(models.Model):
    """One computation of one model over orders in a span; the newest of a scope is current.

    ``window_days`` back from the order; the order (timestamp, event id). ``campaign_id`` null: all.
    """

    class Model(models.TextChoices):
        FIRST = "first", _("First touch")
        LAST = "last", _("Last touch")
        LINEAR = "linear", _("Linear")
        TIME_DECAY = "time_decay", _("Time decay")
        POSITION = "position", _("Position")
        MARKOV = "markov", _("Markov")
        SHAPLEY = "shapley", _("Shapley")

    model = models.CharField(max_length=12, choices=Model)
    campaign_id = models.BigIntegerField(null=True, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    window_days = models.SmallIntegerField()
    basis = models.CharField(max_length=12)  # revenue basis
    orders = models.BigIntegerField(default=0)  # orders looked at
    attributed_orders = models.BigIntegerField(default=0)
    revenue = models.DecimalField(max_digits=18, decimal_places=4, default=0)
    attributed_revenue = models.DecimalField(max_digits=18, decimal_places=4, default=0)
    currency = models.CharField(max_length=3)
    # [{channel_id, orders, conversions, revenue}], greatest first: the sums of its credits.
    channels = models.JSONField(default=list)
    input_hash = models.CharField(max_length=64)
    computed_at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index(fields=("campaign_id", "model", "-computed_at"), name="attribution_run_newest"),
        )

    def __str__(self) -> str:
        return f"{self.model} {self.campaign_id} {self.computed_at}"


class AttributionCredit(models.Model):
    """The share of an order's revenue a touch is credited with; shares of an order sum to at most 1."""

    run = models.ForeignKey(AttributionRun, on_delete=models.CASCADE, related_name="credits")
    order_id = models.BigIntegerField()
    campaign_id = models.BigIntegerField()
    channel_id = models.IntegerField()
    touch_id = models.BigIntegerField()
    share = models.FloatField()
    amount = models.DecimalField(max_digits=18, decimal_places=6)

    class Meta:
        indexes = (models.Index(fields=("run", "campaign_id", "channel_id"), name="credit_by_run"),)

    def __str__(self) -> str:
        return f"{self.order_id} → {self.touch_id}: {self.amount}"


class LiftMeasure(models.Model):
    """Treated against held out, by intention to treat, as computed at one moment. Kept, never updated.

    Rates: Newcombe interval; means: Welch. ``usable`` false with a ``reason`` when there is no holdout
    or the sample ratio does not hold: then the product shows no lift.
    """

    campaign_id = models.BigIntegerField()
    measure = models.CharField(max_length=24)  # conversion_rate, revenue_per_person
    treated = models.BigIntegerField()
    held_out = models.BigIntegerField()
    treated_mean = models.FloatField(null=True)
    held_out_mean = models.FloatField(null=True)
    difference = models.FloatField(null=True)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    confidence = models.FloatField(default=0.95)
    method = models.CharField(max_length=40)
    sample_ratio_p = models.FloatField(null=True)
    usable = models.BooleanField(default=True)
    reason = models.CharField(max_length=254, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    detail = models.JSONField(default=dict, blank=True)
    computed_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("campaign_id", "measure", "-computed_at"), name="lift_newest"),)

    def __str__(self) -> str:
        return f"{self.campaign_id} {self.measure} {self.difference}"


class SelectionMeasure(models.Model):
    """How the people reached compare with all others of the brand, as computed at one moment. Never lift.

    ``seconds`` is how long the whole measurement took that it was part of; the next waits accordingly.
    """

    campaign_id = models.BigIntegerField()
    targeted = models.BigIntegerField()
    responding = models.BigIntegerField()
    targeted_paid = models.DecimalField(max_digits=20, decimal_places=4)
    others = models.BigIntegerField()
    others_paid = models.DecimalField(max_digits=20, decimal_places=4)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    computed_at = models.DateTimeField()
    seconds = models.FloatField(default=0)

    class Meta:
        indexes = (models.Index(fields=("campaign_id", "-computed_at"), name="selection_newest"),)

    def __str__(self) -> str:
        return f"{self.campaign_id} {self.targeted} {self.others}"


class SignedReport(models.Model):
    """A report as it stood when finance signed it; immutable (a trigger refuses changes)."""

    campaign_id = models.BigIntegerField(null=True, blank=True)
    kind = models.CharField(max_length=24)
    title = models.CharField(max_length=200)
    content = models.JSONField()
    sha256 = models.CharField(max_length=64)
    signed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    signed_at = models.DateTimeField()
    comment = models.TextField(blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.title
