"""Accounts of people: made, given roles, given a new password and closed by an administrator."""

import secrets
from collections.abc import Iterable

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from audiences.access import Role
from config.models import ApiKey, User


def new_password() -> str:
    """Sixteen characters that are not mistaken for each other, in groups of four: about 80 bits."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _n in range(4)) for _m in range(4))


@transaction.atomic
def set_roles(user: User, roles: Iterable[str]) -> None:
    """Exactly these roles; other groups of the user stay."""
    wanted = set(roles)
    if unknown := wanted - set(Role.values):
        raise ValidationError(_("Unknown roles: %(roles)s.") % {"roles": ", ".join(sorted(unknown))})
    for name in Role.values:
        group, _made = Group.objects.get_or_create(name=name)
        (user.groups.add if name in wanted else user.groups.remove)(group)


@transaction.atomic
def give_new_password(user: User) -> str:
    """A random password, told once; who is logged in with the old one is logged out."""
    password = new_password()
    user.set_password(password)
    user.save(update_fields=["password"])
    return password


@transaction.atomic
def set_active(user: User, active: bool, by: User) -> None:
    """Closes or opens an account. Closing withdraws its API keys; its sessions are refused from then on.

    Raises :class:`ValidationError` for one's own account and for the last administrator.
    """
    if not active:
        if user.pk == by.pk:
            raise ValidationError(_("You cannot close your own account. Ask another administrator."))
        protect_last_administrator(user)
        ApiKey.objects.filter(owner=user, revoked_at=None).update(revoked_at=timezone.now())
    user.is_active = active
    user.save(update_fields=["is_active"])


def protect_last_administrator(user: User) -> None:
    """Raises when nobody else could give roles any more. Locks the administrators' rows."""
    administrators = set(
        User.objects.select_for_update()
        .filter(is_superuser=True, is_active=True)
        .values_list("pk", flat=True)
    )
    if administrators <= {user.pk} and user.pk in administrators:
        raise ValidationError(_("This is the last administrator. Make another one first."))
