"""One channel of a campaign, paused while the others go on.

Claims, calls, audiences, posts and held tasks read ``ChannelPlan.paused_at``, whether a person paused it or a rule of a
platform (:mod:`campaigns.later_rules`); while its words break a rule it cannot go on. Resumed, the pair's clock says how
long it stood still: what is overdue by more than an hour moves to the next day or is a gap, as after any pause
(:mod:`campaigns.lateness`). The audit trail keeps who did it.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from campaigns import lateness, later_rules, versions
from campaigns.lifecycle import IllegalTransition
from campaigns.models import Campaign, ChannelPlan
from campaigns.queries import steering
from campaigns.vocabulary import CampaignState

PAUSABLE = (CampaignState.RUNNING, CampaignState.PAUSED)
RESUMABLE = (*PAUSABLE, CampaignState.SCHEDULED)  # a rule may stop a channel before the campaign begins


def pause(campaign: Campaign, channel_id: int, now: datetime) -> ChannelPlan:
    """Nothing more is claimed on this channel from the next claim on; held tasks are called back, ads are paused."""
    with transaction.atomic():
        plan = _locked(campaign, channel_id)
        if plan.paused_at is not None:
            raise IllegalTransition(_("This channel is paused in the campaign already. Reload the page."))
        lateness.begin_clock(campaign.pk, channel_id, now)
        plan.paused_at = now
        plan.save(update_fields=["paused_at"])
        steering.hold(now)
    return plan


def resume(campaign: Campaign, channel_id: int, now: datetime | None = None) -> ChannelPlan:
    """Go on with what is not overdue; not while its words break a rule."""
    with transaction.atomic():
        plan = _locked(campaign, channel_id, RESUMABLE)
        if plan.paused_at is None:
            raise IllegalTransition(_("This channel is not paused in the campaign. Reload the page."))
        now = now or timezone.now()
        if refusal := later_rules.refusal(plan, now):
            raise IllegalTransition(refusal)
        plan.paused_at = None
        plan.save(update_fields=["paused_at", *later_rules.JUDGED])
        steering.hold(now)
    return plan


def _locked(campaign: Campaign, channel_id: int, states: Sequence[str] = PAUSABLE) -> ChannelPlan:
    found = versions.lock(campaign.pk)
    if found.state not in states:
        raise IllegalTransition(
            _("The campaign is in state “%(state)s” now; reload the page to see what can be done.")
            % {"state": found.get_state_display()}
        )
    plan = found.channel_plans.select_related("channel__brand").filter(channel_id=channel_id).first()
    if plan is None:
        raise IllegalTransition(_("This channel is not in the campaign any more. Reload the page."))
    return plan
