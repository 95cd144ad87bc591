"""The people behind the vendors' far sides: what is taken brings clicks, answers and orders, in each vendor's own way."""
# ruff: noqa: F401, F811  (the fixture is imported, and asked for by its name)

import datetime as dt
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audiences.vocabulary import ResponseKind
from channels.adapters import aliyun_sms, official_account, tencent_sms, twilio, webhook
from channels.adapters.base import BaseAdapter, Outcome, Outgoing
from channels.sandbox.ad_platform import ZONE
from channels.sandbox.people import Person
from channels.sandbox.server import Sandbox
from tests.ad_platforms import today
from tests.sandbox_fixture import start_sandbox
from tests.sms_vendors import aliyun_account, tencent_account, twilio_account
from tests.sms_vendors import webhook as our_webhook
from tests.test_official_account import account as oa_account
from tests.test_sandbox_market import OurSide, curve, market, ours, settle
from tests.test_webhook import account as app_account

CROWD = [
    Person(f"p{n}", f"+86138{n:08d}", f"c{n}@example.com", f"M{n:05d}", openid=f"oPerson{n:05d}")
    for n in range(60)
]


def by_phone(n: int, url: str) -> Outgoing:
    return Outgoing(
        n, CROWD[n].phone, text=f"新品 {url}", template="SMS_1", variables={"link": url.rpartition("/")[2]}
    )


def tencent(n: int, url: str) -> Outgoing:
    """Its links stand in the template, the same for everybody."""
    return Outgoing(n, CROWD[n].phone, text=f"新品 {url.rstrip('0123456789')}", template="1")


# name → medium, adapter, its account, a message to somebody, what names the person when they leave
SENDERS: dict[str, tuple[str, type[BaseAdapter], Callable[..., Any], Callable[[int, str], Outgoing], str]] = {
    "aliyun_sms": ("sms", aliyun_sms.Adapter, aliyun_account, by_phone, "phone"),
    "tencent_sms": ("sms", tencent_sms.Adapter, tencent_account, tencent, "phone"),
    "twilio": (
        "sms", twilio.Adapter, twilio_account,
        lambda n, url: Outgoing(n, CROWD[n].phone, text=f"Look {url}"), "phone",
    ),
    "official_account": (
        "official_account", official_account.Adapter,
        lambda far, **told: oa_account(f"http://127.0.0.1:{far.ports['official_account']}"),
        lambda n, url: Outgoing(n, CROWD[n].openid, text=f"新品 {url.rstrip('0123456789')}"), "openid",
    ),
    "webhook": (
        "webhook", webhook.Adapter,
        lambda far, **told: app_account(f"http://127.0.0.1:{far.ports['webhook']}/hook"),
        lambda n, url: Outgoing(n, CROWD[n].member_number, text=f"新品 {url}"), "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SENDERS)
def test_whoever_gets_a_vendors_message_clicks_leaves_and_buys(
    tmp_path: Path,
    ours: OurSide,
    settings: Any,
    name: str,
) -> None:
    settings.PRIVATE_HOSTS = ["127.0.0.1"]
    medium, adapter_class, account, message, named = SENDERS[name]
    truth = {"order_days": 0.1, "curves": {medium: curve(ceiling=20.0, click=10.0, opt_out=1.0)}}
    with our_webhook() as hook:
        told: dict[str, Any] = {name: {"receipt_seconds": 0.05} if name != "official_account" else {}}
        told[name]["callback"] = hook.url
        told[name] |= {
            "aliyun_sms": {"templates": {"SMS_1": f"新品 {ours.url}/l/${{link}} 拒收请回复R"}},
            "tencent_sms": {"templates": {"1": f"新品 {ours.url}/l/to 拒收请回复R"}},
        }.get(name, {})
        with start_sandbox(tmp_path, CROWD, market=market(ours, truth), vendors=told) as far:
            adapter = adapter_class(account(far, callback_url=hook.url))
            hook.adapter = adapter
            sent = adapter.send([message(n, f"{ours.url}/l/to{n}") for n in range(20)])
            assert {one.outcome for one in sent} <= {Outcome.ACCEPTED, Outcome.HELD}

            def left() -> list[Any]:
                return [event for event in hook.events if event.response is ResponseKind.OPT_OUT]

            far.wait(lambda: len({event.dedupe_key for event in left()}) >= 20, 20)
            settle(far)
            if named:
                assert {event.identity_value for event in left()} == {
                    getattr(one, named) for one in CROWD[:20]
                }
            else:
                assert {event.detail["attempt_id"] for event in left()} == set(range(20))
            clicked = ours.paths("GET", "/l/")
            assert set(clicked) == (
                {"/l/to"} if name in ("official_account", "tencent_sms") else {f"/l/to{n}" for n in range(20)}
            )
            assert len(clicked) == 20
            assert len([number for number in ours.orders() if f":{medium}:" in number]) >= 5
            adapter.close()


def test_a_number_that_cannot_be_reached_reads_nothing(tmp_path: Path, ours: OurSide) -> None:
    truth = {"curves": {"sms": curve(click=10.0)}}
    told = {"aliyun_sms": {"undeliverable_share": 1.0}}
    with start_sandbox(tmp_path, CROWD, market=market(ours, truth), vendors=told) as far:
        adapter = aliyun_sms.Adapter(aliyun_account(far))
        sent = adapter.send([by_phone(n, f"{ours.url}/l/to{n}") for n in range(10)])
        assert {one.outcome for one in sent} == {Outcome.ACCEPTED}
        adapter.close()
        settle(far)
        assert far.counters("market").get("sms touches", 0) == 0
    assert ours.calls == []


# Advertisements -----------------------------------------------------------------------------------


def seen(far: Sandbox, medium: str) -> list[dict[str, Any]]:
    settle(far)
    return [line for line in far.log_lines("market", "touch") if line["medium"] == medium]


def flying(name: str) -> dict[str, Any]:
    """Placements of which each may spend far more than the people behind can look at."""
    days = (today().isoformat(), (today() + dt.timedelta(days=3)).isoformat())
    made: dict[str, dict[str, Any]] = {
        "tencent_ads": {"7001": {"daily_budget": 500_000, "begin_date": days[0], "end_date": days[1]}},
        "ocean_engine": {"7001": {"delivery_setting": {"budget": 5000, "start_time": days[0], "end_time": days[1]}}},
        "xiaohongshu": {"7001": {"campaign_day_budget": 500_000, "start_time": days[0], "expire_time": days[1]}},
        "weibo": {
            "series:81": {"lifetime_budget": "20000.00"},
            "7001": {
                "campaign_id": 81, "delivery_schedule": {"start_time": days[0], "stop_time": days[1]},
                "targeting": {"frequency": '[{"time_interval": 4, "limit": 2}]'},
            },
        },
    }  # fmt: skip
    return {"placements": made[name], "match_share": 1.0, "process_seconds": 0.0}


@pytest.mark.parametrize(("name", "medium"), [("xiaohongshu", "social"), ("weibo", "social")])
def test_people_see_advertisements_as_often_as_the_report_counts(
    tmp_path: Path,
    ours: OurSide,
    name: str,
    medium: str,
) -> None:
    truth = {"order_days": 0.1, "curves": {medium: curve(ceiling=20.0)}}
    with start_sandbox(tmp_path, CROWD, market=market(ours, truth), vendors={name: flying(name)}) as far:
        side: Any = far.vendors[name]
        far.call(side.deliver, "7001", today(), 1.0)
        far.call(side.deliver, "7001", today() + dt.timedelta(days=1), 1.0)
        shown = sum(figures.exposures for (key, _day), figures in side.delivered.items() if key == "7001")
        touches = seen(far, medium)
        # Weibo keeps to its cap over its days; where there is none, so many a day as people look at.
        assert shown == len(touches) == len(CROWD) * (2 if name == "weibo" else 6)
        assert len({line["row"] for line in touches}) == len(CROWD)
        far.wait(lambda: [number for number in ours.orders() if f":{medium}:" in number], 20)
    assert {path for _verb, path, *_ in ours.calls} == {"/api/v1/orders/batch/"}, "nobody is named to us"


@pytest.mark.parametrize("name", ["tencent_ads", "ocean_engine"])
def test_only_people_of_the_audience_see_what_is_aimed_at_it(
    tmp_path: Path,
    ours: OurSide,
    name: str,
) -> None:
    medium = "video" if name == "ocean_engine" else "social"
    hashes = [hashlib.sha256(one.phone.removeprefix("+86").encode()).hexdigest() for one in CROWD[:15]]
    with start_sandbox(tmp_path, CROWD, market=market(ours), vendors={name: flying(name)}) as far:
        side: Any = far.vendors[name]
        far.call(side.deliver, "7001", today(), 1.0)
        assert seen(far, medium) == [], "an empty audience is shown nothing"
        if name == "tencent_ads":
            file = {
                "number": 1,
                "audience": "5",
                "operation": "APPEND",
                "hashes": hashes,
                "broken": False,
                "taken": 0.0,
            }
            far.call(side.files.append, file)
            far.call(side.audiences.update, {"5": {"name": "Ours", "outer_audience_id": ""}})
        else:
            far.call(side.sources.update, {"s": {"name": "Ours", "audience": 1, "logs": []}})
            far.call(side.published.update, {"s": {"at": 0.0, "through": 1, "members": set(hashes)}})
        far.call(side.deliver, "7001", today(), 1.0)
        touches = seen(far, medium)
    assert len(touches) == 15 * 3
    assert {line["row"] for line in touches} == set(range(15))


def test_a_search_campaigns_impressions_are_those_of_people_on_its_list(
    tmp_path: Path, ours: OurSide
) -> None:
    told = {"baidu": {"minimum_audience": 5, "match_share": 1.0}}
    with start_sandbox(tmp_path, CROWD, market=market(ours), vendors=told) as far:
        side: Any = far.vendors["baidu"]
        hashes = [hashlib.md5(one.phone.removeprefix("+86").encode()).hexdigest() for one in CROWD[:20]]  # noqa: S324
        far.call(lambda: side.members.change("5", hashes, add=True))
        far.call(side._keep, "9", {"campaignName": "Ours", "budget": 100.0})
        far.call(side.aim, "9", "5")
        for share in (0.5, 1.0):
            figures = far.call(side.deliver, "9", today(), share)
        touches = seen(far, "search")
    assert len(touches) == figures.impressions == 30
    assert {line["row"] for line in touches} == set(range(20))
