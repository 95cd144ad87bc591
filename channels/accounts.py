"""A channel's account: what its adapter declares, checked and split, and the adapter made ready to work."""

import secrets
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from channels.adapters import adapter_class
from channels.adapters.base import Account, BaseAdapter, Checked, Setting
from channels.models import Channel
from channels.queries.throttle import ensure_throttle
from channels.renewal import renew, renewing

__all__ = [
    "account_of",
    "adapter_for",
    "ask",
    "callback_url",
    "check_connection",
    "clean_values",
    "forget_channels",
    "keep_check",
    "known_channel",
    "personal_links",
    "release_adapters",
    "save_channel",
    "template_adapter",
]


FRESH = 5.0
"""Seconds a process may answer webhooks by the channel it read: a changed secret or setting holds after that."""

_known: dict[int, tuple[float, Channel]] = {}


def known_channel(channel_id: int) -> Channel | None:
    """The channel, read at most :data:`FRESH` seconds ago; for addresses that are called very often."""
    found = _known.get(channel_id)
    if found is not None and time.monotonic() - found[0] < FRESH:
        return found[1]
    channel = Channel.objects.select_related("brand").filter(pk=channel_id).first()
    if channel is None:
        _known.pop(channel_id, None)
        return None
    _known[channel_id] = (time.monotonic(), channel)
    return channel


def forget_channels() -> None:
    """Read every channel anew."""
    _known.clear()


def callback_url(channel: Channel) -> str:
    """Where the provider calls us. The secret in the path is the first proof of the sender."""
    return f"{settings.PUBLIC_URL}/in/{channel.pk}/{channel.inbound_secret}/"


def account_of(channel: Channel) -> Account:
    return Account(
        channel_id=channel.pk,
        brand=channel.brand.code,
        medium=channel.medium,
        settings=defaults(adapter_class(channel.adapter)) | channel.settings,
        credentials=dict(channel.credentials),
        callback_url=callback_url(channel),
        renew=partial(renew, channel.pk),
    )


def defaults(adapter: type[BaseAdapter]) -> dict[str, Any]:
    """What the adapter assumes where a channel was saved before a setting existed."""
    return {setting.name: setting.default for setting in adapter.settings if not setting.secret}


def personal_links(channel: Channel) -> bool:
    """Whether each person gets links of their own on this channel, so that a click is known by person."""
    try:
        adapter = adapter_class(channel.adapter)
    except LookupError:
        return True
    return adapter.personal_links(defaults(adapter) | channel.settings)


def template_adapter(channel: Channel) -> type[BaseAdapter] | None:
    """The adapter of a channel whose provider sends only texts it approved before; None for all others."""
    try:
        adapter = adapter_class(channel.adapter)
    except LookupError:
        return None
    return adapter if adapter.by_template else None


@dataclass(slots=True)
class _Ready:
    updated_at: datetime
    adapter: BaseAdapter


class _Local(threading.local):
    def __init__(self) -> None:
        self.ready: dict[int, _Ready] = {}


_local = _Local()


def adapter_for(channel: Channel) -> BaseAdapter:
    """The adapter with this channel's account; one a thread, so that its connections may live on.

    A channel saved since then gets a new one, and the old one is closed.
    """
    known = _local.ready.get(channel.pk)
    if known is not None:
        if known.updated_at == channel.updated_at and known.adapter.name == channel.adapter:
            return known.adapter
        del _local.ready[channel.pk]
        known.adapter.close()
    adapter = adapter_class(channel.adapter)(account_of(channel))
    _local.ready[channel.pk] = _Ready(channel.updated_at, adapter)
    return adapter


def release_adapters() -> None:
    """Close what this thread holds open."""
    while _local.ready:
        _local.ready.popitem()[1].adapter.close()


@dataclass(slots=True)
class Values:
    """The adapter's fields of a channel, split by where they are kept."""

    settings: dict[str, Any] = field(default_factory=dict)
    credentials: dict[str, Any] = field(default_factory=dict, repr=False)
    kept: set[str] = field(default_factory=set)  # secrets nobody wrote anew


def clean_values(
    adapter: type[BaseAdapter], given: Mapping[str, Any], kept: Mapping[str, Any] | None = None
) -> Values:
    """Check what somebody gave for the adapter's settings. A secret left empty keeps its ``kept`` value.

    Raises :class:`ValidationError` with a dictionary of field → what to do.
    """
    values, errors = Values(), {}
    if unknown := set(given) - {setting.name for setting in adapter.settings}:
        errors["__all__"] = _("Unknown settings: %(names)s.") % {"names": ", ".join(sorted(unknown))}
    for setting in adapter.settings:
        raw = given.get(setting.name, "" if setting.secret else setting.default)
        try:
            value = _one(setting, raw)
        except ValidationError as error:
            errors[setting.name] = error.messages[0]
            continue
        if setting.secret and value == "" and kept and kept.get(setting.name):
            value = kept[setting.name]
            values.kept.add(setting.name)
        if value == "" and setting.required:
            errors[setting.name] = _("This is needed.")
        elif setting.secret:
            if value != "":
                values.credentials[setting.name] = value
        else:
            values.settings[setting.name] = value
    if errors:
        raise ValidationError(errors)
    return values


def _one(setting: Setting, raw: Any) -> Any:
    if setting.kind == "boolean":
        if isinstance(raw, str):
            return raw.strip().lower() in {"true", "on", "1", "yes"}
        return bool(raw)
    text = "" if raw is None else str(raw).strip()
    if text == "":
        return ""
    if setting.kind == "number":
        try:
            number = float(text)
        except ValueError:
            raise ValidationError(_("“%(value)s” is not a number.") % {"value": text}) from None
        return int(number) if number.is_integer() else number
    if setting.kind == "url":
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ValidationError(_("Give a whole address, such as https://example.com/."))
        return text.rstrip("/")
    if setting.kind == "choice" and text not in {str(value) for value, _label in setting.choices}:
        known = ", ".join(str(value) for value, _label in setting.choices)
        raise ValidationError(_("Choose one of: %(known)s.") % {"known": known})
    return text


def save_channel(channel: Channel, kept: Collection[str] = ()) -> Channel:
    """Save, with what SQL reads of the adapter copied into the row, a secret path and a throttle.

    Secrets that are ``kept`` stay as they are stored now: a worker may have renewed a token since they were read.
    Raises :class:`ValidationError` when the adapter is unknown or does not serve the medium.
    """
    try:
        adapter = adapter_class(channel.adapter)
    except LookupError as error:
        raise ValidationError({"adapter": str(error)}) from None
    if channel.medium not in adapter.media:
        raise ValidationError(
            {
                "adapter": _("%(adapter)s does not serve %(medium)s.")
                % {
                    "adapter": adapter.label,
                    "medium": channel.get_medium_display() or channel.medium,
                }
            }
        )
    channel.domain, channel.guarantee, channel.observability = adapter.traits(channel.medium)
    channel.inbound_secret = channel.inbound_secret or secrets.token_urlsafe(24)
    with renewing(channel.pk) if channel.pk and kept else nullcontext(), transaction.atomic():
        if channel.pk and kept:
            stored = Channel.objects.filter(pk=channel.pk).values_list("credentials", flat=True).first() or {}
            newest = {name: stored[name] for name in kept if name in stored}
            channel.credentials = {**channel.credentials, **newest}
        channel.save()
        ensure_throttle(channel.pk)
    _known.pop(channel.pk, None)
    return channel


def check_connection(channel: Channel, now: datetime) -> Checked:
    """Ask the provider whether the account works, and keep the answer. Never raises for the provider's sake."""
    checked = ask(channel)
    keep_check(channel, checked, now)
    return checked


def ask(channel: Channel) -> Checked:
    """Ask the provider, by an adapter of its own; nothing is kept."""
    try:
        adapter = adapter_class(channel.adapter)(account_of(channel))
        try:
            return adapter.check()
        finally:
            adapter.close()
    except NotImplementedError:
        return Checked(ok=True, text=_("This adapter has nothing to test."))
    except Exception as error:  # a vendor's client may raise anything; the admin must see what
        return Checked(ok=False, text=f"{type(error).__name__}: {error}"[:500])


def keep_check(channel: Channel, checked: Checked, now: datetime) -> None:
    """The answer stays on the channel's page."""
    channel.last_checked_at = now
    channel.last_check = {"ok": checked.ok, "text": str(checked.text), "facts": dict(checked.facts)}
    Channel.objects.filter(pk=channel.pk).update(last_checked_at=now, last_check=channel.last_check)
