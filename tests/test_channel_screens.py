"""The screens of channels, as each role meets them."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from channels import counts, inbox
from channels.adapters.base import Inbound, Receipt
from channels.models import (
    Channel,
    ChannelCapacity,
    DailyReport,
    InboxEvent,
    PlatformAudience,
    PlatformRule,
    WalletEntry,
    WalletStatement,
)
from tests.channel_rows import make_brand, make_channel

pytestmark = pytest.mark.django_db
SECRET = "s3cret-that-must-not-be-seen"  # noqa: S105


def text(answer: Any) -> str:
    return answer.content.decode()


LISTS = ["channels", "inbox", "spend", "reports", "wallets", "rules"]
WRITES = ["connect", "new_rule"]


@pytest.mark.parametrize("name", LISTS)
def test_everybody_with_a_role_reads_and_nobody_else(name: str, log_in: Any, client: Client) -> None:
    url = reverse(f"channels:{name}")
    for who in ("marketer", "approver", "channels", "finance"):
        assert log_in(who).get(url).status_code == 200, who
    assert log_in("nobody").get(url).status_code == 403
    assert client.get(url)["Location"].startswith(reverse("account_login"))


@pytest.mark.parametrize("name", WRITES)
def test_only_channel_admins_write(name: str, log_in: Any) -> None:
    url = reverse(f"channels:{name}")
    assert log_in("channels").get(url).status_code == 200
    for who in ("marketer", "approver", "finance", "nobody"):
        assert log_in(who).get(url).status_code == 403, who


def test_actions_on_a_channel_are_for_channel_admins(log_in: Any) -> None:
    channel = make_channel()
    actions = [
        reverse(f"channels:{name}", args=[channel.pk])
        for name in ("edit", "check", "change_state", "capacity")
    ]
    actions.append(reverse("channels:replay"))
    for who in ("marketer", "approver", "finance"):
        for url in actions:
            assert log_in(who).post(url).status_code == 403, (who, url)


def test_empty_screens_say_what_to_do_next(as_channel_admin: Client, as_marketer: Client) -> None:
    assert "Connect a channel" in text(as_channel_admin.get(reverse("channels:channels")))
    assert "A channel admin connects them." in text(as_marketer.get(reverse("channels:channels")))
    for name in ("inbox", "spend", "wallets"):
        assert "empty-title" in text(as_marketer.get(reverse(f"channels:{name}")))


# Connecting -----------------------------------------------------------------------------------


def email_fields(**changes: str) -> dict[str, str]:
    return {
        "name": "Letters",
        "brand": str(make_brand().pk),
        "currency": "cny",
        "price_model": "per_message",
        "unit_price": "0.01",
        "rate_per_second": "10",
        "daily_capacity": "5000",
        "adapter-host": "smtp.example.com",
        "adapter-port": "587",
        "adapter-tls": "starttls",
        "adapter-verify": "on",
        "adapter-username": "us",
        "adapter-password": SECRET,
        "adapter-from_address": "news@example.com",
    } | changes


def test_a_channel_is_connected_step_by_step(as_channel_admin: Client) -> None:
    url = reverse("channels:connect")
    assert "?medium=email" in text(as_channel_admin.get(url))
    page = text(as_channel_admin.get(url, {"medium": "email"}))
    assert page.index("adapter=email") < page.index("adapter=manual")
    form = text(as_channel_admin.get(url, {"medium": "email", "adapter": "email"}))
    assert 'name="adapter-host"' in form
    assert 'type="password"' in form
    answer = as_channel_admin.post(f"{url}?medium=email&adapter=email", email_fields())
    channel = Channel.objects.get()
    assert answer["Location"] == reverse("channels:channel", args=[channel.pk])
    assert (channel.currency, channel.unit_price, channel.guarantee) == ("CNY", Decimal("0.01"), "immediate")
    assert channel.settings["host"] == "smtp.example.com"
    assert channel.credentials == {"password": SECRET}
    assert "password" not in channel.settings


def test_a_mistake_is_told_beside_its_field_and_nothing_is_saved(as_channel_admin: Client) -> None:
    url = reverse("channels:connect") + "?medium=email&adapter=email"
    answer = as_channel_admin.post(
        url, email_fields(**{"adapter-host": "", "adapter-port": "many", "unit_price": "-1"})
    )
    assert answer.status_code == 422
    page = text(answer)
    assert "This field is required." in page
    assert "It cannot be less than 0." in page
    assert SECRET not in page
    answer = as_channel_admin.post(url, email_fields(**{"adapter-port": "many"}))
    assert (answer.status_code, "is not a number" in text(answer)) == (422, True)
    assert not Channel.objects.exists()


def test_a_secret_is_never_shown_and_kept_when_left_empty(as_channel_admin: Client) -> None:
    channel = make_channel(
        "email",
        "email",
        settings={"host": "h", "from_address": "a@b.example"},
        credentials={"password": SECRET, "dkim_key": SECRET},
    )
    url = reverse("channels:edit", args=[channel.pk])
    assert SECRET not in text(as_channel_admin.get(url))
    fields = email_fields(**{"adapter-password": ""})
    assert as_channel_admin.post(url, fields).status_code == 302
    channel.refresh_from_db()
    assert channel.credentials == {"password": SECRET, "dkim_key": SECRET}
    page = text(as_channel_admin.get(reverse("channels:channel", args=[channel.pk])))
    assert SECRET not in page
    assert "kept, not shown" in page


def test_the_webhook_address_is_for_channel_admins_only(
    as_channel_admin: Client, as_marketer: Client
) -> None:
    channel = make_channel("email", "email")
    url = reverse("channels:channel", args=[channel.pk])
    assert channel.inbound_secret in text(as_channel_admin.get(url))
    assert channel.inbound_secret not in text(as_marketer.get(url))


def test_the_connection_is_tested_and_the_answer_stays(as_channel_admin: Client) -> None:
    channel = make_channel(
        "email", "email", settings={"host": "127.0.0.1", "port": 1, "tls": "none", "timeout": 2}
    )
    part = as_channel_admin.post(reverse("channels:check", args=[channel.pk]), HTTP_HX_REQUEST="true")
    assert "alert-danger" in text(part)
    assert "Connection refused" in text(as_channel_admin.get(reverse("channels:channel", args=[channel.pk])))
    by_hand = make_channel()
    as_channel_admin.post(reverse("channels:check", args=[by_hand.pk]))
    by_hand.refresh_from_db()
    assert by_hand.last_check["ok"]


def test_a_channel_is_paused_resumed_archived_and_taken_out_again(as_channel_admin: Client) -> None:
    channel = make_channel()
    url = reverse("channels:change_state", args=[channel.pk])
    seen = []
    for action in ("pause", "pause", "resume", "archive", "resume", "restore"):
        as_channel_admin.post(url, {"action": action})
        channel.refresh_from_db()
        seen.append(channel.state)
    assert seen == ["paused", "paused", "active", "archived", "archived", "paused"]
    assert as_channel_admin.post(url, {"action": "explode"}).status_code == 404
    as_channel_admin.post(url, {"action": "archive"})
    as_channel_admin.get("/")  # the message that names it is read there
    assert channel.name not in text(as_channel_admin.get(reverse("channels:channels")))
    assert channel.name in text(as_channel_admin.get(reverse("channels:channels"), {"archived": "1"}))


def test_a_day_may_take_another_number_of_messages(as_channel_admin: Client) -> None:
    from channels.health import capacity_on

    channel = make_channel(daily_capacity=100)
    day = timezone.localdate() + timedelta(days=3)
    url = reverse("channels:capacity", args=[channel.pk])
    for messages in ("500", "700"):
        as_channel_admin.post(url, {"day": day.isoformat(), "messages": messages})
    assert (capacity_on(channel, day), capacity_on(channel, day + timedelta(days=1))) == (700, 100)
    assert as_channel_admin.post(url, {"day": "", "messages": "-1"}).status_code == 422
    as_channel_admin.post(url, {"remove": str(ChannelCapacity.objects.get().pk)})
    assert capacity_on(channel, day) == 100


def test_a_channel_page_tells_how_it_fares(as_marketer: Client) -> None:
    channel = make_channel()
    now = timezone.now()
    counts.count_many(channel.pk, {"accepted": 90, "refused": 6, "refused:5.1.1": 6, "throttled": 24}, now)
    counts.count(channel.pk, "accepted", 1000, now - timedelta(days=2))
    page = text(as_marketer.get(reverse("channels:channel", args=[channel.pk])))
    assert "refused:5.1.1" in page
    assert ">90<" in page
    assert "25.0%" in page
    assert "More than a fifth is not taken." in page
    overview = text(as_marketer.get(reverse("channels:channels")))
    assert "More than a fifth is not taken." in overview


# Rules ----------------------------------------------------------------------------------------


def rule_fields(**changes: str) -> dict[str, str]:
    return {
        "medium": "sms",
        "key": "hours",
        "value": '{"from": "09:00", "to": "20:00"}',
        "adapter": "",
        "channel": "",
        "country": "cn",
        "valid_from": "2026-12-01",
        "valid_to": "",
        "source": "A letter",
        "source_date": "",
    } | changes


def test_a_rule_is_replaced_by_a_new_row(as_channel_admin: Client) -> None:
    old = PlatformRule.objects.get(medium="sms", key="hours", country="CN")
    form = text(as_channel_admin.get(reverse("channels:new_rule"), {"from": old.pk}))
    assert "21:00" in form
    assert (
        as_channel_admin.post(reverse("channels:new_rule") + f"?from={old.pk}", rule_fields()).status_code
        == 302
    )
    rows = PlatformRule.objects.filter(medium="sms", key="hours", country="CN").order_by("valid_from")
    assert [row.value["to"] for row in rows] == ["21:00", "20:00"]
    assert "A letter" in text(as_channel_admin.get(reverse("channels:rules"), {"medium": "sms"}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"value": "hello"}, "That is no JSON"),
        ({"value": '{"from": "20:00", "to": "09:00"}'}, "must come before"),
        ({"country": "C1"}, "two letters"),
        ({"valid_to": "2026-11-01"}, "ends before it begins"),
        ({"key": "counting", "value": '"bytes"'}, "Write one of"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(
    as_channel_admin: Client, changes: dict[str, str], told: str
) -> None:
    answer = as_channel_admin.post(reverse("channels:new_rule"), rule_fields(**changes))
    assert answer.status_code == 422
    assert told in text(answer)


def test_a_rule_is_corrected_or_ended(as_channel_admin: Client) -> None:
    rule = PlatformRule.objects.get(medium="sms", key="hours", country="CN")
    as_channel_admin.post(reverse("channels:rule", args=[rule.pk]), rule_fields(valid_from="2020-01-01"))
    as_channel_admin.post(reverse("channels:end_rule", args=[rule.pk]))
    rule.refresh_from_db()
    assert (rule.value["from"], rule.valid_to) == ("09:00", timezone.localdate())


# Inbox ----------------------------------------------------------------------------------------


def test_the_inbox_shows_what_was_told_and_replays_what_was_set_aside(
    as_channel_admin: Client, as_marketer: Client
) -> None:
    channel = make_channel()
    now = timezone.now()
    inbox.store(
        channel,
        [
            Inbound(f"k{n}", now, receipt=Receipt.DELIVERED, reference=f"ref-{n}", detail={"note": "<b>"})
            for n in range(3)
        ],
        now,
    )
    bad = InboxEvent.objects.get(reference="ref-1")
    inbox.set_aside(bad.pk, "no such attempt", now)
    page = text(as_marketer.get(reverse("channels:inbox")))
    assert "1 event is set aside" in page
    assert "Try all of them again" not in page
    only = text(as_channel_admin.get(reverse("channels:inbox"), {"state": "poison"}, HTTP_HX_REQUEST="true"))
    assert "ref-1" in only
    assert "ref-2" not in only
    assert "no such attempt" in only
    assert "ref-2" in text(as_channel_admin.get(reverse("channels:inbox"), {"q": "ref-2"}))
    detail = text(as_marketer.get(reverse("channels:event", args=[bad.pk])))
    assert "&lt;b&gt;" in detail
    as_channel_admin.post(reverse("channels:replay"), {"event": [str(bad.pk), "nonsense"]})
    bad.refresh_from_db()
    assert bad.state == "new"
    inbox.set_aside(bad.pk, "again", now)
    as_channel_admin.post(reverse("channels:ignore", args=[bad.pk]))
    bad.refresh_from_db()
    assert bad.state == "ignored"
    assert as_channel_admin.post(reverse("channels:ignore", args=[bad.pk])).status_code == 404


# Money ----------------------------------------------------------------------------------------


def report(channel: Channel, day: date, version: int, spend: str, **fields: Any) -> DailyReport:
    return DailyReport.objects.create(
        channel=channel,
        day=day,
        version=version,
        spend=Decimal(spend),
        source="test",
        fetched_at=timezone.now(),
        **fields,
    )


def test_the_sheet_shows_the_newest_version_of_each_placement_and_sums_to_its_total(
    as_finance: Client,
) -> None:
    channel = make_channel(medium="search", name="Search A")
    day = timezone.localdate()
    report(channel, day, 1, "100", placement="a", clicks=5)
    report(channel, day, 2, "110.50", placement="a", clicks=6)
    report(channel, day, 1, "9.50", placement="b", clicks=1)
    report(channel, day - timedelta(days=1), 1, "80", placement="a")
    page = text(as_finance.get(reverse("channels:spend")))
    assert "¥120.00" in page
    assert "¥200.00" in page
    assert "¥210.50" not in page
    every = text(as_finance.get(reverse("channels:reports")))
    assert "¥100.00" in every
    assert "¥110.50" in every
    other = text(as_finance.get(reverse("channels:spend"), {"from": "2020-01-01", "to": "2020-01-02"}))
    assert "Nothing was reported in these days." in other
    assert (
        as_finance.get(reverse("channels:spend"), {"from": "x", "to": "y", "channel": "z"}).status_code == 200
    )


def test_a_wallet_is_held_against_what_the_platform_says(as_finance: Client) -> None:
    from channels.wallets import of_channels

    channel = make_channel(medium="search", name="Search A")
    day = date(2026, 11, 1)
    entries = [
        ("opening", "100"),
        ("top_up", "1000"),
        ("bonus", "200"),
        ("transfer_in", "50"),
        ("cash_consumption", "300"),
        ("bonus_consumption", "80"),
        ("transfer_out", "20"),
        ("refund", "10"),
        ("adjustment", "-5"),
    ]
    for n, (kind, amount) in enumerate(entries):
        WalletEntry.objects.create(
            channel=channel, day=day, kind=kind, amount=Decimal(amount), source="test", source_key=str(n)
        )
    WalletEntry.objects.create(
        channel=channel,
        day=day + timedelta(days=5),
        kind="cash_consumption",
        amount=Decimal(35),
        source="t",
        source_key="x",
    )
    WalletStatement.objects.create(
        channel=channel,
        day=day,
        balance=Decimal("930"),
        source="test",
        fetched_at=datetime(2026, 11, 2, tzinfo=UTC),
    )
    (wallet,) = of_channels(date(2026, 11, 30))
    assert (wallet.closing, wallet.told, wallet.expected, wallet.difference) == (900, 930, 935, -5)
    page = text(as_finance.get(reverse("channels:wallets"), {"to": "2026-11-30"}))
    assert "¥900.00" in page
    assert "differs by −5.00" in page


# The first page and the audit -----------------------------------------------------------------


def test_a_stopped_channel_stands_on_the_first_page(as_marketer: Client) -> None:
    from channels import states

    channel = make_channel(name="Broken one")
    assert "Broken one" not in text(as_marketer.get("/"))
    states.stop(channel, "535 wrong password")
    page = text(as_marketer.get("/"))
    assert "Broken one" in page
    assert "535 wrong password" in page


def test_a_change_of_a_channel_is_recorded_without_its_secrets() -> None:
    from channels.models import Channel as Tracked

    channel = make_channel("email", "email", credentials={"password": SECRET})
    channel.unit_price = Decimal("0.02")
    channel.save()
    event = Tracked.pgh_event_model  # type: ignore[attr-defined]
    assert list(event.objects.order_by("pgh_id").values_list("unit_price", flat=True)) == [0, Decimal("0.02")]
    assert "credentials" not in {field.name for field in event._meta.fields}


def test_a_page_of_an_audience_tells_what_differs(as_marketer: Client) -> None:
    channel = make_channel(medium="social")
    audience = PlatformAudience.objects.create(
        channel=channel,
        name="Buyers",
        wanted_flight=json.loads(
            '{"budget": "1000.00", "starts_on": "2026-12-01", "ends_on": "2026-12-12", "cap_exposures": 3, "cap_days": 7}'
        ),
    )
    page = text(as_marketer.get(reverse("channels:audience", args=[audience.pk])))
    assert "Download the list" in page
    assert "¥1,000.00" in page
