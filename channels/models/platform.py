"""What platforms hold for us: audiences as desired state, daily reports, wallets."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.models import Customer
from channels.credentials import EncryptedJSONField
from channels.models.channel import Channel


class PlatformAudience(models.Model):
    """An audience on an ad platform that mirrors the members of a campaign (desired state)."""

    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="audiences")
    campaign_id = models.BigIntegerField(null=True, blank=True)
    name = models.CharField(_("name"), max_length=200)
    external_id = models.CharField(max_length=120, blank=True)
    flight_reference = models.CharField(max_length=120, blank=True)  # the platform's campaign or ad set
    wanted_flight = models.JSONField(default=dict, blank=True)  # budget, cap, dates we want
    known_flight = models.JSONField(default=dict, blank=True)  # what the platform last confirmed
    flight_tried_at = models.DateTimeField(null=True, blank=True)
    platform_size = models.BigIntegerField(null=True, blank=True)  # matched members, as the platform tells
    pause_wanted = models.BooleanField(default=False)  # its campaign stands still, or is over
    pause_wanted_at = models.DateTimeField(null=True, blank=True)
    pause_known = models.BooleanField(null=True)  # what the platform told since that was wanted
    paused_by_us_at = models.DateTimeField(null=True, blank=True)  # only what we paused do we let go on
    pause_tried_at = models.DateTimeField(null=True, blank=True)
    pause_error = models.CharField(max_length=254, blank=True)
    publish_after = models.DateTimeField(null=True, blank=True)  # what was pushed is not in force before
    last_synced_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=254, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("channel", "campaign_id"),
                name="a_campaign_has_one_audience_a_channel",
                nulls_distinct=False,
            ),
        )

    def __str__(self) -> str:
        return self.name


class PlatformAudienceMember(models.Model):
    """Whether a customer is wanted in an audience, and whether the platform confirmed the push.

    Repeated until ``wanted`` and ``held`` agree. Hashes are computed at push and never stored.
    """

    audience = models.ForeignKey(PlatformAudience, on_delete=models.CASCADE, related_name="members")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    wanted = models.BooleanField()
    held = models.BooleanField(default=False)
    identity_id = models.BigIntegerField(null=True, blank=True)  # the identity pushed, for the removal
    changed_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=120, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("audience", "customer"), name="a_customer_is_pushed_once_an_audience"
            ),
        )
        indexes = (
            models.Index(
                fields=("audience",),
                name="audience_member_differs",
                condition=~models.Q(wanted=models.F("held")),
            ),
            # Who is to be taken out: few, and counted on every list of channels.
            models.Index(
                fields=("audience", "changed_at"),
                name="audience_member_to_go",
                condition=models.Q(held=True, wanted=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.audience_id}: {self.customer_id}"


class PlatformRemoval(models.Model):
    """Somebody who was erased while a platform still held them: who to take out, until it is confirmed.

    Erasure blanks identities, so the values to remove wait here, encrypted, and go with the row.
    """

    audience = models.ForeignKey(PlatformAudience, on_delete=models.CASCADE, related_name="removals")
    customer_id = models.BigIntegerField()
    person = EncryptedJSONField()  # {"kind": …, "value": …}
    created_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=120, blank=True)

    class Meta:
        indexes = (models.Index(fields=("audience", "id"), name="removal_by_audience"),)

    def __str__(self) -> str:
        return f"{self.audience_id}: {self.customer_id}"


class DailyReport(models.Model):
    """What a platform (or a manual file) reports of a day; every version kept, the highest is current.

    ``placement`` names the platform's campaign, keyword or post; ``campaign_id`` is ours where known.
    ``day`` is a calendar day of the account's zone. Amounts in ``currency``.
    """

    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="daily_reports")
    day = models.DateField()
    placement = models.CharField(max_length=160, blank=True)
    version = models.IntegerField(default=1)
    campaign_id = models.BigIntegerField(null=True, blank=True)
    currency = models.CharField(max_length=3, default="CNY")
    spend = models.DecimalField(max_digits=18, decimal_places=4, default=0)
    exposures = models.BigIntegerField(null=True, blank=True)
    clicks = models.BigIntegerField(null=True, blank=True)
    reach = models.BigIntegerField(null=True, blank=True)
    frequency = models.FloatField(null=True, blank=True)
    conversions = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    source = models.CharField(max_length=160)  # api, or the import batch's file name
    fetched_at = models.DateTimeField()
    import_batch = models.ForeignKey(
        "audiences.ImportBatch", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("channel", "day", "placement", "version"), name="a_report_version_is_stored_once"
            ),
        )
        indexes = (models.Index(fields=("campaign_id", "day"), name="daily_report_by_campaign"),)

    def __str__(self) -> str:
        return f"{self.channel_id} {self.day} v{self.version}"


class WalletEntry(models.Model):
    """One movement of an account's balance 账户余额; append-only.

    opening + cash top-up + bonus + transfers in − cash and bonus consumption − transfers out − refunds
    = closing. ``amount`` is positive in every kind but ``adjustment``.
    """

    class Kind(models.TextChoices):
        OPENING = "opening", _("Opening balance")
        TOP_UP = "top_up", _("Cash top-up")
        BONUS = "bonus", _("Bonus")
        TRANSFER_IN = "transfer_in", _("Transfer in")
        CASH_CONSUMPTION = "cash_consumption", _("Cash consumption")
        BONUS_CONSUMPTION = "bonus_consumption", _("Bonus consumption")
        TRANSFER_OUT = "transfer_out", _("Transfer out")
        REFUND = "refund", _("Refund")
        ADJUSTMENT = "adjustment", _("Adjustment")

    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="wallet_entries")
    day = models.DateField()
    kind = models.CharField(max_length=20, choices=Kind)
    unit = models.CharField(max_length=8, default="CNY")  # a currency, or "messages" for a package
    amount = models.DecimalField(max_digits=18, decimal_places=4)
    expires_on = models.DateField(null=True, blank=True)
    source = models.CharField(max_length=160)
    source_key = models.CharField(max_length=160)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "wallet entries"
        constraints = (
            models.UniqueConstraint(fields=("channel", "source_key"), name="a_wallet_entry_is_stored_once"),
        )
        indexes = (models.Index(fields=("channel", "day"), name="wallet_entry_by_day"),)

    def __str__(self) -> str:
        return f"{self.channel_id} {self.day} {self.kind} {self.amount}"


class WalletStatement(models.Model):
    """The balance a platform tells, to be matched with our entries: for the end of a day, or as of when it was fetched.

    A fetched one keeps what our entries said at that moment (``counted``; null: no entries), and each figure a version.
    """

    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="wallet_statements")
    day = models.DateField()
    unit = models.CharField(max_length=8, default="CNY")
    balance = models.DecimalField(max_digits=18, decimal_places=4)
    source = models.CharField(max_length=160)  # file, or api
    version = models.IntegerField(default=1, db_default=1)
    counted = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    fetched_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("channel", "day", "unit", "source", "version"), name="a_statement_is_stored_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.channel_id} {self.day} {self.balance}"
