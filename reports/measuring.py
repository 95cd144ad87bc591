"""Bring a campaign's reports up to date: ledger, attribution, lift. Safe to run as often as one likes."""

import datetime as dt
import time
from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from audiences.jobs import report
from audiences.models import Job
from campaigns.models import Campaign
from campaigns.vocabulary import CampaignState
from reports import attribution, lift, selection
from reports.accruals import post_incurred
from reports.models import SelectionMeasure

# A campaign is measured while it runs, and for as long as late orders may still belong to it.
LATE_DAYS = 14
SHARE = 10


def measure(campaign: Campaign, now: dt.datetime) -> None:
    """New runs of every attribution model, a new lift measurement, and the selection beside it."""
    began = time.monotonic()
    for model in attribution.MODELS:
        attribution.attribute(campaign, model, now)
    attribution.forget_old(campaign)
    lift.store(campaign, lift.measure(campaign, now), now)
    found = selection.selection(campaign, now)
    selection.store(campaign, found, time.monotonic() - began)


def _rested(campaign: Campaign, now: dt.datetime) -> bool:
    """A large campaign takes long to measure: it is done so often that it takes a tenth of the time at most."""
    last = SelectionMeasure.objects.filter(campaign_id=campaign.pk).order_by("-computed_at", "-id").first()
    return last is None or (now - last.computed_at).total_seconds() >= SHARE * last.seconds


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
    campaigns = [campaign for campaign in _measurable(now) if _rested(campaign, now)]
    for campaign in campaigns:
        measure(campaign, now)
    return len(campaigns)


def _measurable(now: dt.datetime) -> QuerySet[Campaign]:
    return Campaign.objects.filter(
        state__in=[CampaignState.RUNNING, CampaignState.PAUSED, CampaignState.FINISHED],
        ends_at__gte=now - dt.timedelta(days=LATE_DAYS),
    ).exclude(kind=Campaign.Kind.IMPORTED)
