"""Who must say yes to a submitted version, and who may.

An approver always, and finance above the threshold of :class:`ApprovalRule` (or when nothing limits what it
may spend). Nobody decides on what they made or submitted, and nobody takes two steps of one version.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.utils.translation import gettext as _

from audiences.access import Role, has_role
from campaigns import definition
from campaigns.models import Approval, ApprovalRule, Campaign, CampaignVersion
from channels.models import Channel

ROLE_OF = {Approval.Step.APPROVER: Role.APPROVER, Approval.Step.FINANCE: Role.FINANCE}


class NotPermitted(Exception):
    """This person may not take this step; the text says why."""


def steps_needed(version: CampaignVersion) -> list[str]:
    """The steps a version needs, in the order they are shown; they may be taken in any order."""
    steps = [Approval.Step.APPROVER.value]
    amount = definition.ceiling(version.definition)
    if above_threshold(amount, version.definition["currency"], version.definition):
        steps.append(Approval.Step.FINANCE.value)
    return steps


def above_threshold(amount: Decimal | None, currency: str, document: dict[str, Any]) -> bool:
    """Whether finance must agree. Unlimited is above every threshold, unless nothing costs anything.

    A currency without a threshold of its own counts as above one, as soon as any currency has one: money
    must not slip past finance by its denomination.
    """
    rules = {rule.currency: rule.above for rule in ApprovalRule.objects.filter(step=Approval.Step.FINANCE)}
    if not rules:
        return False
    if amount is None:
        return bool(_priced(document))
    if amount == 0:
        return False
    threshold = rules.get(currency)
    return threshold is None or amount > threshold


def _priced(document: dict[str, Any]) -> bool:
    ids = [entry["channel"] for entry in document["channels"]]
    return Channel.objects.filter(pk__in=ids, unit_price__gt=0).exists()


def steps_open(version: CampaignVersion) -> list[str]:
    """Steps nobody has decided yet."""
    decided = set(version.approvals.values_list("step", flat=True))
    return [step for step in steps_needed(version) if step not in decided]


def check_may_decide(campaign: Campaign, version: CampaignVersion, user: AbstractUser, step: str) -> None:
    """Raises :class:`NotPermitted`."""
    refusal = refusal_of(campaign, version, user, step)
    if refusal:
        raise NotPermitted(refusal)


def refusal_of(campaign: Campaign, version: CampaignVersion, user: AbstractUser, step: str) -> str:
    """Why this person may not take this step; '' when they may."""
    role = ROLE_OF[Approval.Step(step)]
    if not has_role(user, role):
        return _("This step is decided by somebody with the role “%(role)s”.") % {"role": role.label}
    if user.pk == version.made_by_id:
        return _("You submitted this version: somebody else has to decide on it.")
    if user.pk == campaign.created_by_id:
        return _("You made this campaign: somebody else has to decide on it.")
    if version.approvals.filter(decided_by_id=user.pk).exists():
        return _("You decided on this version already: the other step belongs to somebody else.")
    return ""


def may_take(campaign: Campaign, version: CampaignVersion, user: AbstractUser) -> list[str]:
    """The open steps this person may decide now."""
    return [step for step in steps_open(version) if not refusal_of(campaign, version, user, step)]


def waiting_for(user: AbstractUser) -> Sequence[CampaignVersion]:
    """Submitted versions that this person may decide on, the oldest first."""
    submitted = (
        CampaignVersion.objects.filter(state=CampaignVersion.State.SUBMITTED)
        .select_related("campaign", "plan", "made_by")
        .order_by("made_at")
    )
    if not has_role(user, Role.APPROVER, Role.FINANCE):
        return []
    return [version for version in submitted if may_take(version.campaign, version, user)]
