"""Credentials replaced while a channel works: the new ones are tried before they take force.

Until the test has passed, everybody goes on with the old ones; they stay if it fails, unless somebody forces the
new ones in. Old webhooks and messages under way are not touched: only what is asked from now on is signed anew.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from channels import accounts, states
from channels.adapters import adapter_class
from channels.adapters.base import Checked, Setting
from channels.models import Channel
from channels.renewal import renewing


@dataclass(frozen=True, slots=True)
class Rotated:
    """What came of it. ``changed``: the new credentials hold from now on."""

    changed: bool
    checked: Checked


def secrets_of(channel: Channel) -> list[Setting]:
    """What can be rotated: the secret settings of the channel's adapter."""
    return [setting for setting in adapter_class(channel.adapter).settings if setting.secret]


def rotate(channel: Channel, given: Mapping[str, Any], now: datetime, *, force: bool = False) -> Rotated:
    """Test the account with these secrets, and keep them if it works. A secret left empty stays as it is.

    Raises :class:`ValidationError` when nothing new was given or a field is not fit.
    """
    adapter = adapter_class(channel.adapter)
    known = {setting.name for setting in secrets_of(channel)}
    fresh = {name: value for name, value in given.items() if name in known and value not in ("", None)}
    values = accounts.clean_values(adapter, channel.settings | fresh, channel.credentials)
    if not fresh or values.credentials == channel.credentials:
        raise ValidationError(_("Write at least one new secret; those left empty stay as they are."))
    tried = copy(channel)
    tried.credentials = values.credentials
    checked = accounts.ask(tried)
    if not checked.ok and not force:
        return Rotated(False, checked)
    # A renewal of tokens that is under way would write the old secrets back.
    with renewing(channel.pk), transaction.atomic():
        held = Channel.objects.select_for_update().select_related("brand").get(pk=channel.pk)
        # Somebody may have rotated another secret meanwhile: only what was given is replaced.
        held.credentials = held.credentials | {name: values.credentials[name] for name in fresh}
        held.credentials_changed_at = now
        accounts.save_channel(held)
        accounts.keep_check(held, checked, now)
        if checked.ok and held.state == Channel.State.STOPPED:
            states.resume(held)  # it was stopped for what is now mended
    return Rotated(True, checked)
