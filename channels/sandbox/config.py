"""Everything one may tell the sandbox, from a JSON file or from a test. Unknown names are refused."""
# ruff: noqa: S105  (what stands here opens the sandbox only)

import json
import os
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from channels.sandbox.faults import Faults
from channels.sandbox.vendors import all_vendors

T = TypeVar("T")
DEFAULT_PORTS = {
    "smtp": 18025, "smpp": 12775, "wecom": 18101, "meta": 18102, "control": 18100,
    **{name: vendor.port for name, vendor in all_vendors().items()},
}  # fmt: skip
SIDES = tuple(DEFAULT_PORTS)
# One field a vendor's file, with its own configuration.
Vendors = make_dataclass(
    "Vendors",
    [(name, vendor.Config, field(default_factory=vendor.Config)) for name, vendor in all_vendors().items()],
)


class BadConfig(Exception):
    """The configuration cannot be read. The message names the field."""


@dataclass
class Smtp:
    """The receiving mail server."""

    user: str = ""  # AUTH is asked for when set
    password: str = ""
    unknown_share: float = 0.0  # of addresses that do not exist: 550 5.1.1 at RCPT
    bounce_share: float = 0.0  # of addresses that take the message and bounce it later
    dkim_keys: dict[str, str] = field(
        default_factory=dict
    )  # DNS name → TXT record; signatures are then verified
    dkim_required: bool = False
    webhook: str = ""  # delivery events are posted here, see smtp.py; a path is one of market.app_url
    webhook_key: str = ""
    faults: Faults = field(default_factory=Faults)


@dataclass
class Smpp:
    """The SMSC."""

    system_id: str = "evenreach"
    password: str = "sandbox"
    window: int = 1000  # submit_sm not yet answered; one more is throttled
    deliver_window: int = 500  # deliver_sm not yet answered by the client
    per_second: float = 0.0  # 0: no limit; above it ESME_RTHROTTLED
    answer_seconds: float = 0.0
    receipt_seconds: float = 0.2
    receipt_form: str = "both"  # text, tlv, both
    receipt_id: str = "same"  # same, decimal: how a receipt's text writes the id that the answer gave in hex
    reference_tlv: int = 0x1401  # vendor parameter that carries the client's own reference
    repeats_reference: bool = True  # the receipt repeats it
    undeliverable_share: float = 0.0
    resend_seconds: float = 10.0  # a deliver_sm without answer is told again
    faults: Faults = field(default_factory=Faults)


@dataclass
class WeCom:
    """The WeCom API of one corp."""

    corp_id: str = "ww0123456789abcdef"
    secret: str = "sandbox-secret"
    token_seconds: int = 7200
    confirm_seconds: float = 2.0  # mean wait until an employee confirms
    send_seconds: float = 0.0  # from the confirmation until results are told
    never_share: float = 0.0  # of tasks of an employee that are never confirmed
    per_month: int = 0  # mass messages a customer may get a month; 0: as many as the month has days
    stranger_share: float = 0.0  # of customers who have deleted the employee: status 2
    callback: str = ""  # events are posted here, encrypted; a path is one of market.app_url
    callback_token: str = "sandboxtoken"
    callback_aes_key: str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
    groups: list[dict[str, Any]] = field(default_factory=list)  # chat_id, name, owner, customers
    job_seconds: float = 0.2  # until a Moments task is made
    like_share: float = 0.0  # of customers who see a Moments post
    comment_share: float = 0.0
    shows_names: bool = True  # the app may read the address book
    open_world: bool = True  # without a population, ids beginning with wm or wo are customers
    faults: Faults = field(default_factory=Faults)


@dataclass
class Meta:
    """The Graph API: one ad account and its delivery."""

    token: str = "sandbox-token"
    app_secret: str = "sandbox-app-secret"
    account_id: str = "act_1000000001"
    currency: str = "CNY"
    zone: str = "Asia/Shanghai"
    match_share: float = 0.7  # of pushed people whom the platform knows
    cpm: float = 30.0
    click_share: float = 0.012  # of impressions
    default_frequency: float = 3.0  # a day, where no cap is set
    minimum_audience: int = 20
    spend_cap: float = 0.0  # of the account; 0: none, and what was spent is a bill
    per_hour: int = 0  # calls; 0: no limit; above it code 17
    faults: Faults = field(default_factory=Faults)


@dataclass
class Market:
    """The people behind. Off unless there is a population."""

    enabled: bool = True
    population: str = "population.csv"  # within the sandbox's folder, unless absolute
    speed: float = 1.0  # simulated seconds in a real one
    app_url: str = ""  # links and pixels beginning with it are followed, no others
    api_url: str = ""  # …/api/v1
    orders_path: str = "orders/batch/"  # below it
    api_key: str = ""
    orders: bool = True
    base_orders: bool = True  # untouched people buy as well
    per_second: float = 200.0  # calls to our side
    pending: int = 200_000  # reactions that wait; more are dropped and counted
    order_batch: int = 500
    truth: dict[str, Any] = field(default_factory=dict)  # overrides of market.Truth


@dataclass
class Config:
    seed: int = 1
    smtp: Smtp = field(default_factory=Smtp)
    smpp: Smpp = field(default_factory=Smpp)
    wecom: WeCom = field(default_factory=WeCom)
    meta: Meta = field(default_factory=Meta)
    market: Market = field(default_factory=Market)
    vendors: Vendors = field(default_factory=Vendors)  # type: ignore[valid-type]


def build(kind: type[T], values: Any, where: str = "") -> T:
    """An object of ``kind`` from plain values. Raises :class:`BadConfig`."""
    if not isinstance(values, dict):
        raise BadConfig(f"{where or 'the configuration'} must be an object, not {values!r}")
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise BadConfig(f"{where}{unknown[0]} is not known; known: {', '.join(sorted(known))}")
    return kind(**{name: _value(hints[name], value, f"{where}{name}") for name, value in values.items()})


def update(target: Any, values: Any, where: str = "") -> None:
    """Change some fields of a built object in place. Raises :class:`BadConfig`, then nothing is changed."""
    fresh = build(type(target), values, where)
    for name, value in values.items():
        if is_dataclass(getattr(target, name)):
            update(getattr(target, name), value, f"{where}{name}.")
        else:
            setattr(target, name, getattr(fresh, name))


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return build(hint, value, f"{where}.")  # type: ignore[arg-type]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = getattr(hint, "__origin__", hint)
    if not isinstance(value, wanted) or (wanted in {int, float} and isinstance(value, bool)):
        raise BadConfig(f"{where} must be {wanted.__name__}, not {value!r}")
    return value


def save(path: Path | str, values: dict[str, Any]) -> None:
    """Write a configuration file, whole or not at all. Raises :class:`BadConfig` before anything is written."""
    build(Config, values)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(values, indent=1, ensure_ascii=False))
    aside.replace(path)


def load(path: Path | str | None, **overrides: Any) -> Config:
    """The configuration of a file, if any. Raises :class:`BadConfig`."""
    values: dict[str, Any] = {}
    if path:
        try:
            values = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise BadConfig(f"{path} cannot be read: {error}") from error
    return build(Config, {**values, **overrides})
