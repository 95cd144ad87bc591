"""Posts to many: what is planned, who confirmed, what it was shown to."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences.access import ANYBODY, Role, has_role, needs
from audiences.csv_file import csv_response
from campaigns import broadcast_rules
from campaigns import broadcasts as rules
from campaigns.broadcast_forms import BroadcastForm, WhereForm
from campaigns.hours import zone_info
from campaigns.models import Broadcast, Campaign

EDITORS = (Role.MARKETER,)
PAGE = 50
COLUMNS = (
    "id", "campaign", "channel", "kind", "due_at", "state", "text", "tasks", "confirmed", "waiting", "shown", "weight",
    "weighted", "visits", "likes", "comments",
)  # fmt: skip


def _found(request: HttpRequest) -> "QuerySet[Broadcast]":
    posts = Broadcast.objects.select_related("campaign", "channel").prefetch_related("tasks")
    campaign = request.GET.get("campaign", "")
    return posts.filter(campaign_id=int(campaign)) if campaign.isdecimal() else posts


@needs(*ANYBODY)
@require_safe
def posts(request: HttpRequest) -> HttpResponse:
    """Every post, or those of a campaign, the latest first."""
    page = Paginator(_found(request), PAGE).get_page(request.GET.get("page"))
    chosen = request.GET.get("campaign", "")
    shown = {
        "page": page,
        "rows": rules.standings(list(page)),
        "chosen": int(chosen) if chosen.isdecimal() else None,
        "campaigns": Campaign.objects.filter(pk__in=Broadcast.objects.values("campaign_id")).order_by("name"),
        "any": bool(rules.plans()),
    }
    return render(request, "campaigns/broadcasts.html", shown)


@needs(*ANYBODY)
@require_safe
def export(request: HttpRequest) -> StreamingHttpResponse:
    """The posts as CSV."""
    rows = (
        (
            row.post.pk, row.post.campaign.name, row.post.channel.name, row.post.kind, row.post.due_at, row.post.state,
            row.post.text, row.tasks, row.confirmed, row.waiting, row.shown, row.post.weight, row.weighted, row.visits,
            row.likes, row.comments,
        )
        for row in rules.standings(list(_found(request)))
    )  # fmt: skip
    return csv_response("posts-to-many.csv", COLUMNS, rows)


@needs(*EDITORS)
def new_post(request: HttpRequest) -> HttpResponse:
    """First where, then what and who."""
    told = request.GET.copy()
    for plan in rules.plans():
        if not told.get("plan") and told.get("campaign") == str(plan.campaign_id):
            told["plan"] = str(plan.pk)
    where = WhereForm(told if "kind" in told else None, initial=told.dict())
    shown: dict[str, Any] = {"where": where, "any": bool(where.plans)}
    if where.is_valid():
        plan, kind = where.chosen, where.cleaned_data["kind"]
        form = BroadcastForm(plan, kind, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                post = rules.plan(plan.campaign, plan.channel, kind, user=request.user, **form.cleaned_data)
            except ValidationError as error:
                form.add_error(None, error)
            else:
                messages.success(request, _("The post is planned. Somebody else must approve it."))
                return redirect("campaigns:broadcast", post.pk)
        shown |= {"form": form, "plan": plan, "kind": kind} | _told(plan.channel, kind)
        return render(request, "campaigns/broadcast_new.html", shown, status=422 if form.errors else 200)
    return render(request, "campaigns/broadcast_new.html", shown, status=422 if where.errors else 200)


def _told(channel: Any, kind: str) -> dict[str, Any]:
    try:
        return {"weight": rules.weight_of(channel, kind)}
    except ValidationError as error:
        return {"weight_error": " ".join(error.messages)}


@needs(*ANYBODY)
@require_safe
def post(request: HttpRequest, pk: int) -> HttpResponse:
    """One post: its text, who can see it, and what each employee did."""
    found = get_object_or_404(_found(request), pk=pk)
    (standing,) = rules.standings([found])
    hours = broadcast_rules.hours_on(
        found.channel, found.due_at.astimezone(zone_info(found.campaign.zone)).date()
    )
    shown = {
        "post": found,
        "standing": standing,
        "tasks": found.tasks.select_related("employee", "employee_task").prefetch_related("groups__group"),
        "audience": rules.audience_of(found),
        "limits": rules.limits_of(found.channel).get(found.kind),
        "may_approve": has_role(request.user, Role.APPROVER) and rules.may_approve(found, request.user),
        "open": found.state in (Broadcast.State.PLANNED, Broadcast.State.APPROVED),
        "late": found.until <= timezone.now(),
        "hours": broadcast_rules.told(hours) if hours else "",
        "broken": broadcast_rules.broken(found, timezone.now())
        if found.state == Broadcast.State.APPROVED
        else [],
    }
    return render(request, "campaigns/broadcast.html", shown)


@needs(Role.APPROVER)
@require_POST
def approve(request: HttpRequest, pk: int) -> HttpResponse:
    """By somebody else than who planned it."""
    try:
        rules.approve(get_object_or_404(Broadcast, pk=pk), request.user, timezone.now())
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, _("The post is approved. Employees are asked when it is due."))
    return redirect("campaigns:broadcast", pk)


@needs(Role.MARKETER, Role.APPROVER)
@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Nobody is asked any more, and open tasks are taken back."""
    try:
        rules.cancel(get_object_or_404(Broadcast, pk=pk))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, _("The post is cancelled. Tasks that wait are taken back within seconds."))
    return redirect("campaigns:broadcast", pk)
