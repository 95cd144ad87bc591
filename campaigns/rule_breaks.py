"""What approved words break of the rules of platforms, by the rules of every day left of the flight.

A rule on words: signature, opt-out words, forbidden characters, lengths, templates. Only those that forbid to send count.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.utils.translation import gettext as _

from audiences.models import Job
from campaigns import content, definition, hours, readiness, vendor_templates, versions
from campaigns.changes import CHANGE_JOB
from campaigns.models import Campaign, ChannelPlan, MessageVersion
from campaigns.queries import later_rules as queries
from campaigns.vocabulary import CampaignState
from channels import platform_rules
from channels.models import Channel, PlatformRule

OF_WORDS = (*platform_rules.TEXT_KEYS, *vendor_templates.KEYS)
_ROW = ("medium", "adapter", "channel_id", "country", "key", "value", "valid_from", "valid_to", "source")
Rules = Mapping[str, Sequence[Sequence[Any]]]


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
        self.mark = _hash([channel.pk, *_of_channel(channel, on_words())])

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
    return is_changing(campaign) or queries.to_come(campaign.pk, channel.pk, version_id)


def is_changing(campaign: Campaign) -> bool:
    """Whether an approved change is still being applied to its touches."""
    subject = f"campaign:{campaign.pk}"
    return Job.objects.filter(kind=CHANGE_JOB, subject=subject, finished_at=None).exists()


def on_words() -> Rules:
    """The rules on words by medium."""
    found: dict[str, list[Sequence[Any]]] = {}
    for row in PlatformRule.objects.filter(key__in=OF_WORDS).order_by("pk").values_list(*_ROW):
        found.setdefault(row[0], []).append(row)
    return found


def mark_of(plan: ChannelPlan, rules: Rules, now: datetime) -> str:
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


def _of_channel(channel: Channel, rules: Rules) -> list[Any]:
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
