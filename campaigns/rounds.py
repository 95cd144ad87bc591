"""Rounds: the windows of a phase to which its frequency targets apply, and the ordinals approved for them.

A round is ``round_days`` calendar days of the campaign's zone, or the whole phase; of a recurring campaign a run
of it, of a triggered one the n-th time it opens for a person (such a round has no dates of its own). Numbers run over the
campaign and never move: the n-th round of a phase keeps its number when the phase is moved, shortened or
lengthened, since touches carry it.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from campaigns import cadence as cadences
from campaigns.hours import zone_info
from campaigns.models import Campaign, Round
from campaigns.queries import rounds as queries


@dataclass(frozen=True, slots=True)
class RoundSpan:
    """A round as it should be. ``phase`` is the phase's index in the campaign. Half open, UTC."""

    number: int
    phase: int
    starts_at: dt.datetime
    ends_at: dt.datetime


def spans_of(
    starts_at: dt.datetime, ends_at: dt.datetime, round_days: int | None, zone: str
) -> list[tuple[dt.datetime, dt.datetime]]:
    """The windows of a phase: each begins at the phase's local time of day, ``round_days`` dates on.

    The last one may be shorter. Days are the calendar's: daylight saving makes a round an hour longer or
    shorter, and does not move its beginning.
    """
    if not round_days:
        return [(starts_at, ends_at)]
    local = starts_at.astimezone(zone_info(zone))
    found: list[tuple[dt.datetime, dt.datetime]] = []
    begins = starts_at
    while begins < ends_at:
        following = local.date() + dt.timedelta(days=round_days * (len(found) + 1))
        until = dt.datetime.combine(following, local.time(), tzinfo=local.tzinfo).astimezone(dt.UTC)
        found.append((begins, min(until, ends_at)))
        begins = until
    return found


def spans_in(
    document: Mapping[str, Any],
    starts_at: dt.datetime,
    ends_at: dt.datetime,
    round_days: int | None,
    flight_starts: dt.datetime | None,
) -> list[tuple[dt.datetime, dt.datetime]]:
    """The rounds of a phase of a campaign of any kind. ``document`` needs kind, cadence and zone.

    Runs belong to the phase they begin in. A triggered campaign's rounds all may lie anywhere in the phase.
    """
    if cadences.is_triggered(document):
        return [(starts_at, ends_at)] * cadences.times(document)
    if cadences.is_recurring(document):
        begin = flight_starts or starts_at
        return [
            (begins, min(ends, ends_at))
            for begins, ends in cadences.runs(document["cadence"], begin, document["zone"])
            if starts_at <= begins < ends_at
        ]
    return spans_of(starts_at, ends_at, round_days, document["zone"])


def number(
    phases: Sequence[tuple[int | None, Sequence[tuple[dt.datetime, dt.datetime]]]],
    known: Iterable[tuple[int, int]],
) -> list[RoundSpan]:
    """Give rounds their numbers. ``phases`` are (phase id, spans) in order, ``known`` (phase id, number)."""
    numbers: dict[int, list[int]] = {}
    last = 0
    for owner, taken in sorted(known, key=lambda row: row[1]):
        numbers.setdefault(owner, []).append(taken)
        last = max(last, taken)
    found = []
    for index, (phase_id, spans) in enumerate(phases):
        kept = numbers.get(phase_id, []) if phase_id is not None else []
        for turn, (starts_at, ends_at) in enumerate(spans):
            if turn < len(kept):
                own = kept[turn]
            else:
                last += 1
                own = last
            found.append(RoundSpan(own, index, starts_at, ends_at))
    return found


def write_rounds(campaign: Campaign, version_number: int, now: dt.datetime | None = None) -> int:
    """Write the rounds of the campaign's phases and the ordinals its matrix approves; how many are in force.

    Idempotent. Ordinals that the matrix has no more (a lower target, a channel or phase taken out) are
    withdrawn, never deleted; a target that is raised again takes them back.
    """
    with transaction.atomic():
        Campaign.objects.select_for_update(of=("self",)).get(pk=campaign.pk)
        phases = list(campaign.phases.order_by("position", "id"))
        known = Round.objects.filter(campaign=campaign).values_list("phase_id", "number")
        told = {"kind": campaign.kind, "cadence": campaign.cadence, "zone": campaign.zone}
        open_ended = cadences.is_triggered(told)
        wanted = number(
            [
                (
                    phase.pk,
                    spans_in(told, phase.starts_at, phase.ends_at, phase.round_days, campaign.starts_at),
                )
                for phase in phases
            ],
            known,
        )
        Round.objects.bulk_create(
            [
                Round(
                    campaign=campaign,
                    number=span.number,
                    phase=phases[span.phase],
                    starts_at=None if open_ended else span.starts_at,
                    ends_at=None if open_ended else span.ends_at,
                    occasion_id=campaign.occasion_id if open_ended else None,
                )
                for span in wanted
            ],
            update_conflicts=True,
            unique_fields=["campaign", "number"],
            update_fields=["phase", "starts_at", "ends_at"],
        )
        numbers = [span.number for span in wanted]
        queries.approve_ordinals(campaign.pk, numbers, version_number)
        queries.withdraw_ordinals(campaign.pk, numbers, now or timezone.now())
        return queries.count_ordinals(campaign.pk)
