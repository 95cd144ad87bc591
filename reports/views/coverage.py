"""Coverage pages: across all campaigns, and of one."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from audiences.access import ANYBODY, needs
from campaigns.models import Campaign
from reports import coverage_days
from reports.broadcasts import posts_of
from reports.coverage import coverage, owner_lines
from reports.coverage_all import coverage_of_all
from reports.narrowing import span
from reports.views import coverage_charts as charts
from reports.views import coverage_tables as tables
from reports.views.coverage_rows import FIGURE_LABELS


@needs(*ANYBODY)
def coverage_index(request: HttpRequest) -> HttpResponse:
    """All released campaigns together and each by itself; and who was contacted how often over all of them."""
    report = coverage_of_all(*span(request.GET.dict(), timezone.localdate()))
    hits, hits_as_of = coverage_days.contacts()
    return render(
        request,
        "reports/coverage_index.html",
        {
            "report": report,
            "total": report.total,
            "base": tables.EVERYWHERE,
            "where": tables.of_span(report),
            "bar": charts.bar(report.total, FIGURE_LABELS),
            "all_line": tables.whole_of_all(report),
            "campaign_lines": tables.by_campaign(report),
            "channel_lines": tables.by_channel_of_all(report),
            "stage_lines": tables.by_stage_of_all(report),
            "day_lines": tables.by_day_of_all(report),
            "day_chart": charts.days(report.days),
            "hits": hits,
            "hits_as_of": hits_as_of,
            "hits_chart": charts.contacts(hits),
            "people": sum(hit["people"] for hit in hits),
        },
    )


@needs(*ANYBODY)
def coverage_page(request: HttpRequest, campaign_id: int) -> HttpResponse:
    campaign = get_object_or_404(Campaign, pk=campaign_id)
    report = coverage(campaign)
    return render(
        request,
        "reports/coverage.html",
        {
            "campaign": campaign,
            "report": report,
            "total": report.total,
            "base": tables.base(campaign),
            "where": "",
            "owners": owner_lines(report.causes),
            "all_line": tables.whole(report),
            "posts": posts_of(campaign.pk),
            "reported_lines": tables.reported(report),
            "class_lines": tables.by_class(report),
            "phase_lines": tables.by_phase(report),
            "stage_lines": tables.by_stage(report),
            "day_lines": tables.by_day(report),
            "bar": charts.bar(report.total, FIGURE_LABELS),
            "histogram_chart": charts.histogram(report.histogram),
            "day_chart": charts.days(report.days),
        },
    )
