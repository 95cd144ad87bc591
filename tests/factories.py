"""Rows that a running campaign is made of: small functions with defaults.

``released`` writes members, targets and touches directly, with every touch due at once; where a test is about
planning or about the release itself, it uses those.
"""

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from django.db import connection

from audiences.models import Brand
from audiences.vocabulary import REACHED_BY, Stage, permission_key
from campaigns.models import (
    Budget,
    Campaign,
    ChannelPlan,
    Clock,
    FrequencyTarget,
    Message,
    MessageVariant,
    MessageVersion,
    Phase,
    PressureRule,
    Round,
    Touch,
)
from channels.accounts import save_channel
from channels.models import Channel
from tests.wire import Wire, install

NOW = dt.datetime(2026, 3, 2, 4, 0, tzinfo=dt.UTC)  # Monday, noon in Shanghai
DAY, HOUR, MINUTE = dt.timedelta(days=1), dt.timedelta(hours=1), dt.timedelta(minutes=1)
OF_TEXTS = "Hello {{name|friend}} 拒收请回复R"
_numbers = itertools.count(1)


def database_url() -> str:
    """The test's own database, for a process beside the test (which must be a transactional one)."""
    one = connection.settings_dict
    return (
        f"postgresql://{one['USER']}:{one['PASSWORD']}@/{one['NAME']}?host={one['HOST']}&port={one['PORT']}"
    )


def brand() -> Brand:
    return Brand.objects.get_or_create(code="main", defaults={"name": "Main brand"})[0]


def next_customers(n: int = 100) -> range:
    """The ids that the next ``n`` customers will have, for a population that must be there before them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('audiences_customer', 'id'))")
        (last,) = cursor.fetchone()
    return range(last + 1, last + 1 + n)


def customers(
    n: int = 1,
    media: Iterable[str] = ("email",),
    *,
    zone: str = "Asia/Shanghai",
    stage: str = Stage.CUSTOMER,
    allowed: bool = True,
) -> list[int]:
    """``n`` customers with an address and consent for each medium; their ids."""  # fmt: skip
    kinds = sorted({str(REACHED_BY[medium][0]) for medium in media})
    keys = [permission_key(brand().pk, medium) for medium in media] if allowed else []
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audiences_customer (name, name_sort, gender, birth_calendar, language, zone, country, province,"
            " city, stage, attributes, bucket, created_at, updated_at)"
            " SELECT 'Customer ' || g, '', '', 'solar', '', %s, '', '', '', %s, '{}', 1, now(), now()"
            " FROM generate_series(1, %s) g RETURNING id",
            [zone, stage, n],
        )
        ids = sorted(row[0] for row in cursor.fetchall())
        cursor.execute(
            "INSERT INTO audiences_identity (customer_id, kind, issuer, value, source, invalid_reason, created_at)"
            " SELECT c, k, '', CASE k WHEN 'email' THEN 'c' || c || '@example.com'"
            " WHEN 'phone' THEN '+86138' || lpad(c::text, 8, '0') ELSE k || c END, '', '', now()"
            " FROM unnest(%s::bigint[]) c, unnest(%s::text[]) k",
            [ids, kinds],
        )
        cursor.execute(
            "UPDATE audiences_contactstate SET allowed = %s WHERE customer_id = ANY (%s)", [keys, ids]
        )
    return ids


def channel(medium: str = "email", *, wire: Wire | None = None, adapter: str = "", **fields: Any) -> Channel:
    """An account on the test wire (or another adapter), 0.05 a message."""
    if not adapter:
        adapter = install(wire or Wire()).name
    fields.setdefault("unit_price", Decimal("0.05"))
    if medium == "sms":  # the platform's rules hold, where the test finds them
        fields["settings"] = {"signature": "Brand"} | fields.get("settings", {})
    return save_channel(
        Channel(
            **{
                "brand": brand(),
                "name": f"{medium} {next(_numbers)}",
                "medium": medium,
                "adapter": adapter,
                **fields,
            }
        )
    )


def message(medium: str = "email", text: str = "") -> MessageVersion:
    """Words that no platform forbids, unless told otherwise."""
    text = text or (OF_TEXTS if medium == "sms" else "Hello {{name|friend}}")
    found = Message.objects.create(brand=brand(), medium=medium, name=f"message {next(_numbers)}")
    version = MessageVersion.objects.create(message=found, number=1)
    MessageVariant.objects.create(version=version, number=1, subject="Hello", text=text)
    return version


def campaign(
    channels: Sequence[Channel],
    *,
    touches: int = 1,
    gap_hours: int = 24,
    rounds: int = 1,
    now: dt.datetime = NOW,
    days: int = 14,
    stages: Iterable[str] = Stage.values,
    day_parts: Any = (),
    budget: Any = None,
    channel_budget: Any = None,
    **fields: Any,
) -> Campaign:
    """A running campaign: one phase of ``rounds`` rounds of equal length, the same frequency for all stages."""  # fmt: skip
    found = Campaign.objects.create(
        **{
            "brand": brand(), "name": f"campaign {next(_numbers)}", "state": "running", "starts_at": now - HOUR,
            "ends_at": now + days * DAY, **fields,
        }
    )  # fmt: skip
    phase = Phase.objects.create(
        campaign=found, position=0, name="Phase 1", starts_at=found.starts_at, ends_at=found.ends_at
    )
    for number in range(1, rounds + 1):
        Round.objects.create(
            campaign=found, number=number, phase=phase,
            starts_at=found.starts_at + (number - 1) * (found.ends_at - found.starts_at) / rounds,
            ends_at=found.starts_at + number * (found.ends_at - found.starts_at) / rounds,
        )  # fmt: skip
    for one in channels:
        plan = ChannelPlan.objects.create(campaign=found, channel=one, day_parts=list(day_parts))
        for stage in stages:
            FrequencyTarget.objects.create(
                channel_plan=plan, phase=phase, stage=stage, touches=touches, min_gap_hours=gap_hours
            )
        if channel_budget is not None:
            Budget.objects.create(campaign=found, channel=one, currency="CNY", amount=channel_budget)
    if budget is not None:
        Budget.objects.create(campaign=found, currency="CNY", amount=budget)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO campaigns_approved_ordinal (campaign_id, channel_id, round, stage, ordinal, version)"
            " SELECT %s, ch, r, s, o, 1 FROM unnest(%s::int[]) ch, generate_series(1, %s) r, unnest(%s::text[]) s,"
            " generate_series(1, %s) o",
            [found.pk, [one.pk for one in channels], rounds, list(stages), touches],
        )
    return found


def released(
    found: Campaign,
    people: Sequence[int],
    channels: Sequence[Channel] | None = None,
    *,
    touches: int = 1,
    rounds: int = 1,
    due_at: dt.datetime = NOW,
    deadline_at: dt.datetime | None = None,
    every: dt.timedelta = DAY,
    reserved: Any = "0.05",
    version: MessageVersion | None = None,
    held_out: Sequence[int] = (),
) -> int:
    """Members, targets and touches; the k-th touch of a round is due ``every`` later. Returns how many."""
    used = (
        [plan.channel for plan in found.channel_plans.select_related("channel")]
        if channels is None
        else channels
    )
    texts = any(one.medium == "sms" for one in used)
    version = version or message(used[0].medium, OF_TEXTS if texts else "")
    params = {
        "campaign": found.pk, "people": list(people), "channels": [one.pk for one in used], "touches": touches,
        "rounds": rounds, "due": due_at, "deadline": deadline_at or found.ends_at, "every": every, "reserved": reserved,
        "version": version.pk, "priority": found.priority, "held_out": list(held_out), "zone": found.zone,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO campaigns_member (campaign_id, customer_id, stage, held_out, zone, entered_at, state_at)"
            " SELECT %(campaign)s, id, stage, id = ANY (%(held_out)s::bigint[]), zone, %(due)s, %(due)s"
            " FROM audiences_customer WHERE id = ANY (%(people)s) ON CONFLICT DO NOTHING",
            params,
        )
        cursor.execute(
            "INSERT INTO campaigns_member_target"
            " (campaign_id, customer_id, channel_id, round, stage, target, planned)"
            " SELECT campaign_id, customer_id, ch, r, stage, %(touches)s, %(touches)s FROM campaigns_member,"
            " unnest(%(channels)s::int[]) ch, generate_series(1, %(rounds)s) r"
            " WHERE campaign_id = %(campaign)s AND customer_id = ANY (%(people)s) AND NOT held_out",
            params,
        )
        cursor.execute(
            "INSERT INTO campaigns_touch (campaign_id, customer_id, channel_id, round, ordinal, stage,"
            " message_version_id, priority, due_at, deadline_at, reserved, state_at)"
            " SELECT campaign_id, customer_id, channel_id, round, o, stage, %(version)s, %(priority)s,"
            " %(due)s + ((round - 1) * %(touches)s + o - 1) * %(every)s, %(deadline)s, %(reserved)s, %(due)s"
            " FROM campaigns_member_target, generate_series(1, %(touches)s) o"
            " WHERE campaign_id = %(campaign)s AND customer_id = ANY (%(people)s)"
            " AND channel_id = ANY (%(channels)s)",
            params,
        )
        return cursor.rowcount


def rule(
    touches: int, hours: int, *, in_force_at: dt.datetime | None = NOW - DAY, **fields: Any
) -> PressureRule:
    return PressureRule.objects.create(
        name=f"{touches} in {hours} h", touches=touches, hours=hours, in_force_at=in_force_at, **fields
    )


def ran_until(at: dt.datetime) -> None:
    """As if dispatch had been running all the while, so that what is overdue is a backlog and no pause."""
    Clock.objects.filter(name__startswith="dispatch").exclude(name="dispatch again").update(at=at)


def states(found: Campaign | None = None, **filters: Any) -> dict[str, int]:
    """How many touches stand how: ``{"sent": 3, "gap:pressure": 1}``."""
    counted: dict[str, int] = {}
    rows = (
        Touch.objects.filter(**filters)
        if found is None
        else Touch.objects.filter(campaign_id=found.pk, **filters)
    )
    for state, reason in rows.values_list("state", "reason"):
        name = f"{state}:{reason}" if reason else state
        counted[name] = counted.get(name, 0) + 1
    return counted
