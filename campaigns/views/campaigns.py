"""Campaigns: list, calendar, new, duplicate, delete."""

import calendar as months
import datetime as dt
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences.access import ANYBODY, needs
from audiences.brands import default_brand
from campaigns import definition, lifecycle, occasions, versions
from campaigns.forms import NewCampaignForm
from campaigns.models import Campaign, ChannelPlan
from campaigns.views import frame
from campaigns.vocabulary import CampaignState

PAGE = 50
LONGEST_LIST = 200  # campaigns in one month of the calendar


@needs(*ANYBODY)
@require_safe
def campaigns(request: HttpRequest) -> HttpResponse:
    """All campaigns, newest first, by state and words."""
    state, words = request.GET.get("state", ""), request.GET.get("q", "").strip()
    found = Campaign.objects.select_related("brand", "segment", "created_by").prefetch_related(
        Prefetch("channel_plans", ChannelPlan.objects.select_related("channel"))
    )
    if words:
        found = found.filter(Q(name__icontains=words) | Q(number__iexact=words))
    counts = dict(found.order_by().values_list("state").annotate(n=Count("pk")))
    states = [(value, label, counts.get(value, 0)) for value, label in CampaignState.choices]
    if state in CampaignState.values:
        found = found.filter(state=state)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    template = "campaigns/_campaigns.html" if request.htmx else "campaigns/campaigns.html"  # type: ignore[attr-defined]
    return render(
        request,
        template,
        {
            "page": page,
            "states": states,
            "all": sum(counts.values()),
            "state": state,
            "words": words,
            "any": bool(words or state or counts),
        },
    )


@needs(*frame.EDITORS)
def new_campaign(request: HttpRequest) -> HttpResponse:
    """Makes a draft and goes on to its first step."""
    form = NewCampaignForm(request.POST or None, initial={"brand": default_brand()})
    if request.method == "POST" and form.is_valid():
        entered = form.cleaned_data
        document = definition.blank(
            entered["name"], entered["brand"], currency=settings.DEFAULT_CURRENCY, zone=settings.TIME_ZONE
        )
        document["segment"] = definition.segment_entry(entered["segment"])
        zone = ZoneInfo(settings.TIME_ZONE)
        if entered["starts_on"] and entered["ends_on"]:
            begins = dt.datetime.combine(entered["starts_on"], dt.time.min, zone)
            ends = dt.datetime.combine(entered["ends_on"] + dt.timedelta(days=1), dt.time.min, zone)
            document = definition.with_flight(document, begins, ends)
        campaign = versions.create(document, request.user)  # type: ignore[arg-type]
        step = "matrix" if entered["segment"] and document["phases"] else "basics"
        return redirect(f"campaigns:{step}", campaign.pk)
    return render(request, "campaigns/new_campaign.html", {"form": form}, status=422 if form.errors else 200)


@needs(*ANYBODY)
@require_safe
def campaign(request: HttpRequest, pk: int) -> HttpResponse:
    """Goes to the step that matters now."""
    return redirect(f"campaigns:{frame.first_step(frame.find(pk))}", pk)


@needs(*frame.EDITORS)
@require_POST
def duplicate(request: HttpRequest, pk: int) -> HttpResponse:
    """A new draft like this campaign."""
    copy = versions.duplicate(frame.find(pk), request.user)  # type: ignore[arg-type]
    messages.success(
        request, _("This is a draft of its own: look at its dates, it sends nothing until it is approved.")
    )
    return redirect("campaigns:basics", copy.pk)


@needs(*frame.EDITORS)
@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Removes a draft that was never submitted."""
    found = frame.find(pk)
    try:
        lifecycle.delete(found)
    except lifecycle.IllegalTransition as error:
        messages.error(request, str(error))
        return redirect("campaigns:campaign", pk)
    messages.success(request, _("“%(name)s” was deleted.") % {"name": found.name})
    return redirect("campaigns:campaigns")


@needs(*frame.EDITORS)
@require_POST
def discard(request: HttpRequest, pk: int) -> HttpResponse:
    """Throws the draft change of a released campaign away."""
    if versions.discard(pk):
        messages.success(request, _("The change was thrown away; the campaign runs on as approved."))
    return redirect("campaigns:campaign", pk)


# Calendar -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bar:
    """A campaign in one month: days before it, days of it, days after it."""

    campaign: Any
    before: int
    days: int
    after: int
    begins_earlier: bool
    ends_later: bool


@needs(*ANYBODY)
@require_safe
def calendar(request: HttpRequest) -> HttpResponse:
    """One month: who is contacted when by which campaign."""
    zone = timezone.get_current_timezone()
    today = timezone.localdate()
    first = _month(request.GET.get("month", ""), today)
    days = months.monthrange(first.year, first.month)[1]
    begins = dt.datetime.combine(first, dt.time.min, zone)
    following = (first + dt.timedelta(days=days)).replace(day=1)
    ends = dt.datetime.combine(following, dt.time.min, zone)
    found = (
        Campaign.objects.filter(starts_at__lt=ends, ends_at__gt=begins)
        .select_related("segment")
        .prefetch_related("channel_plans__channel")
        .order_by("starts_at")[:LONGEST_LIST]
    )
    bars = []
    for one in found:
        if one.starts_at is None or one.ends_at is None:
            continue
        start = max(one.starts_at, begins).astimezone(zone).date().day
        # A flight that ends at midnight does not touch the day that begins then.
        end = (min(one.ends_at, ends) - dt.timedelta(microseconds=1)).astimezone(zone).date().day
        bars.append(
            Bar(one, start - 1, end - start + 1, days - end, one.starts_at < begins, one.ends_at > ends)
        )
    return render(
        request,
        "campaigns/calendar.html",
        {
            "first": first,
            "bars": bars,
            "occasions": _occasions(first, days),
            "days": [_Day(first.replace(day=n), first.replace(day=n) == today) for n in range(1, days + 1)],
            "previous": (first - dt.timedelta(days=1)).strftime("%Y-%m"),
            "following": following.strftime("%Y-%m"),
        },
    )


def _occasions(first: dt.date, days: int) -> list[dict[str, Any]]:
    """Occasions of the month: for each day a mark, and how many people have it where that differs."""
    month = [first.replace(day=n) for n in range(1, days + 1)]
    return [
        {"occasion": one, "cells": [(day, day in own, own.get(day)) for day in month]}
        for one, own in occasions.marks(month[0], month[-1])
    ]


@dataclass(frozen=True, slots=True)
class _Day:
    date: dt.date
    today: bool

    @property
    def weekend(self) -> bool:
        return self.date.isoweekday() > 5


def _month(text: str, today: dt.date) -> dt.date:
    """``2026-03`` → its first day; this month for anything else."""
    try:
        year, month = (int(part) for part in text.split("-"))
        return dt.date(year, month, 1)
    except ValueError:
        return today.replace(day=1)
