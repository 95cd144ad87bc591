"""A campaign that runs: its state and buttons, its progress, its end and its review."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from audiences.access import ANYBODY, needs
from audiences.models import Job
from campaigns import changes, channel_pauses, lifecycle, offers, progress
from campaigns.models import Campaign
from campaigns.views import frame

OFTEN, SELDOM = 10, 60  # seconds between two looks
MANY = 1_000_000  # touches above which counting takes a second or more


@needs(*ANYBODY)
@require_safe
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """What was planned, what went out, what did not, and the buttons to pause and stop."""
    campaign = frame.find(pk)
    if request.htmx and request.GET.get("seen", campaign.state) != campaign.state:  # type: ignore[attr-defined]
        # The state and its buttons stand outside the part: the whole page is asked for again.
        return HttpResponse(headers={"HX-Refresh": "true"})
    context = frame.context(request, campaign, "live", **_progress(campaign))
    template = "campaigns/_live.html" if request.htmx else "campaigns/live.html"  # type: ignore[attr-defined]
    return render(request, template, context)


def _progress(campaign: Campaign) -> dict[str, Any]:
    if campaign.state in frame.BEFORE_RELEASE:
        return {"progress": None}
    found = progress.progress(campaign)
    release = Job.objects.filter(kind=lifecycle.RELEASE_JOB, subject=f"campaign:{campaign.pk}").first()
    follow_ups = Job.objects.filter(
        kind__in=(lifecycle.WIND_DOWN_JOB, changes.CHANGE_JOB),
        subject=f"campaign:{campaign.pk}",
        finished_at=None,
    ).first()
    return {
        "progress": found,
        "totals": found.totals,
        "channels_pausable": campaign.state in channel_pauses.PAUSABLE,
        "channels_resumable": campaign.state in channel_pauses.RESUMABLE,
        "every": SELDOM if found.totals["planned"] > MANY else OFTEN,
        "manual": [
            {
                "channel": row.channel,
                "n": row.held,
                "export_url": ""
                if row.rules and row.rules.now
                else reverse("campaigns:held_list", args=[campaign.pk, row.channel.pk]),
                "receipts_url": receipts_url(),
            }
            for row in found.channels
            if row.channel.adapter == "manual" and row.held
        ],
        "release_job": release
        if release and (release.finished_at is None or release.state == Job.State.FAILED)
        else None,
        "job": follow_ups,
        "refreshing": campaign.state not in frame.OVER or follow_ups is not None,
    }


def receipts_url() -> str:
    """Where receipts of a list worked by hand are imported."""
    for name in ("audiences:new_import", "audiences:imports"):
        try:
            return reverse(name) + "?kind=receipts"
        except NoReverseMatch:
            continue
    return ""


def _run(request: HttpRequest, pk: int, change: Callable[[Campaign], object], done: str) -> HttpResponse:
    try:
        change(frame.find(pk))
    except lifecycle.IllegalTransition as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, done)
    return redirect("campaigns:live", pk)


@needs(*frame.RUNNERS)
@require_POST
def pause(request: HttpRequest, pk: int) -> HttpResponse:
    """Holds everything from the next claim on."""
    reason = request.POST.get("reason", "")
    return _run(
        request,
        pk,
        lambda campaign: lifecycle.pause(campaign, request.user, timezone.now(), reason),  # type: ignore[arg-type]
        _("Paused: nothing more is claimed. What a provider has already cannot be called back."),
    )


@needs(*frame.RUNNERS)
@require_POST
def resume(request: HttpRequest, pk: int) -> HttpResponse:
    """Goes on with what is not overdue."""
    return _run(
        request,
        pk,
        lambda campaign: lifecycle.resume(campaign, request.user, timezone.now()),  # type: ignore[arg-type]
        _("Running again. What became overdue meanwhile is told as a gap and not sent late."),
    )


@needs(*frame.RUNNERS)
@require_POST
def pause_channel(request: HttpRequest, pk: int, channel_pk: int) -> HttpResponse:
    """Holds one channel of the campaign; the others go on."""
    return _run(
        request,
        pk,
        lambda campaign: channel_pauses.pause(campaign, channel_pk, timezone.now()),
        _("The channel is paused in this campaign; the others go on."),
    )


@needs(*frame.RUNNERS)
@require_POST
def resume_channel(request: HttpRequest, pk: int, channel_pk: int) -> HttpResponse:
    """Goes on with what is not overdue."""
    return _run(
        request,
        pk,
        lambda campaign: channel_pauses.resume(campaign, channel_pk, timezone.now()),
        _("The channel goes on. What became overdue meanwhile moves to the next day or is told as a gap."),
    )


@needs(*frame.STOPPERS)
@require_POST
def stop(request: HttpRequest, pk: int) -> HttpResponse:
    """Ends it for good."""

    def end(campaign: Campaign) -> None:
        lifecycle.stop(campaign, request.user, request.POST.get("reason", ""), timezone.now())  # type: ignore[arg-type]

    return _run(request, pk, end, _("Stopped for good. What is unsent is being let go."))


@needs(*frame.RUNNERS)
@require_POST
def release_again(request: HttpRequest, pk: int) -> HttpResponse:
    """Starts the release of an approved campaign again after it failed."""

    def again(campaign: Campaign) -> None:
        lifecycle.retry_release(campaign, request.user, timezone.now())  # type: ignore[arg-type]

    return _run(request, pk, again, _("The release was started again."))


# Review -------------------------------------------------------------------------------------------


class ReviewForm(forms.Form):
    review = forms.CharField(
        label=gettext_lazy("What was learned"),
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text=gettext_lazy(
            "What worked, for whom, at which frequency; what to close and what to push next time."
        ),
    )


REPORTS = (
    (
        "reports:coverage",
        gettext_lazy("Coverage"),
        "target",
        gettext_lazy("Over and gap, by channel, stage and phase, with causes and owners."),
    ),
    (
        "reports:roi",
        gettext_lazy("ROI"),
        "report-money",
        gettext_lazy("What came back: attribution, lift and ledger, side by side."),
    ),
)


@needs(*ANYBODY, write=frame.EDITORS)
def review(request: HttpRequest, pk: int) -> HttpResponse:
    """What came back, and what was learned."""
    campaign = frame.find(pk)
    form = ReviewForm(request.POST or None, initial={"review": campaign.review})
    if request.method == "POST" and form.is_valid():
        try:
            lifecycle.review(campaign, request.user, form.cleaned_data["review"], timezone.now())  # type: ignore[arg-type]
        except lifecycle.IllegalTransition as error:
            messages.warning(request, str(error))
        else:
            messages.success(request, _("Reviewed. The next campaign starts from what you wrote."))
        return redirect("campaigns:review", pk)
    context = frame.context(
        request, campaign, "review", form=form, reports=report_links(pk), offer=offers.standing(campaign)
    )
    return render(request, "campaigns/review.html", context, status=422 if form.errors else 200)


def report_links(pk: int) -> list[dict[str, Any]]:
    """Reports about this campaign; their app stands further down the road and may be absent."""
    found = []
    for name, label, icon, text in REPORTS:
        try:
            found.append({"url": reverse(name, args=[pk]), "label": label, "icon": icon, "text": text})
        except NoReverseMatch:
            continue
    return found
