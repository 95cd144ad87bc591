"""Versions of a campaign: what is being edited, what was submitted, what holds.

A draft campaign is edited in the tables themselves. One that was released is edited in a draft version: a
document beside the tables, which its approval puts in their place. So nothing unapproved ever takes force,
and what is sent stays sent.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from audiences.models import Segment
from campaigns import cadence, definition, occasions
from campaigns.definition import DefinitionError, Document
from campaigns.differences import differences
from campaigns.models import Campaign, CampaignVersion, Message, Occasion, Offer, Plan
from campaigns.vocabulary import CampaignState

RELEASED = (CampaignState.SCHEDULED, CampaignState.RUNNING, CampaignState.PAUSED)
# Members are drawn by these once: a change would mix people of two experiments.
FIXED_AFTER_RELEASE = {
    "brand",
    "kind",
    "occasion",
    "currency",
    "zone",
    "starts_at",
    "segment",
    "holdout_share",
    "arms",
    "revenue_basis",
}


class NotEditable(DefinitionError):
    """The campaign's state does not let its definition change now; the text says what to do."""


def lock(campaign_id: int) -> Campaign:
    """The campaign's row, locked until the transaction ends. Raises ``Campaign.DoesNotExist``."""
    return (
        Campaign.objects.select_for_update(of=("self",))
        .select_related("brand", "segment")
        .get(pk=campaign_id)
    )


def open_version(campaign: Campaign) -> CampaignVersion | None:
    """The version that is drafted or submitted; there is at most one (the database sees to it)."""
    states = (CampaignVersion.State.DRAFT, CampaignVersion.State.SUBMITTED)
    return campaign.versions.filter(state__in=states).select_related("made_by", "plan").first()


def approved_version(campaign: Campaign) -> CampaignVersion | None:
    """The version that holds."""
    return campaign.versions.filter(state=CampaignVersion.State.APPROVED).order_by("-number").first()


def working(campaign: Campaign) -> Document:
    """The definition as the editor shows it: of a released campaign with an open change, the change."""
    if campaign.state in RELEASED:
        version = open_version(campaign)
        if version is not None:
            return (
                refreshed(version.definition)
                if version.state == CampaignVersion.State.DRAFT
                else version.definition
            )
    return holding(campaign)


def holding(campaign: Campaign) -> Document:
    """What holds: the approved version once there is one, the tables before."""
    if campaign.state not in (CampaignState.DRAFT, CampaignState.SUBMITTED):
        version = approved_version(campaign)
        if version is not None:
            return version.definition
    return definition.read(campaign)


def refreshed(document: Mapping[str, Any]) -> Document:
    """The document with its segment's rule, its occasion, its offer and its messages' words as they are now.

    A message keeps the version it was chosen with: a newer one is taken up by choosing it.
    """
    fresh = dict(document)
    if document.get("segment"):
        segment = Segment.objects.filter(pk=document["segment"]["id"]).first()
        fresh["segment"] = definition.segment_entry(segment)
    ids = [entry["message"]["id"] for entry in document["channels"] if entry.get("message")]
    messages = Message.objects.in_bulk(ids)
    if document.get("occasion"):
        fresh["occasion"] = occasions.entry(Occasion.objects.filter(pk=document["occasion"]["id"]).first())
    if document.get("offer"):
        fresh["offer"] = definition.offer_entry(Offer.objects.filter(pk=document["offer"]["id"]).first())
    fresh["channels"] = [
        {**entry, "message": _message(entry.get("message"), messages)} for entry in document["channels"]
    ]
    return fresh


def _message(entry: Mapping[str, Any] | None, known: Mapping[int, Message]) -> Document | None:
    return definition.message_entry(known.get(entry["id"]), entry.get("version_id")) if entry else None


def may_edit(campaign: Campaign) -> str:
    """Why the definition cannot be edited now; '' when it can."""
    if campaign.state == CampaignState.DRAFT:
        return ""
    if campaign.state in RELEASED:
        version = open_version(campaign)
        if version is not None and version.state == CampaignVersion.State.SUBMITTED:
            return _("A change waits for approval. Withdraw it to edit again.")
        return ""
    if campaign.state == CampaignState.SUBMITTED:
        return _("The campaign waits for approval. Withdraw it to edit again.")
    if campaign.state == CampaignState.APPROVED:
        return _("The campaign is being released. Wait until it is scheduled or running.")
    return _("The campaign is over. Duplicate it to run something like it again.")


@contextmanager
def editing(campaign_id: int, user: AbstractUser, now: datetime) -> Iterator[tuple[Campaign, Document]]:
    """The locked campaign and its document; what the block does to the document is saved at its end.

    Parts of one document saved by two people at once do not overwrite each other: each reads it anew under
    the lock. Raises :class:`DefinitionError`, and its kind :class:`NotEditable`.
    """
    with transaction.atomic():
        campaign = lock(campaign_id)
        refusal = may_edit(campaign)
        if refusal:
            raise NotEditable(refusal)
        document = working(campaign)
        yield campaign, document
        save(campaign, document, user, now)


def save(campaign: Campaign, document: Document, user: AbstractUser, now: datetime) -> None:
    """Keep a document of a locked campaign: in the tables of a draft, else in its draft version."""
    if campaign.state == CampaignState.DRAFT:
        before = definition.fingerprint(definition.read(campaign))
        definition.write(campaign, document)
        if definition.fingerprint(definition.read(campaign)) != before:
            campaign.plans.filter(state=Plan.State.READY).update(state=Plan.State.STALE)
        return
    current = holding(campaign)
    fixed = [name for name in FIXED_AFTER_RELEASE if _bare(document.get(name)) != _bare(current.get(name))]
    wanted, held = document.get("cadence") or {}, current.get("cadence") or {}
    fixed += [name for name in cadence.FIXED if (wanted.get(name) or None) != (held.get(name) or None)]
    if fixed:
        raise DefinitionError(
            _(
                "The campaign was released: %(fields)s cannot change any more. Duplicate it to try something else."
            )
            % {"fields": ", ".join(sorted(fixed))}
        )
    version = open_version(campaign)
    changes = differences(current, document)
    if version is None:
        if changes:
            CampaignVersion.objects.create(
                campaign=campaign,
                number=next_number(campaign),
                definition=document,
                difference=changes,
                state=CampaignVersion.State.DRAFT,
                made_by_id=user.pk,
                made_at=now,
            )
        return
    if not changes:
        version.delete()
        return
    version.definition, version.difference, version.made_at = document, changes, now
    version.made_by_id = user.pk
    version.save(update_fields=["definition", "difference", "made_by", "made_at"])


def _bare(value: Any) -> Any:
    """A segment by its id: its rule may change, and late joiners are judged by the new one."""
    return value.get("id") if isinstance(value, Mapping) else value


def next_number(campaign: Campaign) -> int:
    return int(campaign.versions.aggregate(last=Max("number"))["last"] or 0) + 1


def discard(campaign_id: int) -> bool:
    """Throw the draft change of a released campaign away; False when there is none."""
    with transaction.atomic():
        lock(campaign_id)
        deleted, _rows = CampaignVersion.objects.filter(
            campaign_id=campaign_id, state=CampaignVersion.State.DRAFT
        ).delete()
        return bool(deleted)


def snapshot(campaign: Campaign, user: AbstractUser, plan: Plan | None, now: datetime) -> CampaignVersion:
    """The submitted version of a locked campaign: what the approver will see, word for word."""
    if campaign.state == CampaignState.DRAFT:
        document = definition.read(campaign)
        last = approved_version(campaign)
        return CampaignVersion.objects.create(
            campaign=campaign,
            number=next_number(campaign),
            definition=document,
            difference=differences(last.definition if last else None, document),
            state=CampaignVersion.State.SUBMITTED,
            plan=plan,
            made_by_id=user.pk,
            made_at=now,
        )
    version = open_version(campaign)
    if version is None:
        raise DefinitionError(_("Nothing was changed since the approved version."))
    version.definition = refreshed(version.definition)
    version.difference = differences(holding(campaign), version.definition)
    version.state = CampaignVersion.State.SUBMITTED
    version.plan, version.made_by_id, version.made_at = plan, user.pk, now
    version.save()
    return version


def is_current(version: CampaignVersion) -> bool:
    """Whether everything a submitted version rests on still is as it was submitted: rule and words too."""
    return definition.fingerprint(refreshed(version.definition)) == definition.fingerprint(version.definition)


def message_versions(document: Mapping[str, Any]) -> dict[int, int]:
    """Channel id → message version id of a document."""
    return {
        entry["channel"]: entry["message"]["version_id"]
        for entry in document["channels"]
        if entry.get("message") and entry["message"].get("version_id")
    }


def approved_messages(campaign: Campaign) -> dict[int, int]:
    """Channel id → the message version that was approved, however many newer ones were drafted since."""
    version = approved_version(campaign)
    return message_versions(version.definition) if version else {}


def duplicate(campaign: Campaign, user: AbstractUser) -> Campaign:
    """A draft with the same definition and a seed of its own. It has no members and sends nothing."""
    with transaction.atomic():
        document = working(campaign)
        name = _("Copy of %(name)s") % {"name": document["name"]}
        document = document | {
            "name": name[:160],
            "phases": [phase | {"id": None} for phase in document["phases"]],
        }
        if document["kind"] == Campaign.Kind.IMPORTED:
            document["kind"] = Campaign.Kind.ONE_OFF
        return create(document, user)


def create(document: Document, user: AbstractUser) -> Campaign:
    """A new draft from a document. Raises :class:`DefinitionError`."""
    with transaction.atomic():
        campaign = Campaign(name=document["name"], created_by_id=user.pk)
        definition.write(campaign, document)
        # A seed that people cannot choose: arms and holdouts of two campaigns are independent.
        campaign.seed = definition.seed_of(campaign.pk)
        campaign.save(update_fields=["seed"])
        return campaign
