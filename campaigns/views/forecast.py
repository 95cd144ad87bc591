"""What a campaign will reach and cost, before anybody approves it; and why this person gets this touch."""

from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences import jobs
from audiences.access import ANYBODY, needs
from audiences.models import Customer, Identity, Job
from audiences.vocabulary import Stage
from campaigns import lifecycle_jobs, offers, progress, readiness
from campaigns.models import Campaign, Plan, Round
from campaigns.planner import PlanError, expecting
from campaigns.planner import explain as explain_plan
from campaigns.views import frame
from campaigns.vocabulary import OWNER_OF, Cause, Owner
from channels.models import Channel

UNFINISHED = (Job.State.WAITING, Job.State.RUNNING)


@needs(*ANYBODY)
@require_safe
def forecast(request: HttpRequest, pk: int) -> HttpResponse:
    """The newest plan with its figures, gaps, prices and certificate."""
    campaign = frame.find(pk)
    plan = _newest(campaign)
    context = frame.context(
        request, campaign, "forecast", plan=plan, job=running_job(campaign), **told(campaign, plan)
    )
    offer = context["document"].get("offer")
    context["offer_entry"] = offer
    context["offer_most"] = offers.most(offer, plan.reach) if plan else None
    context["expecting"] = expecting.sentence(context["document"])
    context["problem"] = readiness.plan_problem(plan, context["document"]) if plan else ""
    return render(request, "campaigns/forecast.html", context)


def _newest(campaign: Campaign) -> Plan | None:
    """The newest finished plan; a failed one only when there is nothing better."""
    finished = campaign.plans.exclude(state=Plan.State.COMPUTING).select_related("job", "made_by")
    return finished.exclude(state=Plan.State.FAILED).first() or finished.first()


def running_job(campaign: Campaign) -> Job | None:
    return Job.objects.filter(
        kind=lifecycle_jobs.PLAN_JOB, subject=f"campaign:{campaign.pk}", state__in=UNFINISHED
    ).first()


def told(campaign: Campaign, plan: Plan | None) -> dict[str, Any]:
    """A plan's figures as tables."""
    if plan is None:
        return {}
    names = dict(Channel.objects.filter(pk__in=plan.cells.values("channel_id")).values_list("pk", "name"))
    stages, phases = dict(Stage.choices), _phase_names(campaign)
    cells = [
        {
            "cell": cell,
            "channel": names.get(cell.channel_id, cell.channel_id),
            "stage": stages.get(cell.stage, cell.stage),
            "phase": phases.get(cell.round, ""),
            "gaps": progress.gaps_in_words(cell.gaps),
        }
        for cell in plan.cells.order_by("round", "channel_id", "stage")
    ]
    return {
        "cells": cells,
        "by_channel": _summed(plan, names, lambda cell: cell.channel_id),
        "by_stage": _summed(plan, stages, lambda cell: cell.stage),
        "gaps": progress.gaps_in_words(plan.gaps),
        "short": sum(int(n) for n in plan.gaps.values()),
        "days": _by_day(plan, names),
        "change": _change(plan, names),
        "prices": [entry for entry in plan.prices if entry.get("price")],
        "slack": [entry for entry in plan.prices if not entry.get("price")],
    }


def _change(plan: Plan, names: dict[int, str]) -> dict[str, Any] | None:
    """What members have by channel, before a change and with it; None of a first plan."""
    if not plan.before:
        return None
    figures: dict[int, dict[str, dict[str, Any]]] = {}
    for key, told in plan.before.items():
        stays = {"target": told["stays"], "touches": told["stays"], "cost": Decimal(told["stays_cost"])}
        now = {"target": told["target"], "touches": told["touches"], "cost": Decimal(told["cost"])}
        figures[int(key)] = {"before": now, "after": stays}
    for cell in plan.cells.all():
        row = figures.setdefault(cell.channel_id, {"before": dict(NOTHING), "after": dict(NOTHING)})["after"]
        row["target"] += cell.target
        row["touches"] += cell.touches
        row["cost"] += cell.greatest_cost
    known = names | dict(
        Channel.objects.filter(pk__in=figures.keys() - names.keys()).values_list("pk", "name")
    )
    rows = [
        {
            "name": known.get(channel_id, channel_id),
            **sides,
            "more": sides["after"]["cost"] - sides["before"]["cost"],
        }
        for channel_id, sides in sorted(figures.items())
    ]
    total = {
        side: {name: sum(row[side][name] for row in rows) for name in NOTHING} for side in ("before", "after")
    }
    return {"rows": rows, "total": {**total, "more": sum(row["more"] for row in rows)}}


def _phase_names(campaign: Campaign) -> dict[int, str]:
    """Round number → the name of its phase, once rounds are written."""
    return dict(Round.objects.filter(campaign=campaign).values_list("number", "phase__name"))


NOTHING = {"target": 0, "touches": 0, "cost": Decimal(0)}
SUMMED = ("people", "eligible", "target", "touches", "expected_cost", "greatest_cost")


def _summed(plan: Plan, names: dict[Any, Any], key: Any) -> list[dict[str, Any]]:
    rows: dict[Any, dict[str, Any]] = {}
    for cell in plan.cells.all():
        row = rows.setdefault(
            key(cell), {"name": names.get(key(cell), key(cell)), "gaps": {}, **dict.fromkeys(SUMMED, 0)}
        )
        for name in SUMMED:
            row[name] += getattr(cell, name)
        for cause, n in cell.gaps.items():
            row["gaps"][cause] = row["gaps"].get(cause, 0) + int(n)
    for row in rows.values():
        row["gaps"] = progress.gaps_in_words(row["gaps"])
        row["share"] = row["touches"] / row["target"] if row["target"] else None
    return list(rows.values())


def _by_day(plan: Plan, names: dict[int, str]) -> dict[str, Any] | None:
    """Touches due by day and channel: a chart, and the table behind it."""
    counts: dict[str, dict[int, int]] = {}
    for cell in plan.cells.all():
        for day, n in cell.day_touches.items():
            by_channel = counts.setdefault(day, {})
            by_channel[cell.channel_id] = by_channel.get(cell.channel_id, 0) + int(n)
    if not counts:
        return None
    days, channels = sorted(counts), list(names)
    return {
        "channels": [names[channel] for channel in channels],
        "rows": [(day, [counts[day].get(channel, 0) for channel in channels]) for day in days],
        "chart": {
            "legend": {"top": 0},
            "grid": {"left": 8, "right": 8, "top": 36, "bottom": 8, "containLabel": True},
            "xAxis": {"type": "category", "data": days},
            "yAxis": {"type": "value"},
            "series": [
                {
                    "type": "bar",
                    "stack": "touches",
                    "name": names[channel],
                    "data": [counts[day].get(channel, 0) for day in days],
                }
                for channel in channels
            ],
        },
    }


@needs(*frame.EDITORS)
@require_POST
def plan(request: HttpRequest, pk: int) -> HttpResponse:
    """Starts the forecast, unless one runs already."""
    campaign = frame.find(pk)
    if running_job(campaign) is None:
        jobs.start(lifecycle_jobs.PLAN_JOB, f"campaign:{pk}", {"campaign": pk}, request.user)
    else:
        messages.info(request, _("The forecast runs already."))
    return redirect("campaigns:forecast", pk)


@needs(*ANYBODY)
@require_safe
def explain(request: HttpRequest, pk: int) -> HttpResponse:
    """Why this person gets this touch and not that one."""
    campaign = frame.find(pk)
    words = request.GET.get("customer", "").strip()
    customer = find_customer(words)
    context: dict[str, Any] = {"campaign": campaign, "words": words, "customer": customer, "step": "forecast"}
    if words and customer is None:
        context["problem"] = _("Nobody has the number, phone, email or id “%(words)s”.") % {"words": words}
    elif customer is not None:
        context |= _explained(campaign, customer)
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "campaigns/_explain.html", context)
    return render(request, "campaigns/explain.html", frame.context(request, campaign, "forecast") | context)


def find_customer(words: str) -> Customer | None:
    """By our number (``#12``), or by any identity's value; an absorbed one leads to its survivor."""
    if not words:
        return None
    bare = words.lstrip("#")
    found = Customer.objects.filter(pk=int(bare)).first() if bare.isdecimal() and len(bare) < 10 else None
    if found is None:
        values = {words, words.lower(), f"+86{words}"}
        identity = Identity.objects.filter(value__in=values).select_related("customer").first()
        found = identity.customer if identity else None
    return found.merged_into if found is not None and found.merged_into is not None else found


def _explained(campaign: Campaign, customer: Customer) -> dict[str, Any]:
    try:
        found = explain_plan(campaign.pk, customer.pk)
    except PlanError as error:
        return {"problem": str(error)}
    names: dict[Any, str] = dict(Channel.objects.values_list("pk", "name"))
    causes, owners = dict(Cause.choices), dict(Owner.choices)
    return {
        "rows": [
            {
                "what": row,
                "channel": names.get(row.channel_id, row.channel_id),
                "cause": causes.get(row.cause, row.cause) if row.cause else "",
                "owner": owners.get(OWNER_OF.get(row.cause, ""), "") if row.cause else "",
            }
            for row in found
        ]
    }
