"""Modes and offers, and the codes of offers that give each person one of their own."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences.access import ANYBODY, Role, needs
from audiences.brands import default_brand
from audiences.csv_file import csv_response
from campaigns import offers as rules
from campaigns.models import Campaign, Mode, Offer
from campaigns.offer_form import CodesForm, OfferForm


class ModeForm(forms.ModelForm[Mode]):
    class Meta:
        model = Mode
        fields = ("name", "description")
        widgets = {"description": forms.Textarea(attrs={"rows": 3})}


@needs(*ANYBODY)
def offers(request: HttpRequest) -> HttpResponse:
    """Modes and their offers."""
    found = (
        Offer.objects.select_related("mode", "brand")
        .annotate(
            granted=Count("grants"),
            redeemed=Count("grants", filter=Q(grants__redeemed_at__isnull=False)),
        )
        .order_by("mode__name", "name")
    )
    return render(request, "campaigns/offers.html", {"modes": Mode.objects.order_by("name"), "offers": found})


@needs(Role.MARKETER)
def mode(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """One mode, new or known."""
    known = get_object_or_404(Mode, pk=pk) if pk else None
    form = ModeForm(request.POST or None, instance=known)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Saved."))
        return redirect("campaigns:offers")
    context = {"form": form, "label": _("Mode"), "known": known}
    return render(request, "campaigns/edit_mode.html", context, status=422 if form.errors else 200)


@needs(Role.MARKETER)
def offer(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """One offer, new or known, with its codes and what came of it. ``campaign``: the one it is made for."""
    known = get_object_or_404(Offer, pk=pk) if pk else None
    back = request.GET.get("campaign", "")
    campaign = Campaign.objects.filter(pk=int(back)).first() if back.isdecimal() else None
    initial: dict[str, Any] = {} if known else {"brand": campaign.brand if campaign else default_brand()}
    form = OfferForm(request.POST or None, instance=known, initial=initial)
    if request.method == "POST" and form.is_valid():
        saved = form.save()
        messages.success(request, _("Saved."))
        if saved.codes == Offer.Codes.PERSONAL and not saved.pool.exists():
            return redirect("campaigns:offer", saved.pk)
        return redirect("campaigns:content", campaign.pk) if campaign else redirect("campaigns:offers")
    context: dict[str, Any] = {"form": form, "known": known, "campaign": campaign, "codes_form": CodesForm()}
    if known is not None:
        fresh = Offer.objects.get(pk=known.pk)
        redeemed = fresh.grants.filter(redeemed_at__isnull=False).count()
        context |= {
            "offer": fresh,
            "given": fresh.grants.count(),
            "redeemed": redeemed,
            "spent": redeemed * fresh.cost,
            "pool": fresh.pool.count(),
            "free": fresh.pool.filter(taken_at=None).count(),
            "campaigns": Campaign.objects.filter(offer=fresh),
        }
    return render(request, "campaigns/offer.html", context, status=422 if form.errors else 200)


@needs(Role.MARKETER)
@require_POST
def codes(request: HttpRequest, pk: int) -> HttpResponse:
    """Adds codes, given or made."""
    found = get_object_or_404(Offer, pk=pk)
    form = CodesForm(request.POST)
    try:
        if not form.is_valid():
            raise rules.OfferError(" ".join(str(error[0]) for error in form.errors.values()))
        entered, made = form.cleaned_data, 0
        if entered["listed"].strip():
            made += rules.add_codes(found, entered["listed"].splitlines())
        if entered["number"]:
            made += rules.make_codes(found, entered["number"], entered["beginning"])
    except rules.OfferError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(n)d codes were added.") % {"n": made})
    return redirect("campaigns:offer", pk)


@needs(Role.MARKETER)
@require_safe
def codes_csv(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """The codes of an offer, to be loaded into the shop."""
    found = get_object_or_404(Offer, pk=pk)
    rows = found.pool.order_by("id").values_list("code", "taken_at")
    return csv_response(f"codes-{found.pk}.csv", ("code", "taken_at"), rows.iterator())
