"""What may be sent on a channel at this moment: campaigns, their hours, rules, rivals and addresses."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from audiences.contact_state import forms
from audiences.days import day_of
from audiences.vocabulary import Medium, permission_key
from campaigns import hours, lateness, pressure, quotas
from campaigns.addressing import addressed_by
from campaigns.models import ChannelPlan
from campaigns.queries import claim as queries
from campaigns.quotas import Limits
from campaigns.spending import Purse
from channels import calls as provider_calls
from channels.accounts import personal_links
from channels.models import Channel
from channels.vocabulary import Guarantee

READ_EVERY = 2.0  # seconds; the claim itself checks states again
_zones: set[str] = set()  # zones of members seen in this process
_zones_lock = threading.Lock()


@dataclass(slots=True)
class Sending:
    """One channel with all that a claim on it is told."""

    channel: Channel
    campaigns: list[int]
    priorities: dict[int, int]
    windows: dict[int, list[hours.Window]]
    addresses: list[tuple[str, str | None]]
    limits: Limits
    calls: provider_calls.Limits = field(default_factory=provider_calls.Limits)
    regions: Mapping[str, list[hours.Window]] = field(default_factory=dict)
    rivals: list[tuple[int, int, int]] = field(default_factory=list)
    unseen: list[int] = field(default_factory=list)  # channels on which nobody's reactions can be seen
    zones: Mapping[int, str] = field(default_factory=dict)  # of campaigns

    @property
    def permission(self) -> str:
        return permission_key(self.channel.brand_id, self.channel.medium)

    @property
    def blocks(self) -> list[str]:
        return list(forms(self.channel.brand_id, self.channel.medium))

    def day(self, campaign_id: int, now: datetime) -> date:
        """The campaign's own."""
        return now.astimezone(hours.zone_info(self.zones.get(campaign_id, ""))).date()

    def hours(self, now: datetime) -> Mapping[str, list[Any]]:
        """For each campaign with hours and each known zone: whether it is open now, and when it opens."""
        told: dict[str, list[Any]] = {"hours_campaigns": [], "zones": [], "open": [], "opens_at": []}
        for campaign_id, windows in self.windows.items():
            if not windows and not self.regions:
                continue
            for zone in sorted(_zones):
                opens_at = _next_open(now, zone, hours.within(windows, self.regions.get(zone, [])))
                told["hours_campaigns"].append(campaign_id)
                told["zones"].append(zone)
                told["open"].append(opens_at == now)
                told["opens_at"].append(opens_at)
        return told

    def params(self, now: datetime, purse: Purse, left: Mapping[int, int]) -> dict[str, Any]:
        """What the claim is told. ``left``: messages of the day, of what is limited."""
        return {
            "day_left": [left.get(campaign_id) for campaign_id in self.campaigns],
            "channel_left": left.get(quotas.ALL, quotas.UNLIMITED),
            "next_day": self.limits.next_day,
            "now": now,
            "channel": self.channel.pk,
            "campaigns": self.campaigns,
            "has_hours": [
                bool(self.windows.get(campaign_id) or self.regions) for campaign_id in self.campaigns
            ],
            "budgets": [purse.budgets.get(campaign_id, 0) for campaign_id in self.campaigns],
            "exhausted": [campaign_id in purse.exhausted for campaign_id in self.campaigns],
            "purse": purse.name,
            "unseen": self.unseen,
            "permission": self.permission,
            "blocks": self.blocks,
            **self.hours(now),
        }

    def rivalled(self, rules: Sequence[pressure.Rule]) -> list[pressure.Rule]:
        """The rules that a contact here shares with touches of higher priority."""
        channels = {channel_id for _campaign, _priority, channel_id in self.rivals}
        return [rule for rule in rules if any(rule.counts(channel_id) for channel_id in channels)]


def read(channel_id: int, now: datetime) -> Sending | None:
    """What may be sent on this channel; None when it is not active or no campaign may."""
    channel = (
        Channel.objects.select_related("brand").filter(pk=channel_id, state=Channel.State.ACTIVE).first()
    )
    if channel is None or channel.guarantee == Guarantee.AGGREGATE:
        return None
    lateness.watch(now)
    rows = queries.sending(channel_id, now)
    if not rows:
        return None
    plans = ChannelPlan.objects.select_related("channel__brand", "campaign").in_bulk(
        [plan_id for _c, _p, plan_id in rows]
    )
    priorities = {campaign_id: priority for campaign_id, priority, _plan in rows}
    return Sending(
        channel=channel,
        campaigns=list(priorities),
        priorities=priorities,
        windows={
            campaign_id: windows_of(plans[plan_id], day_of(now))
            for campaign_id, _p, plan_id in rows
            if plan_id in plans
        },
        addresses=addressed_by(channel),
        limits=quotas.limits(channel, plans.values(), now),
        calls=provider_calls.limits(channel, now),
        regions=regions_of(channel, day_of(now)),
        rivals=queries.rivals(min(priorities.values())),
        unseen=_unseen(),
        zones={plan.campaign_id: plan.campaign.zone for plan in plans.values()},
    )


def _unseen() -> list[int]:
    """Where messages are sent as one to many, a click is nobody's in particular: silence is not judged there."""
    shared = Channel.objects.filter(medium__in=(Medium.WECOM, Medium.OFFICIAL_ACCOUNT))
    return [channel.pk for channel in shared if not personal_links(channel)]


_windows: dict[tuple[int, str, date], tuple[datetime, list[hours.Window]]] = {}


def windows_of(plan: ChannelPlan, on: date) -> list[hours.Window]:
    """Hours of a channel plan on a day; platform rules are read again each minute."""
    key = (plan.pk, repr(plan.day_parts), on)
    known = _windows.get(key)
    at = datetime.now().astimezone()
    if known is None or abs(at - known[0]) > timedelta(minutes=1):
        if len(_windows) > 1000:
            _windows.clear()
        known = _windows[key] = (at, hours.windows(plan, on))
    return known[1]


_regions: dict[tuple[int, date], tuple[datetime, Mapping[str, list[hours.Window]]]] = {}


def regions_of(channel: Channel, on: date) -> Mapping[str, list[hours.Window]]:
    """Hours of regions by zone; platform rules are read again each minute."""
    key, at = (channel.pk, on), datetime.now().astimezone()
    known = _regions.get(key)
    if known is None or abs(at - known[0]) > timedelta(minutes=1):
        if len(_regions) > 1000:
            _regions.clear()
        known = _regions[key] = (at, hours.regional(channel, on))
    return known[1]


def _next_open(now: datetime, zone: str, windows: Sequence[hours.Window]) -> datetime:
    try:
        return hours.next_open(now, zone, windows)
    except hours.NeverOpen:
        return now + timedelta(days=3650)  # beyond any deadline: a gap whose cause is the hours


def learn_zones(zones: set[str]) -> None:
    """Zones of members that this process had not met."""
    with _zones_lock:
        _zones.update(zones)


def forget_zones() -> None:
    """For tests: what was learned about campaigns that are gone."""
    with _zones_lock:
        _zones.clear()
        _windows.clear()
        _regions.clear()
