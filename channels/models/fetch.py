"""How fetching from providers fares, by channel and kind."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from channels.models.channel import Channel


class ChannelFetch(models.Model):
    """One kind of what is fetched from a channel's provider: when it last came, when it last failed and why.

    ``settled_until`` and ``missed`` are of daily reports: days up to the first were fetched for the last time; the
    second lists spans that could not be had, as ``{"from": day, "until": day, "why": text}``.
    """

    class Kind(models.TextChoices):
        REPORTS = "reports", _("Daily reports")
        BALANCES = "balances", _("Balances")
        EMPLOYEES = "employees", _("Employees and their customers")
        EVENTS = "events", _("Receipts and replies that are asked for")

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="fetches")
    kind = models.CharField(max_length=12, choices=Kind)
    succeeded_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)  # null: the last attempt did not fail
    error = models.CharField(max_length=500, blank=True)  # of the last failure, in the provider's words
    answered_at = models.DateTimeField(
        null=True, blank=True
    )  # with figures, or a refusal that will be the same
    nothing = models.BooleanField(default=False)  # the last answer was that there is none
    settled_until = models.DateField(null=True, blank=True)
    missed = models.JSONField(default=list, blank=True)

    class Meta:
        verbose_name_plural = "channel fetches"
        constraints = (
            models.UniqueConstraint(fields=("channel", "kind"), name="a_kind_is_fetched_once_a_channel"),
        )

    def __str__(self) -> str:
        return f"{self.channel_id} {self.kind}"
