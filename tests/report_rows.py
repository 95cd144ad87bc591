"""A campaign as the database knows it after release, written directly: for tests of reports."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from itertools import count
from typing import Any

from django.db import connection

from audiences.models import Brand, Customer, Order
from campaigns.models import Campaign, Phase, Round
from channels.models import Channel
from tests.plan_rows import campaign as draft

START = dt.datetime(2026, 3, 2, 4, 0, tzinfo=dt.UTC)
_order = count(1)


def released(
    people: Sequence[Customer],
    channels: Sequence[Channel],
    target: int = 2,
    *,
    held_out: Sequence[Customer] = (),
    **fields: Any,
) -> Campaign:
    """A running campaign: members, full targets in one round, no touches yet."""
    found = draft(
        list(people), channels, target, starts_at=START, state="running", released_at=START, **fields
    )
    phase = Phase.objects.get(campaign=found)
    Round.objects.create(
        campaign=found, number=1, phase=phase, starts_at=found.starts_at, ends_at=found.ends_at
    )
    hidden = {person.pk for person in held_out}
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO campaigns_approved_ordinal (campaign_id, channel_id, round, stage, ordinal, version)"
            " VALUES (%s, %s, 1, 'customer', %s, 1)",
            [(found.pk, each.pk, ordinal) for each in channels for ordinal in range(1, target + 1)],
        )
        cursor.executemany(
            "INSERT INTO campaigns_member (campaign_id, customer_id, stage, held_out, zone, entered_at, state_at)"
            " VALUES (%s, %s, 'customer', %s, 'Asia/Shanghai', %s, %s)",
            [(found.pk, person.pk, person.pk in hidden, START, START) for person in people],
        )
        cursor.executemany(
            "INSERT INTO campaigns_member_target (campaign_id, customer_id, channel_id, round, stage, target, planned)"
            " VALUES (%s, %s, %s, 1, 'customer', %s, %s)",
            [
                (found.pk, person.pk, each.pk, target, target)
                for person in people
                if person.pk not in hidden
                for each in channels
            ],
        )
    return found


def short(campaign: Campaign, person: Customer, on: Channel, planned: int, cause: str) -> None:
    """Fewer touches were planned for a person than aimed at."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE campaigns_member_target SET planned = %s, cause = %s"
            " WHERE campaign_id = %s AND customer_id = %s AND channel_id = %s",
            [planned, cause, campaign.pk, person.pk, on.pk],
        )


def touch(
    campaign: Campaign,
    person: Customer,
    on: Channel,
    ordinal: int = 1,
    state: str = "delivered",
    reason: str = "",
    at: dt.datetime = START,
    cost: str = "0.05",
) -> int:
    """A touch, with its attempt when it was handed over. Returns the touch's id."""
    attempt = {"sent": "accepted", "delivered": "delivered", "unknown": "unknown"}.get(state)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO campaigns_touch (campaign_id, customer_id, channel_id, round, ordinal, stage, due_at,"
            " deadline_at, state, reason, cost, state_at)"
            " VALUES (%s, %s, %s, 1, %s, 'customer', %s, %s, %s, %s, %s, %s) RETURNING id",
            [
                campaign.pk,
                person.pk,
                on.pk,
                ordinal,
                at,
                at + dt.timedelta(days=1),
                state,
                reason,
                Decimal(cost) if attempt else 0,
                at,
            ],
        )
        pk = int(cursor.fetchone()[0])
        if attempt:
            cursor.execute(
                "INSERT INTO campaigns_attempt (campaign_id, touch_id, n, customer_id, channel_id, state, cost,"
                " started_at, sent_at) VALUES (%s, %s, 1, %s, %s, %s, %s, %s, %s)",
                [campaign.pk, pk, person.pk, on.pk, attempt, Decimal(cost), at, at],
            )
    return pk


def order(person: Customer, paid: str, at: dt.datetime, **fields: Any) -> Order:
    values = {
        "number": f"O{next(_order)}",
        "customer": person,
        "placed_at": at,
        "received_at": at,
        "gross": Decimal(paid),
        "paid": Decimal(paid),
        "brand": Brand.objects.first(),
        **fields,
    }
    return Order.objects.create(**values)
