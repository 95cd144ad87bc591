"""Who works on people's tasks: everybody with a role, and employees who have a log-in and no role at all.

An employee without a role sees their own tasks and nothing else of the installation.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _

from audiences.access import ANYBODY, has_role
from campaigns.models import PeopleTask
from channels.models import Employee


def employees_of(user: AbstractUser | AnonymousUser) -> list[Employee]:
    """The person as an employee: one row for each channel they work on."""
    return list(Employee.objects.filter(user_id=user.pk, left_at=None)) if user.pk else []


def only_employee(user: AbstractUser | AnonymousUser) -> bool:
    """Whether the person has a log-in for their tasks, and no role."""
    return user.is_authenticated and not has_role(user, *ANYBODY) and bool(employees_of(user))


def may_see(user: AbstractUser | AnonymousUser, task: PeopleTask) -> bool:
    """Everybody with a role sees every task; an employee those that are theirs."""
    return has_role(user, *ANYBODY) or task.employee_id in {one.pk for one in employees_of(user)}


def at_work(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A view for people with a role and for employees."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        user = cast(AbstractUser | AnonymousUser, request.user)
        if not user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not user.is_active or not (has_role(user, *ANYBODY) or employees_of(user)):
            raise PermissionDenied(_("Your roles do not permit this. Ask an administrator."))
        return view(request, *args, **kwargs)

    checked.roles = ANYBODY  # type: ignore[attr-defined]
    checked.write_roles = ANYBODY  # type: ignore[attr-defined]
    return checked
