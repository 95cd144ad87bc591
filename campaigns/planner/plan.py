"""Make a plan and keep it: what a campaign's definition reaches and costs on its audience now."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from audiences.models import Job
from campaigns import cadence, definition
from campaigns.models import Campaign, Plan, PlanCell
from campaigns.planner import figures, work
from campaigns.planner.errors import PlanError
from campaigns.planner.work import Outcome, Report


def make_plan(
    campaign: Campaign,
    *,
    user: AbstractUser | None,
    now: datetime,
    report: Report | None = None,
    document: Mapping[str, Any] | None = None,
    job: Job | None = None,
) -> Plan:
    """Compute and store a plan of the campaign, or of another definition of it (``document``).

    It writes no member and no touch. Raises :class:`PlanError` when something must be mended first; the
    plan is then stored as failed with the text.
    """
    document = definition.read(campaign) if document is None else document
    plan = Plan.objects.create(
        campaign=campaign,
        version=campaign.version,
        state=Plan.State.COMPUTING,
        method="",
        objective=document["objective"],
        seed=campaign.seed,
        definition_hash=definition.fingerprint(document),
        made_by_id=user.pk if user is not None else None,
        made_at=now,
        job=job,
    )
    try:
        # Of a released campaign only what a change adds is open; what members have is kept, and counted.
        released = campaign.plans.filter(state=Plan.State.RELEASED).exists()
        # A triggered one is forecast for those who are still to be triggered.
        released = released and not cadence.is_triggered(document)
        whom = work.MEMBERS if released else work.EVERYBODY
        outcome = work.compute(campaign, now=now, document=document, report=report, whom=whom)
    except PlanError as error:
        Plan.objects.filter(pk=plan.pk).update(state=Plan.State.FAILED, error=str(error))
        raise
    except BaseException as error:
        Plan.objects.filter(pk=plan.pk).update(
            state=Plan.State.FAILED, error=f"{type(error).__name__}: {error}"
        )
        raise
    store(plan, outcome)
    return plan


def store(plan: Plan, outcome: Outcome, state: str = Plan.State.READY) -> None:
    """Keep an outcome in a plan. Older forecasts of the campaign that nothing rests on lose their cells."""
    cells = figures.fill(plan, outcome)
    plan.state = state
    plan.method = outcome.choice.method
    plan.input_hash = outcome.input_hash
    headline = next((c for c in outcome.certificates if c["bound"] > 0), outcome.certificates[0])
    plan.value, plan.dual_bound, plan.certified_gap = headline["value"], headline["bound"], headline["gap"]
    plan.prices = list(outcome.prices)
    plan.response_model = outcome.model.stored(outcome.spec) | {"certificates": list(outcome.certificates)}
    plan.seconds = outcome.seconds
    with transaction.atomic():
        plan.save()
        PlanCell.objects.filter(plan=plan).delete()
        PlanCell.objects.bulk_create(cells, batch_size=2000)
