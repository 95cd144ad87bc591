"""Roles, and the people of a trial installation, each with a password of its own."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth.models import Group
from django.db import transaction
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from config.models import User

ROLES = ("marketer", "approver", "channel_admin", "finance")


@dataclass(frozen=True)
class Person:
    username: str
    role: str  # empty: administrator of the installation
    name: str
    does: str


PEOPLE = (
    Person("marketer", "marketer", "Mei Lin", gettext_noop("builds audiences and campaigns")),
    Person("approver", "approver", "Chen Wei", gettext_noop("approves what others built")),
    Person("channels", "channel_admin", "Zhou Jie", gettext_noop("connects accounts, prices and limits")),
    Person("finance", "finance", "Fang Yu", gettext_noop("approves budgets, closes periods, signs reports")),
    Person("admin", "", "Administrator", gettext_noop("manages users and roles")),
)


def ensure_roles() -> None:
    for role in ROLES:
        Group.objects.get_or_create(name=role)


def ensure_people(file: Path) -> dict[str, str]:
    """Make the people who are missing; returns the passwords by user name, as kept in `file` (mode 0600).

    Somebody who is there already keeps the password they have, even if they changed it.
    """
    ensure_roles()
    known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    for person in PEOPLE:
        with transaction.atomic():
            user, made = User.objects.get_or_create(
                username=person.username,
                defaults={
                    "first_name": person.name,
                    "email": f"{person.username}@example.com",
                    "is_superuser": not person.role,
                    "is_staff": not person.role,
                },
            )
            if made:
                known.setdefault(person.username, secrets.token_urlsafe(9))
                user.set_password(known[person.username])
                user.save()
                if person.role:
                    user.groups.add(Group.objects.get(name=person.role))
    aside = file.with_suffix(".new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(known, out, indent=1)
    aside.replace(file)
    return known


def lines(passwords: dict[str, str]) -> list[str]:
    """What to print: one line a person."""
    return [
        f"{person.username:<10} {passwords[person.username]:<14} {_(person.does)}"
        for person in PEOPLE
        if person.username in passwords
    ]
