"""The inbox: what providers told, what was set aside, and giving it another chance."""

import json
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from audiences.access import ANYBODY, Role, needs
from channels import inbox as rules
from channels.models import Channel, InboxEvent

KEPT_COUNT = 10_000


class _Counted(Paginator):  # type: ignore[type-arg]
    """Counts up to a bound: nobody pages through millions, and counting them would take seconds."""

    @property
    def count(self) -> int:  # type: ignore[override]
        found: Any = self.object_list
        return int(found[: KEPT_COUNT + 1].count())


def _filtered(request: HttpRequest) -> tuple[QuerySet[InboxEvent], dict[str, str]]:
    wanted = {name: request.GET.get(name, "") for name in ("channel", "state", "kind", "q")}
    found = InboxEvent.objects.select_related("channel").order_by("-id")
    if wanted["channel"].isdecimal():
        found = found.filter(channel_id=int(wanted["channel"]))
    if wanted["state"] in InboxEvent.State.values:
        found = found.filter(state=wanted["state"])
    if wanted["kind"] in InboxEvent.Kind.values:
        found = found.filter(kind=wanted["kind"])
    if wanted["q"]:
        found = found.filter(reference=wanted["q"].strip())
    return found, wanted


@needs(*ANYBODY)
def inbox(request: HttpRequest) -> HttpResponse:
    """Newest first; the events set aside stand above, since they need somebody."""
    found, wanted = _filtered(request)
    shown = {
        "page": _Counted(found, 50).get_page(request.GET.get("page")),
        "wanted": wanted,
        "channels": Channel.objects.order_by("name"),
        "states": InboxEvent.State.choices,
        "kinds": InboxEvent.Kind.choices,
        "poison": InboxEvent.objects.filter(state=InboxEvent.State.POISON).count(),
        "any": InboxEvent.objects.exists(),
    }
    template = "channels/_inbox.html" if request.htmx else "channels/inbox.html"  # type: ignore[attr-defined]
    return render(request, template, shown)


@needs(*ANYBODY)
def event(request: HttpRequest, pk: int) -> HttpResponse:
    """One event with everything that was told."""
    found = get_object_or_404(InboxEvent.objects.select_related("channel"), pk=pk)
    return render(request, "channels/event.html", {"event": found, "detail": _detail(found)})


def _detail(event: InboxEvent) -> Any:
    return json.dumps(event.detail, ensure_ascii=False, indent=2)


@needs(Role.CHANNEL_ADMIN)
@require_POST
def replay(request: HttpRequest) -> HttpResponse:
    """Give events set aside another chance: those ticked, or all of them."""
    if request.POST.get("all"):
        found = InboxEvent.objects.filter(state=InboxEvent.State.POISON)
        ids = list(found.order_by("id").values_list("id", flat=True)[:1000])
    else:
        ids = [int(pk) for pk in request.POST.getlist("event") if pk.isdecimal()]
    done = rules.replay(ids, timezone.now())
    text = ngettext("%(n)d of %(all)d event goes on.", "%(n)d of %(all)d events go on.", done) % {
        "n": done,
        "all": len(ids),
    }
    (messages.success if done == len(ids) else messages.warning)(request, text)
    return redirect("channels:inbox")


@needs(Role.CHANNEL_ADMIN)
@require_POST
def ignore(request: HttpRequest, pk: int) -> HttpResponse:
    """An event set aside that means nothing to us."""
    found = get_object_or_404(InboxEvent, pk=pk, state=InboxEvent.State.POISON)
    rules.mark_ignored([found.pk], _("Ignored by %(who)s") % {"who": request.user})
    messages.success(request, _("The event is ignored."))
    return redirect("channels:inbox")
