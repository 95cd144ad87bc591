"""Misconfiguration, told before it hurts, each with what to do about it."""

import zoneinfo
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from config import vendor
from config.env import database


@register()
def secrets_are_set(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if len(settings.SECRET_KEY) < 40:
        found.append(
            Error(
                "SECRET_KEY is missing or shorter than 40 characters.",
                hint="With DATABASE_URL, secrets come from the environment: set SECRET_KEY to 50 random characters.",
                id="evenreach.E001",
            )
        )
    if not settings.FIELD_KEYS:
        found.append(
            Error(
                "EVENREACH_FIELD_KEYS is empty: credentials of channels cannot be encrypted.",
                hint="Set it to one or more Fernet keys, newest first.",
                id="evenreach.E002",
            )
        )
    for key in settings.FIELD_KEYS:
        try:
            Fernet(key.encode())
        except ValueError:
            found.append(
                Error(
                    "A key in EVENREACH_FIELD_KEYS is no Fernet key.",
                    hint="Each is 32 random bytes in URL-safe base64 (44 characters).",
                    id="evenreach.E003",
                )
            )
    if len(settings.HASH_KEY) < 20:
        found.append(
            Error(
                "EVENREACH_HASH_KEY is missing or short: the suppression list cannot be kept.",
                hint="Set 32 random characters once, and never change them.",
                id="evenreach.E004",
            )
        )
    return found


@register()
def places_are_right(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.TIME_ZONE not in zoneinfo.available_timezones():
        found.append(
            Error(
                f"EVENREACH_ZONE is {settings.TIME_ZONE!r}, which is no time zone.",
                hint="Use a name such as Asia/Shanghai.",
                id="evenreach.E005",
            )
        )
    if settings.BROKER_URL and settings.BROKER_URL.split(":")[0] not in {
        "redis",
        "rediss",
        "redis+socket",
        "amqp",
        "amqps",
    }:
        found.append(
            Error(
                "BROKER_URL is neither Redis nor RabbitMQ.",
                hint="Use redis://…, rediss://…, amqp://… or amqps://…, or leave it empty for the queue in the database.",
                id="evenreach.E006",
            )
        )
    if not settings.PUBLIC_URL.startswith(("http://", "https://")):
        found.append(
            Error(
                "EVENREACH_PUBLIC_URL must begin with http:// or https://.",
                hint="It is the address at which customers open short links.",
                id="evenreach.E007",
            )
        )
    if settings.DATABASE_URL and not database(settings.DATABASE_URL)["NAME"]:
        found.append(
            Error(
                "DATABASE_URL names no database.",
                hint="It looks like postgresql://user:password@host:5432/evenreach.",
                id="evenreach.E008",
            )
        )
    if any(not (vendor.modules() / Path(source)).exists() for source in vendor.FILES.values()):
        found.append(
            Warning(
                "Style sheets and scripts of the screens are not installed.",
                hint="Run: make assets",
                id="evenreach.W001",
            )
        )
    return found


@register(Tags.security, deploy=True)
def https_is_on(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.HTTPS:
        return []
    return [
        Warning(
            "EVENREACH_HTTPS is off: sessions travel unencrypted.",
            hint="Set EVENREACH_HTTPS=1 once the site is served over https.",
            id="evenreach.W002",
        )
    ]
