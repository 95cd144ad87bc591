"""The shell's own entries in the side navigation."""

from django.utils.translation import gettext_lazy as _

from audiences.access import ADMINISTRATOR, ANYBODY
from audiences.registers import NavigationEntry, navigation

ADMINISTRATION = _("Administration")


def register() -> None:
    """Called once, when the app is ready."""
    from audiences import cards as audience_cards
    from config import cards

    audience_cards.register()
    cards.register()
    navigation.add("home", NavigationEntry(_("Home"), "config:home", "home", 0))
    navigation.add(
        "jobs",
        NavigationEntry(_("Long work"), "audiences:jobs", "progress-check", 900, ANYBODY, ADMINISTRATION),
    )
    navigation.add(
        "api_keys", NavigationEntry(_("API keys"), "config:api_keys", "key", 910, ANYBODY, ADMINISTRATION)
    )
    navigation.add(
        "users",
        NavigationEntry(
            _("Users and roles"), "config:users", "users-group", 920, (ADMINISTRATOR,), ADMINISTRATION
        ),
    )
    navigation.add(
        "audit",
        NavigationEntry(
            _("Audit trail"), "config:audit_trail", "history", 930, (ADMINISTRATOR,), ADMINISTRATION
        ),
    )
