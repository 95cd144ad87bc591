"""What people send back by text message, and whether it means "no more": one subject for every provider.

A reply that is one of the opt-out words, and nothing else, is an opt-out; all others are replies. The words are those
of the channel's settings, and of the dated platform rules as well (:mod:`channels.reply_rules`).
"""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext_lazy

from audiences import identity
from audiences.vocabulary import IdentityKind, ResponseKind
from channels.adapters.base import Inbound, Setting

DEFAULT_WORDS = "STOP STOPALL UNSUBSCRIBE CANCEL END QUIT TD T R 退订"

SETTING = Setting(
    "opt_out_words",
    gettext_lazy("Replies that opt out"),
    gettext_lazy("Separated by spaces."),
    required=False,
    default=DEFAULT_WORDS,
)

# Around a word people put signs, spaces, and marks that no screen shows.
_AROUND = re.compile(r"^[\W_]+|[\W_]+$")


def words(told: str | Iterable[str]) -> frozenset[str]:
    """The words of a setting (separated by spaces or commas) or of a rule (a list), in one form."""
    parts = re.split(r"[\s,，、;；]+", told) if isinstance(told, str) else told
    return frozenset(filter(None, map(plain, parts)))


def words_of(settings: Mapping[str, Any]) -> frozenset[str]:
    """The opt-out words of a channel's settings."""
    return words(str(settings.get(SETTING.name) or ""))


def plain(text: str) -> str:
    """A reply as it is compared: full-width letters as plain ones, capitals, no signs around it."""
    return _AROUND.sub("", unicodedata.normalize("NFKC", text)).upper()


def opts_out(text: str, opt_out_words: Collection[str]) -> bool:
    return plain(text) in opt_out_words


def phone(address: str) -> str:
    """E.164 where the address is a number that exists, else as it came."""
    try:
        return identity.phone(address)
    except ValueError:
        return address


def reply(
    sender: str,
    text: str,
    opt_out_words: Collection[str],
    at: datetime,
    *,
    to: str = "",
    key: str = "",
    **detail: Any,
) -> Inbound:
    """A message of a person as an event. ``key`` is the provider's own id of it; without one the same words of the same
    number on the same UTC day are one."""
    number = phone(sender)
    if not key:
        content = hashlib.sha256(f"{to}\0{text}".encode()).hexdigest()[:16]
        key = f"{number}:{content}:{at.astimezone(UTC):%Y%m%d}"
    return Inbound(
        dedupe_key=f"reply:{key}",
        occurred_at=at,
        response=ResponseKind.OPT_OUT if opts_out(text, opt_out_words) else ResponseKind.REPLY,
        identity_kind=IdentityKind.PHONE,
        identity_value=number,
        detail={"text": text, "to": to, **detail},
    )
