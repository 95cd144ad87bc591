"""Tables of the coverage pages: lines of counts, each knowing the address of the rows behind its numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _

from audiences.vocabulary import Stage
from campaigns.models import Campaign
from reports.coverage import ChannelCoverage, Count, Coverage
from reports.coverage_all import AllCoverage
from reports.narrowing import NEVER

# Lists across all campaigns stand below the page of all of them.
EVERYWHERE = "all/"


@dataclass(frozen=True, slots=True)
class Line:
    """``level`` 0 heads those of level 1 below it. A figure's rows stand at ``base`` + figure + ``where``."""

    title: Any
    count: Count
    base: str
    where: str = ""  # a query string with its question mark
    note: Any = ""
    level: int = 0
    href: str = ""


def base(campaign: Campaign) -> str:
    return reverse("reports:coverage", args=[campaign.pk])


def _where(**narrowed: Any) -> str:
    return f"?{urlencode(narrowed)}" if narrowed else ""


def _stages(counts: Mapping[str, Count]) -> list[tuple[str, Any, Count]]:
    """In the order of maturity; a stage that is no more, last."""
    known = [(value, label, counts[value]) for value, label in Stage.choices if value in counts]
    others = [(value, value, count) for value, count in counts.items() if value not in Stage.values]
    return known + others


def whole(report: Coverage) -> Line:
    return Line("", report.total, base(report.campaign))


def reported(report: Coverage) -> list[ChannelCoverage]:
    """Channels of which a platform tells something, or holds an audience."""
    return [line for line in report.channels if line.reported or line.audience or line.responses]


def by_class(report: Coverage) -> list[Line]:
    """Classes of observability, their channels, and the stages of each."""
    here = base(report.campaign)
    lines = []
    for each in report.classes:
        several = len(each.channels) > 1
        if several or len(report.classes) > 1:
            where = _where(**{"class": each.observability})
            lines.append(Line(each.label, each.count, here, where, level=0))
        for line in each.channels:
            if not line.count.target and not line.count.due:
                continue
            stages = _stages(line.stages)
            alone = stages[0][1] if len(stages) == 1 else ""
            where = _where(channel=line.channel.pk)
            lines.append(Line(line.channel.name, line.count, here, where, note=alone, level=1))
            if len(stages) > 1:
                lines += [
                    Line(label, count, here, _where(channel=line.channel.pk, stage=value), level=2)
                    for value, label, count in stages
                ]
    return lines


def by_phase(report: Coverage) -> list[Line]:
    here = base(report.campaign)
    lines = []
    for phase, count, rounds in report.phases:
        lines.append(Line(phase.name, count, here, _where(phase=phase.pk)))
        if len(rounds) > 1:
            lines += [
                Line(
                    _("Round %(number)s") % {"number": each.number},
                    own,
                    here,
                    _where(round=each.number),
                    level=2,
                )
                for each, own in rounds
            ]
    return lines


def by_stage(report: Coverage) -> list[Line]:
    here = base(report.campaign)
    return [Line(label, count, here, _where(stage=value)) for value, label, count in _stages(report.stages)]


def by_day(report: Coverage) -> list[Line]:
    """Days touches were due; and what was never planned, which has no day, so that all adds up."""
    here = base(report.campaign)
    lines = [Line(day.isoformat(), count, here, _where(day=day.isoformat())) for day, count in report.days]
    if report.never_planned.gap:
        lines.append(Line(_("never planned"), report.never_planned, here, _where(day=NEVER)))
    return lines


# Across all campaigns ------------------------------------------------------------------------------


def of_span(report: AllCoverage) -> str:
    return _where(since=report.since.isoformat(), until=report.until.isoformat())


def _in_span(report: AllCoverage, **narrowed: Any) -> str:
    return _where(since=report.since.isoformat(), until=report.until.isoformat(), **narrowed)


def whole_of_all(report: AllCoverage) -> Line:
    return Line("", report.total, EVERYWHERE, of_span(report))


def by_campaign(report: AllCoverage) -> list[Line]:
    return [
        Line(
            line.campaign.name,
            line.count,
            base(line.campaign),
            href=base(line.campaign),
            note=line.campaign.get_state_display(),
        )
        for line in report.campaigns
    ]


def by_channel_of_all(report: AllCoverage) -> list[Line]:
    return [
        Line(
            channel.name,
            count,
            EVERYWHERE,
            _in_span(report, channel=channel.pk),
            note=channel.get_observability_display(),
        )
        for channel, count in report.channels
    ]


def by_stage_of_all(report: AllCoverage) -> list[Line]:
    return [
        Line(label, count, EVERYWHERE, _in_span(report, stage=value))
        for value, label, count in _stages(report.stages)
    ]


def by_day_of_all(report: AllCoverage) -> list[Line]:
    """Days of each campaign's own zone."""
    lines = [
        Line(day.isoformat(), count, EVERYWHERE, _in_span(report, day=day.isoformat()))
        for day, count in report.days
    ]
    if report.never_planned.gap:
        lines.append(Line(_("never planned"), report.never_planned, EVERYWHERE, _in_span(report, day=NEVER)))
    return lines
