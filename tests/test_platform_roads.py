"""From a campaign's members to a platform's far side and back, through the database: Tencent Ads and Ocean Engine."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from audiences import consent
from audiences.models import Customer
from channels import accounts, audience_sync, daily_reports, flights
from channels.adapters.base import Flight
from channels.models import DailyReport, PlatformAudience
from channels.sandbox.ad_platform import ZONE
from channels.sandbox.server import Sandbox
from tests.ad_platforms import account
from tests.channel_rows import make_brand, make_channel
from tests.factories import NOW
from tests.sandbox_fixture import start_sandbox

pytestmark = pytest.mark.django_db(transaction=True)
TODAY = NOW.astimezone(ZONE).date()
PLATFORMS = ("tencent_ads", "ocean_engine")


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Sandbox]:
    told = {name: {"process_seconds": 0.0, "placements": {"7001": {}}} for name in PLATFORMS}
    with start_sandbox(tmp_path, vendors=told) as running:
        yield running
    accounts.release_adapters()


def audience_on(far: Sandbox, name: str) -> PlatformAudience:
    told = account(far, name)
    channel = make_channel(
        name, "social", settings=dict(told.settings), credentials=dict(told.credentials), price_model="cpm"
    )
    return audience_sync.audience_for(channel, 7, "均达: 双十一 #7")


def people(n: int) -> list[int]:
    found = []
    for k in range(n):
        customer = Customer.objects.create(name=f"P{k}")
        customer.identities.create(kind="phone", value=f"+8613800{k:06d}")
        consent.grant(customer.pk, make_brand().pk, "social", "form", NOW - timedelta(days=1), "upload")
        found.append(customer.pk)
    return found


def hashes(first: int, last: int) -> set[str]:
    return {hashlib.sha256(f"13800{n:06d}".encode()).hexdigest() for n in range(first, last)}


def until_it_agrees(audience: PlatformAudience) -> int:
    """Runs of the worker until nothing waits; each five minutes later."""
    for run in range(1, 9):
        audience_sync.sync(audience.pk, NOW + timedelta(minutes=5 * run))
        if not audience.members.exclude(wanted=True, held=True).exclude(wanted=False, held=False).exists():
            return run
    raise AssertionError("it never agreed")


@pytest.mark.parametrize("name", PLATFORMS)
def test_whatever_is_lost_on_the_way_both_sides_agree_in_the_end(far: Sandbox, name: str) -> None:
    audience = audience_on(far, name)
    members = people(40)
    audience_sync.want(audience.pk, members, NOW)
    far.faults(name, next=["drop", "ok", "drop", "throttle"], expired_token=1)
    assert until_it_agrees(audience) > 1
    audience.refresh_from_db()
    vendor: Any = far.vendors[name]
    assert far.call(vendor.members, audience.external_id) == hashes(0, 40)
    consent.opt_out(members[0], "", None, "asked", "call", NOW)
    audience_sync.sweep(NOW)
    audience_sync.unwant(audience.pk, members[1:5], NOW)
    far.faults(name, next=["drop"])
    until_it_agrees(audience)
    assert far.call(vendor.members, audience.external_id) == hashes(5, 40)
    assert far.counters(name)["renewed"] == 1
    assert audience.channel.state == "active"


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_flight_and_its_spend_belong_to_the_campaign(far: Sandbox, name: str) -> None:
    audience = audience_on(far, name)
    flights.want(audience, Flight("", Decimal(7000), TODAY, TODAY + timedelta(days=6), 3, 7))
    flights.refer(audience, "7001")
    assert flights.apply(audience.pk, NOW) == ""
    audience.refresh_from_db()
    assert (flights.settled(audience), flights.agrees(audience), flights.unheld_cap(audience)) == (
        True,
        False,
        (3, 7),
    )
    vendor: Any = far.vendors[name]
    for share in (0.5, 1.0):
        far.call(vendor.deliver, "7001", TODAY, share)
        daily_reports.fetch(audience.channel, NOW)
    rows = DailyReport.objects.order_by("version").values_list("placement", "campaign_id", "version", "spend")
    assert [(row[0], row[1], row[2]) for row in rows] == [("7001", 7, 1), ("7001", 7, 2)]
    assert [float(row[3]) for row in rows] == pytest.approx([500, 1000], abs=0.1)


def test_on_ocean_engine_only_what_is_published_is_shown(far: Sandbox) -> None:
    audience = audience_on(far, "ocean_engine")
    members = people(10)
    audience_sync.want(audience.pk, members, NOW)
    audience_sync.sync(audience.pk, NOW)
    audience.refresh_from_db()
    vendor: Any = far.vendors["ocean_engine"]
    assert audience.publish_after is None
    assert far.call(vendor.shown, audience.external_id) == hashes(0, 10)
    audience_sync.unwant(audience.pk, members[:4], NOW)
    audience_sync.sync(audience.pk, NOW)
    audience.refresh_from_db()
    assert audience.publish_after is not None
    assert timedelta(hours=23) < audience.publish_after - NOW <= timedelta(hours=24)
    assert far.call(vendor.shown, audience.external_id) == hashes(0, 10)
