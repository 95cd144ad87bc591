"""Posts of KOL accounts in campaigns: each is a task of somebody's, and done when the post is out."""

from datetime import date, datetime, time
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from audiences.vocabulary import Medium
from campaigns.hours import zone_info
from campaigns.models import Campaign, ChannelPlan, PeopleTask
from campaigns.vocabulary import CampaignState
from channels import kol
from channels.models import Employee, KolAccount, KolPlacement

DUE = time(18)  # of the post's day, in the campaign's zone
OVER = (CampaignState.FINISHED, CampaignState.REVIEWED)
POSTED, NOT_POSTED = "posted", "not_posted"


def campaigns_with_posts() -> list[Campaign]:
    """Campaigns that are not over and have a KOL channel in their plan, by name."""
    planned = ChannelPlan.objects.filter(channel__medium=Medium.KOL).values("campaign_id")
    return list(Campaign.objects.filter(pk__in=planned).exclude(state__in=OVER).order_by("name", "pk"))


@transaction.atomic
def place(
    campaign: Campaign,
    account: KolAccount,
    day: date,
    fee: Decimal,
    url: str,
    code: str = "",
    brief: str = "",
    employee: Employee | None = None,
) -> KolPlacement:
    """A post in a campaign and the task of ``employee`` to see that it comes. Raises :class:`ValidationError`."""
    if not ChannelPlan.objects.filter(campaign=campaign, channel_id=account.channel_id).exists():
        raise ValidationError(
            _("%(channel)s is not in the plan of %(campaign)s: add it to its matrix first.")
            % {"channel": account.channel.name, "campaign": campaign.name}
        )
    if campaign.state in OVER:
        raise ValidationError(_("This campaign is over."))
    placement = kol.place(account, campaign.pk, day, fee, url, code, brief)
    task = PeopleTask.objects.create(
        campaign_id=campaign.pk,
        channel_id=account.channel_id,
        title=f"{campaign.name}: {account.name}"[:200],
        due_at=datetime.combine(day, DUE, zone_info(campaign.zone)),
        employee=employee,
    )
    placement.task_id = task.pk
    placement.save(update_fields=["task_id"])
    return placement


def of_task(task: PeopleTask) -> KolPlacement | None:
    """The post that a task is about."""
    return KolPlacement.objects.select_related("account__channel", "link").filter(task_id=task.pk).first()


@transaction.atomic
def posted(placement: KolPlacement, on: date, now: datetime, post_url: str = "") -> KolPlacement:
    """The post is out: its fee is spent, its task is done. Raises :class:`ValidationError`."""
    placement = kol.posted(placement, on, now, post_url)
    _close(placement, PeopleTask.State.DONE, POSTED, now)
    return placement


@transaction.atomic
def cancel(placement: KolPlacement, now: datetime) -> KolPlacement:
    """The post does not come; a fee already counted is taken back."""
    placement = kol.cancel(placement, now)
    _close(placement, PeopleTask.State.FAILED, NOT_POSTED, now)
    return placement


def _close(placement: KolPlacement, state: PeopleTask.State, outcome: str, now: datetime) -> None:
    PeopleTask.objects.filter(pk=placement.task_id or 0).exclude(state=state).update(
        state=state, outcome=outcome, done_at=now
    )
