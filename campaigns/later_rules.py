"""Platform rules that come into force after a campaign was approved: its frozen words are judged by them too.

Hours and quotas bind at each claim. A rule on words (signature, opt-out words, forbidden characters, lengths, templates)
is held against the approved words that may still go out, by the rules of every day left of the flight:

- broken today: the channel is paused in that campaign, with the cause kept. It cannot be resumed while it is so;
- broken from a later day on: ``ChannelPlan.breaks_at`` says when, and it is told until then.

:func:`look` does that in the transaction that saves a rule, and every few seconds; it judges only where a rule, the day, a
setting or the approved version changed (:func:`_mark`). Dispatch itself hands over no words that break a rule of the day
(:func:`broken_on`), whenever the next look comes and whatever words a touch still carries.

It never resumes by itself: what goes out then are other words, or the same under another rule, and what became overdue
meanwhile moves or is a gap. Somebody has to want that.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import translation
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from audiences.models import Job
from campaigns import content, definition, hours, lateness, readiness, vendor_templates, versions
from campaigns.changes import CHANGE_JOB
from campaigns.models import Campaign, CampaignVersion, ChannelPlan, MessageVersion
from campaigns.queries import later_rules as queries
from campaigns.queries import lifecycle as lifecycle_queries
from campaigns.vocabulary import CampaignState
from channels import platform_rules
from channels.models import Channel, PlatformRule
from channels.queries.locks import alone
from channels.registers import rule_changes

log = logging.getLogger(__name__)

JUDGED = ("breaks_at", "rule_breaks", "stop_cause", "stopped_by")  # of a channel plan
LOCK = 730_144_212
TOLD = 8  # lines for who saves a rule
WATCHED = (CampaignState.APPROVED, *versions.RELEASED)
OF_WORDS = (*platform_rules.TEXT_KEYS, *vendor_templates.KEYS)
_ROW = ("medium", "adapter", "channel_id", "country", "key", "value", "valid_from", "valid_to", "source")


@dataclass(frozen=True, slots=True)
class Break:
    """A rule that words break on a day left of the flight; ``on`` is the first such day."""

    problem: content.Problem
    version: MessageVersion
    on: date

    def said(self) -> str:
        """Which rule, where and who says so, in words."""
        return _("%(rule)s: “%(message)s” v%(version)d, variant %(variant)s: %(problem)s (%(source)s)") % {
            "rule": self.problem.rule_label,
            "message": self.version.message.name,
            "version": self.version.number,
            "variant": self.problem.variant or "–",
            "problem": self.problem.text,
            "source": readiness.said_by(self.problem.source, self.problem.since),
        }

    def kept(self) -> dict[str, Any]:
        """As the channel plan keeps it."""
        return {
            "rule": self.problem.rule,
            "source": self.problem.source,
            "since": self.problem.since.isoformat() if self.problem.since else None,
            "on": self.on.isoformat(),
            "message": self.version.message.name,
            "version": self.version.number,
            "version_id": self.version.pk,
            "variant": self.problem.variant,
            "where": self.problem.where,
            "text": self.problem.text,
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the approved words of one channel break, if anybody may still get them."""

    breaks: Sequence[Break]
    today: date
    first: date  # day that is left of the flight: today, once it has begun

    @property
    def now(self) -> list[Break]:
        """Those that forbid to send now; of a campaign that has not begun, those of its first day that hold already."""
        return [
            one
            for one in self.breaks
            if one.on == self.first and (one.problem.since or self.first) <= self.today
        ]

    @property
    def later(self) -> list[Break]:
        held = self.now
        return [one for one in self.breaks if one not in held]


@dataclass(frozen=True, slots=True)
class Standing:
    """What screens and the API tell of one channel: judged now, in the reader's language."""

    judgement: Judgement
    stopped: bool  # paused by us
    cause: str  # why, as it was written down then
    causes: Sequence["Kept"] = ()  # the same, by rule

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


# Judging --------------------------------------------------------------------------------------------


def judge(campaign: Campaign, channel: Channel, now: datetime) -> Judgement:
    """The approved words of a channel, by the rules of every day left of the flight."""
    today = now.astimezone(hours.zone_info(campaign.zone)).date()
    approved = versions.approved_version(campaign)
    if approved is None:  # it ran elsewhere
        return Judgement((), today, today)
    first, last = readiness.flight(approved.definition, now)
    pk = versions.message_versions(approved.definition).get(channel.pk)
    version = MessageVersion.objects.select_related("message").filter(pk=pk or 0).first()
    if version is None:  # its words are no message of ours
        return Judgement((), today, first)
    found = list(_broken(version, channel, first, last))
    return Judgement(found if found and _goes_out(campaign, channel, version.pk) else (), today, first)


def _broken(version: MessageVersion, channel: Channel, first: date, last: date) -> Iterator[Break]:
    """Each rule a version breaks, once, with the first of its days."""
    seen: set[tuple[str, str, str, str]] = set()
    for day in platform_rules.ranges(channel, first, last):
        for problem in _of_rules(content.check(version, channel, day)):
            key = (problem.variant, problem.where, problem.rule, problem.text)
            if key not in seen:
                seen.add(key)
                yield Break(problem, version, day)


def _of_rules(problems: Iterable[content.Problem]) -> list[content.Problem]:
    """Those that are a platform's rule and forbid to send."""
    return [problem for problem in problems if problem.error and problem.rule in platform_rules.KEYS]


def broken_on(version_id: int, channel: Channel, day: date) -> bool:
    """Whether the words of a version may not go out on a channel that day."""
    version = MessageVersion.objects.filter(pk=version_id).first()
    return version is not None and bool(_of_rules(content.check(version, channel, day)))


_known: dict[tuple[int, date, str], bool] = {}  # version, day, what it was judged by


class Judge:
    """Says of one channel whether words may go out, by the rules as they are when it is made: one query, as long as
    they are those of before."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.mark = _hash([channel.pk, *_of_channel(channel, _rules())])

    def broken(self, version_id: int, day: date) -> bool:
        key = (version_id, day, self.mark)
        found = _known.get(key)
        if found is None:
            if len(_known) > 1000:
                _known.clear()
            found = _known[key] = broken_on(version_id, self.channel, day)
        return found


def _goes_out(campaign: Campaign, channel: Channel, version_id: int) -> bool:
    """Whether anybody may still get these words: where nobody does, there is nothing to stop."""
    if campaign.kind != Campaign.Kind.ONE_OFF or campaign.state == CampaignState.APPROVED:
        return True
    return _changing(campaign) or queries.to_come(campaign.pk, channel.pk, version_id)


def _changing(campaign: Campaign) -> bool:
    """Whether an approved change is still being applied to its touches."""
    subject = f"campaign:{campaign.pk}"
    return Job.objects.filter(kind=CHANGE_JOB, subject=subject, finished_at=None).exists()


# Keeping --------------------------------------------------------------------------------------------


def watch(now: datetime) -> int:
    """Look by one worker at a time: a new day is judged everywhere. How many channels were paused. Outside a transaction."""
    with alone(LOCK, 0) as mine:
        return len(look(now)) if mine else 0


def look(now: datetime, campaign_id: int | None = None) -> list[ChannelPlan]:
    """Judge anew where something changed; the channels of campaigns that were paused for it."""
    plans = ChannelPlan.objects.filter(campaign__state__in=WATCHED).exclude(
        campaign__kind=Campaign.Kind.IMPORTED
    )
    if campaign_id is not None:
        plans = plans.filter(campaign_id=campaign_id)
    rules = _rules()
    paused = []
    # In the order of campaigns: whoever locks several of them does so.
    for plan in plans.select_related("campaign", "channel").order_by("campaign_id", "pk"):
        if _mark(plan, rules, now) == plan.judged:
            continue
        try:
            done = _keep(plan.campaign_id, plan.pk, rules, now)
        except Exception:  # one odd message does not hold the others
            log.exception("campaign %s, channel %s: not judged", plan.campaign_id, plan.channel_id)
            continue
        if done is not None:
            paused.append(done)
    return paused


def again(pairs: Iterable[tuple[int, int]]) -> int:
    """Have these channels (campaign, channel) judged by the next look, as dispatch met words that break a rule; how many
    it was not asked for yet."""
    plans = ChannelPlan.objects.exclude(judged="")
    return sum(
        plans.filter(campaign=campaign_id, channel=channel_id).update(judged="")
        for campaign_id, channel_id in pairs
    )


def _keep(campaign_id: int, plan_id: int, rules: "_Rules", now: datetime) -> ChannelPlan | None:
    """Judge one channel under the campaign's lock; the plan where that paused it."""
    with transaction.atomic():
        campaign = versions.lock(campaign_id)
        plan = campaign.channel_plans.select_related("channel__brand").filter(pk=plan_id).first()
        if plan is None or campaign.state not in WATCHED:
            return None
        plan.campaign = campaign
        judgement = _write(plan, now)
        plan.judged = _mark(plan, rules, now) if _renewed(plan, now) else ""
        paused = bool(judgement.now) and plan.paused_at is None
        if paused:
            lateness.begin_clock(campaign.pk, plan.channel_id, now)
            plan.paused_at = now
            plan.stopped_by = [one.kept() for one in judgement.now]
            with translation.override(settings.LANGUAGE_CODE):
                plan.stop_cause = " ".join(one.said() for one in judgement.now)
        plan.save(update_fields=["judged", "paused_at", *JUDGED])
        return plan if paused else None


def _write(plan: ChannelPlan, now: datetime) -> Judgement:
    """Judge a plan of a locked campaign, and put down what was found; the caller saves it."""
    judgement = judge(plan.campaign, plan.channel, now)
    first = min((one.on for one in judgement.breaks), default=None)
    zone = hours.zone_info(plan.campaign.zone)
    plan.breaks_at = datetime.combine(first, time.min, tzinfo=zone) if first else None
    with translation.override(settings.LANGUAGE_CODE):
        held = judgement.now
        plan.rule_breaks = [one.kept() | {"now": one in held} for one in judgement.breaks]
    return judgement


def _renewed(plan: ChannelPlan, now: datetime) -> bool:
    """Planned touches that came back with words from before a change get the approved ones, where those of before break a
    rule of the day. False: a change is being applied still."""
    campaign, channel = plan.campaign, plan.channel
    approved = campaign.versions.filter(state=CampaignVersion.State.APPROVED).order_by("-number")
    known = [
        versions.message_versions(one).get(channel.pk)
        for one in approved.values_list("definition", flat=True)
    ]
    before = {pk for pk in known[1:] if pk and pk != known[0]}
    today = now.astimezone(hours.zone_info(campaign.zone)).date()
    if not before or not any(
        broken_on(pk, channel, today) and queries.to_come(campaign.pk, channel.pk, pk)
        for pk in sorted(before)
    ):
        return True
    if _changing(campaign):
        return False
    if known[0]:
        lifecycle_queries.repoint(campaign.pk, channel.pk, known[0])
    return True


def refusal(plan: ChannelPlan, now: datetime) -> str:
    """Why a paused channel of a locked campaign cannot go on; '' when it can: then the caller saves the plan, by which
    nothing stands against it."""
    held = _write(plan, now).now
    if not held:
        plan.stop_cause, plan.stopped_by = "", []
        return ""
    said = " ".join(one.said() for one in held)
    return _("Its words break a rule that holds now: %(problems)s") % {"problems": said} + " " + what_to_do()


def what_to_do() -> str:
    return _(
        "Choose or write other words in the campaign's content and have the change approved; or have the rule corrected, if"
        " it is wrong."
    )


# What changed ---------------------------------------------------------------------------------------

_Rules = Mapping[str, Sequence[Sequence[Any]]]


def _rules() -> _Rules:
    """The rules on words by medium."""
    found: dict[str, list[Sequence[Any]]] = {}
    for row in PlatformRule.objects.filter(key__in=OF_WORDS).order_by("pk").values_list(*_ROW):
        found.setdefault(row[0], []).append(row)
    return found


def _mark(plan: ChannelPlan, rules: _Rules, now: datetime) -> str:
    """64 hex digits of everything a judgement rests on: rules that may fit, day, flight, settings, approved version."""
    campaign = plan.campaign
    return _hash(
        [
            *_of_channel(plan.channel, rules),
            now.astimezone(hours.zone_info(campaign.zone)).date(),
            [definition.moment(campaign.starts_at), definition.moment(campaign.ends_at), campaign.zone],
            campaign.version,
            campaign.state == CampaignState.APPROVED,  # what is released may have nothing to send any more
        ]
    )


def _of_channel(channel: Channel, rules: _Rules) -> list[Any]:
    """The rules that may fit a channel, and what else of it they ask about."""
    rows = [
        row
        for row in rules.get(channel.medium, ())
        if row[1] in ("", channel.adapter) and row[2] in (None, channel.pk)
    ]
    return [rows, channel.adapter, channel.settings]


def _hash(told: Any) -> str:
    text = json.dumps(told, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


# Telling --------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Kept:
    """A rule that a channel breaks, or broke when it was stopped, as the channel plan keeps it."""

    label: Any
    source: str
    on: date


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


def warned(now: datetime) -> "list[ChannelPlan]":
    """Channels of released campaigns that a rule will stop on a later day, the next first."""
    found = ChannelPlan.objects.filter(campaign__state__in=WATCHED, paused_at=None, breaks_at__gt=now)
    return list(found.select_related("campaign", "channel").order_by("breaks_at", "pk"))


def stopped() -> "list[ChannelPlan]":
    """Channels of released campaigns that a rule stopped, the oldest first."""
    found = ChannelPlan.objects.filter(campaign__state__in=WATCHED, paused_at__isnull=False)
    return list(found.exclude(stop_cause="").select_related("campaign", "channel").order_by("paused_at"))


def after_a_rule_changed(now: datetime) -> list[str]:
    """For who saved a rule: what it stopped and what it will stop, in words."""
    before = {(plan.pk, plan.breaks_at) for plan in warned(now)}
    told = [
        _("“%(channel)s” is paused in “%(campaign)s”: its words break the rule.") % _named(plan)
        for plan in look(now)
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
