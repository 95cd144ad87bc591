"""What tests of ad platforms share: accounts that talk to the sandbox, people, flights, a token keeper."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from channels.accounts import defaults
from channels.adapters import adapter_class
from channels.adapters._flights import BY_AUDIENCE
from channels.adapters.base import (
    NOT_FOUND,
    Account,
    AdapterError,
    AudienceChange,
    BaseAdapter,
    Flight,
    Renew,
)
from channels.sandbox.ad_platform import ZONE
from channels.sandbox.server import Sandbox

TODAY = dt.date(2026, 11, 23)


def today() -> dt.date:
    """The platforms' day, asked for each time: a run may go over midnight."""
    return dt.datetime.now(ZONE).date()


def account(sandbox: Sandbox, name: str, *, renew: Renew | None = None, **settings: Any) -> Account:
    config = getattr(sandbox.config.vendors, name)
    told = {
        "base_url": f"http://127.0.0.1:{sandbox.ports[name]}", "account_id": config.account_id,
        "app_id": config.app_id, "timeout": 5,
    }  # fmt: skip
    secrets = {
        "app_secret": config.app_secret, "access_token": config.access_token, "refresh_token": config.refresh_token,
    }  # fmt: skip
    return Account(5, "main", "social", defaults(adapter_class(name)) | told | settings, secrets, renew=renew)


class Keeper:
    """Keeps renewed credentials as a channel's row does."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        self.stored = dict(stored)
        self.exchanges = 0

    def __call__(
        self, stale: Mapping[str, Any], exchange: Callable[..., Mapping[str, Any]]
    ) -> dict[str, Any]:
        if self.stored == dict(stale):
            self.stored = {**self.stored, **exchange(self.stored)}
            self.exchanges += 1
        return dict(self.stored)


def phones(n: int, first: int = 0) -> list[AudienceChange]:
    return [AudienceChange(k, "phone", f"+8613800{k:06d}") for k in range(first, first + n)]


def flight(reference: str = "", **fields: Any) -> Flight:
    told: dict[str, Any] = {
        "budget": Decimal("3500"), "starts_on": TODAY, "ends_on": TODAY + dt.timedelta(days=6),
        "cap_exposures": 3, "cap_days": 7,
    }  # fmt: skip
    return Flight(reference, **(told | fields))


def pauses(adapter: BaseAdapter, reference: str, deliver: Callable[[float], int]) -> None:
    """A flight that runs is paused, shows nothing while it is, and goes on. ``deliver`` brings a day's delivery to a
    share of what it allows and tells its exposures so far."""
    assert deliver(0.3) > 0
    assert adapter.pause_flight(reference, None) is False
    for _twice in range(2):
        assert adapter.pause_flight(reference, True) is True
    shown = deliver(0.3)
    assert deliver(0.6) == shown, "paused, and still shown"
    assert adapter.pause_flight(reference, None) is True
    for _twice in range(2):
        assert adapter.pause_flight(reference, False) is False
    assert deliver(0.9) > shown


def not_there(adapter: BaseAdapter, reference: str) -> None:
    """What the platform has not is told so, and not made in order to be paused."""
    with pytest.raises(AdapterError) as caught:
        adapter.pause_flight(reference, True)
    assert caught.value.code == NOT_FOUND


def pauses_what_was_made(
    adapter: BaseAdapter, audience: str, flight: Flight, deliver: Callable[[str, float], int]
) -> None:
    """As :func:`pauses`, where the adapter itself makes what is shown to an audience; also by the audience's name."""
    named = f"{BY_AUDIENCE}{audience}"
    not_there(adapter, named)
    reference = adapter.set_flight(replace(flight, reference=named)).reference
    pauses(adapter, reference, lambda share: deliver(reference, share))
    assert [adapter.pause_flight(named, wanted) for wanted in (True, None, False)] == [True, True, False]
