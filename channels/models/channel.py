"""A configured account on one medium, of one brand, with price, capacity and rules."""

import pghistory
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.models import Brand
from audiences.vocabulary import Medium
from channels.credentials import EncryptedJSONField
from channels.vocabulary import Domain, Guarantee, Observability, PriceModel


@pghistory.track(
    exclude=["credentials", "credentials_changed_at", "inbound_secret", "last_checked_at", "last_check"]
)
class Channel(models.Model):
    """An account. Prices in ``currency``, numeric(14,6), unrounded; a message of two parts costs two.

    ``adapter`` names a module of :mod:`channels.adapters` (its choices come from the folder, so a new
    adapter needs no migration); every medium has the manual twin ``manual``. ``guarantee`` and
    ``observability`` are copied from the adapter when the channel is saved, so that SQL can read them.
    """

    class State(models.TextChoices):
        ACTIVE = "active", _("Active")
        PAUSED = "paused", _("Paused")
        STOPPED = "stopped", _("Stopped by an error")
        ARCHIVED = "archived", _("Archived")

    brand = models.ForeignKey(Brand, on_delete=models.PROTECT, related_name="channels")
    name = models.CharField(_("name"), max_length=120, unique=True)
    medium = models.CharField(_("medium"), max_length=20, choices=Medium)
    adapter = models.CharField(_("adapter"), max_length=40)
    domain = models.CharField(_("domain"), max_length=8, choices=Domain)
    observability = models.CharField(_("observability"), max_length=20, choices=Observability)
    guarantee = models.CharField(_("guarantee"), max_length=16, choices=Guarantee)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.ACTIVE)
    state_reason = models.CharField(max_length=254, blank=True)
    settings = models.JSONField(
        _("settings"), default=dict, blank=True
    )  # what the adapter declares, not secret
    credentials = EncryptedJSONField(_("credentials"), default=dict, blank=True)  # write-only in every screen
    credentials_changed_at = models.DateTimeField(null=True, blank=True)
    currency = models.CharField(_("currency"), max_length=3, default="CNY")
    price_model = models.CharField(
        _("price model"), max_length=20, choices=PriceModel, default=PriceModel.PER_MESSAGE
    )
    unit_price = models.DecimalField(_("unit price"), max_digits=14, decimal_places=6, default=0)
    # Limits: null is unlimited.
    rate_per_second = models.FloatField(_("messages a second"), null=True, blank=True)
    daily_capacity = models.IntegerField(_("messages a day"), null=True, blank=True)
    inbound_secret = models.CharField(max_length=64, blank=True)  # part of the webhook's path
    last_checked_at = models.DateTimeField(null=True, blank=True)
    last_check = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class ChannelCapacity(models.Model):
    """A limit on one day (in the channel's brand zone) that differs from ``Channel.daily_capacity``."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="capacities")
    day = models.DateField()
    messages = models.IntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("channel", "day"), name="a_day_has_one_capacity"),)

    def __str__(self) -> str:
        return f"{self.channel_id} {self.day}: {self.messages}"


@pghistory.track()
class PlatformRule(models.Model):
    """A platform's rule as a dated row: hours, signature, opt-out text, quotas, lengths, minimum audience.

    It holds for a medium, narrowed by adapter or channel where set; the narrowest, then latest, wins.
    """

    medium = models.CharField(_("medium"), max_length=20, choices=Medium)
    adapter = models.CharField(_("adapter"), max_length=40, blank=True)
    channel = models.ForeignKey(
        Channel, null=True, blank=True, on_delete=models.CASCADE, related_name="rules"
    )
    country = models.CharField(_("country"), max_length=2, blank=True)
    key = models.CharField(_("rule"), max_length=60)  # see channels.platform_rules.KEYS
    value = models.JSONField(_("value"))
    valid_from = models.DateField(_("valid from"))
    valid_to = models.DateField(_("valid to"), null=True, blank=True)
    source = models.CharField(_("source"), max_length=254)
    source_date = models.DateField(_("source date"), null=True, blank=True)

    class Meta:
        ordering = ("medium", "key", "-valid_from")

    def __str__(self) -> str:
        return f"{self.medium} {self.key}"


class ChannelThrottle(models.Model):
    """The shared throttle of a channel: workers lease messages in chunks, in short transactions.

    Virtual scheduling (GCRA): ``next_at`` is when the next message may start.
    """

    channel = models.OneToOneField(
        Channel, primary_key=True, on_delete=models.CASCADE, related_name="throttle"
    )
    next_at = models.DateTimeField()
    backoff_until = models.DateTimeField(null=True, blank=True)  # a provider said: slower

    def __str__(self) -> str:
        return f"throttle of {self.channel_id}"


class ChannelCalls(models.Model):
    """Calls of a provider that has a limit of calls: those of the last minute by the second, and those of a day.

    Locked by whoever takes calls, so that the limits are exact over all workers (:mod:`channels.calls`).
    """

    channel = models.OneToOneField(Channel, primary_key=True, on_delete=models.CASCADE, related_name="calls")
    day = models.DateField()  # of the installation's zone
    of_day = models.IntegerField(default=0)
    recent_at = ArrayField(models.DateTimeField(), default=list)  # whole seconds, ascending
    recent_n = ArrayField(models.IntegerField(), default=list)

    def __str__(self) -> str:
        return f"calls of {self.channel_id}"


class ChannelCount(models.Model):
    """What happened on a channel in an hour: accepted, refused by code, bad signatures, poison…"""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="counts")
    hour = models.DateTimeField()
    name = models.CharField(max_length=80)
    n = models.BigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("channel", "hour", "name"), name="a_count_is_one_row_an_hour"),
        )

    def __str__(self) -> str:
        return f"{self.channel_id} {self.name} {self.n}"


class Employee(models.Model):
    """A person of ours who sends, calls or receives: a WeCom member, a store clerk, a driver of an event."""

    channel = models.ForeignKey(
        Channel, null=True, blank=True, on_delete=models.PROTECT, related_name="employees"
    )
    external_id = models.CharField(max_length=80)
    name = models.CharField(_("name"), max_length=120)
    store = models.CharField(_("store"), max_length=120, blank=True)
    daily_tasks = models.IntegerField(_("tasks a day"), default=200)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    left_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("channel", "external_id"), name="an_employee_is_one_row"),
        )

    def __str__(self) -> str:
        return self.name


class EmployeeContact(models.Model):
    """That an employee has a customer's identity as a contact (WeCom external contact)."""

    employee = models.ForeignKey(Employee, on_delete=models.CASCADE, related_name="contacts")
    identity = models.ForeignKey("audiences.Identity", on_delete=models.PROTECT, related_name="+")
    added_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("identity", "employee"), name="a_contact_is_one_row"),)

    def __str__(self) -> str:
        return f"{self.employee_id}: {self.identity_id}"
