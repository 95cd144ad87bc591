"""Audiences on ad platforms: what is wanted and held, and the list of the manual twin."""

import csv
import hashlib
from collections.abc import Iterator

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from audiences.access import ANYBODY, Role, needs
from channels import audience_list as lists
from channels import flight_pauses, flights
from channels.adapters import adapter_class
from channels.models import PlatformAudience
from channels.queries import audience_sync as queries
from channels.vocabulary import Observability


def _found(pk: int) -> PlatformAudience:
    return get_object_or_404(PlatformAudience.objects.select_related("channel__brand"), pk=pk)


@needs(*ANYBODY)
def audience(request: HttpRequest, pk: int) -> HttpResponse:
    """How far wanted and held agree, why not, and what the flight is."""
    found = _found(pk)
    wanted, held, to_add, to_remove, troubled = queries.counts(pk)
    shown = {
        "audience": found,
        "wanted": wanted,
        "held": held,
        "to_add": to_add,
        "to_remove": to_remove,
        "troubled": troubled,
        "errors": lists.errors(found),
        "agrees": flights.agrees(found),
        "beyond": flights.beyond_in_words(found),
        "unheld_cap": flights.unheld_cap(found),
        "can_pause": flight_pauses.can_pause(found.channel),
        "standing": flight_pauses.told(found),
        "steers": "set_flight" in adapter_class(found.channel.adapter).verbs(),
        "waiting_erasure": found.removals.count(),
        "mirrors": found.channel.observability == Observability.PERSON_TARGETED,
        "by_hand": found.channel.observability == Observability.PERSON_TARGETED
        and "sync_audience" not in adapter_class(found.channel.adapter).verbs(),
        "listed": lists.is_listed(found),
    }
    return render(request, "channels/audience.html", shown)


class _Echo:
    def write(self, line: str) -> str:
        return line


@needs(Role.CHANNEL_ADMIN, Role.MARKETER)
@require_POST
def audience_list(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """What to add and what to remove, as SHA-256 of phone and email: the form every platform's upload takes."""
    found = _found(pk)
    lists.make(found, timezone.now())

    def lines() -> Iterator[str]:
        writer = csv.writer(_Echo())
        yield "\ufeff" + writer.writerow(["action", "kind", "sha256"])
        for action, kind, value in lists.rows(found):
            yield writer.writerow([action, kind, hashlib.sha256(value.encode()).hexdigest()])

    response = StreamingHttpResponse(lines(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="audience-{found.pk}.csv"'
    return response


@needs(Role.CHANNEL_ADMIN, Role.MARKETER)
@require_POST
def uploaded(request: HttpRequest, pk: int) -> HttpResponse:
    """Somebody loaded the list into the platform: it holds now what the list said."""
    found = _found(pk)
    if not lists.is_listed(found):
        messages.error(request, _("Download the list first, load it into the platform, then say so here."))
        return redirect("channels:audience", pk)
    done = lists.uploaded(found, timezone.now())
    messages.success(
        request, ngettext("%(n)d person changed there.", "%(n)d people changed there.", done) % {"n": done}
    )
    return redirect("channels:audience", pk)


@needs(Role.CHANNEL_ADMIN, Role.MARKETER)
@require_POST
def flight_reference(request: HttpRequest, pk: int) -> HttpResponse:
    """Which campaign, ad group or ad of the platform is this one's."""
    found, before = _found(pk), ""
    if found.paused_by_us_at and request.POST.get("reference", "").strip() != found.flight_reference:
        before = found.flight_reference
    flights.refer(found, request.POST.get("reference", ""))
    if before:
        text = _(
            "We paused the ads of %(number)s; they stay paused. Switch them on at the platform if they shall go on."
        )
        messages.warning(request, text % {"number": before})
    messages.success(request, _("Noted. The platform is told budget, dates and cap within minutes."))
    return redirect("channels:audience", pk)
