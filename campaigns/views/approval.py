"""Submitting a campaign, and deciding on it: the approver sees everything that will take force."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences.access import ANYBODY, Role, has_role, needs
from audiences.vocabulary import Stage
from campaigns import (
    approvals,
    cadence,
    content,
    definition,
    differences,
    lifecycle,
    offers,
    readiness,
    versions,
)
from campaigns.models import Approval, Campaign, CampaignVersion, MessageVersion
from campaigns.planner import expecting
from campaigns.views import forecast, frame
from channels.models import Channel

DECIDERS = (Role.APPROVER, Role.FINANCE)


@needs(*ANYBODY)
@require_safe
def approval(request: HttpRequest, pk: int) -> HttpResponse:
    """What is missing, what was submitted, who has to decide, what was decided."""
    campaign = frame.find(pk)
    version = _shown(campaign)
    context = frame.context(request, campaign, "approval", **_version(request, campaign, version))
    return render(request, "campaigns/approval.html", context)


def _shown(campaign: Campaign) -> CampaignVersion | None:
    """The version that waits, else the newest that was decided on."""
    waiting = versions.open_version(campaign)
    if waiting is not None and waiting.state == CampaignVersion.State.SUBMITTED:
        return waiting
    decided = campaign.versions.exclude(state=CampaignVersion.State.DRAFT)
    return decided.select_related("made_by", "plan").order_by("-number").first()


def _version(request: HttpRequest, campaign: Campaign, version: CampaignVersion | None) -> dict[str, Any]:
    history = (
        campaign.versions.exclude(state=CampaignVersion.State.DRAFT)
        .select_related("made_by")
        .order_by("-number")
    )
    context: dict[str, Any] = {
        "version": version,
        "history": history.prefetch_related("approvals__decided_by"),
        "draft_plan": campaign.plans.first(),
    }
    change = versions.open_version(campaign)
    if change is not None and change.state == CampaignVersion.State.DRAFT:
        context["draft_changes"] = differences.sentences(change.difference, change.definition)
    if version is None:
        return context
    document = version.definition
    taken = {entry.step: entry for entry in version.approvals.select_related("decided_by")}
    user: Any = request.user
    waits = version.state == CampaignVersion.State.SUBMITTED
    return context | {
        "submitted": document,
        "waits": waits,
        "changes": differences.sentences(version.difference, document),
        "matrices": summary_matrices(document),
        "steps_of_approval": [
            {
                "step": step,
                "label": Approval.Step(step).label,
                "taken": taken.get(step),
                "refusal": approvals.refusal_of(campaign, version, user, step)
                if waits and step not in taken
                else "",
            }
            for step in approvals.steps_needed(version)
        ],
        "may_withdraw": waits and has_role(user, *frame.EDITORS),
        "looks": _looks(document),
        "plan": version.plan,
        "current": versions.is_current(version) if waits else True,
        "ceiling": definition.ceiling(document),
        "offer_entry": document.get("offer"),
        "expecting": expecting.sentence(document),
        "runs_told": cadence.sentence(document),
        "offer_most": offers.most(document.get("offer"), version.plan.reach) if version.plan else None,
        **forecast.told(campaign, version.plan),
    }


def summary_matrices(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The matrix in words, phase by phase, for those who only read."""
    cells = {(cell["phase"], cell["stage"], cell["channel"]): cell for cell in document["matrix"]}
    return [
        {
            "phase": phase,
            "starts_at": definition.as_moment(phase["starts_at"]),
            "ends_at": definition.as_moment(phase["ends_at"]),
            "rounds": definition.rounds_of(phase, document),
            "rows": [
                (
                    stage.label,
                    [
                        differences.frequency([cell["touches"], cell["min_gap_hours"]]) if cell else ""
                        for entry in document["channels"]
                        for cell in [cells.get((n, stage.value, entry["channel"]))]
                    ],
                )
                for stage in Stage
            ],
        }
        for n, phase in enumerate(document["phases"])
    ]


def _looks(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Each message as it will look on its channel, with what the checks say."""
    first, last = readiness.flight(document, timezone.now())
    channels = Channel.objects.select_related("brand").in_bulk(
        [entry["channel"] for entry in document["channels"]]
    )
    found = MessageVersion.objects.select_related("message").in_bulk(
        list(versions.message_versions(document).values())
    )
    looks = []
    for entry in document["channels"]:
        channel = channels.get(entry["channel"])
        version = found.get((entry["message"] or {}).get("version_id") or 0)
        if channel is not None and version is not None:
            looks.append(
                {
                    "channel": channel,
                    "message": version.message,
                    "version": version,
                    "previews": content.previews(version, channel, first),
                    "problems": content.check(version, channel, first, last),
                }
            )
    return looks


@needs(*frame.EDITORS)
@require_POST
def submit(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks for approval."""
    try:
        lifecycle.submit(frame.find(pk), request.user, timezone.now())  # type: ignore[arg-type]
    except lifecycle.NotReady as error:
        for entry in error.missing[:5]:
            messages.error(request, entry.text)
    except lifecycle.IllegalTransition as error:
        messages.warning(request, str(error))
    else:
        messages.success(
            request, _("Submitted. Somebody else decides on it now; you will see the decision here.")
        )
    return redirect("campaigns:approval", pk)


@needs(*frame.EDITORS)
@require_POST
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes what was submitted back."""
    try:
        lifecycle.withdraw(frame.find(pk), request.user, timezone.now())  # type: ignore[arg-type]
    except lifecycle.IllegalTransition as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, _("Withdrawn: you can edit it again."))
    return redirect("campaigns:approval", pk)


@needs(*DECIDERS)
@require_POST
def decide(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """Approves or rejects one step of one version."""
    campaign = frame.find(pk)
    version = campaign.versions.filter(number=number).first()
    step, comment = request.POST.get("step", ""), request.POST.get("comment", "")
    approving = request.POST.get("decision") == "approve"
    try:
        if version is None or step not in Approval.Step.values:
            raise lifecycle.IllegalTransition(
                _("This version does not wait for a decision any more. Reload the page.")
            )
        if approving:
            job = lifecycle.approve(version, request.user, step, comment, timezone.now())  # type: ignore[arg-type]
            done = (
                _("Approved. Its members and touches are being written.")
                if job is not None
                else _("Approved. One more step is open.")
            )
        else:
            lifecycle.reject(version, request.user, step, comment, timezone.now())  # type: ignore[arg-type]
            done = _("Rejected: its makers can mend it and submit it again.")
    except (lifecycle.IllegalTransition, approvals.NotPermitted) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, done)
    return redirect("campaigns:approval", pk)
