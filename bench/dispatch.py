"""Dispatch: due touches claimed with rules, consent, hours and budgets, handed to a null adapter, recorded.

Against the same writes without any check, by the same number of workers in the same run: touches are marked,
attempts written, contacts appended, references stored, results recorded. Both commit durably.
"""

import datetime as dt
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

from bench._workers import timed

CAMPAIGNS = 4
ZONES = ("Asia/Shanghai", "Asia/Urumqi", "Asia/Tokyo")

PEOPLE = """
INSERT INTO audiences_customer (name, name_sort, gender, birth_calendar, language, zone, country, province, city, stage,
    attributes, bucket, created_at, updated_at)
SELECT 'Customer ' || n, to_char(n, 'FM0000000000'), '', 'solar', '', (%(zones)s::text[])[1 + n %% 3], '', '', '',
    'customer', '{}', 1, now(), now()
FROM generate_series(1, %(people)s) n
"""
IDENTITIES = """
INSERT INTO audiences_identity (customer_id, kind, issuer, value, source, invalid_reason, created_at)
SELECT id, 'email', '', 'c' || id || '@example.com', '', '', now() FROM audiences_customer
"""
# Everybody has given some consent and was contacted before, long enough ago to be within one rule only.
STATES = """
UPDATE audiences_contactstate SET allowed = %(keys)s, recent_attempts = ARRAY[0, 0], recent_channels = ARRAY[0, 0],
    recent_at = ARRAY[now() - interval '5 days', now() - interval '2 days']
"""
PARTITIONS = """
CREATE TABLE {table}_{campaign} PARTITION OF {table} FOR VALUES IN ({campaign})
"""
KEY = """
ALTER TABLE campaigns_attempt_{campaign} ADD CONSTRAINT an_attempt_belongs_to_a_touch FOREIGN KEY (campaign_id, touch_id)
    REFERENCES campaigns_touch_{campaign} (campaign_id, id)
"""
APPROVED = """
INSERT INTO campaigns_approved_ordinal (campaign_id, channel_id, round, stage, ordinal, version)
VALUES (%(campaign)s, %(channel)s, 1, 'customer', 1, 1)
"""
MEMBERS = """
INSERT INTO campaigns_member (campaign_id, customer_id, stage, zone, entered_at, state_at)
SELECT %(campaign)s, id, stage, zone, now() - interval '1 day', now() - interval '1 day' FROM audiences_customer
"""
TARGETS = """
INSERT INTO campaigns_member_target (campaign_id, customer_id, channel_id, round, stage, target, planned)
SELECT campaign_id, customer_id, %(channel)s, 1, stage, 1, 1 FROM campaigns_member WHERE campaign_id = %(campaign)s
"""
TOUCHES = """
INSERT INTO campaigns_touch (campaign_id, customer_id, channel_id, round, ordinal, stage, message_version_id, priority,
    due_at, deadline_at, reserved, state_at)
SELECT campaign_id, customer_id, channel_id, 1, 1, stage, %(version)s, 50,
    now() - interval '10 minutes' + (%(campaign)s %% 4) * interval '1 minute' + random() * interval '1 minute',
    now() + interval '20 days', 0.05, now()
FROM campaigns_member_target WHERE campaign_id = %(campaign)s
"""

# The floor: the same rows written the same way, and nothing asked.
FLOOR_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT campaign_id, id, customer_id, attempts FROM campaigns_touch
    WHERE channel_id = %(channel)s AND state = 'planned' AND due_at <= now() AND campaign_id = ANY (%(campaigns)s)
    ORDER BY due_at LIMIT %(size)s FOR NO KEY UPDATE SKIP LOCKED
),
numbered AS MATERIALIZED (
    SELECT DISTINCT ON (customer_id) due.*, nextval('campaigns_attempt_id_seq') AS attempt_id
    FROM due ORDER BY customer_id
),
moved AS (
    UPDATE campaigns_touch t SET state = 'claimed', attempts = t.attempts + 1, state_at = now()
    FROM numbered d WHERE t.campaign_id = d.campaign_id AND t.id = d.id AND t.campaign_id = ANY (%(campaigns)s)
),
attempted AS (
    INSERT INTO campaigns_attempt
        (id, campaign_id, touch_id, n, customer_id, channel_id, identity_id, state, worker, lease_until, started_at)
    SELECT attempt_id, campaign_id, id, attempts + 1, customer_id, %(channel)s, 1, 'recorded', 'floor',
        now() + interval '3 minutes', now()
    FROM numbered
),
placed AS (
    UPDATE audiences_contactstate s
    SET recent_attempts = s.recent_attempts || d.attempt_id, recent_channels = s.recent_channels || %(channel)s::integer,
        recent_at = s.recent_at || now()
    FROM numbered d WHERE s.customer_id = d.customer_id
)
SELECT campaign_id, id, attempts + 1, attempt_id FROM numbered
"""
FLOOR_RECORD = """
WITH told AS MATERIALIZED (
    SELECT * FROM unnest(%(campaign)s::bigint[], %(touch)s::bigint[], %(n)s::smallint[], %(attempt)s::bigint[])
        AS t (campaign_id, touch_id, n, attempt_id)
),
moved AS (
    UPDATE campaigns_attempt a SET state = 'accepted', reference = 'ref-' || t.attempt_id, cost = 0.05, sent_at = now(),
        lease_until = NULL
    FROM told t WHERE a.campaign_id = t.campaign_id AND a.touch_id = t.touch_id AND a.n = t.n
      AND a.campaign_id = ANY (%(campaigns)s)
),
touched AS (
    UPDATE campaigns_touch x SET state = 'sent', cost = x.cost + 0.05, state_at = now()
    FROM told t WHERE x.campaign_id = t.campaign_id AND x.id = t.touch_id AND x.campaign_id = ANY (%(campaigns)s)
)
INSERT INTO campaigns_provider_reference (channel_id, reference, campaign_id, attempt_id)
SELECT %(channel)s, 'ref-' || attempt_id, campaign_id, attempt_id FROM told
"""


def run(*, touches: int = 1_000_000, workers: int = 2) -> dict[str, Any]:
    """``touches`` are sent once with all checks, and as many once without, each by ``workers`` processes."""
    from django.db import connection

    people = max(1, touches // CAMPAIGNS)
    checked = _scene(people)
    seconds, cpu, sent, decisions = _timed(_checked, workers, checked)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM campaigns_touch WHERE state = 'sent'")
        (stand,) = cursor.fetchone()
        cursor.execute("CHECKPOINT")
    if not stand == sent == people * CAMPAIGNS:
        raise RuntimeError(
            f"{people * CAMPAIGNS} touches were due, {sent} were sent, {stand} stand as sent: {decisions}"
        )
    _forget(checked)
    bare = _scene(people, with_people=False)
    floor_seconds, floor_cpu, floor_sent, _none = _timed(_floor, workers, bare)
    if floor_sent != people * CAMPAIGNS:
        raise RuntimeError(f"the floor wrote {floor_sent} of {people * CAMPAIGNS}")
    return {
        "n": sent,
        "workers": workers,
        "seconds": round(seconds, 2),
        "rate": round(sent / seconds),
        "floor_seconds": round(floor_seconds, 2),
        "floor_rate": round(sent / floor_seconds),
        "ratio": round(floor_seconds / seconds, 3),
        "cpu": cpu,
        "floor_cpu": floor_cpu,
        "cpu_ratio": round(sum(floor_cpu) / sum(cpu), 3),
    }


def _scene(people: int, with_people: bool = True, channel: Any = None) -> tuple[int, list[int]]:
    """(channel, campaigns): each campaign in partitions of its own, as a large release leaves them.

    ``channel``: an unsaved one to send on; without it one whose adapter takes everything at once.
    """
    from django.db import connection
    from django.utils import timezone

    from audiences.models import Brand
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

    _install()
    now = timezone.now()
    brand = Brand.objects.get_or_create(code="main", defaults={"name": "Main"})[0]
    name = "bench" if with_people else "floor"
    channel = save_channel(
        channel
        or Channel(brand=brand, name=name, medium="email", adapter=Null.name, unit_price=Decimal("0.05"))
    )
    message = Message.objects.create(brand=brand, medium=channel.medium, name=name)
    version = MessageVersion.objects.create(message=message, number=1)
    MessageVariant.objects.create(version=version, number=1, subject="News", text="Hello {{name|friend}}")
    campaigns = []
    with connection.cursor() as cursor:
        if with_people:
            cursor.execute(PEOPLE, {"people": people, "zones": list(ZONES)})
            cursor.execute(IDENTITIES)
            keys = [f"contact:{brand.pk}:{medium}" for medium in ("email", "sms", "wecom", "webhook")]
            cursor.execute(STATES, {"keys": keys})
            for touches, hours, medium in ((8, 24, ""), (20, 168, ""), (6, 72, "email")):
                PressureRule.objects.create(
                    name=f"{touches} in {hours} h",
                    touches=touches,
                    hours=hours,
                    medium=medium,
                    in_force_at=now,
                )
        for _number in range(CAMPAIGNS):
            campaign = Campaign.objects.create(
                brand=brand, name=name, state="running", starts_at=now - dt.timedelta(days=1),
                ends_at=now + dt.timedelta(days=20),
            )  # fmt: skip
            campaigns.append(campaign.pk)
            phase = Phase.objects.create(
                campaign=campaign,
                position=0,
                name="All",
                starts_at=campaign.starts_at,
                ends_at=campaign.ends_at,
            )
            Round.objects.create(campaign=campaign, number=1, phase=phase)
            plan = ChannelPlan.objects.create(
                campaign=campaign, channel=channel, day_parts=[{"from": "00:00", "to": "24:00"}]
            )
            FrequencyTarget.objects.create(channel_plan=plan, phase=phase, stage="customer", touches=1)
            for one in (None, channel):
                Budget.objects.create(campaign=campaign, channel=one, currency="CNY", amount=people)
            for table in (
                "campaigns_member",
                "campaigns_member_target",
                "campaigns_touch",
                "campaigns_attempt",
            ):
                cursor.execute(PARTITIONS.format(table=table, campaign=campaign.pk))
            cursor.execute(KEY.format(campaign=campaign.pk))
            params = {"campaign": campaign.pk, "channel": channel.pk, "version": version.pk}
            cursor.execute(APPROVED, params)
            # Rows that fit each other: keys need not look each of them up, nor coverage be told of a scene's making.
            cursor.execute("SET session_replication_role = replica")
            for statement in (MEMBERS, TARGETS, TOUCHES):
                cursor.execute(statement, params)
            cursor.execute("RESET session_replication_role")
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
    return channel.pk, campaigns


def _forget(scene: tuple[int, list[int]]) -> None:
    """The state before: the floor finds tables of the same size."""
    from django.db import connection

    _channel, campaigns = scene
    with connection.cursor() as cursor:
        cursor.execute("UPDATE campaigns_campaign SET state = 'finished'")
        for table in ("campaigns_attempt", "campaigns_touch", "campaigns_member_target", "campaigns_member"):
            for campaign in campaigns:
                cursor.execute(f"DROP TABLE {table}_{campaign} CASCADE")
        cursor.execute("TRUNCATE campaigns_provider_reference")
        cursor.execute(
            "UPDATE audiences_contactstate SET recent_attempts = recent_attempts[1:2],"
            " recent_channels = recent_channels[1:2], recent_at = recent_at[1:2]"
        )
        cursor.execute("VACUUM FULL audiences_contactstate")


def _timed(
    work: Any, workers: int, scene: tuple[int, list[int]]
) -> tuple[float, list[float], int, dict[str, int]]:
    """Seconds, seconds of processor, and what the workers did together."""
    seconds, results, cpu = timed(work, workers, *scene)
    decisions: dict[str, int] = {}
    for _sent, seen in results:
        for name, n in seen.items():
            decisions[name] = decisions.get(name, 0) + n
    return seconds, cpu, sum(sent for sent, _seen in results), decisions


def _checked(channel: int, _campaigns: Sequence[int]) -> tuple[int, dict[str, int]]:
    from campaigns import dispatch

    _install()
    sent, seen = 0, {}
    while True:
        done = dispatch.dispatch_channel(channel)
        sent += done.accepted
        for name, n in done.decisions.items():
            seen[name] = seen.get(name, 0) + n
        if not done.claimed:
            return sent, seen


def _floor(channel: int, campaigns: Sequence[int]) -> tuple[int, dict[str, int]]:
    from django.db import connection, transaction

    from campaigns.dispatch.loop import LARGEST

    sent = 0
    params = {"channel": channel, "campaigns": list(campaigns), "size": LARGEST}
    empty = 0
    while empty < 3:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit TO on")
            cursor.execute(FLOOR_CLAIM, params)
            rows = cursor.fetchall()
        if not rows:
            empty += 1
            time.sleep(0.02)
            continue
        empty = 0
        campaign, touch, n, attempt = zip(*rows, strict=True)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                FLOOR_RECORD,
                {
                    "channel": channel, "campaigns": list(campaigns), "campaign": list(campaign), "touch": list(touch),
                    "n": list(n), "attempt": list(attempt),
                },
            )  # fmt: skip
        sent += len(rows)
    return sent, {}


def _install() -> None:
    from channels import adapters

    if Null.name not in adapters.all_adapters():
        adapters.add(Null)


def _null() -> type:
    from audiences.vocabulary import Medium
    from channels.adapters.base import BaseAdapter, Outcome, Outgoing, Sent
    from channels.vocabulary import Domain, Guarantee, Observability

    class Adapter(BaseAdapter):
        """Takes everything at once."""

        name: ClassVar[str] = "null"
        label: ClassVar[Any] = "Null"
        media: ClassVar[tuple[str, ...]] = (Medium.EMAIL,)
        domain = Domain.PRIVATE
        guarantee = Guarantee.IMMEDIATE
        observability = Observability.PERSON_OBSERVED
        batch_size = 4000

        def send(self, batch: Sequence[Outgoing]) -> list[Sent]:
            return [
                Sent(message.attempt_id, Outcome.ACCEPTED, f"ref-{message.attempt_id}") for message in batch
            ]

    return Adapter


Null: Any = _null()
