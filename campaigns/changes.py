"""How an approved change of a released campaign takes force: what is sent stays, the rest follows it."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from audiences import jobs
from audiences.models import Job
from campaigns import definition, rounds, versions
from campaigns.models import Budget, Campaign, CampaignVersion
from campaigns.queries import lifecycle as queries
from campaigns.queries import release as release_queries

CHANGE_JOB = "change"


def take_force(campaign: Campaign, version: CampaignVersion, user: AbstractUser, now: datetime) -> Job:
    """Put the approved version of a locked campaign in the place of the one before.

    Frequencies that went down withdraw their ordinals at once; the job lets go of their touches, gives
    unsent ones the new words and releases what was added.
    """
    definition.write(campaign, version.definition)
    stored = definition.read(campaign)
    # Phases that were new have ids from now on: the next difference is told by them.
    version.definition = version.definition | {"phases": stored["phases"]}
    version.save(update_fields=["definition"])
    _budgets(campaign)
    rounds.write_rounds(campaign, version.number)
    arguments = {"campaign": campaign.pk, "version": version.pk}
    return jobs.start(CHANGE_JOB, f"campaign:{campaign.pk}", arguments, user)


def _budgets(campaign: Campaign) -> None:
    """Amounts follow the definition; a limit that was taken away loses its row."""
    limits: dict[int | None, Any] = {
        None: campaign.budget,
        **dict(campaign.channel_plans.values_list("channel_id", "budget")),
    }
    for channel_id, amount in limits.items():
        if amount is None:
            own = {"channel": None} if channel_id is None else {"channel_id": channel_id}
            Budget.objects.filter(campaign=campaign, **own).delete()
        else:
            queries.set_budget(campaign.pk, channel_id, campaign.currency, str(amount))


def let_go(campaign_id: int, now: datetime) -> int:
    """Let go of what came back unsent after a change took it out; how many. Nothing while members are given more."""
    with transaction.atomic():
        if not release_queries.try_hold(campaign_id):
            return 0
        return queries.release_withdrawn(campaign_id, now)


def follow(campaign: Campaign, version: CampaignVersion, now: datetime) -> dict[str, int]:
    """Unsent touches follow the version: those beyond it are let go, the others get its words."""
    with release_queries.hold(campaign.pk):
        released = queries.release_withdrawn(campaign.pk, now)
    repointed = sum(
        queries.repoint(campaign.pk, channel_id, message_version)
        for channel_id, message_version in versions.message_versions(version.definition).items()
    )
    return {"released": released, "repointed": repointed}
