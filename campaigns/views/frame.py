"""What every page of one campaign shows: its name and state, its steps, and what is still missing."""

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from audiences.access import Role, has_role
from campaigns import broadcasts, lifecycle, readiness, versions
from campaigns.definition import Document, as_moment
from campaigns.models import Campaign, CampaignVersion
from campaigns.vocabulary import CampaignState

EDITORS = (Role.MARKETER,)
RUNNERS = (Role.MARKETER, Role.APPROVER)
STOPPERS = (Role.MARKETER, Role.APPROVER, Role.CHANNEL_ADMIN, Role.FINANCE)

STEPS = (
    ("basics", _("Basics & audience")),
    ("runs", _("How it runs")),
    ("matrix", _("Frequency & budgets")),
    ("content", _("Content")),
    ("rules", _("Experiment & rules")),
    ("forecast", _("Forecast")),
    ("approval", _("Approval")),
    ("live", _("Live")),
    ("review", _("Review")),
)
OVER = (CampaignState.FINISHED, CampaignState.REVIEWED)
BEFORE_RELEASE = (CampaignState.DRAFT, CampaignState.SUBMITTED)


@dataclass(frozen=True, slots=True)
class StepLink:
    name: str
    label: Any
    here: bool
    errors: int
    open: bool  # whether there is anything to see yet


def find(pk: int) -> Campaign:
    return get_object_or_404(Campaign.objects.select_related("brand", "segment", "created_by"), pk=pk)


def first_step(campaign: Campaign) -> str:
    """Where somebody lands who opens a campaign."""
    if campaign.state == CampaignState.DRAFT:
        return "basics"
    if campaign.state == CampaignState.SUBMITTED:
        return "approval"
    return "review" if campaign.state in OVER else "live"


def context(
    request: HttpRequest, campaign: Campaign, step: str, *, document: Document | None = None, **more: Any
) -> dict[str, Any]:
    """Names every template of a campaign may use."""
    now = timezone.now()
    document = document if document is not None else versions.working(campaign)
    refusal = versions.may_edit(campaign)
    if not refusal and not has_role(request.user, *EDITORS):
        refusal = str(_("You may look, but only marketers edit campaigns."))
    over = campaign.state in OVER
    released = campaign.state in versions.RELEASED
    missing = (
        []
        if over or campaign.kind == Campaign.Kind.IMPORTED
        else readiness.missing(document, now=now, released=released)
    )
    waiting = versions.open_version(campaign)
    is_change = released and waiting is not None and waiting.state == CampaignVersion.State.DRAFT
    if is_change or (campaign.state == CampaignState.DRAFT and campaign.kind != Campaign.Kind.IMPORTED):
        problem = readiness.plan_problem(campaign.plans.first(), document)
        if problem:
            missing = [*missing, readiness.Missing("forecast", problem)]
    errors = readiness.blocking(missing)
    zone = ZoneInfo(document["zone"])
    return {
        "campaign": campaign,
        "document": document,
        "step": step,
        "steps": [
            StepLink(
                name,
                label,
                name == step,
                sum(1 for entry in errors if entry.step == name),
                not (name in ("live", "review") and campaign.state in BEFORE_RELEASE),
            )
            for name, label in STEPS
        ],
        "missing": missing,
        "errors": errors,
        "refusal": refusal,
        "editable": not refusal,
        "open_version": waiting,
        "is_change": is_change,
        "released": released,
        "over": over,
        "zone": zone,
        "starts_at": as_moment(document["starts_at"]),
        "ends_at": as_moment(document["ends_at"]),
        "may_run": has_role(request.user, *RUNNERS),
        "may_stop": has_role(request.user, *STOPPERS) and campaign.state in lifecycle.STOPPABLE,
        "has_posts": broadcasts.possible(campaign),
        "now": now,
        **more,
    }
