"""Messages and campaign drafts for trying the product out."""

import datetime as dt
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction

from audiences.models import Brand, Segment
from audiences.vocabulary import Medium
from campaigns.models import (
    Campaign,
    ChannelPlan,
    FrequencyTarget,
    Message,
    MessageVariant,
    MessageVersion,
    Phase,
)
from channels.models import Channel


@dataclass(frozen=True, slots=True)
class Part:
    """A channel in a draft: its budget, message, and touches a round by stage."""

    channel: Channel
    budget: Decimal | None
    message: Message | None
    touches: Mapping[str, int]
    gap_hours: int = 24


def ensure_message(
    brand: Brand, medium: str, name: str, text: str, *, subject: str = "", html: str = "", user: Any = None
) -> Message:
    """A message of the content library with one version of one variant; made once."""
    message, made = Message.objects.get_or_create(brand=brand, name=name, defaults={"medium": Medium(medium)})
    if made:
        version = MessageVersion.objects.create(message=message, number=1, created_by=user)
        MessageVariant.objects.create(version=version, subject=subject, text=text, html=html)
    return message


@transaction.atomic
def draft(
    brand: Brand,
    name: str,
    segment: Segment,
    parts: Sequence[Part],
    *,
    starts_at: dt.datetime,
    ends_at: dt.datetime,
    user: Any,
    phase: str,
    **fields: Any,
) -> Campaign:
    """A campaign in state draft with one phase."""
    campaign = Campaign.objects.create(
        brand=brand, name=name, segment=segment, starts_at=starts_at, ends_at=ends_at, created_by=user,
        seed=secrets.randbits(62), **fields,
    )  # fmt: skip
    first = Phase.objects.create(
        campaign=campaign, position=0, name=phase, starts_at=starts_at, ends_at=ends_at
    )
    for position, part in enumerate(parts):
        plan = ChannelPlan.objects.create(
            campaign=campaign,
            channel=part.channel,
            position=position,
            budget=part.budget,
            message=part.message,
        )
        FrequencyTarget.objects.bulk_create(
            FrequencyTarget(
                channel_plan=plan, phase=first, stage=stage, touches=n, min_gap_hours=part.gap_hours
            )
            for stage, n in part.touches.items()
        )
    return campaign
