"""Coverage across all campaigns whose flight meets a span of days: whole, by campaign, channel, stage and day."""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from campaigns.models import Campaign
from channels.models import Channel
from reports import coverage_days
from reports.coverage import CauseLine, Count, cause_lines, days_due
from reports.models.coverage import NO_DAY
from reports.queries import coverage as queries
from reports.queries import coverage_days as cells


@dataclass(frozen=True, slots=True)
class CampaignLine:
    campaign: Campaign
    count: Count


@dataclass(frozen=True, slots=True)
class AllCoverage:
    """``people_as_of``: of when the oldest of the figures about over is; None without campaigns."""

    as_of: dt.datetime
    people_as_of: dt.datetime | None
    since: dt.date
    until: dt.date
    total: Count
    campaigns: list[CampaignLine]
    channels: list[tuple[Channel, Count]]
    stages: dict[str, Count]
    days: list[tuple[dt.date, Count]]
    never_planned: Count
    causes: list[CauseLine]


def coverage_of_all(since: dt.date, until: dt.date) -> AllCoverage:
    """Campaigns whose flight meets ``since``–``until``, both included, days of the reader's zone."""
    as_of = timezone.now()
    for campaign_id, _zone, _table in cells.uncounted():
        coverage_days.count(campaign_id, as_of)
    total = Count()
    by_campaign: dict[int, Count] = defaultdict(Count)
    by_channel: dict[int, Count] = defaultdict(Count)
    by_stage: dict[str, Count] = defaultdict(Count)
    by_day: dict[dt.date, Count] = defaultdict(Count)
    for row in queries.over_all(*_span(since, until)):
        if row["campaign_id"] is not None:
            for count in (total, by_campaign[row["campaign_id"]], by_channel[row["channel_id"]]):
                count.take(row)
        elif row["day"] is None:
            by_stage[row["stage"]].take(row)
        else:
            by_day[row["day"]].take(row)
    never_planned = by_day.pop(NO_DAY, Count())
    kept = coverage_days.people_of_all(by_campaign)
    for pk, (people, _at) in kept.items():
        _add_over((total, by_campaign[pk]), by_channel, by_stage, by_day, people["over"])
    campaigns = (
        Campaign.objects.filter(pk__in=by_campaign).select_related("brand").order_by("-starts_at", "-id")
    )
    channels = Channel.objects.in_bulk(list(by_channel))
    return AllCoverage(
        as_of=as_of,
        people_as_of=min((at for _people, at in kept.values()), default=None),
        since=since,
        until=until,
        total=total,
        campaigns=[CampaignLine(each, by_campaign[each.pk]) for each in campaigns],
        channels=sorted(
            ((channels[pk], count) for pk, count in by_channel.items() if pk in channels),
            key=lambda line: line[0].name,
        ),
        stages=dict(by_stage),
        days=days_due(by_day),
        never_planned=never_planned,
        causes=cause_lines(total.gaps),
    )


def _span(since: dt.date, until: dt.date) -> tuple[dt.datetime, dt.datetime]:
    zone = timezone.get_current_timezone()
    return (
        dt.datetime.combine(since, dt.time.min, zone),
        dt.datetime.combine(until, dt.time.max, zone),
    )


def campaigns_of(since: dt.date, until: dt.date) -> list[int]:
    """The campaigns of :func:`coverage_of_all`, in the order of their ids."""
    return queries.campaigns(*_span(since, until))


def _add_over(
    wholes: tuple[Count, Count],
    by_channel: Mapping[int, Count],
    by_stage: Mapping[str, Count],
    by_day: Mapping[dt.date, Count],
    over: Mapping[str, Any],
) -> None:
    for kind, found in over.items():
        for row in found:
            day = dt.date.fromisoformat(row["day"])
            for count in (*wholes, by_channel[row["channel"]], by_stage[row["stage"]], by_day[day]):
                count.over[kind] += row["touches"]
