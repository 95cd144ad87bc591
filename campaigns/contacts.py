"""What campaigns did with one person, and why or why not, in words."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.utils.translation import gettext as _

from audiences.models import Customer, Identity
from audiences.vocabulary import ResponseKind
from campaigns import content, offers
from campaigns.models import Attempt, Campaign, Member, PeopleTask, Response, Touch
from campaigns.vocabulary import OWNER_OF, Cause, MemberState, Owner, TouchState
from channels.models import Channel

SHOWN = 100


@dataclass(frozen=True, slots=True)
class Contact:
    """One touch of the person, told in a sentence."""

    touch: Touch
    campaign: Campaign | None
    channel: str
    at: datetime
    why: str
    owner: Any


@dataclass(frozen=True, slots=True)
class Membership:
    member: Member
    campaign: Campaign | None
    why: str
    shortfalls: list["Shortfall"]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Touches the person should have got and was not even planned to get."""

    channel: str
    n: int
    cause: Any
    owner: Any


def ids_of(customer_id: int) -> list[int]:
    """The person's own id and those absorbed into it: history stays under the id it was written with."""
    return [customer_id, *Customer.objects.filter(merged_into_id=customer_id).values_list("pk", flat=True)]


def contacts(customer_id: int, limit: int = SHOWN) -> list[Contact]:
    """Touches, those that are due or happened last first."""
    rows = list(Touch.objects.filter(customer_id__in=ids_of(customer_id)).order_by("-due_at")[:limit])
    campaigns = Campaign.objects.in_bulk({row.campaign_id for row in rows})
    channels = dict(Channel.objects.values_list("pk", "name"))
    owners = dict(Owner.choices)
    return [
        Contact(
            row,
            campaigns.get(row.campaign_id),
            channels.get(row.channel_id, str(row.channel_id)),
            row.due_at if row.state in (TouchState.PLANNED, TouchState.CLAIMED) else row.state_at,
            why(row),
            owners.get(OWNER_OF.get(row.reason, ""), "") if row.state == TouchState.GAP else "",
        )
        for row in rows
    ]


def why(touch: Touch) -> str:
    """Why a touch stands where it stands."""
    causes = dict(Cause.choices)
    if touch.state == TouchState.GAP:
        return _("Not reached: %(cause)s") % {"cause": causes.get(touch.reason, touch.reason)}
    if touch.state == TouchState.RELEASED:
        return _("Let go: %(cause)s") % {"cause": causes.get(touch.reason, touch.reason)}
    if touch.deferred:
        return _("Waits: %(cause)s") % {"cause": causes.get(touch.deferred, touch.deferred)}
    told = {
        TouchState.PLANNED: _("Planned"),
        TouchState.CLAIMED: _("Being sent"),
        TouchState.HELD: _("Waits until a person of ours confirms it"),
        TouchState.SENT: _("Sent"),
        TouchState.DELIVERED: _("Delivered"),
        TouchState.UNKNOWN: _("Handed over; the answer was lost, so it is not sent again"),
        TouchState.UNOBSERVED: _("Shown by a platform that tells nothing of persons"),
    }
    return told.get(TouchState(touch.state), touch.state)


@dataclass(frozen=True, slots=True)
class Saying:
    """Where an employee reaches a person, and what to say."""

    address: str
    subject: str
    text: str
    until: datetime


def to_say(task: PeopleTask) -> Saying | None:
    """The words of a task's touch, filled for its person; None where there is no touch or it is over."""
    touch = (
        Touch.objects.filter(campaign_id=task.campaign_id or 0, id=task.touch_id).first()
        if task.touch_id
        else None
    )
    if touch is None or task.customer_id is None:
        return None
    attempt = Attempt.objects.filter(campaign_id=touch.campaign_id, touch_id=touch.id).order_by("-n").first()
    identity = (
        Identity.objects.filter(pk=attempt.identity_id).first() if attempt and attempt.identity_id else None
    )
    subject = text = ""
    if touch.message_version_id is not None:
        prepared = content.prepare(touch.message_version_id, touch.variant, task.channel)
        values = content.values_of([task.customer_id], prepared.fields).get(task.customer_id, {})
        if offers.names_one(prepared.fields) and task.campaign_id:
            key = (task.campaign_id, task.customer_id)
            values = values | offers.given([key]).get(key, {})
        filled = prepared.fill(
            values, campaign_id=touch.campaign_id, touch_id=touch.id, customer_id=task.customer_id
        )
        subject, text = filled.subject, filled.text
    return Saying(identity.value if identity else "", subject, text, touch.deadline_at)


SHORT = """
SELECT campaign_id, customer_id, channel_id, cause, sum(target - planned)
FROM campaigns_member_target
WHERE customer_id = ANY(%(ids)s) AND campaign_id = ANY(%(campaigns)s) AND planned < target
GROUP BY 1, 2, 3, 4
"""


def memberships(customer_id: int, limit: int = SHOWN) -> list[Membership]:
    """Campaigns the person is or was in, with what the plan could not give and why."""
    rows = list(Member.objects.filter(customer_id__in=ids_of(customer_id)).order_by("-entered_at")[:limit])
    campaigns = Campaign.objects.in_bulk({row.campaign_id for row in rows})
    channels = dict(Channel.objects.values_list("pk", "name"))
    causes, owners = dict(Cause.choices), dict(Owner.choices)
    short: dict[tuple[int, int], list[Shortfall]] = {}
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(
                SHORT,
                {"ids": [row.customer_id for row in rows], "campaigns": [row.campaign_id for row in rows]},
            )
            for campaign_id, person, channel_id, cause, n in cursor.fetchall():
                short.setdefault((campaign_id, person), []).append(
                    Shortfall(
                        channels.get(channel_id, str(channel_id)),
                        int(n),
                        causes.get(cause, cause),
                        owners.get(OWNER_OF.get(cause, ""), ""),
                    )
                )
    return [
        Membership(
            row,
            campaigns.get(row.campaign_id),
            _why_member(row),
            short.get((row.campaign_id, row.customer_id), []),
        )
        for row in rows
    ]


def _why_member(member: Member) -> str:
    if member.held_out:
        return _("Held out on purpose: gets nothing, so that the effect can be measured")
    labels: dict[str, Any] = dict(ResponseKind.choices) | dict(Cause.choices)
    reason = labels.get(member.reason, member.reason)
    if member.state == MemberState.EXITED:
        return _("Left the campaign: %(reason)s") % {"reason": reason}
    if member.state == MemberState.WAITING:
        return _("Left in peace until the next occasion: no reaction")
    if member.state == MemberState.ENDED:
        return _("Ended: %(reason)s") % {"reason": reason} if reason else _("Ended with the campaign")
    return _("Takes part")


def responses(customer_id: int, limit: int = SHOWN) -> list[Response]:
    """What the person did, the latest first."""
    found = Response.objects.filter(customer_id__in=ids_of(customer_id)).select_related("channel", "order")
    return list(found.order_by("-occurred_at")[:limit])
