"""Long work of the lifecycle: what follows an approval, a change and an end."""

from collections.abc import Mapping
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.jobs import JobFailed, job_kind, report
from audiences.models import Job
from campaigns import changes, later_rules, lifecycle, versions
from campaigns.exits import release_touches
from campaigns.models import Campaign, CampaignVersion
from campaigns.planner import PlanError, make_plan
from campaigns.queries import lifecycle as queries
from campaigns.release import admit, extend
from campaigns.release import release as write
from campaigns.vocabulary import CampaignState, Cause

PLAN_JOB = "plan"


def register() -> None:
    job_kind(PLAN_JOB, plan, gettext_lazy("Forecast of a campaign"))
    job_kind(lifecycle.RELEASE_JOB, release, gettext_lazy("Release of a campaign"))
    job_kind(lifecycle.WIND_DOWN_JOB, wind_down, gettext_lazy("Winding down a campaign"))
    job_kind(changes.CHANGE_JOB, change, gettext_lazy("Change of a campaign"))


def plan(job: Job) -> Mapping[str, Any]:
    """Make the forecast of the definition as it stands."""
    campaign = Campaign.objects.get(pk=job.arguments["campaign"])
    try:
        made = make_plan(
            campaign,
            user=job.created_by,
            now=timezone.now(),
            document=versions.working(campaign),
            job=job,
            report=lambda done, total, step: report(job, done, total, step),
        )
    except PlanError as error:
        raise JobFailed(str(error)) from error
    return {"plan": made.pk, "url": reverse("campaigns:forecast", args=[campaign.pk])}


def release(job: Job) -> Mapping[str, Any]:
    """Turn the approved plan into members and touches, then schedule or start the campaign."""
    campaign = Campaign.objects.get(pk=job.arguments["campaign"])
    plan = campaign.plans.get(pk=job.arguments["plan"])
    try:
        written = write(
            campaign,
            plan,
            now=timezone.now(),
            report=lambda done, total, step: report(job, done, total, step),
        )
    except PlanError as error:
        raise JobFailed(str(error)) from error
    later_rules.look(
        timezone.now(), campaign.pk
    )  # what came while it was released; from here on it is watched
    lifecycle.released(campaign, timezone.now())
    return {
        "members": written.members,
        "held_out": written.held_out,
        "targets": written.targets,
        "touches": written.touches,
        "url": _live(campaign),
    }


def wind_down(job: Job) -> Mapping[str, Any]:
    """Let go of what an ended campaign has not sent, and end its members."""
    campaign = Campaign.objects.get(pk=job.arguments["campaign"])
    if campaign.state not in (CampaignState.FINISHED, CampaignState.REVIEWED):
        return {"released": 0, "url": _live(campaign)}
    now = timezone.now()
    report(job, 0, 2, _("Letting go of what is unsent"))
    released = release_touches(campaign.pk, None, Cause.CAMPAIGN_STOPPED, now)
    report(job, 1, 2, _("Ending members"))
    ended = queries.end_members(campaign.pk, now)
    return {"released": released, "members": ended, "url": _live(campaign)}


def change(job: Job) -> Mapping[str, Any]:
    """Make unsent touches follow the approved change, give members what it adds, take in who joins by it."""
    campaign = Campaign.objects.get(pk=job.arguments["campaign"])
    version = CampaignVersion.objects.get(pk=job.arguments["version"])
    report(job, 0, 3, _("Unsent touches follow the change"))
    done: dict[str, Any] = changes.follow(campaign, version, timezone.now())
    try:
        report(job, 1, 3, _("Members get what was added"))
        more = extend(campaign, timezone.now())
        report(job, 2, 3, _("Taking in who joins"))
        joined = admit(campaign, timezone.now())
    except PlanError as error:
        raise JobFailed(str(error)) from error
    touches = more.touches + joined.touches
    return {**done, "members": joined.members, "touches": touches, "url": _live(campaign)}


def _live(campaign: Campaign) -> str:
    return reverse("campaigns:live", args=[campaign.pk])
