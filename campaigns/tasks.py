"""What workers do for campaigns. Rows are the truth: a task that is lost is found again by the next tick."""

import logging

from celery import shared_task
from django.utils import timezone

from campaigns import (
    broadcast_work,
    dispatch,
    employee_tasks,
    exits,
    later_rules,
    lifecycle,
    offers,
    people_tasks,
    polling,
    pressure,
    recalling,
    release,
    responses,
    steering,
    triggers,
)
from campaigns.dispatch import waking
from campaigns.models import Campaign
from campaigns.planner import PlanError
from campaigns.vocabulary import CampaignState

log = logging.getLogger(__name__)

STALE = 10.0  # seconds after which a wake-up that nobody heard is worth nothing: the next one came
DRAIN = 0  # the inbox has its places beside those of channels


@shared_task
def tick() -> None:
    """Looks once for due touches and wakes workers for their channels."""
    dispatch.tick(_wake)


def _wake(channel_id: int) -> None:
    for _place in range(waking.workers()):
        dispatch_channel.apply_async((channel_id,), expires=STALE)


@shared_task
def dispatch_channel(channel_id: int) -> None:
    """A turn on one channel, if one of its places is free."""
    with waking.slot(channel_id) as mine:
        if mine:
            done = dispatch.dispatch_channel(channel_id)
            if done.claimed:
                log.debug("channel %s: %s", channel_id, done)


@shared_task
def drain() -> None:
    """Turns what came in into what it means."""
    with waking.slot(DRAIN) as mine:
        if mine:
            responses.drain()


@shared_task
def sweep() -> None:
    """Closes what dead workers, deadlines and silent providers left."""
    dispatch.sweep(timezone.now())


@shared_task
def poll() -> None:
    """Asks providers that tell nothing by themselves."""
    polling.poll_all()


@shared_task
def recall() -> None:
    """Cancels tasks that employees must not confirm any more."""
    recalling.recall_all(timezone.now())


@shared_task
def follow_employees() -> None:
    """Ends employees' tasks that were settled, and reminds of those that wait."""
    now = timezone.now()
    employee_tasks.settle(now)
    employee_tasks.remind_all(now)


@shared_task
def broadcast() -> None:
    """Asks employees for posts to many, follows them and takes them back."""
    broadcast_work.work(timezone.now())


@shared_task
def steer() -> None:
    """Brings audiences on platforms and people's tasks up to date."""
    now = timezone.now()
    steering.steer(now)
    people_tasks.make(now)


@shared_task
def follow_orders() -> None:
    """People who bought leave the campaigns that a conversion ends; orders with a code redeem its offer."""
    exits.from_orders(timezone.now())
    offers.from_orders(timezone.now())


@shared_task
def follow_stages() -> None:
    """People whose stage changed leave the campaigns that end with it."""
    exits.from_stages(timezone.now())


@shared_task
def bring_policy_into_force() -> None:
    """New rules of the contact policy, once the contacts of their window are known."""
    pressure.bring_into_force(timezone.now())


@shared_task
def watch_rules() -> None:
    """Channels of released campaigns whose words break a platform's rule that holds by now are paused."""
    later_rules.watch(timezone.now())


@shared_task
def admit_joiners() -> None:
    """People who joined the segment of a recurring campaign become members."""
    running = Campaign.objects.filter(state=CampaignState.RUNNING, kind=Campaign.Kind.RECURRING)
    for campaign in running.order_by("pk"):
        try:
            release.admit(campaign, timezone.now())
        except PlanError as error:
            log.warning("campaign %s admits nobody: %s", campaign.pk, error)


@shared_task
def open_triggered() -> None:
    """Triggered campaigns open for the people whose time has come."""
    running = Campaign.objects.filter(state=CampaignState.RUNNING, kind=Campaign.Kind.TRIGGERED)
    for campaign in running.order_by("pk"):
        try:
            triggers.look(campaign, timezone.now())
        except PlanError as error:
            log.warning("campaign %s opens for nobody: %s", campaign.pk, error)


@shared_task
def turn_campaigns() -> None:
    """Starts campaigns whose time has come and finishes those whose end has passed."""
    now = timezone.now()
    lifecycle.start_due(now)
    lifecycle.finish_due(now)
