"""What the first page tells of channels."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from audiences.access import ANYBODY, Role, has_role
from audiences.registers import HomeCard
from channels import health, packages, pushing
from channels.models import Channel


def troubles(request: HttpRequest) -> Mapping[str, Any] | None:
    """Channels that need somebody; nothing when all is well."""
    if not has_role(request.user, *ANYBODY):
        return None
    channels = list(Channel.objects.exclude(state=Channel.State.ARCHIVED).select_related("brand"))
    rows = [row for row in health.of_channels(channels, timezone.now()) if row.troubles] if channels else []
    return {"rows": rows[:8], "more": max(0, len(rows) - 8)} if rows else None


TROUBLES = HomeCard("wrong", "channels/_card_troubles.html", troubles)


def pushes(request: HttpRequest) -> Mapping[str, Any] | None:
    """To channel admins: daily spend sheets that did not arrive, or may not have."""
    if not has_role(request.user, Role.CHANNEL_ADMIN):
        return None
    rows = pushing.troubles()
    return {"rows": rows} if rows else None


def expiring(request: HttpRequest) -> Mapping[str, Any] | None:
    """Message packages that expire soon with something left, to whoever may buy or use them."""
    if not has_role(request.user, Role.CHANNEL_ADMIN, Role.FINANCE):
        return None
    found = packages.of_channels(timezone.localdate())
    soon = {pk: rows for pk, one in found.items() if (rows := one.expiring())}
    names = Channel.objects.in_bulk(soon)
    told = [(names[pk], package) for pk, packages_of_it in soon.items() for package in packages_of_it]
    return {"rows": sorted(told, key=lambda row: str(row[1].expires_on))[:8]} if told else None


PUSHES = HomeCard("wrong", "channels/_card_pushes.html", pushes)
EXPIRING = HomeCard("needs_me", "channels/_card_expiring.html", expiring)
