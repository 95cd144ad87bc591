"""Campaigns' places in the side navigation."""

from django.utils.translation import gettext_lazy as _

from audiences.access import ANYBODY
from audiences.registers import NavigationEntry, navigation

GROUP = _("Campaigns")
PLACES = (
    ("campaigns", _("Campaigns"), "campaigns:campaigns", "speakerphone"),
    ("calendar", _("Calendar"), "campaigns:calendar", "calendar"),
    ("occasions", _("Occasions"), "campaigns:occasions", "gift"),
    ("messages", _("Content library"), "campaigns:messages", "message-2"),
    ("offers", _("Modes and offers"), "campaigns:offers", "discount"),
    ("tasks", _("Tasks"), "campaigns:tasks", "checklist"),
    ("broadcasts", _("Groups and Moments"), "campaigns:broadcasts", "users-group"),
    ("kol_posts", _("KOL posts"), "campaigns:kol_posts", "star"),
    ("policy", _("Contact policy"), "campaigns:policy", "shield-check"),
)


def register() -> None:
    """Called once, from ``CampaignsConfig.ready``."""
    for number, (name, label, url_name, icon) in enumerate(PLACES):
        navigation.add(
            f"campaigns.{name}", NavigationEntry(label, url_name, icon, 300 + 10 * number, ANYBODY, GROUP)
        )
