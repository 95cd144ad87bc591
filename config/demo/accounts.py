"""The demo's channels: every one leads to the sandbox on this machine, or is done by hand."""

import json
import secrets
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings

from audiences.models import Brand
from audiences.vocabulary import Medium
from channels.accounts import callback_url, clean_values, save_channel
from channels.adapters import adapter_class
from channels.models import Channel, Employee
from channels.sandbox.config import DEFAULT_PORTS, Config, save
from channels.sandbox.people import Person, write_population
from channels.vocabulary import PriceModel
from config import api_keys
from config.demo.people import EMPLOYEES, People
from config.models import User
from config.up import free_port

SPEED = 2880.0  # simulated seconds in a real one: a day of the market passes in half a minute
HOST = "127.0.0.1"


def connect(
    brand: Brand, medium: str, adapter: str, name: str, given: dict[str, Any], **fields: Any
) -> Channel:
    """A channel by name, with its settings checked as the screen checks them; made once."""
    known = Channel.objects.filter(name=name).first()
    if known is not None:
        return known
    values = clean_values(adapter_class(adapter), given)
    return save_channel(
        Channel(
            brand=brand, name=name, medium=medium, adapter=adapter, settings=values.settings,
            credentials=values.credentials, **fields,
        )
    )  # fmt: skip


def sandbox_ports() -> dict[str, int]:
    """Where the sandbox listens: where it did, else at the usual ports, or at free ones if those are taken."""
    path = settings.DATA_DIR / "sandbox" / "ports.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    missing = {
        side: free_port(HOST, port) for side, port in DEFAULT_PORTS.items() if side not in kept
    }  # all at first, later those of vendors that came since
    if missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kept | missing))
    return {side: int((kept | missing)[side]) for side in DEFAULT_PORTS}


def connect_all(brand: Brand) -> dict[str, Channel]:
    """Email, SMS, WeCom and Meta against the sandbox, and calls by hand."""
    far, ports = Config(), sandbox_ports()
    return {
        "email": connect(
            brand, Medium.EMAIL, "email", "Email",
            {
                "host": HOST, "port": ports["smtp"], "tls": "none", "verify": False,
                "from_address": "tea@shanlan.example.com", "from_name": "山岚茶事",
                "postal_address": "山岚茶事 · 上海市静安区示例路 1 号", "webhook_key": secrets.token_urlsafe(24),
            },
            unit_price=Decimal("0.02"), rate_per_second=200,
        ),
        "sms": connect(
            brand, Medium.SMS, "smpp", "SMS",
            {
                "host": HOST, "port": ports["smpp"], "system_id": far.smpp.system_id,
                "password": far.smpp.password, "source": "10690000", "signature": "山岚茶事", "country": "CN",
                "reference_tlv": hex(far.smpp.reference_tlv),
            },
            unit_price=Decimal("0.045"), rate_per_second=200,
        ),
        "wecom": connect(
            brand, Medium.WECOM, "wecom", "WeCom",
            {
                "base_url": f"http://{HOST}:{ports['wecom']}", "corp_id": far.wecom.corp_id,
                "secret": far.wecom.secret, "callback_token": far.wecom.callback_token,
                "callback_aes_key": far.wecom.callback_aes_key,
            },
            unit_price=Decimal(0),
        ),
        "social": connect(
            brand, Medium.SOCIAL, "meta", "Meta ads",
            {
                "base_url": f"http://{HOST}:{ports['meta']}", "account_id": far.meta.account_id,
                "token": far.meta.token, "app_secret": far.meta.app_secret,
            },
            price_model=PriceModel.CPM, unit_price=Decimal(30),
        ),
        "call": connect(brand, Medium.CALL, "manual", "Store calls", {}, unit_price=Decimal("1.5"), daily_capacity=120),
    }  # fmt: skip


def employ(channel: Channel) -> list[Employee]:
    """The WeCom employees whose contacts the customers are."""
    return [
        Employee.objects.get_or_create(
            channel=channel, external_id=userid, defaults={"name": name, "store": store, "daily_tasks": 200}
        )[0]
        for userid, name, store in EMPLOYEES
    ]


def settle_sandbox(people: People, channels: dict[str, Channel], user: User) -> Path:
    """Write who lives in the simulated market, and how it reaches us. Read when the sandbox starts."""
    folder = settings.DATA_DIR / "sandbox"
    write_population(
        folder / "population.csv",
        (
            Person(
                key=row["member_number"], phone=f"+86{row['phone']}" if row["phone"] else "", email=row["email"],
                member_number=row["member_number"], wecom_external_id=row["wecom_external_id"],
                wecom_userid=EMPLOYEES[employee][0] if row["wecom_external_id"] else "",
            )
            for row, employee in zip(people.rows, people.employee, strict=True)
        ),
    )  # fmt: skip
    _key, text = api_keys.issue(user, "Simulated market: orders", ["audiences:write"])
    # Addresses without a host are those of the installation, whatever port it has today.
    webhooks = {
        name: callback_url(channel).removeprefix(settings.PUBLIC_URL) for name, channel in channels.items()
    }
    path = folder / "config.json"
    path.touch(mode=0o600)
    save(
        path,
        {
            "market": {"speed": SPEED, "api_key": text},
            "smtp": {
                "webhook": webhooks["email"],
                "webhook_key": channels["email"].credentials["webhook_key"],
            },
            "wecom": {
                "confirm_seconds": 8.0, "never_share": 0.05, "callback": webhooks["wecom"], "like_share": 0.03,
                "comment_share": 0.01,
                "groups": [
                    {"chat_id": f"wrDEMO{n:02d}", "name": f"{store}茶友群", "owner": userid, "customers": 60 + 7 * n}
                    for n, (userid, _name, store) in enumerate(EMPLOYEES)
                ],
            },
        },
    )  # fmt: skip
    path.chmod(0o600)
    return path
