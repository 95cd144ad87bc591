"""Contact policy: how often a person may be contacted at most, over all campaigns and channels.

Rolling windows, several at once, exact: the places taken stand in the locked contact state, and a claim
reads the policy and takes its place in one transaction, during which nobody can change the policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from campaigns import person_quotas
from campaigns.models import Clock, PressureRule
from campaigns.queries import pressure as queries
from campaigns.queries.person_quotas import Row
from channels.models import Channel

SHORTEST_KEPT = 168  # hours of contacts that are kept even if no rule asks for them
REBUILT_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Rule:
    """At most ``touches`` contacts in any ``hours`` on end on these channels; None: on any channel."""

    id: int
    name: str
    touches: int
    hours: int
    channels: tuple[int, ...] | None

    def counts(self, channel_id: int) -> bool:
        return self.channels is None or channel_id in self.channels


def rules_in_force(now: datetime) -> list[Rule]:
    """The policy: each rule with the channels it counts. Inside :func:`hold_policy` it cannot change."""
    rules = list(PressureRule.objects.filter(active=True, in_force_at__lte=now).order_by("id"))
    if not rules:
        return []
    channels = list(Channel.objects.values_list("id", "medium", "brand_id"))
    return [_resolved(rule, channels) for rule in rules]


def _resolved(rule: PressureRule, channels: Sequence[tuple[int, str, int]]) -> Rule:
    narrowed = bool(rule.medium or rule.channel_id or rule.brand_id)
    counted = tuple(
        channel_id
        for channel_id, medium, brand_id in channels
        if rule.medium in ("", medium)
        and rule.channel_id in (None, channel_id)
        and rule.brand_id in (None, brand_id)
    )
    return Rule(rule.pk, rule.name, rule.touches, rule.hours, counted if narrowed else None)


def applying(rules: Sequence[Rule], channel_id: int) -> list[Rule]:
    """The rules a contact on this channel must keep."""
    return [rule for rule in rules if rule.counts(channel_id)]


def kept_hours(now: datetime, quotas: list[Row] | None = None) -> int:
    """How long contacts are kept: the longest window of any active rule or platform's quota, in force or about to be."""
    quotas = person_quotas.rules(now) if quotas is None else quotas
    longest = (
        PressureRule.objects.filter(active=True).order_by("-hours").values_list("hours", flat=True).first()
    )
    return max(longest or 0, person_quotas.kept_hours(quotas), SHORTEST_KEPT)


def known_hours() -> int:
    """Of how many hours up to now every contact is known."""
    return Clock.objects.filter(name="pressure").values_list("value", flat=True).first() or SHORTEST_KEPT


def complete_hours() -> int:
    """Of how many hours every contact is known and goes on being kept, by the rules in force."""
    in_force = PressureRule.objects.filter(active=True, in_force_at__isnull=False)
    longest = in_force.order_by("-hours").values_list("hours", flat=True).first()
    return min(known_hours(), max(longest or 0, SHORTEST_KEPT))


def bring_into_force(now: datetime) -> int:
    """New rules take force once the contacts of their whole window are known; returns how many did.

    A window longer than any before needs a rebuild from attempts first. Contacts kept since the rule was
    saved are never trimmed below its window, so nothing is missed in between.
    """
    waiting = list(PressureRule.objects.filter(active=True, in_force_at=None).values_list("id", flat=True))
    hours = kept_hours(now)
    clock, _made = Clock.objects.get_or_create(name="pressure", defaults={"at": now, "value": SHORTEST_KEPT})
    if hours > clock.value:
        # Once through all customers: a claim that trims a state behind us trims it to this window or longer.
        last: int | None = 0
        while last is not None:
            last = queries.rebuild(now - timedelta(hours=hours), last, REBUILT_AT_ONCE)
    if hours != clock.value:
        Clock.objects.filter(name="pressure").update(at=now, value=hours)
    if not waiting:
        return 0
    with transaction.atomic():
        # One that was lengthened meanwhile waits for the next look.
        ready = PressureRule.objects.filter(id__in=waiting, active=True, hours__lte=hours)
        return ready.update(in_force_at=now)


def count_imported(campaign_id: int, now: datetime) -> int:
    """Sends made elsewhere take their places: touches of an imported campaign join the recent contacts.

    Returns how many customers' contacts changed. Counting a campaign again adds only what is new.
    """
    with transaction.atomic():
        queries.hold_policy()
        return queries.count_imported(campaign_id, now - timedelta(hours=kept_hours(now)))


hold_policy = queries.hold_policy
frees_at_sql = queries.frees_at_sql
