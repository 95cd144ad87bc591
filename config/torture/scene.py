"""What is put on before the killing: customers, two channels, two campaigns on the same people, one rule."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection

from audiences.models import Brand
from audiences.vocabulary import Medium, Stage, permission_key
from campaigns.models import (
    Budget,
    Campaign,
    ChannelPlan,
    FrequencyTarget,
    Message,
    MessageVariant,
    MessageVersion,
    Phase,
    PressureRule,
    Round,
)
from channels.accounts import save_channel
from channels.models import Channel

CAP, HOURS = 3, 24
"""The rule: of the four touches each person is planned, only so many in so many hours."""
FLIGHT = dt.timedelta(hours=20)


@dataclass(frozen=True, slots=True)
class Scene:
    channels: list[Channel]
    campaigns: list[int]
    touches: int


CUSTOMERS = """
INSERT INTO audiences_customer (name, name_sort, gender, birth_calendar, language, zone, country, province, city, stage,
    attributes, bucket, created_at, updated_at)
SELECT 'Customer ' || n, '', '', 'solar', '', %(zone)s, '', '', '', %(stage)s, '{}', 1, %(now)s, %(now)s
FROM generate_series(1, %(n)s) n
"""
IDENTITIES = """
INSERT INTO audiences_identity (customer_id, kind, issuer, value, source, invalid_reason, created_at)
SELECT id, kind, '', CASE kind WHEN 'email' THEN 'c' || id || '@example.com' ELSE '+86139' || lpad(id::text, 8, '0') END,
    'torture', '', %(now)s
FROM audiences_customer, unnest(ARRAY['email', 'phone']) kind
"""
PERMIT = "UPDATE audiences_contactstate SET allowed = %(keys)s"
APPROVED = """
INSERT INTO campaigns_approved_ordinal (campaign_id, channel_id, round, stage, ordinal, version)
SELECT %(campaign)s, channel, 1, %(stage)s, 1, 1 FROM unnest(%(channels)s::integer[]) channel
"""
MEMBERS = """
INSERT INTO campaigns_member (campaign_id, customer_id, stage, zone, entered_at, state_at)
SELECT %(campaign)s, id, stage, zone, %(now)s, %(now)s FROM audiences_customer
"""
TARGETS = """
INSERT INTO campaigns_member_target (campaign_id, customer_id, channel_id, round, stage, target, planned)
SELECT campaign_id, customer_id, channel, 1, stage, 1, 1
FROM campaigns_member, unnest(%(channels)s::integer[]) channel WHERE campaign_id = %(campaign)s
"""
TOUCHES = """
INSERT INTO campaigns_touch (campaign_id, customer_id, channel_id, round, ordinal, stage, message_version_id, priority,
    due_at, deadline_at, reserved, state_at)
SELECT campaign_id, customer_id, channel_id, 1, 1, stage,
    CASE channel_id WHEN %(mail)s THEN %(mail_version)s::bigint ELSE %(text_version)s::bigint END, %(priority)s,
    %(until)s, %(until)s, 0.05, %(now)s
FROM campaigns_member_target WHERE campaign_id = %(campaign)s
"""


def noon_zone(now: dt.datetime) -> str:
    """A zone in which it is about noon: no quiet hours, whenever this runs."""
    ahead = 12 - now.hour
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


def build(customers: int, smtp: int, smpp: int, now: dt.datetime) -> Scene:
    """All rows. Touches are due at the end of the flight; whoever kills makes them due in slices."""
    brand = Brand.objects.get_or_create(code="main", defaults={"name": "Main brand"})[0]
    mail, text = _channels(brand, smtp, smpp)
    versions = {channel.pk: _message(brand, channel.medium) for channel in (mail, text)}
    keys = [permission_key(brand.pk, medium) for medium in (Medium.EMAIL, Medium.SMS)]
    PressureRule.objects.create(name="torture", touches=CAP, hours=HOURS, in_force_at=now)
    with connection.cursor() as cursor:
        cursor.execute(
            CUSTOMERS, {"n": customers, "now": now, "zone": noon_zone(now), "stage": Stage.CUSTOMER}
        )
        cursor.execute(IDENTITIES, {"now": now})
        cursor.execute(PERMIT, {"keys": keys})
    campaigns, touches = [], 0
    for name, priority in (("One", 60), ("Another", 40)):
        campaign = _campaign(brand, name, priority, [mail, text], now)
        campaigns.append(campaign.pk)
        params: dict[str, Any] = {
            "campaign": campaign.pk, "channels": [mail.pk, text.pk], "mail": mail.pk, "stage": Stage.CUSTOMER,
            "mail_version": versions[mail.pk], "text_version": versions[text.pk], "now": now,
            "until": campaign.ends_at, "priority": priority,
        }  # fmt: skip
        with connection.cursor() as cursor:
            for statement in (APPROVED, MEMBERS, TARGETS, TOUCHES):
                cursor.execute(statement, params)
            touches += cursor.rowcount
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return Scene([mail, text], campaigns, touches)


def _channels(brand: Brand, smtp: int, smpp: int) -> tuple[Channel, Channel]:
    mail = Channel(
        brand=brand, name="Email", medium=Medium.EMAIL, adapter="email", unit_price=Decimal("0.02"),
        settings={"host": "127.0.0.1", "port": smtp, "tls": "none", "from_address": "news@example.com", "timeout": 5},
        credentials={"webhook_key": "torture"},
    )  # fmt: skip
    text = Channel(
        brand=brand, name="SMS", medium=Medium.SMS, adapter="smpp", unit_price=Decimal("0.05"),
        settings={
            "host": "127.0.0.1", "port": smpp, "system_id": "evenreach", "source": "10690000",
            "reference_tlv": "0x1401", "signature": "Evenreach", "timeout": 5, "window": 50,
        },
        credentials={"password": "sandbox"},
    )  # fmt: skip
    return save_channel(mail), save_channel(text)


def _message(brand: Brand, medium: str) -> int:
    message = Message.objects.create(brand=brand, medium=medium, name=f"torture {medium}")
    version = MessageVersion.objects.create(message=message, number=1)
    words = (
        {"subject": "News", "text": "Hello {{name|friend}}"}
        if medium == Medium.EMAIL
        else {"text": "Hi {{name|you}} 拒收请回复R"}  # what no rule of the platforms forbids
    )
    MessageVariant.objects.create(version=version, number=1, **words)
    return version.pk


def _campaign(brand: Brand, name: str, priority: int, channels: list[Channel], now: dt.datetime) -> Campaign:
    """Running, without hours, one touch a channel, with budgets that suffice."""
    campaign = Campaign.objects.create(
        brand=brand, name=name, state="running", starts_at=now, ends_at=now + FLIGHT, priority=priority
    )
    phase = Phase.objects.create(
        campaign=campaign, position=0, name="All", starts_at=now, ends_at=now + FLIGHT
    )
    Round.objects.create(campaign=campaign, number=1, phase=phase, starts_at=now, ends_at=now + FLIGHT)
    Budget.objects.create(campaign=campaign, currency="CNY", amount=1_000_000)
    for channel in channels:
        plan = ChannelPlan.objects.create(campaign=campaign, channel=channel)
        FrequencyTarget.objects.create(
            channel_plan=plan, phase=phase, stage=Stage.CUSTOMER, touches=1, min_gap_hours=0
        )
        Budget.objects.create(campaign=campaign, channel=channel, currency="CNY", amount=500_000)
    return campaign
