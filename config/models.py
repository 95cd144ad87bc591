"""People who log in, the keys of other systems, and the marks processes leave of being alive."""

import zoneinfo

import pghistory
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.tracking import tracked


def validate_zone(value: str) -> None:
    if value not in zoneinfo.available_timezones():
        raise ValidationError(_("%(zone)s is not a time zone."), params={"zone": value})


@tracked(exclude=("password", "last_login"))
class User(AbstractUser):
    """Somebody who logs in. Empty language or zone: those of the browser and of the installation."""

    language = models.CharField(_("language"), max_length=16, blank=True, choices=settings.LANGUAGES)
    zone = models.CharField(_("time zone"), max_length=64, blank=True, validators=[validate_zone])

    def __str__(self) -> str:
        return self.get_full_name() or self.username


@pghistory.track(pghistory.InsertEvent(), pghistory.DeleteEvent(), append_only=True)
class UserRole(User.groups.through):  # type: ignore[name-defined,misc]
    """That somebody has a role: the table of Django's groups, watched by the audit trail."""

    class Meta:
        proxy = True
        verbose_name = _("role of a user")


@tracked(exclude=("digest", "last_used_at"))
class ApiKey(models.Model):
    """A key of another system. The secret is shown once and kept as a hash only."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(_("name"), max_length=100)
    prefix = models.CharField(_("prefix"), max_length=12, unique=True)
    digest = models.CharField(max_length=64, editable=False)
    scopes = ArrayField(models.CharField(max_length=60), verbose_name=_("scopes"), default=list)
    created_at = models.DateTimeField(_("made at"), auto_now_add=True)
    expires_at = models.DateTimeField(_("valid until"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("withdrawn at"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class IdempotentCall(models.Model):
    """What an API write answered, kept so that the same call sent twice is carried out once."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    request_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    content_type = models.CharField(max_length=100)
    body = models.BinaryField()
    made_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "key"], name="idempotent_call_once")]

    def __str__(self) -> str:
        return self.key


class Heartbeat(models.Model):
    """The last moment a part of the installation was seen at work."""

    name = models.CharField(primary_key=True, max_length=60)
    at = models.DateTimeField()
    detail = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.name


class ThrottleWindow(models.Model):
    """How many calls a caller made in one fixed window; counted in SQL, so it holds over all processes."""

    key = models.CharField(max_length=120)
    starts_at = models.DateTimeField(db_index=True)
    calls = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "starts_at"], name="throttle_window_once")]

    def __str__(self) -> str:
        return self.key
