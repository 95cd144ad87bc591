"""An answer of the planner, stored with what it rests on."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.models import Job
from campaigns.models.campaign import MONEY, Campaign


class Plan(models.Model):
    """Reach, touches, cost and value of a campaign's definition on its audience, before it is released.

    Money in the campaign's currency. ``dual_bound`` ≥ any feasible plan's value; ``certified_gap`` =
    (bound − value) / bound. ``prices``: limit → price in value units, with words. The same
    ``input_hash`` and ``seed`` give the same plan.
    """

    class State(models.TextChoices):
        COMPUTING = "computing", _("Computing")
        READY = "ready", _("Ready")
        RELEASED = "released", _("Released")
        FAILED = "failed", _("Failed")
        STALE = "stale", _("Out of date")

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="plans")
    version = models.IntegerField()
    state = models.CharField(max_length=10, choices=State, default=State.COMPUTING)
    method = models.CharField(max_length=40)
    objective = models.CharField(max_length=10)
    seed = models.BigIntegerField()
    input_hash = models.CharField(max_length=64, blank=True)
    # campaigns.definition.fingerprint of the definition it answers: another one makes it out of date.
    definition_hash = models.CharField(max_length=64, blank=True)
    audience = models.BigIntegerField(default=0)  # people in the segment
    held_out = models.BigIntegerField(default=0)
    reach = models.BigIntegerField(default=0)  # people with at least one touch
    full_reach = models.BigIntegerField(default=0)  # people with their full target
    target = models.BigIntegerField(default=0)
    touches = models.BigIntegerField(default=0)
    expected_cost = models.DecimalField(default=0, **MONEY)
    greatest_cost = models.DecimalField(default=0, **MONEY)
    value = models.FloatField(default=0)
    expected_revenue = models.DecimalField(default=0, **MONEY)
    dual_bound = models.FloatField(null=True, blank=True)
    certified_gap = models.FloatField(null=True, blank=True)
    prices = models.JSONField(default=list, blank=True)
    gaps = models.JSONField(default=dict, blank=True)  # cause → touches short
    # Of a change: what members had before it. Channel id → {"target", "touches", "cost", and what stays of what is
    # taken out: "stays" (touches), "stays_cost"}; money spent or held.
    before = models.JSONField(default=dict, blank=True)
    response_model = models.JSONField(default=dict, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    error = models.TextField(blank=True)
    job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    made_at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"plan {self.pk} of {self.campaign_id}"


class PlanCell(models.Model):
    """A plan's figures for one round, channel and stage. ``day_touches``: ISO date → touches due."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="cells")
    round = models.SmallIntegerField()
    channel_id = models.IntegerField()
    stage = models.CharField(max_length=16)
    people = models.BigIntegerField()
    eligible = models.BigIntegerField()
    reach = models.BigIntegerField()
    target = models.BigIntegerField()
    touches = models.BigIntegerField()
    expected_cost = models.DecimalField(default=0, **MONEY)
    greatest_cost = models.DecimalField(default=0, **MONEY)
    value = models.FloatField(default=0)
    gaps = models.JSONField(default=dict, blank=True)
    day_touches = models.JSONField(default=dict, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("plan", "round", "channel_id", "stage"), name="a_plan_cell_is_one_row"
            ),
        )

    def __str__(self) -> str:
        return f"{self.plan_id}: {self.channel_id}/{self.round}/{self.stage}"
