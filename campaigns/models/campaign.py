"""A campaign, its versions, approvals, phases, rounds and arms."""

from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.models import Brand, Segment
from audiences.tracking import tracked
from campaigns.vocabulary import CampaignState

MONEY: dict[str, Any] = {"max_digits": 18, "decimal_places": 4}


@tracked(exclude=("updated_at",))
class Campaign(models.Model):
    """One-off, recurring or triggered; or imported, when it ran elsewhere.

    ``starts_at``–``ends_at`` is the flight, half open; its days are those of ``zone``. Money in
    ``currency``. ``seed`` salts every hash of this campaign (holdout, arms, plan), so the same inputs
    give the same plan.
    """

    class Kind(models.TextChoices):
        ONE_OFF = "one_off", _("One-off")
        RECURRING = "recurring", _("Recurring")
        TRIGGERED = "triggered", _("Triggered")
        IMPORTED = "imported", _("Ran elsewhere")

    class Objective(models.TextChoices):
        VALUE = "value", _("Most value")
        COVERAGE = "coverage", _("Coverage first: as many people as possible to their full target")

    class RevenueBasis(models.TextChoices):
        PAID = "paid", _("Paid")
        NET = "net", _("Net of returns")
        NET_EX_TAX = "net_ex_tax", _("Net of returns, without VAT")

    brand = models.ForeignKey(Brand, on_delete=models.PROTECT, related_name="campaigns")
    name = models.CharField(_("name"), max_length=160)
    number = models.CharField(_("number"), max_length=40, blank=True)  # the other system's, when imported
    kind = models.CharField(_("kind"), max_length=10, choices=Kind, default=Kind.ONE_OFF)
    goal = models.TextField(_("goal"), blank=True)
    state = models.CharField(_("state"), max_length=10, choices=CampaignState, default=CampaignState.DRAFT)
    state_reason = models.CharField(max_length=254, blank=True)
    segment = models.ForeignKey(
        Segment,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="campaigns",
        verbose_name=_("segment"),
    )
    # How it runs; see campaigns.cadence. Empty: once.
    cadence = models.JSONField(_("how it runs"), default=dict, blank=True)
    occasion = models.ForeignKey(
        "campaigns.Occasion",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="campaigns",
        verbose_name=_("occasion"),
    )
    offer = models.ForeignKey(
        "campaigns.Offer",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="campaigns",
        verbose_name=_("offer"),
    )
    starts_at = models.DateTimeField(_("starts at"), null=True, blank=True)
    ends_at = models.DateTimeField(_("ends at"), null=True, blank=True)
    zone = models.CharField(_("time zone"), max_length=64, default="Asia/Shanghai")
    currency = models.CharField(_("currency"), max_length=3, default="CNY")
    budget = models.DecimalField(
        _("budget"), null=True, blank=True, validators=[MinValueValidator(0)], **MONEY
    )
    objective = models.CharField(_("objective"), max_length=10, choices=Objective, default=Objective.COVERAGE)
    priority = models.SmallIntegerField(_("priority"), default=50, help_text=_("0–100; higher goes first"))
    person_cap = models.SmallIntegerField(
        _("touches a person at most"),
        null=True,
        blank=True,
        help_text=_("Over all channels of this campaign"),
    )
    holdout_share = models.DecimalField(
        _("holdout"),
        max_digits=5,
        decimal_places=4,
        default=0,
        validators=[MinValueValidator(0), MaxValueValidator(0.5)],
        help_text=_("Share of the audience kept out, to measure lift"),
    )
    joiner_share = models.DecimalField(
        _("kept for late joiners"),
        max_digits=5,
        decimal_places=4,
        default=0,
        validators=[MinValueValidator(0), MaxValueValidator(0.9)],
        help_text=_("Share of each budget the first plan leaves to those who enter the segment later"),
    )
    # Touch values: margin × expected response; see campaigns.planner.
    margin_rate = models.DecimalField(_("contribution margin"), max_digits=6, decimal_places=4, default=0.3)
    conversion_value = models.DecimalField(_("revenue of a conversion"), default=100, **MONEY)
    silence_hours = models.IntegerField(
        _("silence after hours"),
        null=True,
        blank=True,
        help_text=_("No reaction for so long stops the sequence"),
    )
    silent_touches = models.SmallIntegerField(_("silent touches before stopping"), default=1)
    exit_on = models.JSONField(
        _("exits"), default=list, blank=True
    )  # response kinds that end it for a person
    attribution_days = models.SmallIntegerField(_("attribution window, days"), default=7)
    revenue_basis = models.CharField(max_length=10, choices=RevenueBasis, default=RevenueBasis.NET)
    seed = models.BigIntegerField(editable=False, default=0)
    version = models.IntegerField(editable=False, default=1)
    release_plan = models.ForeignKey(
        "campaigns.Plan", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    submitted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    submitted_at = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    import_batch = models.ForeignKey(
        "audiences.ImportBatch", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    review = models.TextField(_("review"), blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(ends_at__isnull=True)
                | models.Q(starts_at__isnull=True)
                | models.Q(ends_at__gt=models.F("starts_at")),
                name="a_flight_ends_after_it_starts",
            ),
            models.CheckConstraint(
                condition=models.Q(holdout_share__gte=0) & models.Q(holdout_share__lte=0.5),
                name="a_holdout_is_at_most_half",
            ),
            models.CheckConstraint(
                condition=models.Q(joiner_share__gte=0) & models.Q(joiner_share__lte=0.9),
                name="late_joiners_get_a_share",
            ),
            models.UniqueConstraint(
                fields=("brand", "number"),
                condition=~models.Q(number=""),
                name="an_imported_campaign_is_one_row",
            ),
        )
        indexes = (models.Index(fields=("state",), name="campaign_by_state"),)

    def __str__(self) -> str:
        return self.name


class CampaignVersion(models.Model):
    """The definition as it was submitted: phases, matrix, budgets, content, dates; immutable.

    A change to a running campaign is a new version; ``difference`` is what alone needs approval.
    """

    class State(models.TextChoices):
        DRAFT = "draft", _("Draft")
        SUBMITTED = "submitted", _("Submitted")
        APPROVED = "approved", _("Approved")
        REJECTED = "rejected", _("Rejected")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="versions")
    number = models.IntegerField()
    definition = models.JSONField()
    difference = models.JSONField(default=list)
    state = models.CharField(max_length=10, choices=State)
    plan = models.ForeignKey(
        "campaigns.Plan", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField()

    class Meta:
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=("campaign", "number"), name="a_version_has_one_number"),
            models.UniqueConstraint(
                fields=("campaign",),
                condition=models.Q(state__in=("draft", "submitted")),
                name="a_campaign_has_one_open_version",
            ),
        )

    def __str__(self) -> str:
        return f"{self.campaign_id} v{self.number}"


class Approval(models.Model):
    """A decision on a submitted version. The maker never decides: the database refuses it."""

    class Step(models.TextChoices):
        APPROVER = "approver", _("Approver")
        FINANCE = "finance", _("Finance")

    class Decision(models.TextChoices):
        APPROVED = "approved", _("Approved")
        REJECTED = "rejected", _("Rejected")

    version = models.ForeignKey(CampaignVersion, on_delete=models.CASCADE, related_name="approvals")
    step = models.CharField(max_length=10, choices=Step)
    decision = models.CharField(max_length=10, choices=Decision)
    comment = models.TextField(_("comment"), blank=True)
    submitted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("version", "step"), name="a_step_is_decided_once"),
            models.CheckConstraint(
                condition=~models.Q(decided_by=models.F("submitted_by")), name="the_maker_does_not_approve"
            ),
        )

    def __str__(self) -> str:
        return f"{self.step} {self.decision}"


@tracked()
class ApprovalRule(models.Model):
    """Above this budget a further role must approve."""

    above = models.DecimalField(_("budget above"), **MONEY)
    currency = models.CharField(max_length=3, default="CNY")
    step = models.CharField(max_length=10, choices=Approval.Step, default=Approval.Step.FINANCE)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("currency", "step"), name="a_step_has_one_threshold"),)

    def __str__(self) -> str:
        return f"{self.step} above {self.above} {self.currency}"


class Phase(models.Model):
    """A part of a campaign's flight with its own frequency matrix. Half open in time."""

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="phases")
    position = models.SmallIntegerField()
    name = models.CharField(_("name"), max_length=80)
    starts_at = models.DateTimeField(_("starts at"))
    ends_at = models.DateTimeField(_("ends at"))
    round_days = models.SmallIntegerField(
        _("days a round"), null=True, blank=True, help_text=_("Empty: the whole phase is one round")
    )

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(fields=("campaign", "position"), name="a_phase_has_one_position"),
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="a_phase_lasts"
            ),
            models.CheckConstraint(
                condition=models.Q(round_days__isnull=True) | models.Q(round_days__gte=1),
                name="a_round_lasts_a_day",
            ),
        )

    def __str__(self) -> str:
        return self.name


class Round(models.Model):
    """A window, or an occasion, to which a frequency target applies. Numbered over the campaign.

    Written when a version is approved. ``starts_at`` null: the round opens for each person by an occasion.
    """

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="rounds")
    number = models.SmallIntegerField()
    phase = models.ForeignKey(Phase, on_delete=models.PROTECT, related_name="rounds")
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    occasion = models.ForeignKey(
        "campaigns.Occasion", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ("number",)
        constraints = (models.UniqueConstraint(fields=("campaign", "number"), name="a_round_has_one_number"),)

    def __str__(self) -> str:
        return f"{self.campaign_id} round {self.number}"


class Arm(models.Model):
    """A variant of treatment, or a rung of a frequency ladder (``cap`` touches a person at most).

    Members fall into arms by stable hash at entry. Shares sum to at most 1; the rest has no arm.
    """

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="arms")
    name = models.CharField(_("name"), max_length=40)
    share = models.DecimalField(_("share"), max_digits=5, decimal_places=4)
    cap = models.SmallIntegerField(_("touches at most"), null=True, blank=True)

    class Meta:
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=("campaign", "name"), name="an_arm_has_one_name"),)

    def __str__(self) -> str:
        return self.name


class Occasion(models.Model):
    """A good moment: birthday (solar or lunar), festival, shopping day, anniversary, behaviour.

    ``rule`` by kind (see :mod:`campaigns.occasions`): ``{"calendar": "own|solar|lunar"}`` of birthdays;
    ``{"calendar": "solar|lunar", "month": 8, "day": 15}`` of festivals and shopping days; ``{"of":
    "registered|first_order"}`` of anniversaries; ``{"event": "add_to_cart"}`` of behaviours.
    """

    class Kind(models.TextChoices):
        BIRTHDAY = "birthday", _("Birthday")
        FESTIVAL = "festival", _("Festival")
        SHOPPING_DAY = "shopping_day", _("Shopping day")
        ANNIVERSARY = "anniversary", _("Anniversary")
        BEHAVIOUR = "behaviour", _("Behaviour")

    name = models.CharField(_("name"), max_length=80, unique=True)
    kind = models.CharField(_("kind"), max_length=14, choices=Kind)
    rule = models.JSONField(default=dict, blank=True)
    lead_days = models.SmallIntegerField(
        _("days before"), default=0, validators=[MinValueValidator(0), MaxValueValidator(60)]
    )
    segment = models.ForeignKey(
        Segment,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name=_("customers"),
    )

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Opening(models.Model):
    """A time at which a triggered campaign opens, or opened, for a person.

    Noticed ahead (``opened_at`` null), opened when ``opens_at`` has come: ``round`` is the how-manieth time it is
    for this person, or null where it was passed over, for ``reason``. ``key`` tells one occurrence from another:
    the day of the occasion, the event's id. What was there before the release has the reason ``before``.
    """

    class Reason(models.TextChoices):
        BEFORE = "before", _("It was so before the campaign began")
        LATE = "late", _("Its time was over")
        OFTEN = "often", _("The campaign came often enough")
        AUDIENCE = "audience", _("Not in the audience then")
        LEFT = "left", _("Has left the campaign")

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="openings")
    customer_id = models.BigIntegerField()
    key = models.CharField(max_length=80)
    opens_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True, blank=True)
    round = models.SmallIntegerField(null=True, blank=True)
    reason = models.CharField(max_length=8, blank=True, choices=Reason)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("campaign", "customer_id", "key"), name="an_occurrence_opens_a_campaign_once"
            ),
            models.UniqueConstraint(
                fields=("campaign", "customer_id", "round"), name="a_person_has_a_round_once"
            ),
        )
        indexes = (
            models.Index(
                fields=("campaign", "opens_at"),
                name="opening_to_come",
                condition=models.Q(opened_at__isnull=True),
            ),
            models.Index(fields=("customer_id",), name="opening_by_customer"),
        )

    def __str__(self) -> str:
        return f"{self.campaign_id}:{self.customer_id} {self.key}"
