"""How often, by which channel, for how much: the frequency matrix and the budgets."""

from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.models import Brand
from audiences.tracking import tracked
from audiences.vocabulary import Medium, Stage
from campaigns.models.campaign import MONEY, Campaign, Phase
from channels.models import Channel


@tracked(exclude=("stopped_by", "rule_breaks", "judged"))
class ChannelPlan(models.Model):
    """One channel in one campaign.

    ``day_parts`` are permitted hours of the recipient's zone: ``[{"days": [1..7], "from": "09:00",
    "to": "20:30"}]`` (ISO weekdays; empty: any hour the platform rules permit).
    """

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="channel_plans")
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="+")
    position = models.SmallIntegerField(default=0)
    budget = models.DecimalField(
        _("budget"), null=True, blank=True, validators=[MinValueValidator(0)], **MONEY
    )
    daily_limit = models.IntegerField(_("messages a day"), null=True, blank=True)
    day_parts = models.JSONField(_("day-parts"), default=list, blank=True)
    silence_hours = models.IntegerField(_("silence after hours"), null=True, blank=True)
    message = models.ForeignKey(
        "campaigns.Message", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    paused_at = models.DateTimeField(_("paused since"), null=True, blank=True)  # by campaigns.channel_pauses
    # Rules of platforms that came after the approval (campaigns.later_rules): from when its words break one; why it was
    # paused for it, in words for the trail and as data; what they break by now, and of what that was judged.
    breaks_at = models.DateTimeField(_("breaks a rule from"), null=True, blank=True)
    stop_cause = models.TextField(_("stopped by a rule"), blank=True, default="")
    stopped_by = models.JSONField(default=list, blank=True)
    rule_breaks = models.JSONField(default=list, blank=True)
    judged = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering = ("position", "id")
        constraints = (
            models.UniqueConstraint(fields=("campaign", "channel"), name="a_channel_is_planned_once"),
        )

    def __str__(self) -> str:
        return f"{self.campaign_id}: {self.channel_id}"


@tracked()
class FrequencyTarget(models.Model):
    """A cell of the matrix: ``touches`` a round for a stage in a phase, at least ``min_gap_hours`` apart."""

    channel_plan = models.ForeignKey(ChannelPlan, on_delete=models.CASCADE, related_name="targets")
    phase = models.ForeignKey(Phase, on_delete=models.CASCADE, related_name="targets")
    stage = models.CharField(max_length=16, choices=Stage)
    touches = models.SmallIntegerField(_("touches a round"))
    min_gap_hours = models.IntegerField(_("hours apart"), default=24)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("channel_plan", "phase", "stage"), name="a_cell_has_one_target"),
            models.CheckConstraint(
                condition=models.Q(touches__gte=0) & models.Q(touches__lte=90), name="a_target_is_0_to_90"
            ),
            models.CheckConstraint(
                condition=models.Q(min_gap_hours__gte=0), name="a_gap_in_hours_is_not_negative"
            ),
        )

    def __str__(self) -> str:
        return f"{self.stage} {self.touches}×"


class ApprovedOrdinal(models.Model):
    """What was approved, one row per touch a person of a stage may get on a channel in a round.

    A touch refers to its row by foreign key (SQL): nothing can plan or send a fourth of three. Rows are
    added by approval only; a version that lowers a target sets ``withdrawn_at``, it deletes nothing.
    """

    pk = models.CompositePrimaryKey("campaign_id", "channel_id", "round", "stage", "ordinal")
    campaign_id = models.BigIntegerField()
    channel_id = models.IntegerField()
    round = models.SmallIntegerField()
    stage = models.CharField(max_length=16)
    ordinal = models.SmallIntegerField()
    version = models.IntegerField()  # the campaign version that approved it
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "campaigns_approved_ordinal"
        constraints = (
            models.CheckConstraint(condition=models.Q(ordinal__gte=1), name="ordinals_begin_with_one"),
        )

    def __str__(self) -> str:
        return f"{self.campaign_id}/{self.channel_id}/{self.round}/{self.stage}/{self.ordinal}"


@tracked()
class PressureRule(models.Model):
    """Contact policy: at most ``touches`` in any ``hours`` on end, over all campaigns.

    Narrowed by medium, channel or brand where set. A rule longer than any before takes force when the
    contact states were rebuilt from attempts (``in_force_at``).
    """

    name = models.CharField(_("name"), max_length=120)
    touches = models.SmallIntegerField(_("contacts at most"), validators=[MinValueValidator(0)])
    hours = models.IntegerField(_("in hours"), validators=[MinValueValidator(1)])
    medium = models.CharField(_("medium"), max_length=20, choices=Medium, blank=True)
    channel = models.ForeignKey(Channel, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    brand = models.ForeignKey(Brand, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    active = models.BooleanField(_("active"), default=True)
    in_force_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=models.Q(hours__gte=1) & models.Q(touches__gte=0), name="a_pressure_rule_is_sane"
            ),
        )

    def __str__(self) -> str:
        return self.name


class Budget(models.Model):
    """What may be spent, over all (``channel_id`` null) or on one channel, and what is taken of it.

    spent + leased ≤ amount, always: workers lease in chunks, in short transactions of their own.
    """

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="budgets")
    channel = models.ForeignKey(Channel, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(**MONEY)
    leased = models.DecimalField(max_digits=18, decimal_places=6, default=0)
    spent = models.DecimalField(max_digits=18, decimal_places=6, default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("campaign", "channel"), name="a_budget_is_one_row_a_channel", nulls_distinct=False
            ),
            models.CheckConstraint(
                condition=models.Q(leased__gte=0) & models.Q(spent__gte=0), name="budgets_are_not_negative"
            ),
        )

    def __str__(self) -> str:
        return f"{self.campaign_id}/{self.channel_id or '*'}: {self.amount}"


class BudgetLease(models.Model):
    """A chunk a worker took from a budget; what it did not use comes back when it ends or expires."""

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="leases")
    worker = models.CharField(max_length=120)
    amount = models.DecimalField(max_digits=18, decimal_places=6)  # still unused
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.worker}: {self.amount}"
