"""What platforms say is left: fetched from each far side, every version kept, held against our own count."""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse

from channels import balances, packages, wallets
from channels.accounts import save_channel
from channels.adapters import adapter_class, all_adapters
from channels.adapters.base import Account, AdapterError, Balance, BaseAdapter, Outgoing
from channels.models import Channel, WalletEntry, WalletStatement
from channels.sandbox.server import Sandbox
from tests import ad_platforms
from tests.adapter_contract import BalanceContract
from tests.channel_rows import make_brand, make_channel
from tests.sandbox_fixture import meta_account, start_sandbox
from tests.search_accounts import baidu_account, google_account, microsoft_account
from tests.sms_vendors import aliyun_account, tencent_account, twilio_account

NOW = dt.datetime(2026, 11, 23, 1, 0, tzinfo=dt.UTC)  # nine in the morning in Shanghai
TODAY = dt.date(2026, 11, 23)
DAY = 86_400


LIMIT = {"adjusted_spending_limit_micros": 10_000_000, "amount_served_micros": 1_250_000}
BUDGET = {"approved_start_date_time": "2026-01-01 00:00:00", "approved_end_time_type": "FOREVER"}


def package(number: int, amount: int, used: int = 0, *, bought: int = 30, days: int = 300) -> dict[str, Any]:
    """A package bought so many days ago, good for so many more."""
    now = int(dt.datetime.now(dt.UTC).timestamp())
    return {
        "PackageId": number, "PackageAmount": amount, "CurrentUsage": used, "PackageCreateTime": now - bought * DAY,
        "PackageEffectiveTime": now - bought * DAY, "PackageExpiredTime": now + days * DAY,
    }  # fmt: skip


def aliyun(far: Sandbox, **settings: Any) -> Account:
    """Its far side is the text messages' and the billing's at once."""
    return aliyun_account(far, billing_url=f"http://127.0.0.1:{far.ports['aliyun_sms']}", **settings)


ACCOUNTS: dict[str, Callable[[Sandbox], Account]] = {
    "twilio": twilio_account,
    "tencent_sms": tencent_account,
    "tencent_ads": lambda far: ad_platforms.account(far, "tencent_ads"),
    "ocean_engine": lambda far: ad_platforms.account(far, "ocean_engine"),
    "baidu": baidu_account,
    "meta": meta_account,
    "aliyun_sms": aliyun,
    "google_ads": google_account,
    "microsoft_ads": microsoft_account,
    "xiaohongshu": lambda far: ad_platforms.account(far, "xiaohongshu"),
}
SECRETS = {
    "twilio": "auth_token", "tencent_sms": "secret_key", "baidu": "refresh_token", "meta": "token",
    "aliyun_sms": "access_key_secret", "google_ads": "developer_token", "microsoft_ads": "developer_token",
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "tencent_sms": {
        "packages": [package(11, 1000, 400), package(12, 500, days=20), package(13, 700, days=-1)]
    },
    "tencent_ads": {"topped_up": 1234.56, "gift": 100.0},
    "ocean_engine": {"topped_up": 800.5, "gift": 20.0},
    "baidu": {"topped_up": 950.25},
    "aliyun_sms": {"topped_up": 1012.5, "credit": 500.0},
    "google_ads": {
        "grpc": True,
        "account_budgets": [
            {**BUDGET, "adjusted_spending_limit_micros": 5_000_500_000, "amount_served_micros": 1_250_250_000}
        ],
    },
    "microsoft_ads": {"insertion_orders": [{"Id": 7, "SpendCapAmount": 3000.0, "BudgetSpent": 1200.5}]},
    "xiaohongshu": {"topped_up": 700.4, "gift": 30.0},
}
LEFT = {
    "twilio": [("USD", "100.0000", "")],
    "tencent_sms": [("messages", "600", "11"), ("messages", "500", "12")],
    "tencent_ads": [("CNY", "1334.56", "")],
    "ocean_engine": [("CNY", "820.5", "")],
    "baidu": [("CNY", "950.25", "")],
    "meta": [("CNY", "300", "")],
    "aliyun_sms": [("CNY", "1012.5", "")],
    "google_ads": [("CNY", "3750.25", "")],
    "microsoft_ads": [("CNY", "1799.5", "")],
    "xiaohongshu": [("CNY", "730.4", "")],
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


class TestAliyun(Told):
    name = "aliyun_sms"


class TestGoogleAds(Told):
    name = "google_ads"


class TestMicrosoftAds(Told):
    name = "microsoft_ads"


class TestXiaohongshu(Told):
    name = "xiaohongshu"


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


def told_by(name: str, account: Account) -> list[Balance]:
    adapter = adapter_class(name)(account)
    try:
        return adapter.fetch_balance()
    finally:
        adapter.close()


def refused_by(name: str, account: Account) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        told_by(name, account)
    return caught.value


def test_what_was_sent_is_gone_from_the_cash_of_an_aliyun_account(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={"aliyun_sms": {"topped_up": 10.0, "price": 0.05}}) as far:
        account = aliyun(far)
        adapter = adapter_class("aliyun_sms")(account)
        adapter.send([Outgoing(n, f"+861380013800{n}", text="hi", template="SMS_1110") for n in range(4)])
        adapter.close()
        assert told_by("aliyun_sms", account) == [Balance("CNY", Decimal("9.80"))]


@pytest.mark.parametrize("code", ["NotAuthorized", "NoPermission"])
def test_an_aliyun_key_that_may_not_see_money_goes_on_sending_and_a_bad_one_does_not(
    code: str, tmp_path: Path
) -> None:
    with start_sandbox(tmp_path, vendors={"aliyun_sms": {"hides_money": code}}) as far:
        hidden = refused_by("aliyun_sms", aliyun(far))
        bad = refused_by("aliyun_sms", aliyun(far, secret="wrong"))
    assert (hidden.code, hidden.stops_channel) == (code, False)
    assert (bad.code, bad.stops_channel) == ("SignatureDoesNotMatch", True)


def test_keys_of_another_address_are_never_shown_to_aliyuns_billing(tmp_path: Path) -> None:
    with start_sandbox(tmp_path) as far:
        calls = far.call(lambda: dict(far.vendors["aliyun_sms"].counters))
        assert told_by("aliyun_sms", aliyun_account(far)) == []
        assert far.call(lambda: dict(far.vendors["aliyun_sms"].counters)) == calls


def moment(days: float) -> str:
    """So many days from now, as Google writes it in the account's zone."""
    now = dt.datetime.now(ZoneInfo("Asia/Shanghai")) + dt.timedelta(days=days)
    return f"{now:%Y-%m-%d %H:%M:%S}"


@pytest.mark.parametrize(
    ("budgets", "left"),
    [
        ([], []),  # paid by card: no budget of the account
        ([{**BUDGET, "adjusted_spending_limit_type": "INFINITE"}], []),
        ([{**BUDGET, "adjusted_spending_limit_micros": 9_000_000, "status": "PENDING"}], []),
        (
            [
                {"approved_start_date_time": moment(-60), "approved_end_date_time": moment(-0.01), **LIMIT},
                {"approved_start_date_time": moment(-0.01), "approved_end_date_time": moment(30), **LIMIT},
                {"approved_start_date_time": moment(0.1), "approved_end_date_time": moment(60), **LIMIT},
            ],
            [Balance("USD", Decimal("8.75"))],
        ),
        (
            [{**BUDGET, "adjusted_spending_limit_micros": 5_000_000, "amount_served_micros": 5_400_000}],
            [Balance("USD", Decimal("-0.4"))],
        ),
    ],
    ids=["none", "without a limit", "not approved", "of this moment", "served beyond the limit"],
)
def test_of_google_the_budgets_of_this_moment_count(
    budgets: list[dict[str, Any]], left: list[Balance], tmp_path: Path
) -> None:
    config = {"grpc": True, "currency": "USD", "account_budgets": budgets}
    with start_sandbox(tmp_path, vendors={"google_ads": config}) as far:
        assert told_by("google_ads", google_account(far)) == left


def order(number: int, **fields: Any) -> dict[str, Any]:
    return {"Id": number, "SpendCapAmount": 100.0, "BudgetSpent": 40.0, **fields}


@pytest.mark.parametrize(
    ("orders", "left"),
    [
        ([], []),  # paid by card: no insertion order
        ([order(1), order(2, SpendCapAmount=None)], []),  # one is without a limit
        ([order(1, Status="Expired"), order(2, Status="NotStarted"), order(3, Status="Canceled")], []),
        ([order(1), order(2, BudgetSpent=0.5)], [Balance("CNY", Decimal("159.5"))]),
        ([order(1, Status="Exhausted", BudgetSpent=100.0)], [Balance("CNY", Decimal(0))]),
        # More than a page holds; the one that runs comes last.
        ([*(order(n, Status="Expired") for n in range(1, 101)), order(200)], [Balance("CNY", Decimal(60))]),
    ],
    ids=["none", "without a limit", "none that runs", "two", "used up", "on the second page"],
)
def test_of_microsoft_the_insertion_orders_that_run_count(
    orders: list[dict[str, Any]], left: list[Balance], tmp_path: Path
) -> None:
    with start_sandbox(tmp_path, vendors={"microsoft_ads": {"insertion_orders": orders}}) as far:
        assert told_by("microsoft_ads", microsoft_account(far)) == left


def test_the_far_sides_refuse_what_the_vendors_do(tmp_path: Path, monkeypatch: Any) -> None:
    from channels.adapters import aliyun_sms, google_ads, microsoft_ads

    monkeypatch.setattr(microsoft_ads, "ORDERS", 101)
    monkeypatch.setattr(google_ads, "BUDGET_FIELDS", "account_budget.id, campaign.id")
    monkeypatch.setattr(aliyun_sms, "BILLING_VERSION", "2017-05-25")
    with start_sandbox(tmp_path, vendors=CONFIG) as far:
        assert "100" in str(refused_by("microsoft_ads", microsoft_account(far)))
        code = "PROHIBITED_RESOURCE_TYPE_IN_SELECT_CLAUSE"
        assert refused_by("google_ads", google_account(far)).code == code
        assert refused_by("aliyun_sms", aliyun(far)).code == "InvalidAction.NotFound"


def test_a_microsoft_user_who_may_not_see_money_does_not_stop_the_channel(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={"microsoft_ads": {"sees_money": False}}) as far:
        error = refused_by("microsoft_ads", microsoft_account(far))
    assert (error.code, error.stops_channel) == ("UserIsNotAuthorized", False)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["aliyun_sms", "google_ads", "microsoft_ads", "xiaohongshu"])
def test_what_is_told_is_held_against_our_own_count(far: Sandbox, name: str) -> None:
    channel = channel_of(ACCOUNTS[name](far), name)
    entry(channel, "2000")
    assert balances.fetch_all(NOW) == {channel.pk: 1}
    (wallet,) = wallets.of_channels(TODAY)
    told = Decimal(LEFT[name][0][1])
    assert (wallet.told, wallet.expected, wallet.difference) == (told, 2000, told - 2000)


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
