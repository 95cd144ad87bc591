"""Users and roles."""

from typing import Any, cast

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from audiences.access import ADMINISTRATOR, Role, needs
from config import people
from config.models import User

MEANINGS = (
    (Role.MARKETER, _("Builds audiences and campaigns, watches them run and reviews them.")),
    (Role.APPROVER, _("Approves what somebody else submitted; may stop any campaign.")),
    (Role.CHANNEL_ADMIN, _("Connects accounts, prices, limits and senders; mends what is wrong with them.")),
    (Role.FINANCE, _("Approves budgets above the threshold, closes periods and signs reports.")),
)


class UserForm(forms.ModelForm[User]):
    roles = forms.MultipleChoiceField(
        label=_("Roles"),
        choices=Role.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Without a role a person can log in and see nothing."),
    )

    class Meta:
        model = User
        fields = ("username", "first_name", "last_name", "email", "is_superuser")
        labels = {"is_superuser": _("Administrator")}  # noqa: RUF012
        help_texts = {  # noqa: RUF012
            "username": _("The name to log in with: letters, digits and @ . + - _"),
            "is_superuser": _("Has every role, makes accounts and reads the audit trail."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["roles"] = list(self.instance.groups.values_list("name", flat=True))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk and "is_superuser" in self.changed_data and not cleaned.get("is_superuser"):
            try:
                with transaction.atomic():
                    people.protect_last_administrator(User.objects.get(pk=self.instance.pk))
            except ValidationError as error:
                self.add_error("is_superuser", error)
        return cleaned

    def save(self, commit: bool = True) -> User:
        with transaction.atomic():
            user: User = super().save(commit)
            people.set_roles(user, self.cleaned_data["roles"])
        return user


@needs(ADMINISTRATOR)
def users(request: HttpRequest) -> HttpResponse:
    """Everybody with an account, active ones first."""
    wanted = request.GET.get("q", "").strip()
    found = User.objects.prefetch_related("groups").order_by("-is_active", "username")
    if wanted:
        found = found.filter(
            Q(username__icontains=wanted)
            | Q(first_name__icontains=wanted)
            | Q(last_name__icontains=wanted)
            | Q(email__icontains=wanted)
        )
    page = Paginator(found, 50).get_page(request.GET.get("page"))
    return render(request, "config/users.html", {"page": page, "wanted": wanted, "meanings": MEANINGS})


@needs(ADMINISTRATOR)
def new_user(request: HttpRequest) -> HttpResponse:
    """Makes an account; its first password is shown once."""
    form = UserForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            form.instance.set_unusable_password()
            made = form.save()
            password = people.give_new_password(made)
        return render(request, "config/password.html", {"person": made, "password": password, "new": True})
    return render(
        request,
        "config/user.html",
        {"form": form, "meanings": MEANINGS},
        status=422 if form.errors else 200,
    )


@needs(ADMINISTRATOR)
def user(request: HttpRequest, pk: int) -> HttpResponse:
    """One account: name, roles, and what an administrator may do with it."""
    person = get_object_or_404(User, pk=pk)
    form = UserForm(request.POST or None, instance=person)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, gettext("%(name)s was saved.") % {"name": person})
        return redirect("config:users")
    return render(
        request,
        "config/user.html",
        {"form": form, "person": User.objects.get(pk=pk), "meanings": MEANINGS},
        status=422 if form.errors else 200,
    )


@needs(ADMINISTRATOR)
@require_POST
def reset_password(request: HttpRequest, pk: int) -> HttpResponse:
    """A new random password, shown once."""
    person = get_object_or_404(User, pk=pk)
    if person.pk == request.user.pk:
        messages.error(request, gettext("Change your own password in your account menu."))
        return redirect("config:user", pk=pk)
    password = people.give_new_password(person)
    return render(request, "config/password.html", {"person": person, "password": password, "new": False})


@needs(ADMINISTRATOR)
@require_POST
def set_active(request: HttpRequest, pk: int) -> HttpResponse:
    """Closes an account, or opens it again."""
    person = get_object_or_404(User, pk=pk)
    active = request.POST.get("active") == "1"
    try:
        people.set_active(person, active, User.objects.get(pk=cast(User, request.user).pk))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("config:user", pk=pk)
    told = gettext("%(name)s can log in again.") if active else gettext("%(name)s can no longer log in.")
    messages.success(request, told % {"name": person})
    return redirect("config:users")
