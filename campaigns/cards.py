"""What the first page tells of campaigns: what waits for me, what runs, what is wrong."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest
from django.utils import timezone

from audiences.access import ANYBODY, Role, has_role
from audiences.models import Job
from audiences.registers import HomeCard, home_cards
from campaigns import approvals, broadcast_rules, lifecycle, rule_standings
from campaigns.models import Campaign, CampaignVersion, ChannelPlan, PeopleTask
from campaigns.vocabulary import CampaignState
from channels.models import Channel

SHOWN = 8


def to_decide(request: HttpRequest) -> Mapping[str, Any] | None:
    """Versions that wait for this person's decision."""
    if not has_role(request.user, Role.APPROVER, Role.FINANCE):
        return None
    found = approvals.waiting_for(cast(AbstractUser, request.user))
    return {"versions": found[:SHOWN], "more": max(0, len(found) - SHOWN)} if found else None


def mine(request: HttpRequest) -> Mapping[str, Any] | None:
    """This person's campaigns that were sent back, and finished ones without a review."""
    if not has_role(request.user, Role.MARKETER):
        return None
    own = Campaign.objects.filter(created_by_id=request.user.pk)
    rejected = (
        CampaignVersion.objects.filter(
            campaign__created_by_id=request.user.pk, campaign__state=CampaignState.DRAFT, state="rejected"
        )
        .select_related("campaign")
        .prefetch_related("approvals")
        .order_by("campaign_id", "-number")
    )
    latest: dict[int, CampaignVersion] = {}
    for version in rejected:
        latest.setdefault(version.campaign_id, version)
    unreviewed = own.filter(state=CampaignState.FINISHED).exclude(kind=Campaign.Kind.IMPORTED)[:SHOWN]
    ruled = _ruled(request.user.pk)
    if not latest and not unreviewed and not ruled:
        return None
    return {"rejected": list(latest.values())[:SHOWN], "unreviewed": unreviewed, "ruled": ruled}


def _ruled(user_id: int | None = None) -> list[tuple[ChannelPlan, list[rule_standings.Kept]]]:
    """Channels that a rule stopped, or will stop, in the campaigns of a person or in all, with the rules."""
    found = [*rule_standings.stopped(), *rule_standings.warned(timezone.now())]
    own = [plan for plan in found if user_id is None or plan.campaign.created_by_id == user_id]
    return [(plan, rule_standings.kept(plan)) for plan in own[:SHOWN]]


def tasks(request: HttpRequest) -> Mapping[str, Any] | None:
    """Tasks of this person, or of everybody for who steers them."""
    now = timezone.now()
    found = PeopleTask.objects.filter(state=PeopleTask.State.OPEN)
    own = found.filter(employee__user_id=request.user.pk or 0)
    counted = own if own.exists() else found
    if not has_role(request.user, *ANYBODY) or not counted.exists():
        return None
    return {"open": counted.count(), "late": counted.filter(due_at__lt=now).count(), "own": counted is own}


def running(request: HttpRequest) -> Mapping[str, Any] | None:
    """Campaigns that run or are paused, with how much of their time is over."""
    if not has_role(request.user, *ANYBODY):
        return None
    now = timezone.now()
    found = Campaign.objects.filter(
        state__in=(CampaignState.RUNNING, CampaignState.PAUSED, CampaignState.SCHEDULED)
    )
    found = found.select_related("release_plan").order_by("state", "ends_at")
    rows = [{"campaign": one, "elapsed": _elapsed(one, now)} for one in found[:SHOWN]]
    return {"rows": rows, "more": max(0, found.count() - SHOWN)} if rows else None


def _elapsed(campaign: Campaign, now: datetime) -> int:
    """Per cent of the flight that is over."""
    if campaign.starts_at is None or campaign.ends_at is None or now <= campaign.starts_at:
        return 0
    return min(100, round(100 * ((now - campaign.starts_at) / (campaign.ends_at - campaign.starts_at))))


def wrong(request: HttpRequest) -> Mapping[str, Any] | None:
    """Releases that failed, running campaigns on stopped channels, what somebody paused, what a rule stops or will stop."""
    if not has_role(request.user, *ANYBODY):
        return None
    releasing = {f"campaign:{one.pk}": one for one in Campaign.objects.filter(state=CampaignState.APPROVED)}
    latest: dict[str, Job] = {}
    for job in Job.objects.filter(kind=lifecycle.RELEASE_JOB, subject__in=list(releasing)).order_by("-pk"):
        latest.setdefault(job.subject, job)
    failed = [(releasing[subject], job) for subject, job in latest.items() if job.state == Job.State.FAILED]
    blocked = (
        Campaign.objects.filter(
            state=CampaignState.RUNNING,
            channel_plans__channel__state__in=(Channel.State.PAUSED, Channel.State.STOPPED),
        )
        .distinct()
        .prefetch_related("channel_plans__channel")[:SHOWN]
    )
    paused = Campaign.objects.filter(state=CampaignState.PAUSED)[:SHOWN]
    held = ChannelPlan.objects.filter(
        campaign__state=CampaignState.RUNNING, paused_at__isnull=False, stop_cause=""
    )
    held = held.select_related("campaign", "channel").order_by("paused_at")[:SHOWN]
    ruled, posts = _ruled(), broadcast_rules.stopped(timezone.now())[:SHOWN]
    if not failed and not blocked and not paused and not held and not ruled and not posts:
        return None
    return {
        "failed": failed,
        "blocked": [
            (
                one,
                [
                    plan.channel
                    for plan in one.channel_plans.all()
                    if plan.channel.state != Channel.State.ACTIVE
                ],
            )
            for one in blocked
        ],
        "paused": paused,
        "held": held,
        "ruled": ruled,
        "posts": posts,
    }


def register() -> None:
    """Called once, from ``CampaignsConfig.ready``."""
    home_cards.add("campaigns.to_decide", HomeCard("needs_me", "campaigns/_card_to_decide.html", to_decide))
    home_cards.add("campaigns.mine", HomeCard("needs_me", "campaigns/_card_mine.html", mine))
    home_cards.add("campaigns.tasks", HomeCard("needs_me", "campaigns/_card_tasks.html", tasks))
    home_cards.add("campaigns.running", HomeCard("runs", "campaigns/_card_running.html", running))
    home_cards.add("campaigns.wrong", HomeCard("wrong", "campaigns/_card_wrong.html", wrong))
