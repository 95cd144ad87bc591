"""Triggered campaigns: what happens is noticed, and the campaign opens for the person when the time has come.

Occasions with a day are noticed a day ahead, events as they are told, stages and entries at the next look. It
opens for the person once the wait is over, if they are in the audience then, have not had it too often, and have
not left it: they become members, with touches in the round of their n-th time. A look that comes late opens what is
still within its window; the rest is passed over, never sent late.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from campaigns import cadence, definition, occasions, versions
from campaigns.definition import Document
from campaigns.hours import zone_info
from campaigns.models import Campaign, Clock
from campaigns.planner.people import audience_sql
from campaigns.planner.spec import Window
from campaigns.planner.spec import read as read_spec
from campaigns.queries import occasions as having
from campaigns.queries import triggers as queries
from campaigns.release import open_for, present_of

AHEAD = timedelta(days=1)
EVERY = timedelta(minutes=10)  # days are looked at so often; events at every look
LOOKED_BACK = timedelta(minutes=10)
"""Events are looked at again for so long, since a transaction that began earlier may commit later."""
AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look found."""

    noticed: int = 0
    opened: int = 0
    passed_over: int = 0
    touches: int = 0


def look(campaign: Campaign, now: datetime) -> Looked:
    """Notice what happened and open what is due."""
    document = versions.holding(campaign)
    noticed = notice(campaign, document, now)
    opened, passed, touches = open_due(campaign, document, now)
    return Looked(noticed, opened, passed, touches)


def notice(campaign: Campaign, document: Document, now: datetime) -> int:
    """Write down what opens the campaign for whom, and when. What is known already is not written twice."""
    own, wait = document["cadence"], cadence.wait(document["cadence"])
    begins = definition.as_moment(document["starts_at"]) or now
    clock, _made = Clock.objects.get_or_create(
        name=f"openings:{campaign.pk}", defaults={"at": campaign.released_at or now, "value": 0}
    )
    event = cadence.event_of(document)
    if event:
        since = max(begins, campaign.released_at or begins)
        found = queries.notice_events(
            campaign.pk, event, wait, received_since=clock.at - LOOKED_BACK, since=since
        )
        Clock.objects.filter(pk=clock.pk).update(at=now)
        return found
    present = present_of(campaign, document)
    if present:
        return queries.notice_present(campaign.pk, present, now + wait, None, "")
    if own.get("by") != "occasion" or not document.get("occasion"):
        return 0
    if clock.value and now - clock.at < EVERY and now >= clock.at:
        return 0
    found = _notice_days(campaign, document, wait, begins, now)
    Clock.objects.filter(pk=clock.pk).update(at=now, value=1)
    return found


def _notice_days(
    campaign: Campaign, document: Document, wait: timedelta, begins: datetime, now: datetime
) -> int:
    occasion = document["occasion"]
    lead = int(occasion.get("lead_days") or 0)
    window = cadence.window(document["cadence"])
    found = 0
    for zone in having.zones():
        info = zone_info(zone)
        first = (max(begins, now - window) - wait).astimezone(info).date() + timedelta(days=lead)
        last = (now + AHEAD - wait).astimezone(info).date() + timedelta(days=lead)
        if last < first:
            continue
        who = occasions.having(occasion, occasions.days_between(first, last), (), zone)
        found += queries.notice_days(campaign.pk, who, lead, zone, wait, begins)
    return found


def open_due(campaign: Campaign, document: Document, now: datetime) -> tuple[int, int, int]:
    """Open what is due: (times opened, passed over, touches written).

    Raises :class:`campaigns.planner.PlanError`; what is not opened then stays due.
    """
    own = document["cadence"]
    window = cadence.window(own)
    audience = audience_sql(read_spec(campaign, now, document).segment)
    opened = passed = touches = 0
    while True:
        with transaction.atomic():
            groups, due, over = queries.due(
                campaign.pk, audience, now, window=window,
                apart=timedelta(days=int(own.get("apart_days") or 0)), most=cadence.times(document), limit=AT_ONCE,
            )  # fmt: skip
        passed += over
        for group in groups:
            more = _open(campaign, document, group, window, now)
            opened += len(group.openings)
            touches += more
        if due == 0 or not (groups or over):
            return opened, passed, touches


def _open(
    campaign: Campaign, document: Document, group: queries.Group, window: timedelta, now: datetime
) -> int:
    if group.held_out:  # held out for good: they are counted with the others, and get nothing
        queries.opened(group.openings, group.customers, group.turn, now)
        return 0
    if group.known:
        queries.reopen(campaign.pk, group.customers, now)
    return open_for(
        campaign, document, Window(group.turn, now, group.opens_at + window), group.openings, group.customers,
        known=group.known, now=now,
    )  # fmt: skip
