"""Platform rules that come into force after a campaign was approved: its frozen words are judged by them too.

Hours and quotas bind at each claim. A rule on words (signature, opt-out words, forbidden characters, lengths, templates)
is held against the approved words that may still go out, by the rules of every day left of the flight:

- broken today: the channel is paused in that campaign, with the cause kept. It cannot be resumed while it is so;
- broken from a later day on: ``ChannelPlan.breaks_at`` says when, and it is told until then.

:func:`look` does that in the transaction that saves a rule, and every few seconds; it judges only where a rule, the day, a
setting or the approved version changed (:func:`campaigns.rule_breaks.mark_of`). Dispatch itself hands over no words that
break a rule of the day, whenever the next look comes and whatever words a touch still carries.

It never resumes by itself: what goes out then are other words, or the same under another rule, and what became overdue
meanwhile moves or is a gap. Somebody has to want that.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, time

from django.conf import settings
from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext as _

from campaigns import hours, lateness, rule_breaks, versions
from campaigns.models import Campaign, CampaignVersion, ChannelPlan
from campaigns.queries import later_rules as queries
from campaigns.queries import lifecycle as lifecycle_queries
from campaigns.queries import steering
from campaigns.vocabulary import CampaignState
from channels.queries.locks import alone

log = logging.getLogger(__name__)

JUDGED = ("breaks_at", "rule_breaks", "stop_cause", "stopped_by")  # of a channel plan
LOCK = 730_144_212
WATCHED = (CampaignState.APPROVED, *versions.RELEASED)


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
    rules = rule_breaks.on_words()
    paused = []
    # In the order of campaigns: whoever locks several of them does so.
    for plan in plans.select_related("campaign", "channel").order_by("campaign_id", "pk"):
        if rule_breaks.mark_of(plan, rules, now) == plan.judged:
            continue
        try:
            done = _keep(plan.campaign_id, plan.pk, rules, now)
        except Exception:  # one odd message does not hold the others
            log.exception("campaign %s, channel %s: not judged", plan.campaign_id, plan.channel_id)
            continue
        if done is not None:
            paused.append(done)
    if paused:
        steering.hold(now)  # their ads; once no further campaign is to be locked
    return paused


def again(pairs: Iterable[tuple[int, int]]) -> int:
    """Have these channels (campaign, channel) judged by the next look, as dispatch met words that break a rule; how many
    it was not asked for yet."""
    plans = ChannelPlan.objects.exclude(judged="")
    return sum(
        plans.filter(campaign=campaign_id, channel=channel_id).update(judged="")
        for campaign_id, channel_id in pairs
    )


def _keep(campaign_id: int, plan_id: int, rules: rule_breaks.Rules, now: datetime) -> ChannelPlan | None:
    """Judge one channel under the campaign's lock; the plan where that paused it."""
    with transaction.atomic():
        campaign = versions.lock(campaign_id)
        plan = campaign.channel_plans.select_related("channel__brand").filter(pk=plan_id).first()
        if plan is None or campaign.state not in WATCHED:
            return None
        plan.campaign = campaign
        judgement = _write(plan, now)
        plan.judged = rule_breaks.mark_of(plan, rules, now) if _renewed(plan, now) else ""
        paused = bool(judgement.now) and plan.paused_at is None
        if paused:
            lateness.begin_clock(campaign.pk, plan.channel_id, now)
            plan.paused_at = now
            plan.stopped_by = [one.kept() for one in judgement.now]
            with translation.override(settings.LANGUAGE_CODE):
                plan.stop_cause = " ".join(one.said() for one in judgement.now)
        plan.save(update_fields=["judged", "paused_at", *JUDGED])
        return plan if paused else None


def _write(plan: ChannelPlan, now: datetime) -> rule_breaks.Judgement:
    """Judge a plan of a locked campaign, and put down what was found; the caller saves it."""
    judgement = rule_breaks.judge(plan.campaign, plan.channel, now)
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
        rule_breaks.broken_on(pk, channel, today) and queries.to_come(campaign.pk, channel.pk, pk)
        for pk in sorted(before)
    ):
        return True
    if rule_breaks.is_changing(campaign):
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
