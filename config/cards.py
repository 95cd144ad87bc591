"""What the first page tells of the installation itself: parts of it that have gone silent."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from audiences.registers import HomeCard, home_cards
from config import heartbeat

PARTS = {
    heartbeat.WORKER: _("No worker is at work: nothing is sent, imported or counted."),
    heartbeat.BEAT: _("The clock stands still: nothing that becomes due is begun."),
}


def silent_parts(request: HttpRequest) -> Mapping[str, Any] | None:
    """Worker or beat, when neither has been seen for a minute."""
    signs = heartbeat.signs()
    parts = [
        {"what": what, "at": signs[name].at if name in signs else None}
        for name, what in PARTS.items()
        if name not in signs or signs[name].late
    ]
    return {"parts": parts} if parts else None


def register() -> None:
    """Called once, when the app is ready."""
    home_cards.add("installation", HomeCard("wrong", "config/_card_parts.html", silent_parts))
