"""Who may do what: four roles (Django groups), checked in every view and every API call."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, cast

from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

P = ParamSpec("P")


class Role(models.TextChoices):
    """Names of the groups. A superuser has all of them."""

    MARKETER = "marketer", _("Marketer")
    APPROVER = "approver", _("Approver")
    CHANNEL_ADMIN = "channel_admin", _("Channel admin")
    FINANCE = "finance", _("Finance")


ANYBODY: tuple[str, ...] = tuple(Role.values)
ADMINISTRATOR = "administrator"  # no group: a superuser, who has every role besides


def roles_of(user: AbstractUser | AnonymousUser) -> frozenset[str]:
    """The roles a user has; nobody has none. Cached on the user for the request."""
    if not user.is_authenticated or not user.is_active:
        return frozenset()
    if user.is_superuser:
        return frozenset({*Role.values, ADMINISTRATOR})
    known = getattr(user, "_roles", None)
    if known is None:
        known = frozenset(user.groups.values_list("name", flat=True)) & frozenset(Role.values)
        user._roles = known  # type: ignore[union-attr,attr-defined]
    return cast(frozenset[str], known)


def has_role(user: AbstractUser | AnonymousUser, *roles: str) -> bool:
    """Whether the user has at least one of these roles."""
    return bool(roles_of(user) & frozenset(roles))


def needs(
    *roles: str, write: tuple[str, ...] | None = None
) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """A view for users with one of these roles; ``write`` narrows it for POST and the like.

    Somebody not logged in is sent to the log-in page; a logged-in user without the role gets 403.
    The view carries ``roles`` and ``write_roles``, which a test checks over every URL.
    """

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            user = cast(AbstractUser | AnonymousUser, request.user)
            if not user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            wanted = roles if request.method in SAFE_METHODS or write is None else write
            if not has_role(user, *wanted):
                raise PermissionDenied(_("Your roles do not permit this. Ask an administrator."))
            return view(request, *args, **kwargs)

        checked.roles = roles  # type: ignore[attr-defined]
        checked.write_roles = write or roles  # type: ignore[attr-defined]
        return checked

    return decorate


class RolePermission(BasePermission):
    """REST: the view's ``read_roles`` and ``write_roles``, and the key's scopes.

    A scope is ``<app>:read`` or ``<app>:write``; the app is that of the view, or its ``scope_domain``.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        safe = request.method in SAFE_METHODS
        wanted = view.read_roles if safe else view.write_roles
        scopes = getattr(request.auth, "scopes", None)
        domain = getattr(view, "scope_domain", "") or type(view).__module__.partition(".")[0]
        if scopes is not None and f"{domain}:{'read' if safe else 'write'}" not in scopes:
            return False
        return has_role(cast(AbstractUser, request.user), *wanted)
