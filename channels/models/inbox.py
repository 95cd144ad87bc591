"""What came in: stored verified and parsed, drained by campaigns exactly once."""

from django.db import models
from django.db.models.fields.json import KeyTextTransform
from django.utils.translation import gettext_lazy as _

from audiences.vocabulary import ResponseKind
from channels.models.channel import Channel


class InboxEvent(models.Model):
    """One normalised event of one channel, unique on (channel, dedupe key).

    It names its person by ``reference`` (the provider's message id, or our touch token) or by an
    identity. ``receipt`` events settle attempts; ``response`` events become responses.
    """

    class Kind(models.TextChoices):
        RECEIPT = "receipt", _("Receipt")
        RESPONSE = "response", _("Response")

    class State(models.TextChoices):
        NEW = "new", _("New")
        DRAINED = "drained", _("Drained")
        POISON = "poison", _("Set aside")
        IGNORED = "ignored", _("Ignored")

    id = models.BigAutoField(primary_key=True)
    channel = models.ForeignKey(
        Channel, on_delete=models.PROTECT, related_name="inbox_events", db_index=False
    )
    dedupe_key = models.CharField(max_length=160)
    kind = models.CharField(max_length=10, choices=Kind)
    outcome = models.CharField(max_length=16, blank=True)  # of a receipt: channels.adapters.base.Receipt
    response = models.CharField(max_length=20, choices=ResponseKind, blank=True)
    reference = models.CharField(max_length=160, blank=True)
    campaign_id = models.BigIntegerField(null=True, blank=True)  # from our signed link
    touch_id = models.BigIntegerField(null=True, blank=True)  # from our signed link
    identity_kind = models.CharField(max_length=24, blank=True)
    identity_issuer = models.CharField(max_length=80, blank=True)
    identity_value = models.CharField(max_length=254, blank=True)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    machine = models.BooleanField(default=False)  # a scanner or prefetcher, not a person
    value = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    code = models.CharField(max_length=80, blank=True)  # the provider's error or status code
    detail = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=8, choices=State, default=State.NEW)
    error = models.TextField(blank=True)
    drained_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("channel", "dedupe_key"), name="an_event_is_stored_once"),
        )
        indexes = (
            models.Index(fields=("id",), name="inbox_new", condition=models.Q(state="new")),
            models.Index(fields=("channel", "-received_at"), name="inbox_by_channel"),
            # An erasure finds what providers told of a person.
            models.Index(
                fields=("identity_value",), name="inbox_by_identity", condition=~models.Q(identity_value="")
            ),
            models.Index(fields=("id",), name="inbox_poison", condition=models.Q(state="poison")),
            # Visits by a link that strangers follow.
            models.Index(
                KeyTextTransform("link_id", "detail"),
                name="inbox_click_of_a_stranger",
                condition=models.Q(response="click", touch_id=None),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.response or self.outcome} {self.dedupe_key}"


class Link(models.Model):
    """Where a tracked link of a message leads. The address a person sees is a signed token over

    (link, campaign, touch); it carries customer and variant without exposing them.
    """

    campaign_id = models.BigIntegerField(null=True, blank=True)
    channel = models.ForeignKey(
        Channel, null=True, blank=True, on_delete=models.PROTECT, related_name="links"
    )
    label = models.CharField(max_length=120, blank=True)
    url = models.URLField(max_length=2000)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("campaign_id", "channel", "url"),
                name="a_link_is_one_row_a_campaign",
                nulls_distinct=False,
            ),
        )

    def __str__(self) -> str:
        return self.url
