"""Keeping coverage current: changes are folded, attached partitions counted, figures about people renewed.

Cells are exact at any moment (``reports/queries/coverage_days.py``); what is kept here keeps them quick. Figures
about people are renewed within about a minute after a change, but never take more than a twentieth of the
time: at 10 million touches one renewal takes seconds. Small campaigns are counted as the page is opened.
"""

import datetime as dt
import logging
import time
from collections.abc import Collection
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from campaigns.models import Campaign
from campaigns.vocabulary import CampaignState
from channels.queries.locks import alone
from reports.models import CoverageStanding
from reports.queries import coverage_days as queries
from reports.queries import people

log = logging.getLogger(__name__)

LIVE_TOUCHES = 20_000  # up to so many, people are counted when asked: a few hundredths of a second
AT_LEAST = 60.0  # seconds between two renewals
SHARE = 20  # a renewal is followed by so many times its own length
ANYWAY = dt.timedelta(minutes=15)  # exposures and receipts come without a touch changing
CONTACT_DAYS = 30
EVERYBODY = 0  # the standing of all campaigns together


def bring_up_to_date(now: dt.datetime) -> int:
    """Fold, count and renew what changed; how many things were done. One at a time does it."""
    with alone(queries.LOCK_SPACE, EVERYBODY) as mine:
        if not mine:
            return 0
        new = [campaign_id for campaign_id, _zone, _table in queries.uncounted()]
        for campaign_id in new:
            count(campaign_id, now)
        changed = queries.changed()
        for campaign_id in changed:
            fold(campaign_id)
        everybody, _made = CoverageStanding.objects.get_or_create(
            campaign_id=EVERYBODY, defaults={"counted_at": now}
        )
        if changed and not everybody.people_changed:
            CoverageStanding.objects.filter(campaign_id=EVERYBODY).update(people_changed=True)
        due = CoverageStanding.objects.filter(_worth_renewing(now)).order_by("people_at")
        renewed = [renew(standing.campaign_id) for standing in due if _rested(standing, now)]
    return len(new) + len(changed) + len(renewed)


def _worth_renewing(now: dt.datetime) -> Q:
    running = Campaign.objects.filter(state__in=(CampaignState.RUNNING, CampaignState.PAUSED)).values("pk")
    old = Q(people_at=None) | Q(people_at__lte=now - ANYWAY)
    return Q(people_changed=True) | old & (Q(campaign_id__in=running) | Q(campaign_id=EVERYBODY))


def _rested(standing: CoverageStanding, now: dt.datetime) -> bool:
    if standing.people_at is None:
        return True
    return (now - standing.people_at).total_seconds() >= max(AT_LEAST, SHARE * standing.people_seconds)


def fold(campaign_id: int) -> None:
    """Add the changes of a campaign to its cells."""
    with queries.hold(campaign_id):
        queries.fold(campaign_id)
        CoverageStanding.objects.filter(campaign_id=campaign_id).update(people_changed=True)


def count(campaign_id: int, now: dt.datetime) -> int:
    """Count all cells of a campaign from its rows; how many. For what changed without a statement of ours."""
    with queries.hold(campaign_id):
        for _campaign, zone, touch_table in queries.uncounted(campaign_id):
            values = {"zone": zone, "touch_table": touch_table, "counted_at": now, "people_changed": True}
            CoverageStanding.objects.update_or_create(campaign_id=campaign_id, defaults=values)
        return queries.recount(campaign_id)


def count_day(campaign: Campaign, day: dt.date) -> int:
    """Count the cells of one day (of the campaign's zone) from its rows; how many. Safe at any time."""
    with queries.hold(campaign.pk):
        return queries.recount_day(campaign.pk, day, campaign.zone)


def ready(campaign: Campaign, now: dt.datetime) -> None:
    """See to it that a campaign is counted: only the first look after its release has work to do."""
    if queries.uncounted(campaign.pk):
        count(campaign.pk, now)


def check(campaign: Campaign, now: dt.datetime) -> int:
    """Hold the cells against the rows, in one snapshot; cells that differ are mended and reported."""
    found = queries.differences(campaign.pk)
    if found:
        log.error("coverage of campaign %s was wrong in %s cells; it is counted anew", campaign.pk, found)
        count(campaign.pk, now)
    CoverageStanding.objects.filter(campaign_id=campaign.pk).update(checked_at=now, differences=found)
    return found


def check_all(now: dt.datetime) -> int:
    """Check every campaign that runs or ended lately; how many cells were wrong."""
    lately = Campaign.objects.filter(
        Q(state__in=(CampaignState.RUNNING, CampaignState.PAUSED))
        | Q(state=CampaignState.FINISHED, ends_at__gte=now - dt.timedelta(days=14))
    )
    return sum(check(campaign, now) for campaign in lately)


def renew(campaign_id: int) -> CoverageStanding:
    """Figures about people as of now, kept. For ``EVERYBODY``: contacts of the last 30 days."""
    began = time.monotonic()
    figures, at = _figures(campaign_id)
    values = {
        "people": figures,
        "people_at": at,
        "people_seconds": time.monotonic() - began,
        "people_changed": False,
    }
    standing, _made = CoverageStanding.objects.update_or_create(
        campaign_id=campaign_id, defaults=values, create_defaults={**values, "counted_at": at}
    )
    return standing


def _figures(campaign_id: int) -> tuple[dict[str, Any], dt.datetime]:
    with transaction.atomic():
        people.one_snapshot()
        at = timezone.now()
        if campaign_id == EVERYBODY:
            return {"contacts": people.contacts_of_people(at - dt.timedelta(days=CONTACT_DAYS))}, at
        return people.figures(campaign_id), at


def is_small(campaign_id: int) -> bool:
    """Whether everything about a campaign can be computed when it is asked for."""
    return queries.size(campaign_id) <= LIVE_TOUCHES


def people_of(campaign_id: int, touches: int) -> tuple[dict[str, Any], dt.datetime]:
    """Figures about people, and as of when: now where that is quick, else as last renewed."""
    if touches <= LIVE_TOUCHES:
        return _figures(campaign_id)
    return _kept(campaign_id)


def people_of_all(campaigns: Collection[int]) -> dict[int, tuple[dict[str, Any], dt.datetime]]:
    """Figures about people of campaigns as last renewed, and as of when; at once for those that never were."""
    kept = {
        standing.campaign_id: (standing.people, standing.people_at)
        for standing in CoverageStanding.objects.filter(campaign_id__in=campaigns)
        if standing.people_at is not None
    }
    return kept | {pk: _kept(pk) for pk in campaigns if pk not in kept}


def contacts() -> tuple[list[dict[str, int]], dt.datetime]:
    """Who was contacted how often in the last 30 days, over all campaigns; and as of when."""
    quick = CoverageStanding.objects.filter(campaign_id=EVERYBODY, people_seconds__lt=0.1)
    figures, at = _figures(EVERYBODY) if quick.exclude(people_at=None).exists() else _kept(EVERYBODY)
    return figures["contacts"], at


def _kept(campaign_id: int) -> tuple[dict[str, Any], dt.datetime]:
    standing = CoverageStanding.objects.filter(campaign_id=campaign_id).exclude(people_at=None).first()
    if standing is None:
        standing = renew(campaign_id)
    return standing.people, standing.people_at or standing.counted_at
