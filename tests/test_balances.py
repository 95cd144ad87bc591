"""What platforms say is left: fetched from each far side, every version kept, held against our own count."""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.test import Client
from django.urls import reverse

from channels import balances, packages, wallets
from channels.accounts import save_channel
from channels.adapters import adapter_class, all_adapters
from channels.adapters.base import Account, AdapterError, Balance, BaseAdapter
from channels.models import Channel, WalletEntry, WalletStatement
from channels.sandbox.server import Sandbox
from tests import ad_platforms
from tests.adapter_contract import BalanceContract
from tests.channel_rows import make_brand, make_channel
from tests.sandbox_fixture import meta_account, start_sandbox
from tests.search_accounts import baidu_account
from tests.sms_vendors import tencent_account, twilio_account

NOW = dt.datetime(2026, 11, 23, 1, 0, tzinfo=dt.UTC)  # nine in the morning in Shanghai
TODAY = dt.date(2026, 11, 23)
DAY = 86_400


def package(number: int, amount: int, used: int = 0, *, bought: int = 30, days: int = 300) -> dict[str, Any]:
    """A package bought so many days ago, good for so many more."""
    now = int(dt.datetime.now(dt.UTC).timestamp())
    return {
        "PackageId": number, "PackageAmount": amount, "CurrentUsage": used, "PackageCreateTime": now - bought * DAY,
        "PackageEffectiveTime": now - bought * DAY, "PackageExpiredTime": now + days * DAY,
    }  # fmt: skip


ACCOUNTS: dict[str, Callable[[Sandbox], Account]] = {
    "twilio": twilio_account,
    "tencent_sms": tencent_account,
    "tencent_ads": lambda far: ad_platforms.account(far, "tencent_ads"),
    "ocean_engine": lambda far: ad_platforms.account(far, "ocean_engine"),
    "baidu": baidu_account,
    "meta": meta_account,
}
SECRETS = {"twilio": "auth_token", "tencent_sms": "secret_key", "baidu": "refresh_token", "meta": "token"}
CONFIG: dict[str, Any] = {
    "tencent_sms": {
        "packages": [package(11, 1000, 400), package(12, 500, days=20), package(13, 700, days=-1)]
    },
    "tencent_ads": {"topped_up": 1234.56, "gift": 100.0},
    "ocean_engine": {"topped_up": 800.5, "gift": 20.0},
    "baidu": {"topped_up": 950.25},
}
LEFT = {
    "twilio": [("USD", "100.0000", "")],
    "tencent_sms": [("messages", "600", "11"), ("messages", "500", "12")],
    "tencent_ads": [("CNY", "1334.56", "")],
    "ocean_engine": [("CNY", "820.5", "")],
    "baidu": [("CNY", "950.25", "")],
    "meta": [("CNY", "300", "")],
}


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path / "far", vendors=CONFIG, meta={"spend_cap": 300.0}) as running:
        yield running


class Told(BalanceContract):
    """The contract for one adapter, and the figure of its far side."""

    name: ClassVar[str]

    @pytest.fixture
    def rich(self, far: Sandbox) -> BaseAdapter:
        return adapter_class(self.name)(ACCOUNTS[self.name](far))

    @pytest.fixture
    def barred(self, far: Sandbox) -> BaseAdapter:
        account = ACCOUNTS[self.name](far)
        secrets = dict.fromkeys(account.credentials, "wrong") if self.name not in SECRETS else {
            **account.credentials, SECRETS[self.name]: "wrong", "access_token": "",
        }  # fmt: skip
        return adapter_class(self.name)(dataclasses.replace(account, credentials=secrets))

    def test_the_figure_is_the_far_sides(self, rich: BaseAdapter) -> None:
        told = rich.fetch_balance()
        assert [(one.unit, one.left, one.package) for one in told] == [
            (unit, Decimal(left), number) for unit, left, number in LEFT[self.name]
        ]


class TestTwilio(Told):
    name = "twilio"


class TestTencentSms(Told):
    name = "tencent_sms"


class TestTencentAds(Told):
    name = "tencent_ads"


class TestOceanEngine(Told):
    name = "ocean_engine"


class TestBaidu(Told):
    name = "baidu"


class TestMeta(Told):
    name = "meta"


def test_every_adapter_that_asks_for_balances_is_held_to_the_contract() -> None:
    asking = {name for name, cls in all_adapters().items() if "fetch_balance" in cls.verbs()}
    assert asking == set(ACCOUNTS)


def test_a_subaccount_of_twilio_has_no_balance(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={"twilio": {"topped_up": -1.0}}) as far:
        assert adapter_class("twilio")(twilio_account(far)).fetch_balance() == []


def test_an_account_of_meta_without_a_limit_owes_what_is_due(tmp_path: Path) -> None:
    with start_sandbox(tmp_path) as far:
        (told,) = adapter_class("meta")(meta_account(far)).fetch_balance()
    assert told == Balance("CNY", Decimal(0))


def test_packages_come_page_by_page_and_none_that_is_over(tmp_path: Path, monkeypatch: Any) -> None:
    from channels.adapters import tencent_sms

    monkeypatch.setattr(tencent_sms, "PACKAGES", 2)
    many = [package(number, 100 + number) for number in range(5)]
    with start_sandbox(tmp_path, vendors={"tencent_sms": {"packages": many}}) as far:
        told = adapter_class("tencent_sms")(tencent_account(far)).fetch_balance()
    assert [one.package for one in told] == ["0", "1", "2", "3", "4"]
    with start_sandbox(
        tmp_path / "b", vendors={"tencent_sms": {"packages": [package(1, 9, days=-2)]}}
    ) as far:
        (none,) = adapter_class("tencent_sms")(tencent_account(far)).fetch_balance()
    assert none == Balance("messages", Decimal(0)), "all over: that is nothing left, not nothing known"


# Keeping ------------------------------------------------------------------------------------------


def channel_of(account: Account, name: str, **fields: Any) -> Channel:
    made = Channel(
        adapter=name, medium=account.medium, brand=make_brand(), name=name, settings=dict(account.settings),
        credentials=dict(account.credentials), **fields,
    )  # fmt: skip
    return save_channel(made)


def entry(channel: Channel, amount: str, kind: str = "top_up", **fields: Any) -> WalletEntry:
    key = f"{kind}:{WalletEntry.objects.count()}"
    fields = {"day": TODAY, "source": "file.csv", "source_key": key} | fields
    return WalletEntry.objects.create(channel=channel, kind=kind, amount=Decimal(amount), **fields)


@pytest.mark.django_db
def test_each_figure_of_a_day_is_a_version_with_what_we_counted_then() -> None:
    channel = make_channel("meta", "social")
    entry(channel, "500")
    assert balances.store(channel, [Balance("CNY", Decimal("480"))], NOW) == 1
    entry(channel, "20", "cash_consumption")
    assert balances.store(channel, [Balance("CNY", Decimal("480"))], NOW + dt.timedelta(hours=1)) == 1
    assert balances.store(channel, [Balance("CNY", Decimal("480"))], NOW + dt.timedelta(hours=2)) == 0
    assert balances.store(channel, [Balance("CNY", Decimal("470"))], NOW + dt.timedelta(hours=3)) == 1
    rows = WalletStatement.objects.order_by("version").values_list("version", "balance", "counted")
    assert list(rows) == [(1, 480, 500), (2, 480, 480), (3, 470, 480)]
    (wallet,) = wallets.of_channels(TODAY)
    assert (wallet.told, wallet.expected, wallet.difference) == (470, 480, -10)
    assert wallet.fetched_at == NOW + dt.timedelta(hours=3)
    entry(channel, "30", "cash_consumption")
    (wallet,) = wallets.of_channels(TODAY)
    assert wallet.difference == -10, "what is counted later is no difference of then"


@pytest.mark.django_db
def test_where_nothing_is_counted_a_balance_differs_from_nothing() -> None:
    channel = make_channel("meta", "social")
    balances.store(channel, [Balance("CNY", Decimal("480"))], NOW)
    (wallet,) = wallets.of_channels(TODAY)
    assert (wallet.told, wallet.difference) == (480, None)


@pytest.mark.django_db
def test_packages_enter_the_wallet_once_with_what_was_left_and_never_beside_loaded_ones() -> None:
    fetched, loaded = make_channel("tencent_sms"), make_channel("tencent_sms")
    entry(loaded, "1000", unit="messages")
    ends = TODAY + dt.timedelta(days=20)
    first = [Balance("messages", Decimal(600), "11", ends), Balance("messages", Decimal(500), "12")]
    for channel in (fetched, loaded):
        balances.store(channel, first, NOW)
        balances.store(channel, [dataclasses.replace(first[0], left=Decimal(550)), first[1]], NOW)
    found = packages.of_channels(TODAY)
    assert [(one.bought, one.expires_on) for one in found[fetched.pk].open] == [(600, ends), (500, None)]
    assert [one.bought for one in found[loaded.pk].open] == [1000]
    told = {wallet.channel.pk: (wallet.told, wallet.expected) for wallet in wallets.of_channels(TODAY)}
    assert told == {fetched.pk: (1050, 1100), loaded.pk: (1050, 1000)}


@pytest.mark.django_db(transaction=True)
def test_balances_are_fetched_once_a_day_from_the_far_sides_and_a_wrong_secret_stops_its_channel(
    far: Sandbox,
) -> None:
    good = channel_of(ACCOUNTS["ocean_engine"](far), "ocean_engine")
    sms = channel_of(ACCOUNTS["tencent_sms"](far), "tencent_sms")
    account = ACCOUNTS["meta"](far)
    bad = channel_of(
        dataclasses.replace(account, credentials={**account.credentials, "token": "wrong"}), "meta"
    )
    done = balances.fetch_all(NOW)
    assert (done[good.pk], done[sms.pk]) == (1, 1)
    assert isinstance(done[bad.pk], str)
    bad.refresh_from_db()
    assert bad.state == Channel.State.STOPPED
    assert balances.fetch_all(NOW + dt.timedelta(hours=5)) == {}
    assert set(balances.fetch_all(NOW + dt.timedelta(days=1))) == {good.pk, sms.pk}
    assert WalletStatement.objects.filter(channel=good).count() == 2
    assert packages.of_channels(TODAY)[sms.pk].left == 1100


@pytest.mark.django_db(transaction=True)
def test_the_wallet_page_says_when_it_was_fetched_and_the_difference(
    far: Sandbox, client: Client, make_user: Any
) -> None:
    client.force_login(make_user("money", "finance"))
    channel = channel_of(ACCOUNTS["ocean_engine"](far), "ocean_engine")
    entry(channel, "900", day=TODAY)
    page = client.post(reverse("channels:fetch_balances"), follow=True).content.decode()
    text = " ".join(page.split())
    assert "fetched at <time" in text
    assert "from the platform" in text
    assert "¥820.50" in text
    assert "differs by −79.50" in text
    assert "Fetch balances now" in text


@pytest.mark.django_db(transaction=True)
def test_what_a_platform_refuses_is_told_to_who_asked(far: Sandbox, client: Client, make_user: Any) -> None:
    client.force_login(make_user("money", "finance"))
    account = ACCOUNTS["twilio"](far)
    channel_of(dataclasses.replace(account, credentials={"auth_token": "wrong"}), "twilio")
    page = client.post(reverse("channels:fetch_balances"), follow=True).content.decode()
    assert "Authenticate" in page
    assert not WalletStatement.objects.exists()


@pytest.mark.django_db
def test_only_finance_and_channel_admins_fetch(client: Client, make_user: Any) -> None:
    client.force_login(make_user("reader", "marketer"))
    assert client.post(reverse("channels:fetch_balances")).status_code == 403
    assert "Fetch balances now" not in client.get(reverse("channels:wallets")).content.decode()


@pytest.mark.django_db
def test_an_adapter_that_cannot_be_asked_is_not() -> None:
    make_channel("manual", "sms")
    assert balances.fetch_all(NOW) == {}
    with pytest.raises((NotImplementedError, AdapterError)):
        balances.fetch(make_channel("manual", "email"), NOW)
