"""ROI pages: the report, the rows behind each figure, and finance's signature."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from audiences import jobs
from audiences.access import ANYBODY, Role, needs
from audiences.models import Job
from audiences.vocabulary import Stage
from campaigns.models import Campaign
from campaigns.vocabulary import CampaignState
from channels.models import Channel
from reports import lift as lift_rules
from reports.export import csv_response
from reports.models import AttributionRun, LedgerEntry, SignedReport
from reports.queries import returns
from reports.roi import measured_of, roi
from reports.signing import sign

PAGE = 100
STARTED = (
    CampaignState.SCHEDULED,
    CampaignState.RUNNING,
    CampaignState.PAUSED,
    CampaignState.FINISHED,
    CampaignState.REVIEWED,
)


def _whole_number(text: str | None) -> int:
    return int(text) if text and text.isdigit() and len(text) < 19 else 0


@needs(*ANYBODY)
def roi_index(request: HttpRequest) -> HttpResponse:
    campaigns = (
        Campaign.objects.filter(state__in=STARTED).select_related("brand").order_by("-starts_at", "-id")[:200]
    )
    return render(request, "reports/roi_index.html", {"campaigns": campaigns})


@needs(*ANYBODY)
def roi_page(request: HttpRequest, campaign_id: int) -> HttpResponse:
    campaign = get_object_or_404(Campaign, pk=campaign_id)
    job = Job.objects.filter(kind="measure", subject=f"campaign:{campaign.pk}").order_by("-pk").first()
    return render(
        request,
        "reports/roi.html",
        {
            "campaign": campaign,
            "report": roi(campaign, timezone.now()),
            "job": job if job and not job.finished_at else None,
            "last_job": job,
            "signed": SignedReport.objects.filter(campaign_id=campaign.pk, kind="roi").select_related(
                "signed_by"
            ),
        },
    )


@require_POST
@needs(Role.MARKETER, Role.FINANCE)
def measure_now(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Start bringing the figures up to date; a second click while it runs starts nothing."""
    campaign = get_object_or_404(Campaign, pk=campaign_id)
    subject = f"campaign:{campaign.pk}"
    if not Job.objects.filter(kind="measure", subject=subject, finished_at=None).exists():
        jobs.start("measure", subject, {"campaign": campaign.pk}, request.user)
    return redirect("reports:roi", campaign.pk)


@require_POST
@needs(Role.FINANCE)
def sign_roi(request: HttpRequest, campaign_id: int) -> HttpResponse:
    campaign = get_object_or_404(Campaign, pk=campaign_id)
    now = timezone.now()
    report = roi(campaign, now)
    if report.problems:
        messages.error(
            request, _("Mend these first: %(problems)s") % {"problems": "; ".join(report.problems)}
        )
    else:
        sign(report, user=request.user, comment=request.POST.get("comment", "").strip(), now=now)
        messages.success(request, _("Signed. The report as it stands now is kept and cannot be changed."))
    return redirect("reports:roi", campaign.pk)


@needs(*ANYBODY)
def signed_report(request: HttpRequest, pk: int) -> HttpResponse:
    report = get_object_or_404(SignedReport.objects.select_related("signed_by"), pk=pk)
    words = {"accounts": dict(LedgerEntry.Account.choices), "models": dict(AttributionRun.Model.choices)}
    return render(request, "reports/signed_report.html", {"report": report, **words})


@needs(*ANYBODY)
def credit_rows(request: HttpRequest, run_id: int) -> HttpResponseBase:
    """Which orders were credited to which touches."""
    run = get_object_or_404(AttributionRun, pk=run_id)
    channel_id = _whole_number(request.GET.get("channel")) or None
    names = dict(Channel.objects.values_list("pk", "name"))
    if request.GET.get("format") == "csv":
        found = returns.every_credit(run.pk, channel_id)
        header = (
            "order",
            "placed_at",
            "customer_id",
            "name",
            "channel",
            "touch_id",
            "share",
            "amount",
            "currency",
        )
        return csv_response(
            f"attribution-{run.campaign_id}-{run.model}.csv",
            header,
            (
                (
                    row["number"],
                    row["placed_at"],
                    row["customer_id"],
                    row["name"],
                    names.get(row["channel_id"]),
                    row["touch_id"],
                    row["share"],
                    row["amount"],
                    run.currency,
                )
                for row in found
            ),
        )
    rows = returns.credits_page(run.pk, channel_id, _whole_number(request.GET.get("after")), PAGE + 1)
    for row in rows:
        row["channel"] = names.get(row["channel_id"], row["channel_id"])
    return render(
        request,
        "reports/credit_rows.html",
        {
            "run": run,
            "campaign": Campaign.objects.filter(pk=run.campaign_id or 0).first(),
            "rows": rows[:PAGE],
            "after": rows[PAGE - 1]["id"] if len(rows) > PAGE else "",
            "channel": names.get(channel_id or 0),
        },
    )


@needs(*ANYBODY)
def lift_rows(request: HttpRequest, campaign_id: int, side: str) -> HttpResponseBase:
    """Each person of the treated, or of those held out, and what they bought."""
    campaign = get_object_or_404(Campaign, pk=campaign_id)
    start, end = lift_rules.window(campaign, timezone.now())
    parameters: dict[str, Any] = {
        "campaign": campaign.pk,
        "start": start,
        "end": end,
        "basis": campaign.revenue_basis,
        "currency": campaign.currency,
        "held_out": side == "held_out",
    }
    if request.GET.get("format") == "csv":
        return csv_response(
            f"lift-{campaign.pk}-{side}.csv",
            ("customer_id", "name", "stage", "orders", "revenue", "currency"),
            (
                (row["person"], row["name"], row["stage"], row["orders"], row["revenue"], campaign.currency)
                for row in returns.every_lift_person(parameters)
            ),
        )
    rows = returns.lift_page(parameters, _whole_number(request.GET.get("after")), PAGE + 1)
    for row in rows:
        row["stage_label"] = dict(Stage.choices).get(row["stage"], row["stage"])
    measured, _chosen = measured_of(campaign, timezone.now())
    return render(
        request,
        "reports/lift_rows.html",
        {
            "campaign": campaign,
            "side": side,
            "rows": rows[:PAGE],
            "after": rows[PAGE - 1]["person"] if len(rows) > PAGE else "",
            "total": measured.held_out if side == "held_out" else measured.treated,
            "starts_at": start,
            "ends_at": end,
        },
    )
