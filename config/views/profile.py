"""What people set for themselves: language, time zone, their name."""

import zoneinfo
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import check_for_language, gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from audiences.access import ANYBODY, needs
from config.models import User


@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """Switches the language: kept on the person when logged in, and in a cookie for the log-in page."""
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        back = "/"
    response = redirect(back)
    wanted = request.POST.get("language", "")
    if wanted not in dict(settings.LANGUAGES) or not check_for_language(wanted):
        messages.error(request, gettext("This language is not offered."))
        return response
    if isinstance(request.user, User):
        User.objects.filter(pk=request.user.pk).update(language=wanted)
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        wanted,
        max_age=365 * 24 * 3600,
        secure=settings.LANGUAGE_COOKIE_SECURE,
        httponly=settings.LANGUAGE_COOKIE_HTTPONLY,
        samesite="Lax",
    )
    return response


def zone_choices() -> list[tuple[str, Any]]:
    return [("", _("That of the installation (%(zone)s)") % {"zone": settings.TIME_ZONE})] + [
        (zone, zone) for zone in sorted(zoneinfo.available_timezones()) if "/" in zone
    ]


class ProfileForm(forms.ModelForm[User]):
    zone = forms.ChoiceField(
        label=_("Time zone"),
        choices=zone_choices,
        required=False,
        help_text=_("Times on the screens are shown in it. Campaigns and recipients keep their own."),
    )

    class Meta:
        model = User
        fields = ("first_name", "last_name", "email", "language", "zone")


@needs(*ANYBODY)
def profile(request: HttpRequest) -> HttpResponse:
    """One's own name, address, language and time zone."""
    form = ProfileForm(request.POST or None, instance=User.objects.get(pk=cast(User, request.user).pk))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, gettext("Saved."))
        return redirect("config:profile")
    return render(request, "config/profile.html", {"form": form}, status=422 if form.errors else 200)
