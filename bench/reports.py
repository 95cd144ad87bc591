"""Coverage and ROI pages over many touches and responses, as a browser gets them, and what keeps them current.

Floors of the same run: an empty page of the same stack, one aggregate over the same touches, and the same
UPDATE of touches without the triggers that count it.
"""

import datetime as dt
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.test import Client
from django.test.utils import override_settings
from django.utils import timezone

# One campaign, in partitions of its own as a large release leaves them: each member has two channels × two rounds ×
# two touches; 1 of 10 is held out; 1 of 20 has ordered.
PEOPLE = """
INSERT INTO audiences_customer (name, name_sort, gender, birth_calendar, language, zone, country, province, city, stage,
    attributes, bucket, created_at, updated_at)
SELECT 'Customer ' || n, to_char(n, 'FM0000000000'), '', 'solar', '', 'Asia/Shanghai', '', '', '',
    (ARRAY['prospect', 'member', 'customer', 'advocate'])[1 + n %% 4], '{}', 1 + n %% 9999, now(), now()
FROM generate_series(1, %(people)s) n
"""
APPROVED = """
INSERT INTO campaigns_approved_ordinal (campaign_id, channel_id, round, stage, ordinal, version)
SELECT %(campaign)s, channel, round, stage, ordinal, 1
FROM unnest(%(channels)s::int[]) channel, unnest(ARRAY['prospect', 'member', 'customer', 'advocate']) stage,
    generate_series(1, 2) round, generate_series(1, 2) ordinal
"""
MEMBERS = """
INSERT INTO campaigns_member_c{campaign} (campaign_id, customer_id, stage, held_out, zone, entered_at, state_at)
SELECT %(campaign)s, id, stage, id %% 10 = 0, zone, now() - interval '20 days', now() FROM audiences_customer ORDER BY id
"""
TARGETS = """
INSERT INTO campaigns_member_target_c{campaign} (campaign_id, customer_id, channel_id, round, stage, target, planned, cause)
SELECT %(campaign)s, m.customer_id, channel, round, m.stage, 2, CASE WHEN short THEN 1 ELSE 2 END,
    CASE WHEN short THEN 'pressure' ELSE '' END
FROM campaigns_member_c{campaign} m, unnest(%(channels)s::int[]) channel, generate_series(1, 2) round,
    LATERAL (SELECT m.customer_id %% 7 = 0 AS short) s
WHERE NOT m.held_out
"""
TOUCHES = """
INSERT INTO campaigns_touch_c{campaign} (campaign_id, customer_id, channel_id, round, ordinal, stage, due_at, deadline_at,
    state, reason, cost, state_at)
SELECT t.campaign_id, t.customer_id, t.channel_id, t.round, ordinal, t.stage, due, due + interval '1 day', state,
    CASE state WHEN 'gap' THEN (ARRAY['bounced', 'opted_out', 'hours'])[1 + t.customer_id %% 3]
        WHEN 'released' THEN 'silence' ELSE '' END,
    CASE WHEN state IN ('sent', 'delivered') THEN 0.045 ELSE 0 END, due
FROM campaigns_member_target_c{campaign} t, generate_series(1, t.planned) ordinal,
    LATERAL (SELECT now() - make_interval(days => 24 - 8 * t.round - 2 * ordinal,
            hours => (t.customer_id %% 72)::int) AS due,
        (ARRAY['delivered', 'delivered', 'delivered', 'sent', 'gap', 'released', 'planned', 'unknown'])
            [1 + (t.customer_id + ordinal * 3 + t.round) %% 8] AS state) d
"""
ATTEMPTS = """
INSERT INTO campaigns_attempt_c{campaign} (campaign_id, touch_id, n, customer_id, channel_id, state, cost, started_at,
    sent_at)
SELECT campaign_id, id, 1, customer_id, channel_id,
    CASE state WHEN 'sent' THEN 'accepted' WHEN 'gap' THEN 'bounced' ELSE state END, cost, due_at, due_at
FROM campaigns_touch_c{campaign} WHERE state IN ('sent', 'delivered', 'gap', 'unknown')
"""
RESPONSES = """
INSERT INTO campaigns_response (customer_id, campaign_id, touch_id, channel_id, kind, occurred_at, received_at, machine,
    currency, source, source_key, detail)
SELECT customer_id, campaign_id, id, channel_id, (ARRAY['open', 'click', 'exposure'])[1 + n %% 3],
    due_at + n * interval '1 hour', now(), false, '', 'bench', id || '-' || n, '{}'
FROM campaigns_touch, generate_series(0, %(each)s - 1) n
WHERE campaign_id = %(campaign)s AND state IN ('delivered', 'sent') LIMIT %(responses)s
"""
ORDERS = """
INSERT INTO audiences_order (source, number, customer_id, brand_id, placed_at, received_at, currency, gross, paid,
    returned, tax, store, offer_code)
SELECT 'bench', id, id, %(brand)s, now() - interval '1 day' * (id %% 16), now(), 'CNY', 120, 100 + id %% 50, 0, 0, '', ''
FROM audiences_customer WHERE id %% 20 = 3 OR id %% 40 = 10
"""
FLOOR = """
SELECT (SELECT count(*) FROM campaigns_touch WHERE campaign_id = %(campaign)s),
    (SELECT sum(target) FROM campaigns_member_target WHERE campaign_id = %(campaign)s)
"""
# Set aside while responses are filled, and built of all of them at once.
RESPONSE_KEYS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = 'campaigns_response'::regclass AND contype = 'f'
"""
RESPONSE_INDEXES = """
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
WHERE i.indrelid = 'campaigns_response'::regclass
  AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
"""
# What dispatch does to touches, 4,000 at a time.
CHANGE = """
UPDATE campaigns_touch t SET state = 'sent', state_at = now()
FROM (SELECT campaign_id, id FROM campaigns_touch
      WHERE campaign_id = %(campaign)s AND channel_id = %(channel)s AND state = 'planned' ORDER BY due_at LIMIT 4000) d
WHERE t.campaign_id = d.campaign_id AND t.id = d.id AND t.campaign_id = %(campaign)s
"""


def run(*, touches: int = 1_000_000, responses: int = -1, requests: int = 20) -> dict[str, Any]:
    """Seconds. About so many ``touches`` and ``responses`` (−1: as many as touches); each page is asked ``requests``
    times, after one to warm up, with changes that are not folded yet."""
    from reports import coverage_days
    from reports.accruals import post_incurred
    from reports.measuring import measure

    now = timezone.now()
    campaign, parameters = _scene(touches, touches if responses < 0 else responses, now)
    began = time.perf_counter()
    rows = _fill(campaign.pk, parameters)
    filled = time.perf_counter() - began
    with connection.cursor() as cursor:
        floor = _times(lambda: cursor.execute(FLOOR, parameters), min(requests, 5))
    post_incurred(now, campaign_id=campaign.pk)
    counting = _timed(lambda: coverage_days.count(campaign.pk, now))
    day = (now - dt.timedelta(days=12)).date()
    rebuilding = _timed(lambda: coverage_days.count_day(campaign, day))
    people = _timed(lambda: coverage_days.renew(campaign.pk))
    contacts = _timed(lambda: coverage_days.renew(coverage_days.EVERYBODY))
    measuring = _timed(lambda: measure(campaign, now))
    counted, bare = _changes(campaign.pk, parameters["channels"][0])
    pages = _pages(campaign.pk, requests)
    folding = _timed(lambda: coverage_days.fold(campaign.pk))
    wrong = coverage_days.queries.differences(campaign.pk)
    if wrong:
        raise RuntimeError(f"{wrong} cells are not what the rows say")
    return {
        **rows,
        "requests": requests,
        "fill_s": round(filled, 2),
        **{name: round(value, 4) for name, value in pages.items()},
        "floor_count_s": round(median(floor), 4),
        "count_campaign_s": round(counting, 3),
        "rebuild_day_s": round(rebuilding, 3),
        "people_s": round(people, 3),
        "contacts_s": round(contacts, 3),
        "measure_s": round(measuring, 3),
        "fold_s": round(folding, 4),
        "change_us_a_touch": round(counted * 1e6, 2),
        "floor_change_us_a_touch": round(bare * 1e6, 2),
    }


def _scene(touches: int, responses: int, now: dt.datetime) -> tuple[Any, dict[str, Any]]:
    from audiences.models import Brand
    from campaigns.models import Campaign, Phase, Round
    from channels.models import Channel

    brand, _made = Brand.objects.get_or_create(code="main", defaults={"name": "Main"})
    channels = [
        Channel.objects.create(brand=brand, name=name, medium=name, adapter="manual", unit_price="0.045",
            observability="person_observed")
        for name in ("email", "sms")
    ]  # fmt: skip
    campaign = Campaign.objects.create(
        brand=brand,
        name="Bench",
        state="running",
        starts_at=now - dt.timedelta(days=20),
        holdout_share="0.1",
        ends_at=now + dt.timedelta(days=4),
        released_at=now,
    )
    for number in (1, 2):
        starts_at = campaign.starts_at + dt.timedelta(days=12 * (number - 1))
        phase = Phase.objects.create(
            campaign=campaign, position=number, name=f"Phase {number}", starts_at=starts_at,
            ends_at=starts_at + dt.timedelta(days=12),
        )  # fmt: skip
        Round.objects.create(campaign=campaign, number=number, phase=phase, starts_at=starts_at)
    return campaign, {
        "people": round(touches / 0.9 / 7.43),  # 1 of 7 has 4 touches, the others 8
        "campaign": campaign.pk,
        "brand": brand.pk,
        "channels": [each.pk for each in channels],
        "responses": responses,
        "each": max(1, -(-responses * 5 // (touches * 2))),
    }


def _fill(campaign: int, parameters: dict[str, Any]) -> dict[str, int]:
    """Tables of the campaign's own, filled, indexed and attached by the release's own statements."""
    from campaigns.queries import release

    with connection.cursor() as cursor:
        for statement in (PEOPLE, APPROVED):
            cursor.execute(statement, parameters)
        for table, statement in zip(release.TABLES, (MEMBERS, TARGETS, TOUCHES, ATTEMPTS), strict=True):
            release.make_bare(table, campaign)
            cursor.execute(statement.replace("{campaign}", str(campaign)), parameters)
        for table in release.TABLES:
            release.index(table, campaign)
            with transaction.atomic():
                release.attach(table, campaign)
        cursor.execute(RESPONSE_INDEXES)
        indexes = cursor.fetchall()
        cursor.execute(RESPONSE_KEYS)
        keys = cursor.fetchall()
        for name, _definition in indexes:
            cursor.execute(f"DROP INDEX {name}")
        for name, _definition in keys:
            cursor.execute(f'ALTER TABLE campaigns_response DROP CONSTRAINT "{name}"')
        cursor.execute(RESPONSES, parameters)
        for _name, definition in indexes:
            cursor.execute(definition)
        for name, definition in keys:
            cursor.execute(f'ALTER TABLE campaigns_response ADD CONSTRAINT "{name}" {definition}')
        cursor.execute(ORDERS, parameters)
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
        cursor.execute(
            "SELECT (SELECT count(*) FROM campaigns_touch), (SELECT count(*) FROM campaigns_response)"
        )
        found = cursor.fetchone()
    return {"touches": found[0], "responses": found[1]}


def _changes(campaign: int, channel: int, turns: int = 6) -> tuple[float, float]:
    """Seconds a touch of the same statements, counted by triggers and not, in turn; a last one stays, not folded."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    parameters = {"campaign": campaign, "channel": channel}
    with connection.cursor() as cursor:
        for turn in range(2 * turns):
            counts = turn % 4 in (0, 3)  # neither always finds the rows warmed up by the other
            with transaction.atomic():
                if not counts:
                    cursor.execute("ALTER TABLE campaigns_touch DISABLE TRIGGER changed_touches_are_counted")
                seconds = _timed(lambda: cursor.execute(CHANGE, parameters))
                if cursor.rowcount:
                    taken[counts].append(seconds / cursor.rowcount)
                transaction.set_rollback(True)
        cursor.execute(CHANGE, parameters)
    return median(taken[True] or [0.0]), median(taken[False] or [0.0])


def _pages(campaign: int, requests: int) -> dict[str, float]:
    from campaigns.models import Campaign
    from config.models import User

    client = Client()
    client.force_login(
        User.objects.create_superuser("bench"), backend="allauth.account.auth_backends.AuthenticationBackend"
    )
    empty = Campaign.objects.create(brand_id=Campaign.objects.get(pk=campaign).brand_id, name="Empty")
    addresses = {
        "coverage": f"/reports/coverage/{campaign}/",
        "coverage_all": "/reports/coverage/",
        "roi": f"/reports/roi/{campaign}/",
        "gap_rows": f"/reports/coverage/{campaign}/gap/",
        "people_rows": f"/reports/coverage/{campaign}/people/?received=4",
        "floor_page": f"/reports/coverage/{empty.pk}/",
    }
    pages = {}
    plain = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    with override_settings(ALLOWED_HOSTS=["*"], STORAGES={**settings.STORAGES, **plain}):
        for name, address in addresses.items():
            taken = sorted(_times(lambda address=address: _asked(client, address), requests))
            pages[f"{name}_p50_s"] = median(taken)
            pages[f"{name}_p95_s"] = taken[min(len(taken) - 1, int(len(taken) * 0.95))]
    return pages


def _asked(client: Client, url: str) -> None:
    status = client.get(url).status_code
    if status != 200:
        raise RuntimeError(f"{url} was answered with {status}")


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _times(work: Callable[[], object], n: int) -> Sequence[float]:
    if n > 1:
        work()
    return [_timed(work) for _turn in range(n)]
