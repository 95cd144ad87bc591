"""What is told of rules that came after the approval: which channels they stop, which they will stop, and why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from campaigns import hours, later_rules
from campaigns.later_rules import WATCHED
from campaigns.models import Campaign, ChannelPlan
from campaigns.rule_breaks import Break, Judgement, judge
from channels import platform_rules
from channels.registers import rule_changes

TOLD = 8  # lines for who saves a rule


@dataclass(frozen=True, slots=True)
class Kept:
    """A rule that a channel breaks, or broke when it was stopped, as the channel plan keeps it."""

    label: Any
    source: str
    on: date


@dataclass(frozen=True, slots=True)
class Standing:
    """What screens and the API tell of one channel: judged now, in the reader's language."""

    judgement: Judgement
    stopped: bool  # paused by us
    cause: str  # why, as it was written down then
    causes: Sequence[Kept] = ()  # the same, by rule

    @property
    def now(self) -> list[Break]:
        return self.judgement.now

    @property
    def later(self) -> list[Break]:
        return self.judgement.later

    @property
    def on(self) -> date | None:
        """From when later rules are broken."""
        return min((one.on for one in self.later), default=None)

    @property
    def mended(self) -> bool:
        return self.stopped and not self.now


def standings(campaign: Campaign, now: datetime) -> dict[int, Standing]:
    """Channel → how it stands with the rules, of the channels that have something to tell."""
    if campaign.state not in WATCHED:
        return {}
    plans = campaign.channel_plans.select_related("channel__brand")
    return {
        plan.channel_id: Standing(
            judge(campaign, plan.channel, now), bool(plan.stop_cause), plan.stop_cause, _kept(plan.stopped_by)
        )
        for plan in plans
        if plan.stop_cause or plan.breaks_at
    }


def kept(plan: ChannelPlan) -> list[Kept]:
    """The rules that stop a paused channel, or will stop one that is not: each once, the first day first."""
    return _kept(entry for entry in plan.rule_breaks if plan.paused_at is None or entry["now"])


def _kept(entries: Iterable[Mapping[str, Any]]) -> list[Kept]:
    found: dict[tuple[str, str], Kept] = {}
    for entry in sorted(entries, key=lambda entry: str(entry["on"])):
        key = platform_rules.KEYS.get(entry["rule"])
        told = Kept(key.label if key else entry["rule"], entry["source"], date.fromisoformat(entry["on"]))
        found.setdefault((entry["rule"], entry["source"]), told)
    return list(found.values())


def warned(now: datetime) -> list[ChannelPlan]:
    """Channels of released campaigns that a rule will stop on a later day, the next first."""
    found = ChannelPlan.objects.filter(campaign__state__in=WATCHED, paused_at=None, breaks_at__gt=now)
    return list(found.select_related("campaign", "channel").order_by("breaks_at", "pk"))


def stopped() -> list[ChannelPlan]:
    """Channels of released campaigns that a rule stopped, the oldest first."""
    found = ChannelPlan.objects.filter(campaign__state__in=WATCHED, paused_at__isnull=False)
    return list(found.exclude(stop_cause="").select_related("campaign", "channel").order_by("paused_at"))


def after_a_rule_changed(now: datetime) -> list[str]:
    """For who saved a rule: what it stopped and what it will stop, in words."""
    before = {(plan.pk, plan.breaks_at) for plan in warned(now)}
    told = [
        _("“%(channel)s” is paused in “%(campaign)s”: its words break the rule.") % _named(plan)
        for plan in later_rules.look(now)
    ]
    told += [
        _("“%(channel)s” will be paused in “%(campaign)s” on %(day)s: its words break the rule from then on.")
        % _named(plan)
        for plan in warned(now)
        if (plan.pk, plan.breaks_at) not in before
    ]
    if (more := len(told) - TOLD) > 1:
        told = [*told[:TOLD], ngettext("And %(n)d more.", "And %(n)d more.", more) % {"n": more}]
    return told


def _named(plan: ChannelPlan) -> dict[str, str]:
    told = {"channel": plan.channel.name, "campaign": plan.campaign.name}
    if plan.breaks_at:
        zone = hours.zone_info(plan.campaign.zone)
        told["day"] = date_format(plan.breaks_at.astimezone(zone).date())
    return told


def register() -> None:
    """Called once, from ``CampaignsConfig.ready``."""
    rule_changes.add("campaigns", after_a_rule_changed)
