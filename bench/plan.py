"""Plan: eligible people found, the plan solved and certified, members, targets and touches written.

Against a bare COPY of the same rows into tables of their own, indexed and attached. The instance is fixed: four
stages and zones, four channels, a fortnight in two rounds and a shopping day; limits are the budget, a budget a
channel and two channels' places on the shopping day. ``all_days`` limits every day of every channel instead of
those two.
"""

import datetime as dt
import io
import resource
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

STARTS = dt.datetime(2027, 2, 28, 16, 0, tzinfo=dt.UTC)  # Monday, 1 March in Shanghai
MEDIA = ("email", "sms", "wecom", "app_push")
PRICES = {"email": "0.004", "sms": "0.045", "wecom": "0.02", "app_push": "0.002"}

PEOPLE = """
INSERT INTO audiences_customer (name, name_sort, gender, birth_calendar, language, zone, country, province, city, stage,
    attributes, bucket, created_at, updated_at)
SELECT 'Customer ' || n, to_char(n, 'FM0000000000'), '', 'solar', '',
    (ARRAY['Asia/Shanghai', 'Asia/Shanghai', 'Asia/Urumqi', 'Asia/Tokyo', 'Europe/London'])[1 + n %% 5], '', '', '',
    (ARRAY['prospect', 'member', 'member', 'customer', 'customer', 'customer', 'advocate'])[1 + n %% 7],
    '{}', 1 + n %% 9999, now(), now()
FROM generate_series(1, %(people)s) n
"""
# Nine in ten have each address; the choice hangs on the id alone, so the instance is the same every time.
IDENTITIES = """
INSERT INTO audiences_identity (customer_id, kind, issuer, value, source, invalid_reason, created_at)
SELECT c.id, k.kind, '', k.head || c.id, '', '', now()
FROM audiences_customer c,
    (VALUES (1, 'email', 'c'), (2, 'phone', '+86'), (3, 'wecom_external_id', 'w'), (4, 'device', 'd')) AS k(n, kind, head)
WHERE (hashint8extended(c.id, k.n) %% 10 + 10) %% 10 < 9
"""
CONSENTS = """
UPDATE audiences_contactstate s SET allowed = ARRAY(
    SELECT 'contact:' || %(brand)s || ':' || m.medium
    FROM unnest(%(media)s::varchar[]) WITH ORDINALITY AS m(medium, n)
    WHERE (hashint8extended(s.customer_id, 10 + m.n) %% 10 + 10) %% 10 < 9
)
"""
ORDERS = """
INSERT INTO audiences_order (source, number, customer_id, placed_at, received_at, currency, gross, paid, returned, tax,
    store, offer_code)
SELECT 'bench', c.id || '-' || k, c.id, %(now)s - interval '1 day' * (10 * k + c.id %% 90), %(now)s, 'CNY', v.paid, v.paid,
    0, 0, '', ''
FROM audiences_customer c, generate_series(1, 2) k,
    LATERAL (SELECT (40 + abs(hashint8extended(c.id, 100 + k) %% 400))::numeric AS paid) v
WHERE c.id %% 2 = 0
"""


def run(*, customers: int = 1_000_000, all_days: bool = False, objective: str = "value") -> dict[str, Any]:
    """The release of the fixed instance for so many customers, and its floor."""
    from django.db import connection

    from campaigns.models import Plan
    from campaigns.release import release

    campaign = _scene(customers, all_days, objective)
    plan = Plan(
        campaign=campaign, version=1, seed=campaign.seed, made_at=STARTS, objective=objective, method=""
    )
    plan.save()
    began = time.perf_counter()
    written = release(campaign, plan, now=STARTS)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    campaign.refresh_from_db()
    made = campaign.release_plan
    floor = _floor(campaign.pk)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM campaigns_touch")
        (again,) = cursor.fetchone()
    if again != written.touches:
        raise RuntimeError(f"the floor wrote {again} touches of {written.touches}")
    return {
        "n": customers,
        "touches": written.touches,
        "targets": written.targets,
        "objective": objective,
        "seconds": round(seconds, 2),
        "computed_seconds": round(made.seconds, 2),
        "floor_seconds": round(floor, 2),
        "ratio": round(seconds / floor, 3),
        "gap": made.certified_gap,
        "value": made.value,
        "bound": made.dual_bound,
        "peak_mb": round(peak),
        "limits": len(made.prices),
        "binding": sum(1 for entry in made.prices if entry["price"] > 0),
    }


def _scene(customers: int, all_days: bool, objective: str) -> Any:
    """The campaign, approved; its customers with addresses, consents and orders."""
    from django.db import connection

    from audiences.models import Brand, Segment
    from campaigns import rounds
    from campaigns.models import Campaign, ChannelPlan, FrequencyTarget, Phase
    from channels.models import Channel, ChannelCapacity

    brand = Brand.objects.get_or_create(code="main", defaults={"name": "Main"})[0]
    with connection.cursor() as cursor:
        cursor.execute(PEOPLE, {"people": customers})
        cursor.execute(IDENTITIES.replace("%%", "%"))
        cursor.execute(CONSENTS, {"brand": brand.pk, "media": list(MEDIA)})
        cursor.execute(ORDERS, {"now": STARTS})
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
    segment = Segment.objects.create(name="Everybody", rule={"all": []})
    campaign = Campaign.objects.create(
        brand=brand, name="bench", segment=segment, state="approved", starts_at=STARTS,
        ends_at=STARTS + dt.timedelta(days=15), seed=20270301, holdout_share=Decimal("0.05"), person_cap=5,
        objective=objective, budget=Decimal(customers) * Decimal("0.050"), conversion_value=Decimal(200),
    )  # fmt: skip
    fortnight = Phase.objects.create(
        campaign=campaign, position=0, name="Fortnight", starts_at=STARTS, ends_at=STARTS + dt.timedelta(days=14),
        round_days=7,
    )  # fmt: skip
    day = Phase.objects.create(
        campaign=campaign,
        position=1,
        name="Shopping day",
        starts_at=fortnight.ends_at,
        ends_at=campaign.ends_at,
    )
    budgets = {"email": "0.005", "sms": "0.018", "wecom": "0.026", "app_push": "0.0022"}
    touches = {"email": (2, 3, 3, 3), "sms": (1, 1, 2, 2), "wecom": (0, 2, 2, 3), "app_push": (2, 2, 2, 2)}
    for position, medium in enumerate(MEDIA):
        channel = Channel.objects.create(
            brand=brand, name=f"bench {medium}", medium=medium, adapter="manual", domain="private",
            observability="person_observed", guarantee="immediate", unit_price=Decimal(PRICES[medium]),
            daily_capacity=customers // (12 + 12 * (position == 1)) if all_days else None,
        )  # fmt: skip
        if position < 2 and not all_days:
            ChannelCapacity.objects.create(
                channel=channel, day=dt.date(2027, 3, 15), messages=customers // (6 + 6 * position)
            )
        plan = ChannelPlan.objects.create(
            campaign=campaign, channel=channel, position=position, budget=Decimal(customers) * Decimal(budgets[medium]),
            day_parts=[{"from": "09:00", "to": "20:00"}],
        )  # fmt: skip
        for stage, n in zip(("prospect", "member", "customer", "advocate"), touches[medium], strict=True):
            FrequencyTarget.objects.create(
                channel_plan=plan, phase=fortnight, stage=stage, touches=n, min_gap_hours=48
            )
            if position < 2:
                FrequencyTarget.objects.create(
                    channel_plan=plan, phase=day, stage=stage, touches=1, min_gap_hours=0
                )
    rounds.write_rounds(campaign, 1)
    return campaign


def _floor(campaign_id: int) -> float:
    """Seconds to copy the same rows into bare tables, index and attach them. The first ones are removed before."""
    from django.db import connection

    from campaigns.queries import release as queries

    tables = queries.TABLES[:3]
    with tempfile.TemporaryDirectory() as folder, connection.cursor() as cursor:
        for table in tables:
            with (Path(folder) / table).open("wb") as file:
                with cursor.copy(
                    f"COPY {queries.partition(table, campaign_id)} TO STDOUT (FORMAT BINARY)"
                ) as copy:
                    for piece in copy:
                        file.write(piece)
        cursor.execute(
            "DROP TABLE " + ", ".join(queries.partition(t, campaign_id) for t in queries.TABLES) + " CASCADE"
        )
        cursor.execute("CHECKPOINT")
        began = time.perf_counter()
        for table in tables:
            name = queries.make_bare(table, campaign_id)
            with (
                (Path(folder) / table).open("rb") as file,
                cursor.copy(f"COPY {name} FROM STDIN (FORMAT BINARY)") as copy,
            ):
                while piece := file.read(io.DEFAULT_BUFFER_SIZE * 64):
                    copy.write(piece)
            queries.index(table, campaign_id)
            queries.attach(table, campaign_id)
        return time.perf_counter() - began
