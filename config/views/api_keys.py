"""Keys of other systems: made, shown once, withdrawn."""

from datetime import timedelta
from typing import cast

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from audiences.access import ADMINISTRATOR, ANYBODY, has_role, needs
from config.api_keys import DOMAINS, issue
from config.api_keys import revoke as withdraw
from config.models import ApiKey, User

DOMAIN_LABELS = {
    "audiences": _("Audiences: customers, consent, orders, segments, imports"),
    "channels": _("Channels: accounts, rules, receipts, spend"),
    "campaigns": _("Campaigns: plans, touches, responses"),
    "reports": _("Reports: coverage, ROI, ledger"),
}
DAYS = (
    ("30", _("30 days")),
    ("90", _("90 days")),
    ("365", _("One year")),
    ("", _("No end")),
)


WHATS = {"read": _("read"), "write": _("write")}


def scope_choices() -> list[tuple[str, str]]:
    """Every scope with its words: ``Reports: coverage, ROI, ledger · read``."""
    return [
        (f"{domain}:{what}", f"{DOMAIN_LABELS.get(domain, domain)} · {word}")
        for domain in DOMAINS
        for what, word in WHATS.items()
    ]


class ApiKeyForm(forms.Form):
    name = forms.CharField(
        label=_("Name"), max_length=100, help_text=_("What will use it, such as “CRM nightly load”.")
    )
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"),
        choices=scope_choices,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("The key can never do more than its owner's roles permit."),
    )
    days = forms.ChoiceField(label=_("Valid for"), choices=DAYS, initial="365", required=False)


@needs(*ANYBODY)
def api_keys(request: HttpRequest) -> HttpResponse:
    """One's own keys; an administrator sees everybody's."""
    everybody = has_role(request.user, ADMINISTRATOR)
    found = ApiKey.objects.select_related("owner")
    if not everybody:
        found = found.filter(owner_id=request.user.pk)
    return render(
        request,
        "config/api_keys.html",
        {"keys": found[:500], "everybody": everybody, "now": timezone.now()},
    )


@needs(*ANYBODY)
def new_api_key(request: HttpRequest) -> HttpResponse:
    """Makes a key for oneself. Its text is in this answer and nowhere else."""
    form = ApiKeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        days = form.cleaned_data["days"]
        expires_at = timezone.now() + timedelta(days=int(days)) if days else None
        owner = User.objects.get(pk=cast(User, request.user).pk)
        key, text = issue(owner, form.cleaned_data["name"], form.cleaned_data["scopes"], expires_at)
        answer = render(request, "config/api_key_made.html", {"key": key, "text": text})
        answer["Cache-Control"] = "no-store"
        return answer
    return render(request, "config/new_api_key.html", {"form": form}, status=422 if form.errors else 200)


@needs(*ANYBODY)
@require_POST
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """Withdraws a key at once: one's own, or any as an administrator."""
    key = get_object_or_404(ApiKey, pk=pk)
    if key.owner_id != request.user.pk and not has_role(request.user, ADMINISTRATOR):
        raise PermissionDenied(gettext("This key belongs to somebody else."))
    withdraw(key)
    messages.success(request, gettext("The key “%(name)s” was withdrawn.") % {"name": key.name})
    return redirect("config:api_keys")
