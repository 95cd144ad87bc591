"""Messages a day: of a channel, whoever sends, and of one campaign on it.

Days are those of the installation's zone, as in the plan. A claim on a limited channel holds the counts of the
day while it claims, so the limit is exact under any number of workers; what came back unsent is given back.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from audiences.days import ONE, begins, day_of
from campaigns.models import ChannelPlan
from campaigns.queries import quotas as queries
from channels.models import Channel, ChannelCapacity

ALL = 0  # in the place of a campaign: the whole channel
UNLIMITED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What a channel and the campaigns on it may send on one day; nothing in ``most`` is unlimited."""

    channel_id: int
    day: dt.date
    next_day: dt.datetime  # when the next one begins
    most: dict[int, int] = field(default_factory=dict)

    def hold(self) -> dict[int, int]:
        """What is left, of each that is limited. The counts stay locked until the claim's transaction ends."""
        if not self.most:
            return {}
        taken = queries.hold(self.channel_id, self.day, list(self.most))
        return {
            campaign_id: max(0, most - taken.get(campaign_id, 0)) for campaign_id, most in self.most.items()
        }

    def take(self, campaigns: Iterable[int]) -> None:
        """Count what was claimed, one entry a message; in the transaction of the claim."""
        counted = Counter(campaigns)
        numbers = {campaign_id: n for campaign_id, n in counted.items() if campaign_id in self.most}
        if ALL in self.most:
            numbers[ALL] = counted.total()
        if any(numbers.values()):
            queries.add(self.channel_id, self.day, list(numbers), list(numbers.values()))


def give_back(unsent: Iterable[tuple[int, int, dt.datetime]]) -> None:
    """(channel, campaign, when it was claimed) of messages that came back unsent: the day has their places again."""
    days: dict[tuple[int, dt.date], Counter[int]] = defaultdict(Counter)
    for channel_id, campaign_id, claimed_at in unsent:
        days[channel_id, day_of(claimed_at)].update((campaign_id, ALL))
    for (channel_id, day), counted in sorted(days.items()):
        queries.add(
            channel_id, day, sorted(counted), [-counted[campaign_id] for campaign_id in sorted(counted)]
        )


def limits(channel: Channel, plans: Iterable[ChannelPlan], now: dt.datetime) -> Limits:
    """The limits of the day ``now`` is in."""
    day = day_of(now)
    found = Limits(channel.pk, day, begins(day + ONE))
    own = ChannelCapacity.objects.filter(channel=channel, day=day).values_list("messages", flat=True).first()
    capacity = channel.daily_capacity if own is None else own
    if capacity is not None:
        found.most[ALL] = capacity
    found.most.update({plan.campaign_id: plan.daily_limit for plan in plans if plan.daily_limit is not None})
    return found
