"""What platforms permit of posts to many: hours of sending, words, lengths, by the rules of the days they are up to be made.

Nobody is known by person here, so hours are those of the campaign's zone. A rule on words that comes after the approval
holds too: nobody is asked any more, and who was asked and has not confirmed is asked no longer. It goes on when the rule
is corrected; its words cannot change, so else it is cancelled and planned anew.
"""

from collections import defaultdict
from datetime import date, datetime
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from campaigns import hours
from campaigns.models import Broadcast, BroadcastTask, Campaign
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
    for where, problem in _broken(channel, text, first, last):
        found[where].append(problem)
    return {where: problems for where, problems in found.items() if problems}


def _broken(channel: Channel, text: str, first: date, last: date) -> list[tuple[str, str]]:
    """(text, or '' for the whole post; what a platform forbids of it on one of these days), each once."""
    found: dict[tuple[str, str], None] = {}
    for day in platform_rules.ranges(channel, first, last):
        for broken in platform_rules.check_message(channel, "", text, "", day):
            key = platform_rules.KEYS.get(broken.rule)
            if key is None or not broken.error:
                continue  # our own rules on words: the form says them
            problem = _("%(rule)s: %(problem)s (%(source)s)") % {
                "rule": key.label,
                "problem": broken.text,
                "source": said_by(broken.source, broken.since),
            }
            found["text" if broken.where == "text" else "", problem] = None
    return list(found)


def broken(post: Broadcast, now: datetime) -> list[str]:
    """The rules that the words of a post break on a day left on which it may be confirmed."""
    first = _day_of(max(now, post.due_at), post.campaign.zone)
    last = _day_of(post.until, post.campaign.zone)
    return [problem for _where, problem in _broken(post.channel, post.text, first, max(first, last))]


def broken_today(post: Broadcast, now: datetime) -> bool:
    """Whether nobody may confirm it today."""
    today = _day_of(now, post.campaign.zone)
    return bool(_broken(post.channel, post.text, today, today))


def stopped(now: datetime) -> list[tuple[Broadcast, list[str]]]:
    """Approved posts that have their time before them and break a rule that came since, with what they break."""
    posts = Broadcast.objects.filter(state=Broadcast.State.APPROVED, until__gt=now)
    posts = posts.filter(tasks__state__in=(BroadcastTask.State.PLANNED, BroadcastTask.State.OPEN)).distinct()
    told = ((post, broken(post, now)) for post in posts.select_related("campaign", "channel__brand"))
    return [(post, problems) for post, problems in told if problems]


def moved(post: Broadcast, now: datetime) -> datetime | None:
    """When a post that is due is to be made instead, where employees may not be asked now; None: it may be."""
    opens = next_permitted(post.channel, post.campaign.zone, now)
    return opens if opens > now else None


def _day_of(at: datetime, zone: str) -> date:
    info: ZoneInfo = hours.zone_info(zone)
    return at.astimezone(info).date()
