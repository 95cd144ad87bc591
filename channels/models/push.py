"""Where the daily spend sheet is pushed, and each time it was."""

import datetime as dt

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.tracking import tracked
from channels.credentials import EncryptedJSONField
from channels.models.channel import Channel

HALF_PAST_NINE = dt.time(9, 30)


@tracked(exclude=("credentials", "updated_at"))
class PushDestination(models.Model):
    """A group's robot or a list of mailboxes that gets the daily spend sheet once a day.

    ``credentials`` hold ``address`` (the robot's webhook, whose key is a secret) and ``secret`` (what it signs
    with). ``at`` is a time of the installation's zone; nothing is pushed before ``first_day``.
    """

    class Kind(models.TextChoices):
        WECOM = "wecom", _("WeCom group robot")
        DINGTALK = "dingtalk", _("DingTalk group robot")
        FEISHU = "feishu", _("Feishu group robot")
        EMAIL = "email", _("Email")

    name = models.CharField(_("name"), max_length=80, unique=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    credentials = EncryptedJSONField(default=dict, blank=True)
    keyword = models.CharField(_("keyword"), max_length=40, blank=True)
    channel = models.ForeignKey(
        Channel, null=True, blank=True, on_delete=models.PROTECT, related_name="+", verbose_name=_("sent by")
    )
    recipients = models.TextField(_("recipients"), blank=True)  # addresses, one a line
    at = models.TimeField(_("time of day"), default=HALF_PAST_NINE)
    language = models.CharField(_("language"), max_length=10, choices=settings.LANGUAGES, default="zh-hans")
    active = models.BooleanField(_("active"), default=True)
    first_day = models.DateField()
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name",)
        verbose_name = _("push destination")

    def __str__(self) -> str:
        return self.name


class SpendPush(models.Model):
    """One push: claimed and committed before the call, so that a day has one, whoever is killed when.

    ``day`` is the day it goes out. What may have arrived is ``unknown`` and never sent again by itself.
    """

    class State(models.TextChoices):
        SENDING = "sending", _("Sending")
        SENT = "sent", _("Sent")
        WAITING = "waiting", _("Tried again later")
        FAILED = "failed", _("Failed")
        UNKNOWN = "unknown", _("Unknown whether it arrived")

    destination = models.ForeignKey(PushDestination, on_delete=models.CASCADE, related_name="pushes")
    day = models.DateField()
    test = models.BooleanField(default=False)  # by the button; does not count as the day's
    state = models.CharField(max_length=8, choices=State)
    tries = models.SmallIntegerField(default=1)
    started_at = models.DateTimeField()
    again_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    done_at = models.DateTimeField(null=True, blank=True)
    code = models.CharField(max_length=40, blank=True)
    error = models.CharField(max_length=254, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("destination", "day"),
                condition=models.Q(test=False),
                name="a_sheet_is_pushed_once_a_day",
            ),
        )
        indexes = (models.Index(fields=("destination", "-started_at"), name="push_by_destination"),)

    def __str__(self) -> str:
        return f"{self.destination_id} {self.day} {self.state}"
