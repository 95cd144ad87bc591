"""Where the daily spend sheet goes: robots and mailboxes, what became of each push, and sending at once."""

from typing import Any
from urllib.parse import urlsplit

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences.access import Role, needs
from channels import pushing
from channels.models import PushDestination, SpendPush
from channels.push_forms import PushForm

ADMIN = (Role.CHANNEL_ADMIN,)
Kind = PushDestination.Kind


@needs(*ADMIN)
@require_safe
def pushes(request: HttpRequest) -> HttpResponse:
    """Destinations, each with its last push."""
    rows = [
        {"destination": one, "last": one.pushes.order_by("-started_at").first()}
        for one in PushDestination.objects.all()
    ]
    return render(request, "channels/pushes.html", {"rows": rows, "kinds": Kind.choices})


@needs(*ADMIN)
@require_safe
def push(request: HttpRequest, pk: int) -> HttpResponse:
    """One destination: what it is, and its pushes, newest first."""
    found = get_object_or_404(PushDestination.objects.select_related("channel"), pk=pk)
    shown = {
        "destination": found,
        "host": urlsplit(found.credentials.get("address", "")).hostname or "",
        "signed": bool(found.credentials.get("secret")),
        "pushes": found.pushes.order_by("-started_at")[:30],
        "mailboxes": pushing.mailboxes(found.recipients),
    }
    return render(request, "channels/push.html", shown)


@needs(*ADMIN)
def new_push(request: HttpRequest) -> HttpResponse:
    """First the kind, then its fields."""
    kind = request.GET.get("kind", "")
    if kind not in Kind.values:
        return render(request, "channels/push_kind.html", {"kinds": Kind.choices})
    return _edit(request, PushDestination(kind=kind))


@needs(*ADMIN)
def edit_push(request: HttpRequest, pk: int) -> HttpResponse:
    """Its kind stays: another kind is another destination."""
    return _edit(request, get_object_or_404(PushDestination, pk=pk))


def _edit(request: HttpRequest, destination: PushDestination) -> HttpResponse:
    form = PushForm(destination.kind, request.POST or None, instance=destination)
    if request.method == "POST" and form.is_valid():
        saved = pushing.save(form.filled(), timezone.now())
        messages.success(
            request,
            _("%(name)s is saved; the first sheet goes out on %(day)s. Send one now to try it.")
            % {"name": saved, "day": saved.first_day},
        )
        return redirect("channels:push", saved.pk)
    shown = {"form": form, "destination": destination}
    return render(request, "channels/push_form.html", shown, status=422 if form.errors else 200)


@needs(*ADMIN)
@require_POST
def send_push(request: HttpRequest, pk: int) -> HttpResponse:
    """Send the sheet now, beside the day's push."""
    found = get_object_or_404(PushDestination.objects.select_related("channel__brand"), pk=pk)
    try:
        done = pushing.send_now(found, timezone.now())
    except pushing.TooOften as error:
        messages.warning(request, str(error))
    else:
        _tell(request, done)
    return redirect("channels:push", pk)


def _tell(request: HttpRequest, done: SpendPush) -> None:
    told: dict[str, Any] = {"code": done.code, "text": done.error}
    if done.state == SpendPush.State.SENT:
        messages.success(request, _("The sheet was sent. Look into the group."))
    elif done.state == SpendPush.State.UNKNOWN:
        messages.warning(request, _("It may have arrived: %(code)s %(text)s") % told)
    else:
        messages.error(request, _("It was not taken: %(code)s %(text)s") % told)


@needs(*ADMIN)
@require_POST
def set_active(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop pushing there, or begin again; its history stays."""
    found = get_object_or_404(PushDestination, pk=pk)
    found.active = request.POST.get("active") == "1"
    pushing.save(found, timezone.now())
    messages.success(request, _("It is on again.") if found.active else _("Nothing more is pushed there."))
    return redirect("channels:push", pk)
