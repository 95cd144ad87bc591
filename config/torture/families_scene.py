"""What stands before a campaign over all four families: people, a channel on every far side, one campaign.

The road is that of any campaign: a draft, its forecast, submitted by one person, approved by others, released by a
worker. Only the people are written by SQL.
"""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection

from audiences.models import Brand, Segment
from audiences.vocabulary import Medium, Stage
from campaigns import lifecycle
from campaigns.models import (
    Approval,
    Campaign,
    CampaignVersion,
    Message,
    MessageVariant,
    MessageVersion,
    PressureRule,
)
from campaigns.planner import make_plan
from channels import audience_sync, flights
from channels.accounts import callback_url
from channels.adapters import adapter_class
from channels.models import Channel, PlatformRule
from channels.sandbox.config import Config, save
from channels.sandbox.people import Person, write_population
from channels.vocabulary import PriceModel
from config import api_keys, demo_logins
from config.demo.accounts import HOST, connect
from config.demo.drafts import Part, draft
from config.models import User
from config.torture.scene import noon_zone

DAY = dt.timedelta(days=1)
CAP, HOURS, CAPPED = 3, 24, Medium.SMS
"""The rule: of the three or four text messages a person is planned, only so many in so many hours."""
EMPLOYEES = 4
SMS, PRIVATE, SOCIAL, SEARCH = "sms", "private", "social", "search"
# A vendor's own client may not be installed where the product runs.
CLIENTS = {
    "aliyun_sms": "alibabacloud_dysmsapi20170525", "tencent_sms": "tencentcloud", "twilio": "twilio",
    "google_ads": "google.ads.googleads", "microsoft_ads": "bingads",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A channel of the campaign: its adapter, its family, touches a round by stage, and what its message needs."""

    adapter: str
    family: str
    medium: str
    touches: int
    budget: Decimal | None = None
    template: str = ""
    placement: str = ""  # id of what somebody made by hand on the platform

    @property
    def side(self) -> str:
        return {"smpp": "smpp", "email": "smtp"}.get(self.adapter, self.adapter)


PLACES = (
    Place("smpp", SMS, Medium.SMS, 2),
    Place("aliyun_sms", SMS, Medium.SMS, 1, template="SMS_1110"),
    Place("tencent_sms", SMS, Medium.SMS, 1, template="1110"),
    Place("twilio", SMS, Medium.SMS, 1),
    Place("email", PRIVATE, Medium.EMAIL, 2),
    Place("wecom", PRIVATE, Medium.WECOM, 2),
    Place("official_account", PRIVATE, Medium.OFFICIAL_ACCOUNT, 1),
    Place("webhook", PRIVATE, Medium.WEBHOOK, 1),
    Place("meta", SOCIAL, Medium.SOCIAL, 3, Decimal(1500)),
    Place("tencent_ads", SOCIAL, Medium.SOCIAL, 2, Decimal(1500), placement="7001"),
    Place("ocean_engine", SOCIAL, Medium.VIDEO, 2, Decimal(3000), placement="7002"),
    Place("xiaohongshu", SOCIAL, Medium.SOCIAL, 1, Decimal(1500), placement="7003"),
    Place("weibo", SOCIAL, Medium.SOCIAL, 2, Decimal(1500), placement="7004"),
    Place("google_ads", SEARCH, Medium.SEARCH, 2, Decimal(900)),
    Place("microsoft_ads", SEARCH, Medium.SEARCH, 2, Decimal(900)),
    Place("baidu", SEARCH, Medium.SEARCH, 2, Decimal(900)),
)
PERSONAL = {SMS, PRIVATE}


@dataclass(slots=True)
class Scene:
    campaign: Campaign
    channels: dict[str, Channel]  # by adapter
    left_out: list[str] = field(default_factory=list)  # adapters whose client is not installed

    @property
    def places(self) -> list[Place]:
        return [place for place in PLACES if place.adapter in self.channels]


# People: nine in ten have each address; nineteen in twenty have consented to each medium, by other chances.
CUSTOMERS = """
INSERT INTO audiences_customer (name, name_sort, gender, birth_calendar, language, zone, country, province, city, stage,
    attributes, bucket, created_at, updated_at)
SELECT 'Customer ' || n, '', '', 'solar', '', %(zone)s, '', '', '', (%(stages)s::text[])[1 + n %% 4], '{}', n %% 1000,
    %(now)s, %(now)s
FROM generate_series(1, %(n)s) n
"""
IDENTITIES = """
INSERT INTO audiences_identity (customer_id, kind, issuer, value, source, invalid_reason, created_at)
SELECT c.id, k.kind, k.issuer, k.head || CASE k.kind
    WHEN 'email' THEN c.id || '@example.com' WHEN 'phone' THEN lpad(c.id::text, 8, '0') ELSE c.id::text END,
    'torture', '', %(now)s
FROM audiences_customer c,
    unnest(%(kinds)s::text[], %(issuers)s::text[], %(heads)s::text[]) WITH ORDINALITY AS k (kind, issuer, head, nth)
WHERE (c.id + 3 * k.nth) %% 10 <> 0
"""
CONSENTS = """
INSERT INTO audiences_consent (customer_id, brand_id, medium, purpose, status, source, occurred_at, received_at)
SELECT c.id, %(brand)s, m.medium, m.purpose, 'granted', 'torture', %(now)s, %(now)s
FROM audiences_customer c, unnest(%(media)s::text[], %(purposes)s::text[]) WITH ORDINALITY AS m (medium, purpose, nth)
WHERE (c.id + 7 * m.nth) %% 20 <> 0
"""
PEOPLE = """
SELECT c.id, i.kind, i.value FROM audiences_customer c LEFT JOIN audiences_identity i ON i.customer_id = c.id ORDER BY c.id
"""
NAMES = {
    "phone": "phone", "email": "email", "wecom_external_id": "wecom_external_id", "openid": "openid",
    "member_number": "member_number",
}  # fmt: skip


def build(customers: int, ports: Mapping[str, int], folder: Path, now: dt.datetime) -> Scene:
    """All rows, and who lives behind the far sides. Ends with the campaign approved: a worker releases it."""
    demo_logins.ensure_roles()
    brand = Brand.objects.get_or_create(code="main", defaults={"name": "Main brand"})[0]
    far = Config()
    _people(customers, brand, far, now)
    write_population(folder / "population.csv", _population())
    PressureRule.objects.create(name="torture", medium=CAPPED, touches=CAP, hours=HOURS, in_force_at=now)
    for adapter in ("google_ads", "microsoft_ads"):  # few people are enough for the far sides here
        PlatformRule.objects.create(
            medium=Medium.SEARCH, adapter=adapter, key="smallest_audience", value=20, valid_from=now.date(),
            source="Sandbox",
        )  # fmt: skip
    scene = _channels(brand, far, ports, folder)
    scene.campaign = _campaign(brand, scene, now)
    return scene


def _people(customers: int, brand: Brand, far: Config, now: dt.datetime) -> None:
    vendors: Any = far.vendors
    kinds = {
        "phone": ("", "+86139"), "email": ("", "c"), "wecom_external_id": (far.wecom.corp_id, "wmFour"),
        "openid": (vendors.official_account.app_id, "oFour"), "member_number": (brand.code, "M"),
    }  # fmt: skip
    contact = [Medium.SMS, Medium.EMAIL, Medium.WECOM, Medium.OFFICIAL_ACCOUNT, Medium.WEBHOOK]
    upload = [Medium.SOCIAL, Medium.VIDEO, Medium.SEARCH]
    with connection.cursor() as cursor:
        cursor.execute(
            CUSTOMERS, {"n": customers, "now": now, "zone": noon_zone(now), "stages": list(Stage.values)}
        )
        cursor.execute(
            IDENTITIES,
            {
                "now": now, "kinds": list(kinds), "issuers": [issuer for issuer, _head in kinds.values()],
                "heads": [head for _issuer, head in kinds.values()],
            },
        )  # fmt: skip
        cursor.execute(
            CONSENTS,
            {
                "brand": brand.pk, "now": now, "media": [str(medium) for medium in (*contact, *upload)],
                "purposes": ["contact"] * len(contact) + ["upload"] * len(upload),
            },
        )  # fmt: skip
        cursor.execute("VACUUM ANALYZE")


def _population() -> list[Person]:
    with connection.cursor() as cursor:
        cursor.execute(PEOPLE)
        known: dict[int, dict[str, str]] = {}
        for customer, kind, value in cursor.fetchall():
            known.setdefault(customer, {})[NAMES.get(kind, "key")] = value
    return [
        Person(
            **{name: value for name, value in told.items() if name != "key"},
            key=f"customer {customer}",
            wecom_userid=f"staff{customer % EMPLOYEES}" if "wecom_external_id" in told else "",
        )
        for customer, told in known.items()
    ]


# Channels -----------------------------------------------------------------------------------------


def _channels(brand: Brand, far: Config, ports: Mapping[str, int], folder: Path) -> Scene:
    channels, left_out = {}, []
    for place in PLACES:
        client = CLIENTS.get(place.adapter)
        if client and find_spec(client.partition(".")[0]) is None:
            left_out.append(place.adapter)
            continue
        given = _settings(place, far, ports, folder)
        fields: dict[str, Any] = {"unit_price": Decimal("0.05")}
        if place.family == SOCIAL:
            fields = {"unit_price": Decimal(30), "price_model": PriceModel.CPM}
        elif place.family == SEARCH:
            fields = {"unit_price": Decimal(2), "price_model": PriceModel.CPC}
        channels[place.adapter] = connect(
            brand, place.medium, place.adapter, place.adapter, given, currency="CNY", **fields
        )
    return Scene(Campaign(), channels, left_out)


def _settings(place: Place, far: Config, ports: Mapping[str, int], folder: Path) -> dict[str, Any]:
    """How the adapter reaches its far side. Waits are short: a lost answer is found out soon."""
    vendors: Any = far.vendors
    own: Any = getattr(vendors, place.adapter, None)
    base = f"http://{HOST}:{ports[place.side]}"
    told: dict[str, Any] = {"base_url": base, "timeout": 2}
    match place.adapter:
        case "smpp":
            return {
                "host": HOST, "port": ports["smpp"], "system_id": far.smpp.system_id, "password": far.smpp.password,
                "source": "10690000", "signature": "Evenreach", "country": "CN", "timeout": 2, "window": 10,
                "reference_tlv": hex(far.smpp.reference_tlv),
            }  # fmt: skip
        case "email":
            return {
                "host": HOST, "port": ports["smtp"], "tls": "none", "verify": False, "timeout": 2,
                "from_address": "news@example.com", "postal_address": "1 Road, Shanghai", "webhook_key": "torture",
            }  # fmt: skip
        case "aliyun_sms":
            return told | {
                "access_key_id": own.access_key_id, "access_key_secret": own.access_key_secret,
                "signature": own.signatures[0], "country": "CN",
            }  # fmt: skip
        case "tencent_sms":
            return told | {
                "secret_id": own.secret_id, "secret_key": own.secret_key, "app_id": own.app_id,
                "signature": own.signatures[0], "country": "CN",
            }  # fmt: skip
        case "twilio":
            return told | {
                "account_sid": own.account_sid, "auth_token": own.auth_token, "source": own.senders[0],
                "country": "CN", "signature": "Evenreach",
            }  # fmt: skip
        case "wecom":
            return told | {
                "corp_id": far.wecom.corp_id, "secret": far.wecom.secret, "confirm_hours": 12 / 3600,
                "callback_token": far.wecom.callback_token, "callback_aes_key": far.wecom.callback_aes_key,
            }  # fmt: skip
        case "official_account":
            return told | {
                "app_id": own.app_id, "secret": own.secret, "kind": "mass", "callback_token": own.callback_token,
            }  # fmt: skip
        case "webhook":
            return {"url": f"{base}/hook", "secret": own.secret, "timeout": 2, "batch": 20}
        case "meta":
            return told | {
                "account_id": far.meta.account_id, "token": far.meta.token, "app_secret": far.meta.app_secret,
            }  # fmt: skip
        case "google_ads":
            return told | {
                "customer_id": own.customer_id, "client_id": own.client_id, "token_url": f"{base}/token",
                "endpoint": f"{HOST}:{ports['google_ads_grpc']}", "ca_file": str(folder / "google_ads.pem"),
                "developer_token": own.developer_token, "client_secret": own.client_secret,
                "refresh_token": own.refresh_token,
            }  # fmt: skip
        case "microsoft_ads":
            return told | {
                "account_id": own.account_id, "customer_id": own.customer_id, "client_id": own.client_id,
                "token_url": f"{base}/token", "report_wait": 5, "developer_token": own.developer_token,
                "refresh_token": own.refresh_token,
            }  # fmt: skip
        case "baidu":
            return told | {
                "user_name": own.user_name, "user_id": str(own.user_id), "app_id": own.app_id,
                "token_url": f"{base}/oauth/refreshToken", "secret_key": own.secret_key,
                "refresh_token": own.refresh_token,
            }  # fmt: skip
        case _:
            asked = {setting.name for setting in adapter_class(place.adapter).settings}
            usual = ("account_id", "app_id", "app_secret", "access_token", "refresh_token")
            return told | {name: getattr(own, name) for name in usual if name in asked}


# The campaign -------------------------------------------------------------------------------------


def _campaign(brand: Brand, scene: Scene, now: dt.datetime) -> Campaign:
    """From draft to approved, by three people. It began yesterday: some platforms report only days that are over."""
    maker, checker, finance = (_person(role) for role in ("marketer", "approver", "finance"))
    parts = [
        Part(
            scene.channels[place.adapter], place.budget, _message(brand, place),
            _touches(place), gap_hours=0,
        )
        for place in scene.places
    ]  # fmt: skip
    starts_at = now.replace(minute=0, second=0, microsecond=0) - DAY
    campaign = draft(
        brand, "Four families", _everybody(maker), parts, starts_at=starts_at, ends_at=starts_at + 3 * DAY, user=maker,
        phase="All", budget=Decimal(1_000_000), conversion_value=Decimal(180), margin_rate=Decimal("0.45"),
        exit_on=["opt_out", "complaint"], currency="CNY", zone="Asia/Shanghai",
    )  # fmt: skip
    make_plan(campaign, user=maker, now=now)
    version = lifecycle.submit(campaign, maker, now)
    lifecycle.approve(version, checker, Approval.Step.APPROVER, "", now)
    version.refresh_from_db()
    if version.state == CampaignVersion.State.SUBMITTED:
        lifecycle.approve(version, finance, Approval.Step.FINANCE, "", now)
    for place in scene.places:  # somebody writes down which placement is the campaign's
        if place.placement:
            channel = scene.channels[place.adapter]
            title = f"{brand.name}: {campaign.name} #{campaign.pk}"
            flights.refer(audience_sync.audience_for(channel, campaign.pk, title), place.placement)
    return campaign


def _touches(place: Place) -> dict[str, int]:
    """Touches by stage. Each SMS channel leaves out a stage: so none always comes last, where the rule leaves nothing."""
    planned = dict.fromkeys(Stage.values, place.touches)
    texts = [other.adapter for other in PLACES if other.family == SMS]
    if place.adapter in texts:
        planned[Stage.values[texts.index(place.adapter)]] = 0
    return planned


def _person(role: str) -> User:
    user = User.objects.get_or_create(username=f"torture-{role}")[0]
    user.groups.set([Group.objects.get(name=role)])
    return User.objects.get(pk=user.pk)


def _message(brand: Brand, place: Place) -> Message | None:
    if place.family not in PERSONAL:
        return None
    message = Message.objects.create(brand=brand, medium=place.medium, name=f"torture {place.adapter}")
    version = MessageVersion.objects.create(message=message, number=1, template=place.template)
    look = "https://shop.example.com/four"
    words = {
        Medium.EMAIL: {"subject": "For {{name|you}}", "text": f"Hello {{{{name|friend}}}}, {look}\n{{{{unsubscribe}}}}"},
        Medium.SMS: {"text": f"{{{{name|您}}}}好，新品上市 {look} 拒收请回复R"},
    }.get(Medium(place.medium), {"text": f"新品上市 {look}"})  # fmt: skip
    MessageVariant.objects.create(version=version, number=1, **words)
    return message


def _everybody(user: User) -> Segment:
    return Segment.objects.create(name="Everybody", rule={"all": []}, created_by=user)


# The far sides ------------------------------------------------------------------------------------


def settle_sandbox(scene: Scene, ports: Mapping[str, int], folder: Path, faults: Mapping[str, Any]) -> None:
    """What the sandbox reads when it starts: who is told what where, faults on every side, people who react."""
    _key, text = api_keys.issue(_person("marketer"), "Market", ["audiences:write"])
    soon = {"receipt_seconds": 0.5}
    told: dict[str, Any] = {
        "smtp": {"webhook_key": "torture", "bounce_share": 0.03, "unknown_share": 0.01},
        "smpp": {**soon, "undeliverable_share": 0.03},
        "wecom": {"confirm_seconds": 1.0, "never_share": 0.05, "stranger_share": 0.01},
        "meta": {},
        "aliyun_sms": {**soon, "undeliverable_share": 0.03},
        "tencent_sms": {**soon, "undeliverable_share": 0.03},
        "twilio": {**soon, "undeliverable_share": 0.03},
        "webhook": {**soon, "unknown_share": 0.01},
        "official_account": {"job_seconds": 0.5},
        "google_ads": {"grpc": True, "grpc_port": ports["google_ads_grpc"], "minimum_audience": 20},
        "microsoft_ads": {"minimum_audience": 20},
        "baidu": {"minimum_audience": 20},
    }
    for place in scene.places:
        side = told.setdefault(place.side, {})
        side["faults"] = dict(faults)
        if place.family in PERSONAL and "parse_inbound" in adapter_class(place.adapter).verbs():
            side["webhook" if place.adapter == "email" else "callback"] = callback_url(
                scene.channels[place.adapter]
            )
        if place.placement:
            side["placements"] = {place.placement: {}}
        if place.adapter == "weibo":
            side["placements"] = {"series:81": {"name": "Series"}, place.placement: {"campaign_id": 81}}
    own = {"smtp", "smpp", "wecom", "meta"}
    config = {name: side for name, side in told.items() if name in own}
    config["vendors"] = {name: side for name, side in told.items() if name not in own}
    config["market"] = {"api_key": text, "speed": 86_400.0 / 30, "base_orders": False}
    save(folder / "config.json", json.loads(json.dumps(config)))
