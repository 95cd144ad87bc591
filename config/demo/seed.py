"""What `make up` puts in on a fresh installation, so that every screen has something to show.

Everything goes through the doors a user has: files through the public import, channels through the
adapters' own fields. Run again, it changes nothing.
"""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _

from audiences.imports import batches
from audiences.models import Brand, ImportBatch, Segment
from audiences.vocabulary import Medium
from campaigns import pressure
from campaigns.models import ApprovalRule, Campaign, Mode, Offer, PressureRule
from channels.models import Channel, PlatformRule
from config.demo.accounts import connect_all, employ, settle_sandbox
from config.demo.drafts import Part, draft, ensure_message
from config.demo.history import PAST, make_past
from config.demo.people import PRODUCTS, People, make_people, write_csv
from config.models import User
from reports.accruals import post_incurred
from reports.measuring import measure

Say = Callable[[str], None]
HTML = (
    "<h1>山岚茶事</h1><p>{{name|茶友}}，您好：</p><p>冬季品鉴开始了，到店即可试饮三款新茶。</p>"
    '<p><a href="https://shop.example.com/winter">查看新茶</a></p>'
    '<p><a href="{{unsubscribe}}">退订 · Unsubscribe</a></p>'
)


def seed(people: int, seed_number: int, say: Say) -> None:
    """Everything, in the order of the road."""
    now = timezone.now()
    brand = Brand.objects.order_by("id").first() or Brand.objects.create(code="main", name="")
    Brand.objects.filter(pk=brand.pk).update(name="山岚茶事 Shanlan Tea")
    marketer = User.objects.filter(groups__name="marketer").order_by("pk").first()

    say(_("Channels"))
    channels = connect_all(brand)
    employees = employ(channels["wecom"])
    crowd = make_people(people, seed_number, now.date())
    if marketer is not None:
        settle_sandbox(crowd, channels, marketer)

    if not Campaign.objects.filter(brand=brand, number=PAST).exists():
        say(_("Customers, products and half a year of orders"))
        load_past(crowd, [each.pk for each in employees], seed_number, now, say)

    say(_("Segments, messages, rules and a draft to begin with"))
    make_rules(brand, now)
    make_draft(brand, channels, marketer, now)
    campaign = Campaign.objects.filter(number=PAST, brand=brand).first()
    if campaign is not None:
        post_incurred(now)
        measure(campaign, now)


def load_past(crowd: People, employees: list[int], seed_number: int, now: dt.datetime, say: Say) -> None:
    """Customers with their past up to ``now``. Once: its times hang on the day it was made."""
    folder = Path(settings.DATA_DIR) / "demo"
    past = make_past(crowd, seed_number, now)
    products = [{"sku": sku, "name": name, "category": category} for sku, name, category, _price in PRODUCTS]
    stages = _stages(past.orders)
    rows = [
        row | {"stage": stages.get(row["member_number"], "member" if n % 3 else "prospect")}
        for n, row in enumerate(crowd.rows)
    ]
    for kind, table in (
        ("customers", rows), ("products", products), ("orders", past.orders), ("order_lines", past.order_lines),
        ("campaigns", past.campaigns), ("touches", past.touches), ("responses", past.responses),
    ):  # fmt: skip
        _load(kind, write_csv(folder / f"{kind}.csv", table), say)
    _assign_contacts(crowd.employee.tolist(), employees)


def _stages(orders: list[dict[str, str]]) -> dict[str, str]:
    """Member number → stage by number of orders."""
    count: dict[str, int] = {}
    for order in orders:
        count[order["member_number"]] = count.get(order["member_number"], 0) + 1
    return {number: "advocate" if n >= 4 else "customer" for number, n in count.items()}


def _load(kind: str, path: Path, say: Say) -> None:
    with path.open("rb") as file:
        batch = batches.load_file(kind, f"demo {path.name}", file, mapping={}, options={"zone": "UTC"})
    if batch.state != ImportBatch.State.DONE:
        raise RuntimeError(f"{kind}: {batch.error}")
    say(f"  {kind}: {batch.rows_new:,} + {batch.rows_changed:,}, {batch.rows_bad:,} ✗")


def _assign_contacts(employee_of_row: list[int], employees: list[int]) -> None:
    """Each WeCom identity is a contact of one employee, as a sync from WeCom would tell."""
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO channels_employeecontact (employee_id, identity_id, added_at)
            SELECT (%(employees)s::bigint[])[(%(of_row)s::int[])[substr(i.value, 7)::int] + 1], i.id, now()
            FROM audiences_identity i
            WHERE i.kind = 'wecom_external_id' AND i.value LIKE 'wmDEMO%%'
              AND substr(i.value, 7)::int <= cardinality(%(of_row)s::int[])
            ON CONFLICT DO NOTHING""",
            {"employees": employees, "of_row": employee_of_row},
        )


def make_rules(brand: Brand, now: dt.datetime) -> None:
    """Contact policy, approval threshold, an offer."""
    PressureRule.objects.get_or_create(
        name="不超过 4 次 / 7 天 · at most 4 in 7 days", defaults={"touches": 4, "hours": 168}
    )
    PressureRule.objects.get_or_create(
        name="短信不超过 2 次 / 7 天 · at most 2 texts in 7 days",
        defaults={"touches": 2, "hours": 168, "medium": Medium.SMS},
    )
    pressure.bring_into_force(now)
    for channel in Channel.objects.filter(brand=brand, medium__in=(Medium.SMS, Medium.CALL)):
        # Nobody is woken: the sandbox answers at any hour, and the product can be tried at any hour.
        PlatformRule.objects.get_or_create(
            medium=channel.medium, adapter=channel.adapter, channel=channel, key="hours",
            defaults={"value": {"from": "00:00", "to": "23:59"}, "valid_from": dt.date(2026, 1, 1), "source": "Sandbox"},
        )  # fmt: skip
    ApprovalRule.objects.get_or_create(currency="CNY", step="finance", defaults={"above": Decimal(5000)})
    mode, _made = Mode.objects.get_or_create(
        name="到店品鉴 · Tasting", defaults={"description": "Taste before you buy"}
    )
    Offer.objects.get_or_create(
        brand=brand, name="试饮券 · Tasting coupon",
        defaults={"mode": mode, "code": "TASTE", "stock": 2000, "cost": Decimal(12), "funder": "山岚茶事"},
    )  # fmt: skip


def make_draft(brand: Brand, channels: dict[str, Channel], user: Any, now: dt.datetime) -> Campaign:
    """Segments, messages and a campaign over four channels, ready to forecast. Made once."""
    for name, rule in SEGMENTS.items():
        Segment.objects.get_or_create(name=name, defaults={"rule": rule, "created_by": user})
    known = Campaign.objects.filter(brand=brand, name=DRAFT).first()
    if known is not None:
        return known
    text = "{{name|茶友}}，冬季品鉴开始，到店试饮三款新茶 https://shop.example.com/winter"
    messages = {
        "email": ensure_message(
            brand, Medium.EMAIL, "冬季品鉴 · Email", f"{text}\n\n退订 · Unsubscribe: {{{{unsubscribe}}}}",
            subject="冬季品鉴：三款新茶等您来试", html=HTML, user=user,
        ),
        "sms": ensure_message(brand, Medium.SMS, "冬季品鉴 · SMS", f"{text} 拒收请回复R", user=user),
        "wecom": ensure_message(brand, Medium.WECOM, "冬季品鉴 · WeCom", text, user=user),
    }  # fmt: skip
    start = now.replace(minute=0, second=0, microsecond=0) + dt.timedelta(hours=1)
    return draft(
        brand, DRAFT, Segment.objects.get(name=next(iter(SEGMENTS))),
        [
            Part(channels["wecom"], None, messages["wecom"], {"member": 1, "customer": 2, "advocate": 2}, 48),
            Part(channels["sms"], Decimal(200), messages["sms"], {"member": 1, "customer": 1, "advocate": 1}, 72),
            Part(channels["email"], Decimal(100), messages["email"], {"prospect": 1, "member": 2, "customer": 2}, 48),
            Part(channels["social"], Decimal(1500), None, {"prospect": 3, "member": 2}, 24),
        ],
        starts_at=start, ends_at=start + dt.timedelta(days=10), user=user, phase="预热 · Warm-up", budget=Decimal(2000),
        holdout_share=Decimal("0.1"), margin_rate=Decimal("0.45"), conversion_value=Decimal(180), silence_hours=72,
        exit_on=["conversion", "opt_out", "complaint"], goal="冬季品鉴到店",
    )  # fmt: skip


DRAFT = "冬季品鉴 · Winter tasting"
SEGMENTS: dict[str, dict[str, Any]] = {
    "近半年活跃会员 · Active members": {
        "any": [
            {"kind": "stage", "stages": ["member", "customer", "advocate"]},
            {"kind": "order", "measure": "orders", "op": "at_least", "value": 1, "days": 180},
        ]
    },
    "九十天未购 · Lapsed 90 days": {
        "all": [
            {"kind": "order", "measure": "orders", "op": "at_least", "value": 1},
            {"kind": "order", "measure": "orders", "op": "at_most", "value": 0, "days": 90},
        ]
    },
    "江浙沪爱茶人 · Tea lovers, Yangtze delta": {
        "all": [
            {"kind": "attribute", "field": "province", "op": "one_of", "value": "上海, 浙江, 江苏"},
            {"kind": "order", "measure": "orders", "op": "at_least", "value": 1, "category": "茶"},
        ]
    },
}
