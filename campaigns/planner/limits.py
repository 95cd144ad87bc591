"""Contact policy and platform quotas as limits on one person's contacts, and what already takes their places."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from campaigns import pressure
from campaigns.hours import zone_info
from campaigns.person_quotas import QUOTAS
from campaigns.planner.causes import CODE
from campaigns.planner.people import People
from campaigns.planner.spec import Spec
from campaigns.queries import plan as queries
from campaigns.vocabulary import Cause
from channels import platform_rules

HOUR = 3600
FAR = np.int64(1) << 60  # a moment that never comes


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``touches`` contacts on these channels in any ``seconds`` on end, or in a calendar period.

    ``channels`` None counts every channel of ours, in the campaign or not.
    """

    name: str
    touches: int
    seconds: int
    period: str  # day, week, month; '' is a rolling window
    channels: tuple[int, ...] | None
    cause: int

    def counts(self, channel_id: int) -> bool:
        return self.channels is None or channel_id in self.channels


@dataclass(frozen=True, slots=True)
class Contacts:
    """Places taken by other contacts, by person (index), in order of person and time.

    ``mask`` has bit n set where limit n counts the contact. Times in Unix seconds.
    """

    person: NDArray[np.int64]
    at: NDArray[np.int64]
    mask: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.person)


def read(spec: Spec) -> list[Limit]:
    """The limits that touch the campaign's channels."""
    found = [
        Limit(rule.name, rule.touches, rule.hours * HOUR, "", rule.channels, CODE[Cause.PRESSURE])
        for rule in pressure.rules_in_force(spec.now)
        if any(rule.counts(channel.id) for channel in spec.channels)
    ]
    for channel in spec.channels:
        country = platform_rules.country_of(channel.channel)
        for key, period in QUOTAS.items():
            value = platform_rules.rule_value(
                channel.medium, key, channel=channel.channel, country=country, on=spec.begins.date()
            )
            touches = platform_rules.messages_a_month(value, 28) if period == "month" else value
            if touches is None:
                continue
            found.append(
                Limit(
                    f"{channel.name}: {platform_rules.KEYS[key].label}",
                    int(touches),
                    24 * HOUR,
                    period,
                    (channel.id,),
                    CODE[Cause.PLATFORM_RULE],
                )  # fmt: skip
            )
    return [limit for limit in found if _may_bind(spec, limit)][:32]


def _may_bind(spec: Spec, limit: Limit) -> bool:
    """A quota far above what the campaign plans for anybody need not be looked at."""
    counted = np.array([limit.counts(spec.channels[cell.channel].id) for cell in spec.cells], dtype=bool)
    most = int(spec.targets[:, counted].sum(axis=1).max(initial=0))
    return most > 0 and (limit.cause == CODE[Cause.PRESSURE] or 2 * most > limit.touches)


def fetch(
    spec: Spec,
    limits: Sequence[Limit],
    people: People,
    audience: str,
    *,
    other_than: int,
    only: Sequence[int] | None = None,
) -> Contacts:
    """What takes places of these people already: contacts sent, and planned touches of all campaigns but one."""
    rows = []
    rolling = [n for n, limit in enumerate(limits) if limit.cause == CODE[Cause.PRESSURE]]
    quotas = [n for n, limit in enumerate(limits) if limit.cause == CODE[Cause.PLATFORM_RULE]]
    reach = dt.timedelta(seconds=max((limits[n].seconds for n in rolling), default=0))
    if rolling:
        found = queries.fetch_contacts(
            audience,
            campaign_id=other_than,
            since=spec.begins - reach,
            now=spec.now,
            until=spec.ends_at + reach,
            only=only,
        )
        rows.append(_marked(found, limits, rolling, people))
    if quotas:
        begins = spec.begins.astimezone(zone_info(settings.TIME_ZONE)).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        found = queries.fetch_quota_used(
            audience,
            campaign_id=other_than,
            channels=sorted({channel for n in quotas for channel in limits[n].channels or ()}),
            since=begins.replace(day=1) - dt.timedelta(days=7),
            now=spec.now,
            until=spec.ends_at + dt.timedelta(days=31),
            only=only,
        )
        rows.append(_marked(found, limits, quotas, people))
    person, at, mask = (np.concatenate(parts) for parts in zip(*rows, strict=True)) if rows else (
        np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint32)
    )  # fmt: skip
    order = np.lexsort((at, person))
    return Contacts(person[order], at[order], mask[order])


def _marked(
    found: NDArray[Any], limits: Sequence[Limit], which: Sequence[int], people: People
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
    """Contacts of people we have, with the limits that count them; those no limit counts are left out."""
    place = np.searchsorted(people.ids, found["customer"])
    known = place < len(people)
    known[known] = people.ids[place[known]] == found["customer"][known]
    mask = np.zeros(len(found), dtype=np.uint32)
    channels, inverse = np.unique(found["channel"], return_inverse=True)
    for n in which:
        counted = np.array([limits[n].counts(int(channel)) for channel in channels], dtype=bool)
        mask |= np.where(counted[inverse], np.uint32(1) << np.uint32(n), np.uint32(0)) if len(channels) else 0
    kept = known & (mask > 0)
    return place[kept].astype(np.int64), found["at"][kept].astype(np.int64), mask[kept]


def channel_masks(spec: Spec, limits: Sequence[Limit]) -> NDArray[np.uint32]:
    """For each channel of the campaign, the limits that count it, as bits."""
    found = np.zeros(len(spec.channels), dtype=np.uint32)
    for n, limit in enumerate(limits):
        for index, channel in enumerate(spec.channels):
            if limit.counts(channel.id):
                found[index] |= np.uint32(1) << np.uint32(n)
    return found


def periods(at: NDArray[np.int64], period: str) -> NDArray[np.int64]:
    """A number for the calendar period (of the company's zone) each moment lies in."""
    if len(at) == 0:
        return at
    edges = _edges(int(at[at < FAR].min(initial=0)), int(at[at < FAR].max(initial=0)), period)
    return np.searchsorted(edges, at, side="right")


def _edges(first: int, last: int, period: str) -> NDArray[np.int64]:
    """The beginnings of the periods from before ``first`` to after ``last``."""
    zone = zone_info(settings.TIME_ZONE)
    day = dt.datetime.fromtimestamp(first, zone).date()
    if period == "month":
        day = day.replace(day=1)
    elif period == "week":
        day -= dt.timedelta(days=day.weekday())
    found: list[int] = []
    while not found or found[-1] <= last:
        found.append(int(dt.datetime.combine(day, dt.time.min, tzinfo=zone).timestamp()))
        if period == "month":
            day = (day.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
        else:
            day += dt.timedelta(days=7 if period == "week" else 1)
    return np.array(found, dtype=np.int64)


def fits(
    at: NDArray[np.int64],
    mask: NDArray[np.uint32],
    times: NDArray[np.int64],
    masks: NDArray[np.uint32],
    limits: Sequence[Limit],
) -> NDArray[np.uint8]:
    """Whether each person may have one more contact: 0, or the cause of the first limit it would break.

    ``at`` and ``mask`` (n) are the new contact's time and limits; ``times`` and ``masks`` (n × contacts, FAR
    where empty) those the person has. Exact, also where contacts lie after the new one.
    """
    found = np.zeros(len(at), dtype=np.uint8)
    for n, limit in enumerate(limits):
        bit = np.uint32(1) << np.uint32(n)
        rows = np.flatnonzero((mask & bit > 0) & (found == 0))
        if len(rows) == 0:
            continue
        if limit.touches <= 0:
            found[rows] = limit.cause
            continue
        seen = np.where(masks[rows] & bit > 0, times[rows], FAR)
        busy = (seen < FAR).sum(axis=1) >= limit.touches
        rows, seen = rows[busy], seen[busy]
        if len(rows) == 0:
            continue
        new = at[rows]
        if limit.period:
            every = np.concatenate([seen, new[:, None]], axis=1)
            numbers = periods(every.ravel(), limit.period).reshape(every.shape)
            broken = (numbers[:, :-1] == numbers[:, -1:]).sum(axis=1) >= limit.touches
        else:
            broken = ((seen >= new[:, None]) & (seen < new[:, None] + limit.seconds)).sum(
                axis=1
            ) >= limit.touches
            for column in range(seen.shape[1]):
                start = seen[:, column : column + 1]
                holds = (start <= new[:, None]) & (new[:, None] - start < limit.seconds)
                inside = (seen >= start) & (seen < start + limit.seconds)
                broken |= holds[:, 0] & (inside.sum(axis=1) >= limit.touches)
        found[rows[broken]] = limit.cause
    return found
