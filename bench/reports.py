"""Coverage and ROI pages over many touches, as a browser gets them, against bare counts of the same rows."""

import datetime as dt
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import override_settings
from django.utils import timezone

from reports import attribution, lift

# One campaign: each member has two channels × four touches; 1 of 10 is held out; 1 of 20 has ordered.
PEOPLE = """
INSERT INTO audiences_customer (name, name_sort, gender, birth_calendar, language, zone, country, province, city, stage,
    attributes, bucket, created_at, updated_at)
SELECT 'Customer ' || n, to_char(n, 'FM0000000000'), '', 'solar', '', 'Asia/Shanghai', '', '', '',
    (ARRAY['prospect', 'member', 'customer', 'advocate'])[1 + n %% 4], '{}', 1 + n %% 9999, now(), now()
FROM generate_series(1, %(people)s) n
"""
APPROVED = """
INSERT INTO campaigns_approved_ordinal (campaign_id, channel_id, round, stage, ordinal, version)
SELECT %(campaign)s, channel, 1, stage, ordinal, 1
FROM unnest(%(channels)s::int[]) channel, unnest(ARRAY['prospect', 'member', 'customer', 'advocate']) stage,
    generate_series(1, 4) ordinal
"""
MEMBERS = """
INSERT INTO campaigns_member (campaign_id, customer_id, stage, held_out, zone, entered_at, state_at)
SELECT %(campaign)s, id, stage, id %% 10 = 0, zone, now() - interval '10 days', now() FROM audiences_customer
"""
TARGETS = """
INSERT INTO campaigns_member_target (campaign_id, customer_id, channel_id, round, stage, target, planned, cause)
SELECT %(campaign)s, m.customer_id, channel, 1, m.stage, 4, CASE WHEN short THEN 3 ELSE 4 END,
    CASE WHEN short THEN 'pressure' ELSE '' END
FROM campaigns_member m, unnest(%(channels)s::int[]) channel, LATERAL (SELECT m.customer_id %% 7 = 0 AS short) s
WHERE NOT m.held_out
"""
TOUCHES = """
INSERT INTO campaigns_touch (campaign_id, customer_id, channel_id, round, ordinal, stage, due_at, deadline_at, state,
    reason, cost, state_at)
SELECT t.campaign_id, t.customer_id, t.channel_id, 1, ordinal, t.stage, due, due + interval '1 day', state,
    CASE state WHEN 'gap' THEN 'bounced' WHEN 'released' THEN 'silence' ELSE '' END,
    CASE WHEN state IN ('sent', 'delivered') THEN 0.045 ELSE 0 END, due
FROM campaigns_member_target t, generate_series(1, t.planned) ordinal,
    LATERAL (SELECT now() - make_interval(days => 10 - 2 * ordinal) AS due,
        (ARRAY['delivered', 'delivered', 'delivered', 'sent', 'gap', 'released', 'planned', 'unknown'])
            [1 + (t.customer_id + ordinal * 3) %% 8] AS state) d
"""
ATTEMPTS = """
INSERT INTO campaigns_attempt (campaign_id, touch_id, n, customer_id, channel_id, state, cost, started_at, sent_at)
SELECT campaign_id, id, 1, customer_id, channel_id,
    CASE state WHEN 'sent' THEN 'accepted' WHEN 'gap' THEN 'bounced' ELSE state END, cost, due_at, due_at
FROM campaigns_touch WHERE state IN ('sent', 'delivered', 'gap', 'unknown')
"""
RESPONSES = """
INSERT INTO campaigns_response (customer_id, campaign_id, touch_id, channel_id, kind, occurred_at, received_at, machine,
    currency, source, source_key, detail)
SELECT customer_id, campaign_id, id, channel_id, 'click', due_at + interval '1 hour', now(), false, '', 'bench', id, '{}'
FROM campaigns_touch WHERE state = 'delivered'
"""
ORDERS = """
INSERT INTO audiences_order (source, number, customer_id, brand_id, placed_at, received_at, currency, gross, paid,
    returned, tax, store, offer_code)
SELECT 'bench', id, id, %(brand)s, now() - interval '1 day' * (id %% 8), now(), 'CNY', 120, 100 + id %% 50, 0, 0, '', ''
FROM audiences_customer WHERE id %% 20 = 3 OR id %% 40 = 10
"""
FLOOR = """
SELECT (SELECT count(*) FROM campaigns_touch WHERE campaign_id = %(campaign)s),
    (SELECT sum(target) FROM campaigns_member_target WHERE campaign_id = %(campaign)s)
"""


def run(*, touches: int = 1_000_000, requests: int = 20) -> dict[str, Any]:
    """Seconds. ``touches`` are about so many; each page is asked ``requests`` times, after one to warm up."""
    from audiences.models import Brand
    from campaigns.models import Campaign, Phase, Round
    from channels.models import Channel
    from config.models import User

    now = timezone.now()
    brand, _made = Brand.objects.get_or_create(code="main", defaults={"name": "Main"})
    channels = [
        Channel.objects.create(brand=brand, name=name, medium=name, adapter="manual", unit_price="0.045")
        for name in ("email", "sms")
    ]
    campaign = Campaign.objects.create(
        brand=brand,
        name="Bench",
        state="running",
        starts_at=now - dt.timedelta(days=10),
        holdout_share="0.1",
        ends_at=now + dt.timedelta(days=4),
        released_at=now,
    )
    phase = Phase.objects.create(
        campaign=campaign, position=0, name="All", starts_at=campaign.starts_at, ends_at=campaign.ends_at
    )
    Round.objects.create(campaign=campaign, number=1, phase=phase)
    parameters = {
        "people": round(touches / 0.9 / 8),
        "campaign": campaign.pk,
        "brand": brand.pk,
        "channels": [each.pk for each in channels],
    }
    began = time.perf_counter()
    with connection.cursor() as cursor:
        for statement in (PEOPLE, APPROVED, MEMBERS, TARGETS, TOUCHES, ATTEMPTS, RESPONSES, ORDERS):
            cursor.execute(statement, parameters)
        cursor.execute("VACUUM ANALYZE")
        filled = time.perf_counter() - began
        floor = _times(lambda: cursor.execute(FLOOR, parameters), requests)
        cursor.execute("SELECT count(*) FROM campaigns_touch")
        (written,) = cursor.fetchone()

    from reports.accruals import post_incurred

    post_incurred(now, campaign_id=campaign.pk)
    attributing = _times(lambda: attribution.attribute(campaign, "linear", now), 1)
    attribution.attribute(campaign, "last", now)
    lifting = _times(lambda: lift.measure(campaign, now), 1)
    client = Client()
    client.force_login(
        User.objects.create_superuser("bench"), backend="allauth.account.auth_backends.AuthenticationBackend"
    )
    pages = {}
    plain = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    with override_settings(ALLOWED_HOSTS=["*"], STORAGES={**settings.STORAGES, **plain}):
        for name in ("coverage", "roi"):
            taken = _times(lambda name=name: _asked(client, f"/reports/{name}/{campaign.pk}/"), requests)
            pages[f"{name}_p50_s"], pages[f"{name}_p95_s"] = (
                median(taken),
                sorted(taken)[int(len(taken) * 0.95) - 1],
            )
    return {
        "touches": written,
        "requests": requests,
        "fill_s": round(filled, 2),
        **{name: round(value, 4) for name, value in pages.items()},
        "floor_count_s": round(median(floor), 4),
        "attribute_s": round(attributing[0], 3),
        "lift_s": round(lifting[0], 3),
    }


def _asked(client: Client, url: str) -> None:
    status = client.get(url).status_code
    if status != 200:
        raise RuntimeError(f"{url} was answered with {status}")


def _times(work: Callable[[], object], n: int) -> list[float]:
    if n > 1:
        work()
    taken = []
    for _turn in range(n):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return taken
