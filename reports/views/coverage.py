"""Coverage pages: all campaigns, one campaign, and the rows behind each figure."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from audiences.access import ANYBODY, needs
from audiences.vocabulary import Stage
from campaigns.models import Campaign
from campaigns.vocabulary import CampaignState, Cause, TouchState
from channels.models import Channel
from reports.coverage import Count, contacts_of_people, coverage
from reports.export import csv_response
from reports.queries import rows as row_queries

PAGE = 100
FIGURE_LABELS = {
    "target": gettext_lazy("Target"),
    "planned": gettext_lazy("Planned"),
    "reached": gettext_lazy("Reached"),
    "delivered": gettext_lazy("Receipts"),
    "unknown": gettext_lazy("Unknown"),
    "unobserved": gettext_lazy("Unobserved"),
    "pending": gettext_lazy("Still open"),
    "released": gettext_lazy("Released"),
    "gap": gettext_lazy("Gap"),
}
STARTED = (
    CampaignState.SCHEDULED,
    CampaignState.RUNNING,
    CampaignState.PAUSED,
    CampaignState.FINISHED,
    CampaignState.REVIEWED,
)


@needs(*ANYBODY)
def coverage_index(request: HttpRequest) -> HttpResponse:
    """Every campaign that was released, to choose one; and who was hit how often over all of them."""
    campaigns = (
        Campaign.objects.filter(state__in=STARTED).select_related("brand").order_by("-starts_at", "-id")[:200]
    )
    hits = contacts_of_people(timezone.now())
    return render(
        request,
        "reports/coverage_index.html",
        {
            "campaigns": campaigns,
            "hits": hits,
            "hits_chart": _hits_chart(hits),
            "people": sum(h["people"] for h in hits),
        },
    )


@needs(*ANYBODY)
def coverage_page(request: HttpRequest, campaign_id: int) -> HttpResponse:
    campaign = get_object_or_404(Campaign, pk=campaign_id)
    report = coverage(campaign)
    by_day = _by_day(report.days)
    return render(
        request,
        "reports/coverage.html",
        {
            "campaign": campaign,
            "report": report,
            "total": report.total,
            "stages": Stage.choices,
            "stage_labels": dict(Stage.choices),
            "bar": _bar(report.total),
            "histogram_chart": _histogram_chart(report.histogram),
            "day_chart": _day_chart(by_day),
            "day_rows": [(day, *figures) for day, figures in by_day.items()],
        },
    )


@needs(*ANYBODY)
def coverage_rows(request: HttpRequest, campaign_id: int, figure: str) -> HttpResponseBase:
    """The rows behind a figure, a page at a time, or all of them as CSV."""
    campaign = get_object_or_404(Campaign, pk=campaign_id)
    if figure not in row_queries.FIGURES:
        raise Http404(_("There is no such figure."))
    narrowed = _narrowed(request)
    names = dict(Channel.objects.values_list("pk", "name"))
    if request.GET.get("format") == "csv":
        found = row_queries.every(figure, campaign.pk, narrowed)
        return csv_response(
            f"coverage-{campaign.pk}-{figure}.csv",
            row_queries.COLUMNS,
            ((row[0], row[1], names.get(row[2], row[2]), *row[3:]) for row in found),
        )
    found_page = row_queries.page(figure, campaign.pk, narrowed, _after(request), PAGE + 1)
    shown, more = found_page[:PAGE], len(found_page) > PAGE
    last = shown[-1] if shown else None
    return render(
        request,
        "reports/coverage_rows.html",
        {
            "campaign": campaign,
            "figure": figure,
            "label": FIGURE_LABELS[figure],
            "totals": row_queries.totals(figure, campaign.pk, narrowed),
            "rows": [_shown(row, names) for row in shown],
            "after": f"{last[0]}-{last[2]}-{last[3]}-{last[5]}" if more and last else "",
            "narrowed": _in_words(narrowed, names),
            "figures": FIGURE_LABELS.items(),
        },
    )


def _narrowed(request: HttpRequest) -> dict[str, Any]:
    narrowed: dict[str, Any] = {}
    for name in ("channel", "round", "customer"):
        value = request.GET.get(name, "")
        if value.isdigit() and len(value) < 19:
            narrowed[name] = int(value)
    for name in ("stage", "cause"):
        if request.GET.get(name):
            narrowed[name] = request.GET[name]
    return narrowed


def _after(request: HttpRequest) -> tuple[int, int, int, int]:
    parts = request.GET.get("after", "").split("-")
    if len(parts) != 4 or not all(part.isdigit() and len(part) < 19 for part in parts):
        return row_queries.START
    return int(parts[0]), int(parts[1]), int(parts[2]), int(parts[3])


def _in_words(narrowed: dict[str, Any], names: dict[int, str]) -> list[tuple[Any, Any]]:
    words: list[tuple[Any, Any]] = []
    for name, value in narrowed.items():
        if name == "channel":
            words.append((_("Channel"), names.get(value, value)))
        elif name == "round":
            words.append((_("Round"), value))
        elif name == "stage":
            words.append((_("Stage"), dict(Stage.choices).get(value, value)))
        elif name == "cause":
            words.append((_("Cause"), dict(Cause.choices).get(value, value)))
        else:
            words.append((pgettext("person", "Customer"), value))
    return words


STATE_LABELS: dict[str, Any] = dict(TouchState.choices) | {
    "target": gettext_lazy("Target"),
    "not_planned": gettext_lazy("Not planned"),
}


def _shown(row: tuple[Any, ...], names: dict[int, str]) -> dict[str, Any]:
    shown = dict(zip(row_queries.COLUMNS, row, strict=True))
    shown["channel"] = names.get(row[2], row[2])
    shown["stage_label"] = dict(Stage.choices).get(shown["stage"], shown["stage"])
    shown["state_label"] = STATE_LABELS.get(shown["state"], shown["state"])
    shown["cause_label"] = dict(Cause.choices).get(shown["cause"], shown["cause"])
    return shown


def _histogram_chart(histogram: list[dict[str, int]]) -> dict[str, Any]:
    series = (
        ("below", _("Below target"), "#f59f00"),
        ("full", _("Full target"), "#2fb344"),
        ("beyond", _("Beyond target"), "#d63939"),
    )
    return {
        "tooltip": {"trigger": "axis", "renderMode": "richText"},
        "legend": {"bottom": 0},
        "grid": {"left": 60, "right": 16, "top": 16, "bottom": 56},
        "xAxis": {"type": "category", "name": "", "data": [str(bar["received"]) for bar in histogram]},
        "yAxis": {"type": "value"},
        "series": [
            {
                "type": "bar",
                "stack": "people",
                "name": str(label),
                "color": colour,
                "data": [bar[key] for bar in histogram],
            }
            for key, label, colour in series
        ],
    }


def _bar(total: Count) -> list[dict[str, Any]]:
    """The parts of the target, left to right, on a scale of 1,000."""
    parts = (
        ("reached", total.reached, "part-reached"),
        ("pending", total.pending, "part-pending"),
        ("unobserved", total.unobserved, "part-unknown"),
        ("unknown", total.unknown, "part-unknown"),
        ("released", total.released_total, "part-released"),
        ("gap", total.gap, "part-gap"),
    )
    shown, x = [], 0.0
    for figure, touches, css in parts:
        if not touches and figure in ("unobserved", "unknown"):
            continue
        share = touches / total.target if total.target else 0.0
        shown.append(
            {
                "figure": figure,
                "label": FIGURE_LABELS[figure],
                "touches": touches,
                "share": share,
                "css": css,
                "x": f"{x:.2f}",
                "width": f"{share * 1000:.2f}",
            }
        )
        x += share * 1000
    return shown


def _by_day(days: list[dict[str, Any]]) -> dict[str, list[int]]:
    """ISO date → due, reached, gap."""
    by_day: dict[str, list[int]] = {}
    for row in days:
        figures = by_day.setdefault(row["day"].isoformat(), [0, 0, 0])
        for position, name in enumerate(("planned", "reached", "gap")):
            figures[position] += row[name]
    return by_day


def _day_chart(by_day: dict[str, list[int]]) -> dict[str, Any]:
    series = ((_("Due"), "#a8b4c4"), (_("Reached"), "#2fb344"), (_("Gap"), "#f59f00"))
    return {
        "tooltip": {"trigger": "axis", "renderMode": "richText"},
        "legend": {"bottom": 0},
        "grid": {"left": 60, "right": 16, "top": 16, "bottom": 56},
        "xAxis": {"type": "category", "data": list(by_day)},
        "yAxis": {"type": "value"},
        "series": [
            {
                "type": "bar",
                "name": str(label),
                "color": colour,
                "data": [figures[position] for figures in by_day.values()],
            }
            for position, (label, colour) in enumerate(series)
        ],
    }


def _hits_chart(hits: list[dict[str, int]]) -> dict[str, Any]:
    return {
        "tooltip": {"trigger": "axis", "renderMode": "richText"},
        "grid": {"left": 60, "right": 16, "top": 16, "bottom": 40},
        "xAxis": {"type": "category", "data": [str(hit["contacts"]) for hit in hits]},
        "yAxis": {"type": "value"},
        "series": [
            {"type": "bar", "name": _("People"), "data": [hit["people"] for hit in hits], "color": "#4299e1"}
        ],
    }
