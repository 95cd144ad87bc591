"""Progress of a released campaign, channel by channel, in the words of coverage."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone

from campaigns import rule_standings
from campaigns.models import Budget, Campaign
from campaigns.queries import progress as queries
from campaigns.vocabulary import OWNER_OF, AttemptState, Cause, MemberState, Owner, TouchState
from channels import flight_pauses
from channels.flight_pauses import Told
from channels.models import Channel, PlatformAudience

OPEN = (TouchState.PLANNED, TouchState.CLAIMED)


@dataclass(slots=True)
class ChannelProgress:
    """target = planned + short; planned = pending + held + sent + delivered + unknown + unobserved + gap + released.

    ``changed``: taken out by an approved change, and out of the target since.
    """

    channel: Channel
    target: int = 0
    planned: int = 0
    pending: int = 0
    held: int = 0
    sent: int = 0
    delivered: int = 0
    unknown: int = 0
    unobserved: int = 0
    gap: int = 0
    released: int = 0
    changed: int = 0
    cost: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    gaps: dict[str, int] = field(default_factory=dict)  # cause → touches, planned away and missed
    waits: dict[str, int] = field(default_factory=dict)  # cause → touches deferred
    budget: Budget | None = None
    paused_at: datetime | None = None  # in this campaign only
    in_plan: bool = False  # False: a change took the channel out
    # How the pause of its flight stands, where ads are to stand still.
    ads: tuple[PlatformAudience, Told] | None = None
    rules: rule_standings.Standing | None = None  # where a rule that came later stopped it, or will

    @property
    def short(self) -> int:
        """Touches the plan already could not give."""
        return self.target - self.planned

    @property
    def done(self) -> int:
        return self.sent + self.delivered + self.unknown + self.unobserved + self.gap + self.released

    @property
    def all_gaps(self) -> int:
        return self.short + self.gap


@dataclass(frozen=True, slots=True)
class Gap:
    cause: str
    label: Any
    owner: Any
    n: int


@dataclass(frozen=True, slots=True)
class Error:
    """What providers answered when something did not arrive."""

    channel: str
    label: Any
    code: str
    text: str
    n: int
    last_at: Any


@dataclass(slots=True)
class Progress:
    channels: list[ChannelProgress]
    members: int
    held_out: int
    states: dict[str, int]
    gaps: list[Gap]
    releases: list[Gap]
    errors: list[Error]
    budget: Budget | None

    def total(self, name: str) -> Any:
        return sum(
            (getattr(one, name) for one in self.channels), Decimal(0) if name in ("cost", "reserved") else 0
        )

    @property
    def totals(self) -> dict[str, Any]:
        names = (
            "target",
            "planned",
            "pending",
            "held",
            "sent",
            "delivered",
            "unknown",
            "unobserved",
            "gap",
            "released",
            "changed",
            "cost",
            "reserved",
            "short",
            "done",
            "all_gaps",
        )
        return {name: self.total(name) for name in names}


FIELD_OF = {
    TouchState.PLANNED: "pending",
    TouchState.CLAIMED: "pending",
    TouchState.HELD: "held",
    TouchState.SENT: "sent",
    TouchState.DELIVERED: "delivered",
    TouchState.UNKNOWN: "unknown",
    TouchState.UNOBSERVED: "unobserved",
    TouchState.GAP: "gap",
    TouchState.RELEASED: "released",
}


def progress(campaign: Campaign, now: datetime | None = None) -> Progress:
    """Counted now: a few group-bys over the campaign's own partition."""
    plans = campaign.channel_plans.select_related("channel")
    rules = rule_standings.standings(campaign, now or timezone.now())
    rows = {
        plan.channel_id: ChannelProgress(
            plan.channel, paused_at=plan.paused_at, in_plan=True, rules=rules.get(plan.channel_id)
        )
        for plan in plans
    }
    target_counts, touch_counts = queries.targets(campaign.pk), queries.touches(campaign.pk)
    counted = {count.channel_id for count in target_counts} | {count.channel_id for count in touch_counts}
    missing = counted - set(rows)
    rows |= {pk: ChannelProgress(channel) for pk, channel in Channel.objects.in_bulk(list(missing)).items()}
    for target in target_counts:
        row = rows[target.channel_id]
        row.target += target.target
        row.planned += target.planned
        if target.target > target.planned:
            row.gaps[target.cause] = row.gaps.get(target.cause, 0) + target.target - target.planned
    for channel_id, standing in flight_pauses.of_campaign(campaign.pk).items():
        if channel_id in rows:
            rows[channel_id].ads = standing
    releases: dict[str, int] = {}
    for touch in touch_counts:
        row = rows[touch.channel_id]
        name = FIELD_OF[TouchState(touch.state)]
        if name == "released" and touch.reason == Cause.CHANGED:
            name = "changed"
        setattr(row, name, getattr(row, name) + touch.n)
        row.cost += touch.cost
        row.reserved += touch.reserved
        if touch.state == TouchState.GAP:
            row.gaps[touch.reason] = row.gaps.get(touch.reason, 0) + touch.n
        elif name == "released":
            releases[touch.reason] = releases.get(touch.reason, 0) + touch.n
        elif touch.deferred:
            row.waits[touch.deferred] = row.waits.get(touch.deferred, 0) + touch.n
    total_budget = None
    for budget in Budget.objects.filter(campaign=campaign):
        if budget.channel_id is None:
            total_budget = budget
        elif budget.channel_id in rows:
            rows[budget.channel_id].budget = budget
    members = queries.members(campaign.pk)
    states: dict[str, int] = {state.value: 0 for state in MemberState}
    for member in members:
        if not member.held_out:
            states[member.state] = states.get(member.state, 0) + member.n
    return Progress(
        channels=list(rows.values()),
        members=sum(member.n for member in members),
        held_out=sum(member.n for member in members if member.held_out),
        states=states,
        gaps=_told(_summed(row.gaps for row in rows.values())),
        releases=_told(releases),
        errors=_errors(campaign.pk),
        budget=total_budget,
    )


def _errors(campaign_id: int) -> list[Error]:
    found = queries.errors(campaign_id)
    names = dict(Channel.objects.filter(pk__in={row.channel_id for row in found}).values_list("pk", "name"))
    labels = dict(AttemptState.choices)
    return [
        Error(
            names.get(row.channel_id, str(row.channel_id)),
            labels.get(row.state, row.state),
            row.code,
            row.text,
            row.n,
            row.last_at,
        )
        for row in found
    ]


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for count in counts:
        for cause, n in count.items():
            found[cause] = found.get(cause, 0) + n
    return found


def _told(counts: dict[str, int]) -> list[Gap]:
    """Causes in words with who can mend them, the largest first."""
    labels, owners = dict(Cause.choices), dict(Owner.choices)
    return [
        Gap(cause, labels.get(cause, cause), owners.get(OWNER_OF.get(cause, ""), ""), n)
        for cause, n in sorted(counts.items(), key=lambda pair: -pair[1])
    ]


def gaps_in_words(counts: dict[str, int]) -> list[Gap]:
    """``{"budget": 12}`` of a plan, told like those of a run."""
    return _told({cause: int(n) for cause, n in counts.items() if n})
