"""The step that says how a campaign runs, with its next dates or the people it will open for."""

import datetime as dt
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from audiences.access import ANYBODY, needs
from audiences.models import Segment
from campaigns import cadence, definition, occasions
from campaigns.definition import DefinitionError, Document
from campaigns.models import Campaign
from campaigns.queries import triggers as openings
from campaigns.runs_form import RunsForm
from campaigns.views import editor, frame

SHOWN = 6


@needs(*ANYBODY, write=frame.EDITORS)
def runs(request: HttpRequest, pk: int) -> HttpResponse:
    """Once, again and again, or when something happens."""
    campaign = frame.find(pk)
    if request.method == "POST":
        entered: dict[str, Any] = {}

        def change(_campaign: Campaign, document: Document) -> None:
            form = entered["form"] = RunsForm(request.POST, document=document)
            if not form.is_valid():
                raise DefinitionError(editor.first_error(form))
            form.into(document)

        problem = editor.save(request, pk, change)
        if request.htmx or not problem or "form" not in entered:  # type: ignore[attr-defined]
            return editor.answer(request, pk, "runs", problem, more=told)
        context = frame.context(request, campaign, "runs", form=entered["form"], problem=problem)
        return render(
            request, "campaigns/runs.html", context | told(campaign, context["document"]), status=422
        )
    context = frame.context(request, campaign, "runs")
    context |= {"form": RunsForm(document=context["document"])} | told(campaign, context["document"])
    return render(request, "campaigns/runs.html", context)


def told(campaign: Campaign, document: Document) -> dict[str, Any]:
    """How it runs in words; its next dates, or how many people it will open for."""
    found: dict[str, Any] = {"runs_told": cadence.sentence(document)}
    starts_at, now = definition.as_moment(document["starts_at"]), timezone.now()
    if cadence.is_recurring(document) and starts_at:
        spans = cadence.runs(document["cadence"], starts_at, document["zone"])
        coming = [span for span in spans if span[1] > now]
        found |= {"next_runs": coming[:SHOWN], "more_runs": max(0, len(coming) - SHOWN)}
    elif cadence.is_triggered(document):
        found |= _waiting(campaign, document)
    return found


def _waiting(campaign: Campaign, document: Document) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if campaign.released_at:
        times, people, coming, at = openings.counts(campaign.pk)
        found |= {"opened": times, "opened_people": people, "coming": coming, "next_at": at}
    chosen = document.get("segment")
    segment = Segment.objects.filter(pk=chosen["id"]).first() if chosen else None
    audience = occasions.audience_sql(segment)
    event, occasion = cadence.event_of(document), document.get("occasion")
    if event:
        since = dt.datetime.combine(timezone.localdate() - dt.timedelta(days=30), dt.time.min, dt.UTC)
        found["did"] = occasions.queries.did(event, since)
    elif document["cadence"].get("by") == "occasion" and occasion:
        today = timezone.localdate()
        days = occasions.days_between(today, today + dt.timedelta(days=29))
        rows = occasions.queries.counted(occasions.having(occasion, days, [audience]))
        found |= {"have_it": sum(n for _day, n in rows), "have_it_days": rows[:SHOWN]}
    return found
