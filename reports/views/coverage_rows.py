"""What stands behind each figure of coverage: touches and targets, and people. Pages, and CSV that sums to it."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from audiences.access import ANYBODY, needs
from audiences.vocabulary import Stage
from campaigns.models import Campaign
from campaigns.vocabulary import Cause, MemberState, TouchState
from channels.models import Channel
from reports import coverage_days
from reports.coverage_all import campaigns_of
from reports.export import csv_response
from reports.narrowing import narrowed, span, whole_number
from reports.queries import people as people_queries
from reports.queries import rows as row_queries

PAGE = 100
# From here on people and rows are not counted for a page of rows: it would take as long as reading them all.
COUNTED_AT_ONCE = 50_000
FIGURE_LABELS: dict[str, Any] = {
    "target": gettext_lazy("Target"),
    "planned": gettext_lazy("Planned"),
    "due": gettext_lazy("Due"),
    "reached": gettext_lazy("Reached"),
    "delivered": gettext_lazy("Receipts"),
    "awaited": gettext_lazy("Receipt awaited"),
    "unknown": gettext_lazy("Unknown"),
    "unobserved": gettext_lazy("Unobserved"),
    "pending": gettext_lazy("Still open"),
    "released": gettext_lazy("Released"),
    "changed": gettext_lazy("Taken out by a change"),
    "gap": gettext_lazy("Gap"),
    "over_by_us": gettext_lazy("Over, by us"),
    "over_by_platform": gettext_lazy("Over, by platforms"),
    "over_by_merge": gettext_lazy("Over, revealed by merges"),
}
STATE_LABELS: dict[str, Any] = dict(TouchState.choices) | {
    "target": gettext_lazy("Target"),
    "not_planned": gettext_lazy("Not planned"),
    "exposure": gettext_lazy("Exposure"),
}
MEMBER_LABELS: dict[str, Any] = {
    "all": gettext_lazy("Members"),
    "held_out": gettext_lazy("Held out, to measure lift"),
    "exited": gettext_lazy("Exited"),
    "waiting": gettext_lazy("Waiting after silence"),
}
SIDE_LABELS: dict[str, Any] = {
    "below": gettext_lazy("Below target"),
    "full": gettext_lazy("Full target"),
    "beyond": gettext_lazy("Beyond target"),
}


def _figure(figure: str) -> str:
    if figure not in row_queries.FIGURES:
        raise Http404(_("There is no such figure."))
    return figure


def _numbers(request: HttpRequest, n: int) -> tuple[int, ...] | None:
    parts = request.GET.get("after", "").split("-")
    if len(parts) != n or not all(part.isdigit() and len(part) < 19 for part in parts):
        return None
    return tuple(int(part) for part in parts)


@needs(*ANYBODY)
def coverage_rows(request: HttpRequest, campaign_id: int, figure: str) -> HttpResponseBase:
    """The rows behind a figure of one campaign, a page at a time, or all of them as CSV."""
    campaign = get_object_or_404(Campaign, pk=campaign_id)
    _figure(figure)
    names = dict(Channel.objects.values_list("pk", "name"))
    asked = narrowed(request.GET.dict(), campaign, names)
    if request.GET.get("format") == "csv":
        found = row_queries.every(figure, campaign.pk, asked.by)
        return csv_response(
            f"coverage-{campaign.pk}-{figure}.csv",
            row_queries.COLUMNS,
            ((row[0], row[1], names.get(row[2], row[2]), *row[3:]) for row in found),
        )
    after: Any = _numbers(request, 4) or row_queries.START
    found_page = row_queries.page(figure, campaign.pk, asked.by, after, PAGE + 1)
    shown, more = found_page[:PAGE], len(found_page) > PAGE
    last = shown[-1] if shown else None
    return render(
        request,
        "reports/coverage_rows.html",
        {
            "campaign": campaign,
            "figure": figure,
            "label": FIGURE_LABELS[figure],
            "as_of": timezone.now(),
            "totals": _totals(figure, campaign.pk, asked.by),
            "rows": [_shown(row, names) for row in shown],
            "after": f"{last[0]}-{last[2]}-{last[3]}-{last[5]}" if more and last else "",
            "narrowed": asked.words,
            "figures": FIGURE_LABELS.items(),
        },
    )


def _totals(figure: str, campaign_id: int, by: dict[str, Any]) -> dict[str, Any]:
    """Touches always; rows and people where they are few enough to be counted at once."""
    counted = row_queries.counted(figure, campaign_id, by)
    if counted is not None and counted > COUNTED_AT_ONCE:
        return {"touches": counted}
    return row_queries.totals(figure, campaign_id, by)


@needs(*ANYBODY)
def coverage_all_rows(request: HttpRequest, figure: str) -> HttpResponseBase:
    """The rows behind a figure across all campaigns of a span: one campaign after the other."""
    _figure(figure)
    names = dict(Channel.objects.values_list("pk", "name"))
    asked = narrowed(request.GET.dict(), None, names)
    since, until = span(request.GET.dict(), timezone.localdate())
    campaigns = campaigns_of(since, until)
    found = Campaign.objects.in_bulk(campaigns)
    titles = {pk: each.name for pk, each in found.items()}

    def by(pk: int) -> dict[str, Any]:
        return asked.by | ({"zone": found[pk].zone} if "zone" in asked.by else {})

    if request.GET.get("format") == "csv":
        return csv_response(
            f"coverage-{since}-{until}-{figure}.csv",
            ("campaign_id", "campaign", *row_queries.COLUMNS),
            (
                (pk, titles.get(pk), row[0], row[1], names.get(row[2], row[2]), *row[3:])
                for pk in campaigns
                for row in row_queries.every(figure, pk, by(pk))
            ),
        )
    first, *rest = _numbers(request, 5) or (0, *row_queries.START)
    rows: list[dict[str, Any]] = []
    for pk in (each for each in campaigns if each >= first):
        after: Any = tuple(rest) if pk == first else row_queries.START
        rows.extend(
            _shown(row, names) | {"campaign_id": pk, "campaign": titles.get(pk), "key": row}
            for row in row_queries.page(figure, pk, by(pk), after, PAGE + 1 - len(rows))
        )
        if len(rows) > PAGE:
            break
    last = rows[PAGE - 1] if len(rows) > PAGE else None
    key: Any = last["key"] if last else ()
    counted = [row_queries.counted(figure, pk, by(pk)) for pk in campaigns]
    return render(
        request,
        "reports/coverage_all_rows.html",
        {
            "figure": figure,
            "label": FIGURE_LABELS[figure],
            "as_of": timezone.now(),
            "since": since,
            "until": until,
            "touches": sum(each for each in counted if each is not None) if None not in counted else None,
            "rows": rows[:PAGE],
            "after": f"{last['campaign_id']}-{key[0]}-{key[2]}-{key[3]}-{key[5]}" if last else "",
            "narrowed": asked.words,
        },
    )


def _shown(row: tuple[Any, ...], names: dict[int, str]) -> dict[str, Any]:
    shown = dict(zip(row_queries.COLUMNS, row, strict=True))
    shown["channel"] = names.get(row[2], row[2])
    shown["stage_label"] = dict(Stage.choices).get(shown["stage"], shown["stage"])
    shown["state_label"] = STATE_LABELS.get(shown["state"], shown["state"])
    shown["cause_label"] = dict(Cause.choices).get(shown["cause"], shown["cause"])
    return shown


# Lists of people ---------------------------------------------------------------------------------

Columns = Sequence[tuple[str, Any]]  # key of a row, heading


def _people(
    request: HttpRequest,
    sql: str,
    parameters: dict[str, Any],
    columns: Columns,
    file: str,
    context: dict[str, Any],
    show: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> HttpResponseBase:
    if request.GET.get("format") == "csv":
        found: Iterator[dict[str, Any]] = people_queries.every(sql, parameters)
        keys = ["customer_id", "name", *(key for key, _heading in columns)]
        return csv_response(f"{file}.csv", keys, ([row[key] for key in keys] for row in found))
    after = _numbers(request, 1) or (0,)
    rows = people_queries.page(sql, parameters, after[0], PAGE + 1)
    shown = [
        {
            "customer_id": row["customer_id"],
            "name": row["name"],
            "cells": [show(row)[key] for key, _name in columns],
        }
        for row in rows[:PAGE]
    ]
    return render(
        request,
        "reports/coverage_people.html",
        {
            **context,
            "headings": [heading for _key, heading in columns],
            "rows": shown,
            "after": rows[PAGE - 1]["customer_id"] if len(rows) > PAGE else "",
        },
    )


def _in_words(row: dict[str, Any]) -> dict[str, Any]:
    stage, state = row.get("stage", ""), row.get("state", "")
    return row | {
        "stage": dict(Stage.choices).get(stage, stage),
        "state": dict(MemberState.choices).get(state, state),
    }


@needs(*ANYBODY)
def coverage_people(request: HttpRequest, campaign_id: int) -> HttpResponseBase:
    """Members with their target and the touches they received: behind the histogram and the numbers of people."""
    campaign = get_object_or_404(Campaign, pk=campaign_id)
    channel, received = (whole_number(request.GET.get(name, "")) for name in ("channel", "received"))
    side, stage = request.GET.get("side", ""), request.GET.get("stage", "")[:16] or None
    names = dict(Channel.objects.values_list("pk", "name"))
    words = [
        *([(_("Channel"), names.get(channel, channel))] if channel is not None else []),
        *([(_("Stage"), dict(Stage.choices).get(stage, stage))] if stage else []),
        *([(_("Touches received"), received)] if received is not None else []),
        *([(_("Target"), SIDE_LABELS[side])] if side in SIDE_LABELS else []),
    ]
    return _people(
        request,
        people_queries.OF_CAMPAIGN,
        {"campaign": campaign.pk, "channel": channel, "stage": stage, "received": received, "side": side},
        (("stage", _("Stage")), ("target", _("Target")), ("received", _("Touches received"))),
        f"coverage-{campaign.pk}-people",
        {"campaign": campaign, "label": _("People"), "narrowed": words},
        _in_words,
    )


@needs(*ANYBODY)
def coverage_members(request: HttpRequest, campaign_id: int, which: str) -> HttpResponseBase:
    """Members of a campaign: all, held out, exited, waiting."""
    campaign = get_object_or_404(Campaign, pk=campaign_id)
    if which not in MEMBER_LABELS:
        raise Http404(_("There is no such figure."))
    return _people(
        request,
        people_queries.MEMBERS_OF,
        {"campaign": campaign.pk, "which": which},
        (("stage", _("Stage")), ("state", _("State")), ("state_at", _("Since"))),
        f"coverage-{campaign.pk}-members-{which}",
        {"campaign": campaign, "label": MEMBER_LABELS[which], "narrowed": []},
        _in_words,
    )


@needs(*ANYBODY)
def contacted(request: HttpRequest) -> HttpResponseBase:
    """Who was contacted how often in the last 30 days, over all campaigns and channels."""
    contacts = whole_number(request.GET.get("contacts", ""))
    since = timezone.now() - dt.timedelta(days=coverage_days.CONTACT_DAYS)
    return _people(
        request,
        people_queries.CONTACTED,
        {"since": since, "contacts": contacts},
        (
            ("contacts", pgettext_lazy("number", "Contacts")),
            ("campaigns", pgettext_lazy("number", "Campaigns")),
            ("last_at", _("Last contact")),
        ),
        "contacted-30-days",
        {
            "campaign": None,
            "label": _("Contacted in the last 30 days"),
            "narrowed": [(_("Contacts"), contacts)] if contacts is not None else [],
        },
    )
