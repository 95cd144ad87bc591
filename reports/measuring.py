"""Bring a campaign's reports up to date: ledger, attribution, lift. Safe to run as often as one likes."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from audiences.jobs import report
from audiences.models import Job
from campaigns.models import Campaign
from campaigns.vocabulary import CampaignState
from reports import attribution, lift
from reports.accruals import post_incurred

# A campaign is measured while it runs, and for as long as late orders may still belong to it.
LATE_DAYS = 14


def measure(campaign: Campaign, now: dt.datetime) -> None:
    """New runs of every attribution model, and a new lift measurement."""
    for model in attribution.MODELS:
        attribution.attribute(campaign, model, now)
    attribution.forget_old(campaign)
    lift.store(campaign, lift.measure(campaign, now), now)


def measure_job(job: Job) -> Mapping[str, Any]:
    """The job kind ``measure``: arguments ``{"campaign": id}``."""
    campaign = Campaign.objects.get(pk=job.arguments["campaign"])
    now = timezone.now()
    report(job, 0, 3, _("Posting costs to the ledger"))
    posted, problems = post_incurred(now, campaign_id=campaign.pk, user=job.created_by)
    report(job, 1, 3, _("Attributing orders and measuring lift"))
    measure(campaign, now)
    report(job, 3, 3, _("Done"))
    return {"url": reverse("reports:roi", args=[campaign.pk]), "documents": posted, "problems": problems}


def measure_running(now: dt.datetime) -> int:
    """Post all incurred costs, then measure every campaign that runs or lately ran. Returns how many."""
    post_incurred(now)
    campaigns = Campaign.objects.filter(
        state__in=[CampaignState.RUNNING, CampaignState.PAUSED, CampaignState.FINISHED],
        ends_at__gte=now - dt.timedelta(days=LATE_DAYS),
    ).exclude(kind=Campaign.Kind.IMPORTED)
    for campaign in campaigns:
        measure(campaign, now)
    return len(campaigns)
