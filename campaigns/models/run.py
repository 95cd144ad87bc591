"""Members, their targets, touches and attempts: the large tables.

All four are partitioned by list of ``campaign_id`` with a shared default partition; they are made by SQL
(migration 0002) and joined by columns. Composite keys, no relations.
"""

from typing import Any

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.models import Customer
from campaigns.vocabulary import AttemptState, Cause, MemberState, TouchState
from channels.models import Channel

COST: dict[str, Any] = {"max_digits": 14, "decimal_places": 6}


class Member(models.Model):
    """A customer in a campaign, as at entry. Written at release before any touch, never reassigned."""

    pk = models.CompositePrimaryKey("campaign_id", "customer_id")
    campaign_id = models.BigIntegerField()
    customer_id = models.BigIntegerField()
    stage = models.CharField(max_length=16)
    held_out = models.BooleanField(default=False)
    arm = models.CharField(max_length=40, blank=True)
    zone = models.CharField(max_length=64)
    state = models.CharField(max_length=8, choices=MemberState, default=MemberState.ACTIVE)
    reason = models.CharField(max_length=24, blank=True)
    entered_at = models.DateTimeField()
    state_at = models.DateTimeField()
    last_response_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        managed = False
        db_table = "campaigns_member"

    def __str__(self) -> str:
        return f"{self.campaign_id}:{self.customer_id}"


class MemberTarget(models.Model):
    """What a member should get on a channel in a round, what was planned, and why less.

    Held-out members have no rows: a foreign key on (campaign, customer, stage, held_out = false) sees to it.
    """

    pk = models.CompositePrimaryKey("campaign_id", "customer_id", "channel_id", "round")
    campaign_id = models.BigIntegerField()
    customer_id = models.BigIntegerField()
    channel_id = models.IntegerField()
    round = models.SmallIntegerField()
    stage = models.CharField(max_length=16)
    held_out = models.BooleanField(default=False)
    target = models.SmallIntegerField()
    planned = models.SmallIntegerField()
    cause = models.CharField(max_length=24, choices=Cause, blank=True)

    class Meta:
        managed = False
        db_table = "campaigns_member_target"

    def __str__(self) -> str:
        return f"{self.campaign_id}:{self.customer_id}:{self.channel_id}:{self.round}"


class Touch(models.Model):
    """One planned contact, unique on (campaign, customer, channel, round, ordinal).

    ``due_at``–``deadline_at``: when it may start, and until when. ``reason`` is a Cause once it is final
    without having reached the person. ``reserved`` is the greatest, ``cost`` the actual cost, unrounded,
    in the channel's currency.
    """

    pk = models.CompositePrimaryKey("campaign_id", "id")
    id = models.BigIntegerField()
    campaign_id = models.BigIntegerField()
    customer_id = models.BigIntegerField()
    channel_id = models.IntegerField()
    round = models.SmallIntegerField()
    ordinal = models.SmallIntegerField()
    stage = models.CharField(max_length=16)
    message_version_id = models.BigIntegerField(null=True)
    variant = models.SmallIntegerField(default=1)
    priority = models.SmallIntegerField(default=50)
    due_at = models.DateTimeField()
    deadline_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=TouchState, default=TouchState.PLANNED)
    reason = models.CharField(max_length=24, choices=Cause, blank=True)
    deferred = models.CharField(max_length=24, blank=True)  # why it waits, while planned
    attempts = models.SmallIntegerField(default=0)
    reserved = models.DecimalField(default=0, **COST)
    cost = models.DecimalField(default=0, **COST)
    state_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "campaigns_touch"

    def __str__(self) -> str:
        return f"{self.campaign_id}:{self.id}"


class Attempt(models.Model):
    """One handing-over to a provider: committed before the call, handed over at most once.

    ``id`` is unique over all campaigns and is what providers are given as our reference.
    """

    pk = models.CompositePrimaryKey("campaign_id", "touch_id", "n")
    id = models.BigIntegerField()
    campaign_id = models.BigIntegerField()
    touch_id = models.BigIntegerField()
    n = models.SmallIntegerField()
    customer_id = models.BigIntegerField()
    channel_id = models.IntegerField()
    identity_id = models.BigIntegerField(null=True)
    state = models.CharField(max_length=10, choices=AttemptState, default=AttemptState.RECORDED)
    reference = models.CharField(max_length=160, blank=True)
    code = models.CharField(max_length=80, blank=True)
    text = models.CharField(max_length=254, blank=True)
    parts = models.SmallIntegerField(default=1)
    cost = models.DecimalField(default=0, **COST)
    worker = models.CharField(max_length=80, blank=True)
    lease_until = models.DateTimeField(null=True)  # recorded and past this: the worker died, so unknown
    started_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)  # when it went out, as far as known
    settled_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "campaigns_attempt"

    def __str__(self) -> str:
        return f"{self.campaign_id}:{self.touch_id}.{self.n}"


class ProviderReference(models.Model):
    """A provider's message id, unique on its channel, and the attempt it belongs to."""

    channel_id = models.IntegerField()
    reference = models.CharField(max_length=160)
    campaign_id = models.BigIntegerField()
    attempt_id = models.BigIntegerField()

    class Meta:
        db_table = "campaigns_provider_reference"
        constraints = (
            models.UniqueConstraint(
                fields=("channel_id", "reference"), name="a_provider_reference_is_one_attempt"
            ),
        )

    def __str__(self) -> str:
        return self.reference


class Response(models.Model):
    """A reaction of a person, or what a provider tells of a touch. Exactly once by (source, source_key)."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="responses", db_index=False)
    campaign_id = models.BigIntegerField(null=True, blank=True)
    touch_id = models.BigIntegerField(null=True, blank=True)
    channel = models.ForeignKey(
        Channel, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    kind = models.CharField(max_length=20)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    machine = models.BooleanField(default=False)
    value = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    order = models.ForeignKey(
        "audiences.Order", null=True, blank=True, on_delete=models.SET_NULL, related_name="responses",
        db_index=False,
    )  # fmt: skip
    source = models.CharField(max_length=40)
    source_key = models.CharField(max_length=160)
    detail = models.JSONField(default=dict, blank=True)
    # Written with the batch in one transaction: a check for each row would find what it must.
    import_batch = models.ForeignKey(
        "audiences.ImportBatch", null=True, blank=True, on_delete=models.SET_NULL, related_name="+",
        db_index=False, db_constraint=False,
    )  # fmt: skip

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("source", "source_key"), name="a_response_is_stored_once"),
        )
        # Each costs every response that comes in: those that few rows need hold only these rows.
        indexes = (
            models.Index(fields=("customer", "occurred_at"), name="response_by_customer"),
            models.Index(
                fields=("order",), name="response_by_order", condition=models.Q(order__isnull=False)
            ),
            # Rows of a batch stand together.
            BrinIndex(fields=("import_batch",), name="response_by_batch"),
            models.Index(fields=("campaign_id", "kind", "occurred_at"), name="response_by_campaign"),
            models.Index(
                fields=("campaign_id", "touch_id"),
                name="response_by_touch",
                condition=models.Q(touch_id__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.source_key}"


class PeopleTask(models.Model):
    """A touch or placement made by a person: a call, a visit, an event, print, a KOL post."""

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        EXPIRED = "expired", _("Expired")

    campaign_id = models.BigIntegerField(null=True, blank=True)
    touch_id = models.BigIntegerField(null=True, blank=True)
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="+")
    customer = models.ForeignKey(Customer, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    employee = models.ForeignKey(
        "channels.Employee", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    title = models.CharField(max_length=200)
    note = models.TextField(blank=True)
    due_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    outcome = models.CharField(max_length=40, blank=True)
    done_at = models.DateTimeField(null=True, blank=True)
    settles_at = models.DateTimeField(null=True, blank=True)  # reported, and until then it can be taken back

    class Meta:
        indexes = (
            models.Index(fields=("employee", "state", "due_at"), name="people_task_by_employee"),
            models.Index(
                fields=("settles_at",),
                name="people_task_to_settle",
                condition=models.Q(settles_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return self.title
