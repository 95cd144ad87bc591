"""Daily reports of platforms: fetched again for the last days, since figures settle late; every version kept.

After a stop, days that nobody fetched are fetched too, as far back as the platform gives them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from django.db import transaction
from django.db.models import Max

from audiences.days import ONE, day_of
from channels import calls, fetching
from channels.accounts import adapter_for
from channels.adapters.base import AdapterError, ReportRow
from channels.fetching import Kind
from channels.models import Channel, ChannelFetch, DailyReport
from channels.platform_rules import rule_value
from channels.queries import daily_reports as queries

API = "api"
DAYS = 3
REACH = 180  # days back, where no rule says how far a platform gives reports
A_RUN = 31  # days of a stop fetched in one run: the next goes on, and other channels have their turn
NOT_GIVEN = ""  # further back than the platform gives


def store(channel: Channel, rows: Sequence[ReportRow], now: datetime, source: str = API) -> int:
    """Keep what differs from the newest version; returns how many versions are new.

    Rows of one day and placement are added up: a platform may split a placement in ways we do not keep.
    """
    merged: dict[tuple[date, str], ReportRow] = {}
    for row in rows:
        key = (row.day, row.placement[:160])
        merged[key] = _add(merged[key], row) if key in merged else row
    if not merged:
        return 0
    found = list(merged.items())
    columns: dict[str, Sequence[Any]] = {
        "day": [key[0] for key, _row in found],
        "placement": [key[1] for key, _row in found],
        "currency": [(row.currency or channel.currency)[:3].upper() for _key, row in found],
        "spend": [row.spend for _key, row in found],
        "exposures": [row.exposures for _key, row in found],
        "clicks": [row.clicks for _key, row in found],
        "reach": [row.reach for _key, row in found],
        "frequency": [row.frequency for _key, row in found],
        "conversions": [row.conversions for _key, row in found],
    }
    with transaction.atomic():
        return queries.store(channel.pk, columns, source, now)


def _add(one: ReportRow, other: ReportRow) -> ReportRow:
    """Amounts add up; reach and frequency of overlapping people do not, so they are unknown."""

    def total(a: int | None, b: int | None) -> int | None:
        return b if a is None else a if b is None else a + b

    conversions = other.conversions if one.conversions is None else one.conversions + (other.conversions or 0)
    return ReportRow(
        day=one.day,
        placement=one.placement,
        currency=one.currency,
        spend=one.spend + other.spend,
        exposures=total(one.exposures, other.exposures),
        clicks=total(one.clicks, other.clicks),
        conversions=conversions,
    )


def fetch(channel: Channel, now: datetime, days: int | None = None) -> int:
    """Fetch what is not settled: the last days, and those missed since; returns new versions.

    The last days come first; then, oldest first and so many a run, the days that nobody fetched while the installation
    or the channel stood still. A day the platform refuses although it gives others, or that lies further back than it
    gives, is kept as missed. Raises :class:`AdapterError`; what was fetched until then stays.
    """
    if days is None:
        days = max(1, _rule(channel, "report_days", DAYS, now))
    today, since = day_of(now), _settled_until(channel, days)
    newest = today - (days - 1) * ONE
    new = sum(_fetch_day(channel, today - back * ONE, now) for back in range(days))
    first = newest if since is None else min(newest, since + ONE)
    oldest = today - (max(days, _rule(channel, "report_reach_days", REACH, now)) - 1) * ONE
    if first < oldest:
        _miss(channel, first, min(oldest, newest) - ONE, NOT_GIVEN)
        first = oldest
    for day in [first + n * ONE for n in range(min((newest - first).days, A_RUN))]:
        try:
            new += _fetch_day(channel, day, now)
        except AdapterError as error:
            if error.retryable or error.stops_channel:
                raise
            _miss(channel, day, day, str(error))
        _settle(channel, day)
        first = day + ONE
    if first >= newest:
        _settle(channel, newest)
    return new


def _fetch_day(channel: Channel, day: date, now: datetime) -> int:
    calls.spend(channel)
    return store(channel, adapter_for(channel).fetch_report(day), now)


def _rule(channel: Channel, key: str, default: int, now: datetime) -> int:
    return int(rule_value(channel.medium, key, channel=channel, on=now.date(), default=default))


def _settled_until(channel: Channel, days: int) -> date | None:
    """The last day that need not be fetched again; None: nothing was ever fetched, and what was before is not ours.

    Where nobody kept it yet, the newest report says when it was last fetched.
    """
    settled = fetching.of(Kind.REPORTS, channel).settled_until
    if settled is not None:
        return settled
    last: date | None = DailyReport.objects.filter(channel=channel, source=API).aggregate(last=Max("day"))[
        "last"
    ]
    return last - (days - 1) * ONE if last else None


def _settle(channel: Channel, day: date) -> None:
    ChannelFetch.objects.filter(channel=channel, kind=Kind.REPORTS).update(settled_until=day)


def _miss(channel: Channel, first: date, last: date, why: str) -> None:
    """Days that cannot be had; a span that goes on with the same reason grows."""
    row = fetching.of(Kind.REPORTS, channel)
    spans = list(row.missed)
    if spans and spans[-1]["why"] == why and spans[-1]["until"] >= (first - ONE).isoformat():
        spans[-1] = spans[-1] | {"until": max(spans[-1]["until"], last.isoformat())}
    else:
        spans.append({"from": first.isoformat(), "until": last.isoformat(), "why": why[:500]})
    row.missed = spans
    row.save(update_fields=["missed"])


@dataclass(frozen=True, slots=True)
class Missed:
    """Days of which there is no report, and why. ``why`` is '' where they lie further back than the platform gives."""

    first: date
    last: date
    why: str


def missed(row: ChannelFetch) -> list[Missed]:
    """The spans that could not be had, without days that a file brought since."""
    found: list[Missed] = []
    for span in row.missed:
        first, last = date.fromisoformat(span["from"]), date.fromisoformat(span["until"])
        there = set(
            DailyReport.objects.filter(channel_id=row.channel_id, day__range=(first, last)).values_list(
                "day", flat=True
            )
        )
        for n in range((last - first).days + 1):
            day = first + n * ONE
            if day in there:
                continue
            if found and found[-1].last == day - ONE and found[-1].why == span["why"]:
                found[-1] = replace(found[-1], last=day)
            else:
                found.append(Missed(day, day, span["why"]))
    return found


def fetch_all(now: datetime) -> dict[int, int | str]:
    """Every channel whose adapter reports, paused ones too, as the platform may go on spending: new versions, or what
    went wrong."""
    asked = Channel.objects.filter(state__in=(Channel.State.ACTIVE, Channel.State.PAUSED))
    return fetching.each(Kind.REPORTS, asked.select_related("brand").order_by("pk"), fetch, now)
