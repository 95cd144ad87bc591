"""Occasions: which there are, whose they are, and when they come."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences.access import ANYBODY, Role, needs
from campaigns import occasions as rules
from campaigns.models import Occasion
from campaigns.occasion_form import OccasionForm


@needs(*ANYBODY)
@require_safe
def occasions(request: HttpRequest) -> HttpResponse:
    """All occasions with the people who have them soon, and the campaigns that stand on them."""
    today = timezone.localdate()
    rows = [
        {
            "occasion": one,
            "sentence": rules.sentence(one),
            "preview": rules.preview(rules.entry(one) or {}, today),
            "campaigns": rules.campaigns_with(one),
        }
        for one in Occasion.objects.select_related("segment")
    ]
    return render(request, "campaigns/occasions.html", {"rows": rows})


@needs(*ANYBODY, write=(Role.MARKETER,))
def occasion(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """One occasion, new or known, with who has it."""
    known = get_object_or_404(Occasion, pk=pk) if pk else None
    form = OccasionForm(request.POST or None, instance=known)
    if request.method == "POST" and form.is_valid():
        saved = form.save()
        messages.success(request, f"{saved.name}: {rules.sentence(saved)}")
        return redirect("campaigns:occasions")
    context: dict[str, Any] = {"form": form, "known": known, "campaigns": []}
    if known is not None:
        fresh = Occasion.objects.get(pk=known.pk)
        context |= {"campaigns": rules.campaigns_with(fresh)} | _preview(rules.entry(fresh) or {})
    return render(request, "campaigns/occasion.html", context, status=422 if form.errors else 200)


def _preview(known: dict[str, Any]) -> dict[str, Any]:
    return {"preview": rules.preview(known, timezone.localdate()), "days_ahead": rules.AHEAD}


@needs(*ANYBODY)
@require_safe
def preview(request: HttpRequest) -> HttpResponse:
    """Who has an occasion as it is being typed; nothing is kept."""
    form = OccasionForm(request.GET)
    form.is_valid()
    if form.cleaned_data.get("rule") is None or {"kind", "segment"} & form.errors.keys():
        return render(request, "campaigns/_occasion_preview.html", {})
    entered = form.cleaned_data
    segment = entered.get("segment")
    known = {
        "kind": entered["kind"],
        "rule": entered["rule"],
        "lead_days": 0,
        "segment": segment.pk if segment else None,
    }
    return render(request, "campaigns/_occasion_preview.html", _preview(known))


@needs(Role.MARKETER)
@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes one away that no campaign stands on."""
    found = get_object_or_404(Occasion, pk=pk)
    try:
        rules.delete(found)
    except rules.OccasionError as error:
        messages.error(request, str(error))
        return redirect("campaigns:occasion", pk)
    messages.success(request, _("“%(name)s” was deleted.") % {"name": found.name})
    return redirect("campaigns:occasions")


@needs(Role.MARKETER)
@require_POST
def usual(request: HttpRequest) -> HttpResponse:
    """Adds the usual occasions that are not there yet."""
    made = sum(
        Occasion.objects.get_or_create(name=str(name), defaults={"kind": kind, "rule": rule})[1]
        for name, kind, rule in rules.USUAL
    )
    messages.success(request, _("%(n)d occasions were added.") % {"n": made})
    return redirect("campaigns:occasions")
