"""Channels through the API: the same rules as on the screens, credentials never read."""

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from channels import inbox
from channels.adapters.base import Inbound, Receipt
from channels.models import Channel, DailyReport, InboxEvent, PlatformAudience, PlatformRule, WalletEntry
from tests.channel_rows import make_brand, make_channel

pytestmark = pytest.mark.django_db
SECRET = "s3cret-that-must-not-be-seen"  # noqa: S105
API = "/api/v1"
READS = [
    "adapters",
    "channels",
    "platform-rules",
    "platform-audiences",
    "inbox-events",
    "daily-reports",
    "spend",
    "wallets",
    "wallet-entries",
]


def send(client: Client, method: str, path: str, body: Any = None) -> Any:
    return getattr(client, method)(f"{API}/{path}", json.dumps(body), content_type="application/json")


@pytest.mark.parametrize("path", READS)
def test_everybody_with_a_role_reads_and_nobody_else(path: str, log_in: Any, client: Client) -> None:
    for who in ("marketer", "approver", "channels", "finance"):
        assert log_in(who).get(f"{API}/{path}/").status_code == 200
    assert log_in("nobody").get(f"{API}/{path}/").status_code == 403
    assert client.get(f"{API}/{path}/").status_code in (401, 403)


def letters(**changes: Any) -> dict[str, Any]:
    make_brand()
    return {
        "brand": "main",
        "name": "Letters",
        "medium": "email",
        "adapter": "email",
        "unit_price": "0.01",
        "settings": {"host": "smtp.example.com", "from_address": "news@example.com"},
        "credentials": {"password": SECRET},
    } | changes


def test_a_channel_is_connected_and_its_credentials_never_come_out(
    as_channel_admin: Client, as_marketer: Client
) -> None:
    answer = send(as_channel_admin, "post", "channels/", letters())
    assert answer.status_code == 201, answer.content
    pk = answer.json()["id"]
    channel = Channel.objects.get(pk=pk)
    assert channel.credentials == {"password": SECRET}
    assert channel.settings["port"] == 587
    for told in (answer, as_marketer.get(f"{API}/channels/"), as_marketer.get(f"{API}/channels/{pk}/")):
        assert SECRET not in told.content.decode()
        assert channel.inbound_secret not in told.content.decode()
    assert send(as_marketer, "post", "channels/", letters(name="Other")).status_code == 403
    assert send(as_marketer, "patch", f"channels/{pk}/", {"unit_price": "1"}).status_code == 403


def test_a_change_keeps_what_is_not_told(as_channel_admin: Client) -> None:
    pk = send(as_channel_admin, "post", "channels/", letters()).json()["id"]
    changed = send(
        as_channel_admin, "patch", f"channels/{pk}/", {"settings": {"port": 2525}, "unit_price": "0.02"}
    )
    assert changed.status_code == 200, changed.content
    channel = Channel.objects.get(pk=pk)
    assert (channel.settings["port"], channel.settings["host"]) == (2525, "smtp.example.com")
    assert channel.credentials == {"password": SECRET}
    assert send(as_channel_admin, "patch", f"channels/{pk}/", {"adapter": "manual"}).status_code == 400
    assert send(as_channel_admin, "delete", f"channels/{pk}/").status_code == 405


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"adapter": "pigeon"}, "adapter"),
        ({"medium": "sms"}, "adapter"),
        ({"brand": "none"}, "brand"),
        ({"settings": {"host": "h"}}, "settings"),
        ({"settings": {"colour": "red"}}, "settings"),
        ({"name": ""}, "name"),
    ],
)
def test_what_makes_no_sense_is_refused_by_field(
    as_channel_admin: Client, changes: dict[str, Any], field: str
) -> None:
    answer = send(as_channel_admin, "post", "channels/", letters(**changes))
    assert (answer.status_code, list(answer.json())) == (400, [field])
    assert not Channel.objects.exists()


def test_state_check_health_and_capacities(as_channel_admin: Client) -> None:
    channel = make_channel(daily_capacity=10)
    base = f"channels/{channel.pk}"
    assert send(as_channel_admin, "post", f"{base}/state/", {"action": "pause"}).json() == {"state": "paused"}
    assert send(as_channel_admin, "post", f"{base}/state/", {"action": "pause"}).status_code == 409
    assert send(as_channel_admin, "post", f"{base}/state/", {"action": "burn"}).status_code == 400
    assert send(as_channel_admin, "post", f"{base}/check/").json()["ok"]
    assert as_channel_admin.get(f"{API}/{base}/health/").json()["waiting"] == 0
    day = (timezone.localdate() + timedelta(days=2)).isoformat()
    for messages in (5, 7):
        assert (
            send(
                as_channel_admin, "post", f"{base}/capacities/", {"day": day, "messages": messages}
            ).status_code
            == 201
        )
    assert as_channel_admin.get(f"{API}/{base}/capacities/").json()["results"] == [
        {"day": day, "messages": 7}
    ]
    assert (
        send(as_channel_admin, "post", f"{base}/capacities/", {"day": day, "messages": -1}).status_code == 400
    )


def test_rules_are_written_and_ended(as_channel_admin: Client) -> None:
    rule = {
        "medium": "wecom",
        "key": "messages_a_customer_a_week",
        "value": 7,
        "valid_from": "2026-12-01",
        "source": "company",
    }
    pk = send(as_channel_admin, "post", "platform-rules/", rule).json()["id"]
    assert (
        send(as_channel_admin, "patch", f"platform-rules/{pk}/", {"valid_to": "2026-12-31"}).status_code
        == 200
    )
    assert (
        send(as_channel_admin, "patch", f"platform-rules/{pk}/", {"valid_to": "2026-11-30"}).status_code
        == 400
    )
    assert send(as_channel_admin, "post", "platform-rules/", rule | {"value": "many"}).status_code == 400
    assert send(as_channel_admin, "post", "platform-rules/", rule | {"key": "none"}).status_code == 400
    assert PlatformRule.objects.get(pk=pk).valid_to == date(2026, 12, 31)


def test_the_inbox_is_read_and_replayed(as_channel_admin: Client, as_marketer: Client) -> None:
    channel = make_channel()
    inbox.store(channel, [Inbound("a", timezone.now(), receipt=Receipt.SENT, reference="r")], timezone.now())
    event = InboxEvent.objects.get()
    inbox.set_aside(event.pk, "why")
    (told,) = as_marketer.get(f"{API}/inbox-events/?state=poison").json()["results"]
    assert (told["reference"], told["error"]) == ("r", "why")
    assert as_marketer.get(f"{API}/inbox-events/{event.pk}/").json()["detail"] == {}
    assert send(as_marketer, "post", "inbox-events/replay/", {"ids": [event.pk]}).status_code == 403
    assert send(as_channel_admin, "post", "inbox-events/replay/", {"ids": [event.pk]}).json() == {
        "replayed": 1
    }


def test_money_is_read(as_finance: Client) -> None:
    channel = make_channel(medium="search")
    today = timezone.localdate()
    for version, spend in ((1, "10"), (2, "12.5")):
        DailyReport.objects.create(
            channel=channel,
            day=today,
            version=version,
            spend=Decimal(spend),
            source="t",
            fetched_at=timezone.now(),
        )
    WalletEntry.objects.create(
        channel=channel, day=today, kind="top_up", amount=Decimal(100), source="t", source_key="1"
    )
    assert len(as_finance.get(f"{API}/daily-reports/?day_from={today}").json()["results"]) == 2
    (row,) = as_finance.get(f"{API}/spend/").json()
    assert (row["spend"], row["placements"]) == ("12.5000", 1)
    assert as_finance.get(f"{API}/spend/?day_from=2020-01-01&day_to=2026-01-01").status_code == 400
    assert as_finance.get(f"{API}/spend/?day_from=soon").status_code == 400
    (wallet,) = as_finance.get(f"{API}/wallets/").json()
    assert (wallet["closing"], wallet["told"]) == ("100.0000", None)


def test_an_audience_tells_how_far_it_is(as_marketer: Client) -> None:
    audience = PlatformAudience.objects.create(channel=make_channel(medium="social"), name="Buyers")
    told = as_marketer.get(f"{API}/platform-audiences/{audience.pk}/").json()
    assert (told["wanted"], told["held"], told["name"]) == (0, 0, "Buyers")


def test_a_key_needs_the_scope_of_channels(make_user: Any, client: Client) -> None:
    from config.api_keys import issue

    admin = make_user("somebody", "channel_admin")
    _key, reads = issue(admin, "reads", ["channels:read"])
    _key, other = issue(admin, "other", ["campaigns:read"])
    rule = {
        "medium": "sms",
        "key": "counting",
        "value": "mainland",
        "valid_from": "2026-12-01",
        "source": "s",
    }
    for key, status in ((reads, 200), (other, 403)):
        assert client.get(f"{API}/channels/", HTTP_AUTHORIZATION=f"Bearer {key}").status_code == status
    denied = client.post(
        f"{API}/platform-rules/",
        json.dumps(rule),
        content_type="application/json",
        HTTP_AUTHORIZATION=f"Bearer {reads}",
    )
    assert denied.status_code == 403


def test_the_description_of_the_api_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    from drf_spectacular.drainage import GENERATOR_STATS
    from drf_spectacular.generators import SchemaGenerator

    GENERATOR_STATS.reset()
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    ours = [
        path
        for path in schema["paths"]
        if any(part in path for part in ("/channels/", "/platform-", "/inbox-", "/wallet"))
    ]
    assert len(ours) >= 12
    told = [
        message
        for stats in (GENERATOR_STATS._error_cache, GENERATOR_STATS._warn_cache)
        for message in stats
        if "channels" in message
    ]
    assert told == []
    channel = schema["components"]["schemas"]["Channel"]["properties"]
    assert "credentials" not in channel
    assert "inbound_secret" not in channel
