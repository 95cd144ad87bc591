"""Campaigns that tests of the lifecycle begin with: a complete draft, its forecast, its people."""

import datetime as dt
import itertools
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Group

from audiences.models import Brand, Segment
from campaigns import definition, versions
from campaigns.models import Campaign, Message, MessageVariant, MessageVersion, Plan
from channels.models import Channel
from config.models import User

NOW = dt.datetime(2026, 3, 2, 2, 0, tzinfo=dt.UTC)  # a Monday, 10:00 in Shanghai
_numbers = itertools.count(1)


def make_person(name: str, *roles: str) -> User:
    user = User.objects.get_or_create(username=name)[0]
    user.groups.set([Group.objects.get_or_create(name=role)[0] for role in roles])
    return User.objects.get(pk=user.pk)


def make_channel(medium: str = "email", **fields: Any) -> Channel:
    """An account on a medium, priced, without going through an adapter's form."""
    fields = {
        "name": f"{medium} {next(_numbers)}",
        "brand": Brand.objects.get_or_create(code="main", defaults={"name": "Main"})[0],
        "adapter": "manual",
        "domain": "private",
        "observability": "person_observed",
        "guarantee": "immediate",
        "unit_price": Decimal("0.05"),
        "settings": {"signature": "Evenreach"} if medium == "sms" else {},
    } | fields
    return Channel.objects.create(medium=medium, **fields)


def make_message(medium: str = "email", **words: str) -> MessageVersion:
    """A message of one version and one variant that breaks no rule."""
    brand = Brand.objects.get_or_create(code="main", defaults={"name": "Main"})[0]
    message = Message.objects.create(brand=brand, medium=medium, name=f"{medium} message {next(_numbers)}")
    version = MessageVersion.objects.create(message=message, number=1)
    usual = {
        "email": {
            "subject": "For {{name|you}}",
            "text": "Hello {{name|friend}}, see https://shop.example/new\n{{unsubscribe}}",
            "html": '<p>Hello {{name|friend}}, <a href="https://shop.example/new">see</a>'
            ' <a href="{{unsubscribe}}">leave</a></p>',
        },
        "sms": {"text": "{{name|您}}好，新品上市 https://shop.example/new 拒收请回复R"},
    }.get(medium, {"text": "Hello {{name|friend}}"})
    MessageVariant.objects.create(version=version, number=1, name="A", **(usual | words))
    return version


def make_segment(**fields: Any) -> Segment:
    return Segment.objects.create(**({"name": f"Segment {next(_numbers)}", "rule": {"all": []}} | fields))


def make_draft(
    user: User | None = None, *, channels: list[Channel] | None = None, **changes: Any
) -> Campaign:
    """A draft from which nothing is missing but its forecast: email 2×, from tomorrow for two weeks."""
    user = user or make_person("maker", "marketer")
    channels = [make_channel()] if channels is None else channels
    brand = Brand.objects.get_or_create(code="main", defaults={"name": "Main"})[0]
    starts_at, ends_at = NOW + dt.timedelta(days=1), NOW + dt.timedelta(days=15)
    document = definition.blank(f"Campaign {next(_numbers)}", brand, currency="CNY", zone="Asia/Shanghai")
    document = definition.with_flight(document, starts_at, ends_at)
    document |= {
        "segment": definition.segment_entry(make_segment()),
        "budget": "100.0000",
        "holdout_share": "0.1000",
        "channels": [
            {
                **definition.channel_entry(channel),
                "budget": None,
                "daily_limit": None,
                "day_parts": [],
                "silence_hours": None,
                "message": definition.message_entry(make_message(channel.medium).message),
            }
            for channel in channels
        ],
        "matrix": [
            {"phase": 0, "channel": channel.pk, "stage": "member", "touches": 2, "min_gap_hours": 48}
            for channel in channels
        ],
    }
    return versions.create(document | changes, user)


def make_plan(campaign: Campaign, **fields: Any) -> Plan:
    """A forecast of the definition as it stands, an open change included, as the planner would leave it."""
    usual = {
        "version": campaign.version,
        "state": Plan.State.READY,
        "method": "test",
        "objective": campaign.objective,
        "seed": campaign.seed,
        "definition_hash": definition.fingerprint(versions.working(campaign)),
        "audience": 1000,
        "held_out": 100,
        "reach": 800,
        "full_reach": 700,
        "target": 1800,
        "touches": 1500,
        "made_at": NOW,
    }
    return Plan.objects.create(campaign=campaign, **(usual | fields))
