"""What platforms permit of posts to many: hours of sending, words, lengths, by the rules of the days they are up to be made.

Nobody is known by person here, so hours are those of the campaign's zone.
"""

from collections import defaultdict
from datetime import date, datetime
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from campaigns import hours
from campaigns.models import Broadcast, Campaign
from campaigns.readiness import said_by
from channels import platform_rules
from channels.models import Channel, PlatformRule


def hours_on(channel: Channel, day: date) -> PlatformRule | None:
    """The rule on hours of sending that holds on a day."""
    return platform_rules.in_force(channel, "hours", day)


def told(rule: PlatformRule) -> str:
    """A rule on hours in words, with who says so and from when it holds."""
    return _("from %(begins)s to %(ends)s (%(source)s)") % {
        "begins": rule.value["from"],
        "ends": rule.value["to"],
        "source": said_by(rule.source, rule.valid_from),
    }


def next_permitted(channel: Channel, zone: str, at: datetime) -> datetime:
    """``at`` where employees may be asked then, else the first moment after it when they may."""
    found = at
    for _day in range(3):  # the next day may have another rule
        rule = hours_on(channel, _day_of(found, zone))
        opens = hours.next_open(found, zone, hours.combine([], rule and rule.value))
        if opens == found:
            return found
        found = opens
    return found


def refused(
    campaign: Campaign, channel: Channel, text: str, due_at: datetime, until: datetime
) -> dict[str, list[str]]:
    """Field of the form → what stands against it there; '' is the whole post. Words by the rules of every day on which it
    may be confirmed."""
    found: dict[str, list[str]] = defaultdict(list)
    first, last = _day_of(due_at, campaign.zone), _day_of(until, campaign.zone)
    rule = hours_on(channel, first)
    if rule is not None and not hours.is_open(due_at, campaign.zone, hours.combine([], rule.value)):
        found["due_at"].append(
            _("%(rule)s: “%(channel)s” may send %(hours)s. Choose a time within.")
            % {"rule": platform_rules.KEYS["hours"].label, "channel": channel.name, "hours": told(rule)}
        )
    for day in platform_rules.ranges(channel, first, last):
        for broken in platform_rules.check_message(channel, "", text, "", day):
            key = platform_rules.KEYS.get(broken.rule)
            if key is None:
                continue  # our own rules on words: the form says them
            problem = _("%(rule)s: %(problem)s (%(source)s)") % {
                "rule": key.label,
                "problem": broken.text,
                "source": said_by(broken.source, broken.since),
            }
            where = "text" if broken.where == "text" else ""
            if problem not in found[where]:
                found[where].append(problem)
    return {where: problems for where, problems in found.items() if problems}


def moved(post: Broadcast, now: datetime) -> datetime | None:
    """When a post that is due is to be made instead, where employees may not be asked now; None: it may be."""
    opens = next_permitted(post.channel, post.campaign.zone, now)
    return opens if opens > now else None


def _day_of(at: datetime, zone: str) -> date:
    info: ZoneInfo = hours.zone_info(zone)
    return at.astimezone(info).date()
