"""The side bar of a user: which places, in which groups, and where the user stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.urls import NoReverseMatch, reverse

from audiences.access import has_role
from audiences.registers import NavigationEntry, navigation


@dataclass(frozen=True, slots=True)
class Place:
    label: Any
    url: str
    icon: str
    here: bool


@dataclass(frozen=True, slots=True)
class Group:
    label: Any
    places: tuple[Place, ...]


def groups(user: AbstractUser | AnonymousUser, path: str) -> list[Group]:
    """Groups in the order of their first entry; the place with the longest matching address is here."""
    return _groups(navigation, user, path)


def _groups(entries: Iterable[NavigationEntry], user: AbstractUser | AnonymousUser, path: str) -> list[Group]:
    if not user.is_authenticated:
        return []
    found: list[tuple[NavigationEntry, str]] = []
    for entry in sorted(entries, key=lambda entry: entry.position):
        if entry.roles and not has_role(user, *entry.roles):
            continue
        try:
            found.append((entry, reverse(entry.url_name)))
        except NoReverseMatch:
            continue  # a page that is not built; a test holds every entry against the URLs
    here = max((url for _, url in found if _covers(url, path)), key=len, default="")
    grouped: dict[str, list[Place]] = {}
    labels: dict[str, Any] = {}
    for entry, url in found:
        key = str(entry.group)
        labels.setdefault(key, entry.group)
        grouped.setdefault(key, []).append(Place(entry.label, url, entry.icon, url == here))
    return [Group(labels[key], tuple(places)) for key, places in grouped.items()]


def _covers(url: str, path: str) -> bool:
    return path == url or (url != "/" and path.startswith(url))
