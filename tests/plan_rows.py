"""Rows that plans are made of: functions with defaults."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import count
from typing import Any

from audiences.models import Brand, ContactState, Customer, Identity, Segment, SegmentMember
from audiences.vocabulary import REACHED_BY, IdentityKind, Stage, permission_key
from campaigns.models import (
    Arm,
    Campaign,
    ChannelPlan,
    FrequencyTarget,
    Message,
    MessageVariant,
    MessageVersion,
    Phase,
)
from channels.models import Channel

NOON = dt.datetime(2026, 3, 2, 4, 0, tzinfo=dt.UTC)  # Monday, noon in Shanghai
DAY = dt.timedelta(days=1)
_number = count(1)


def brand() -> Brand:
    return Brand.objects.get_or_create(code="main", defaults={"name": "Main brand"})[0]


def channel(medium: str = "email", **fields: Any) -> Channel:
    """An active channel of the manual adapter whose touches of each person are observed."""
    return Channel.objects.create(
        **{
            "brand": brand(),
            "name": f"{medium} {next(_number)}",
            "medium": medium,
            "adapter": "email" if medium == "email" else "manual",
            "domain": "private",
            "observability": "person_observed",
            "guarantee": "immediate",
            "unit_price": Decimal("0.05"),
            **fields,
        }
    )


def message(medium: str = "email", text: str = "Hello {{name}}", variants: int = 1) -> Message:
    """A message with one version."""
    found = Message.objects.create(brand=brand(), medium=medium, name=f"message {next(_number)}")
    version = MessageVersion.objects.create(message=found, number=1)
    for number in range(1, variants + 1):
        MessageVariant.objects.create(
            version=version,
            number=number,
            name=chr(64 + number),
            subject="Hello",
            text=text,
            weight=Decimal(1) / variants,
        )
    return found


def customers(
    n: int,
    media: Iterable[str] = ("email",),
    *,
    stage: str = Stage.CUSTOMER,
    zone: str = "Asia/Shanghai",
    identities: Iterable[str] | None = None,
    consents: Iterable[str] | None = None,
) -> list[Customer]:
    """``n`` customers with the identities of these media and consent to them, unless told otherwise."""
    media = list(media)
    made = Customer.objects.bulk_create(
        [Customer(name=f"customer {next(_number)}", stage=stage, zone=zone) for _ in range(n)]
    )
    kinds = {REACHED_BY[medium][0] for medium in (media if identities is None else identities)}
    Identity.objects.bulk_create(
        [
            Identity(
                customer=person,
                kind=kind,
                value=f"{kind} {person.pk}" if kind != IdentityKind.EMAIL else f"c{person.pk}@example.com",
            )
            for person in made
            for kind in kinds
        ]
    )
    allowed = [permission_key(brand().pk, medium) for medium in (media if consents is None else consents)]
    ContactState.objects.filter(customer__in=made).update(allowed=allowed)
    return made


def fixed_list(people: Sequence[Customer]) -> Segment:
    segment = Segment.objects.create(name=f"list {next(_number)}")
    SegmentMember.objects.bulk_create([SegmentMember(segment=segment, customer=person) for person in people])
    return segment


def campaign(
    people: Sequence[Customer] | Segment,
    channels: Sequence[Channel],
    touches: int | Mapping[str, int] = 1,
    *,
    days: float = 7,
    starts_at: dt.datetime = NOON,
    gap: int = 24,
    round_days: int | None = None,
    stages: Iterable[str] = Stage.values,
    plans: Mapping[str, Any] | None = None,
    arms: Mapping[str, tuple[str, int | None]] | None = None,
    **fields: Any,
) -> Campaign:
    """One phase, the same frequency for all stages; ``touches`` may be a number for each medium."""
    found = Campaign.objects.create(
        **{
            "brand": brand(),
            "name": f"campaign {next(_number)}",
            "segment": people if isinstance(people, Segment) else fixed_list(people),
            "starts_at": starts_at,
            "ends_at": starts_at + days * DAY,
            "seed": next(_number),
            **fields,
        }
    )
    phase = Phase.objects.create(
        campaign=found,
        position=0,
        name="Phase 1",
        starts_at=found.starts_at,
        ends_at=found.ends_at,
        round_days=round_days,
    )
    for position, one in enumerate(channels):
        plan = ChannelPlan.objects.create(
            campaign=found, channel=one, position=position, message=message(one.medium), **(plans or {})
        )
        n = touches if isinstance(touches, int) else touches[one.medium]
        FrequencyTarget.objects.bulk_create(
            [
                FrequencyTarget(channel_plan=plan, phase=phase, stage=stage, touches=n, min_gap_hours=gap)
                for stage in stages
            ]
        )
    for name, (share, cap) in (arms or {}).items():
        Arm.objects.create(campaign=found, name=name, share=Decimal(share), cap=cap)
    return found
