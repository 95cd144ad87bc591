"""What the first page tells of channels."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from audiences.access import ANYBODY, has_role
from audiences.registers import HomeCard
from channels import health
from channels.models import Channel


def troubles(request: HttpRequest) -> Mapping[str, Any] | None:
    """Channels that need somebody; nothing when all is well."""
    if not has_role(request.user, *ANYBODY):
        return None
    channels = list(Channel.objects.exclude(state=Channel.State.ARCHIVED).select_related("brand"))
    rows = [row for row in health.of_channels(channels, timezone.now()) if row.troubles] if channels else []
    return {"rows": rows[:8], "more": max(0, len(rows) - 8)} if rows else None


TROUBLES = HomeCard("wrong", "channels/_card_troubles.html", troubles)
