"""Daily reports of platforms: fetched again for the last days, since figures settle late; every version kept."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from channels import calls, states
from channels.accounts import adapter_for
from channels.adapters import adapter_class
from channels.adapters.base import AdapterError, ReportRow
from channels.models import Channel
from channels.platform_rules import rule_value
from channels.queries import daily_reports as queries

DAYS = 3


def store(channel: Channel, rows: Sequence[ReportRow], now: datetime, source: str = "api") -> int:
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
    """Fetch the last days of a channel; returns new versions. Raises :class:`AdapterError`."""
    if days is None:
        days = int(rule_value(channel.medium, "report_days", channel=channel, on=now.date(), default=DAYS))
    adapter = adapter_for(channel)
    today = timezone.localdate(now)
    new = 0
    for back in range(days):
        calls.spend(channel)
        new += store(channel, adapter.fetch_report(today - timedelta(days=back)), now)
    return new


def fetch_all(now: datetime) -> dict[int, int | str]:
    """Every channel whose adapter reports, paused ones too, as the platform may go on spending: new versions, or what
    went wrong."""
    done: dict[int, int | str] = {}
    asked = Channel.objects.filter(state__in=(Channel.State.ACTIVE, Channel.State.PAUSED))
    for channel in asked.select_related("brand").order_by("pk"):
        if "fetch_report" not in adapter_class(channel.adapter).verbs():
            continue
        try:
            done[channel.pk] = fetch(channel, now)
        except AdapterError as error:
            done[channel.pk] = str(error)
            if error.stops_channel:
                states.stop(channel, str(error))
    return done
