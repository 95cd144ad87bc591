"""The screens of money and of channel admins: the daily sheet, where it is pushed, credentials rotated, quotas."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from channels import counts, pushing
from channels.models import Channel, PushDestination, SpendPush, WalletEntry
from channels.sandbox.server import Sandbox
from tests.channel_rows import make_channel
from tests.sandbox_fixture import start_sandbox
from tests.test_spend_push import place

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "s3cret-that-must-not-be-seen"  # noqa: S105


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path_factory.mktemp("robots")) as running:
        yield running


def text(answer: Any) -> str:
    return answer.content.decode()


# The sheet ------------------------------------------------------------------------------------


def test_the_sheet_shows_every_account_and_any_nonsense_in_its_address_is_yesterday(
    as_finance: Client,
) -> None:
    url = reverse("channels:sheet")
    assert "No account has a wallet" in text(as_finance.get(url))
    channel = make_channel(medium="search", name="Search A", price_model="cpc")
    day = timezone.localdate() - timedelta(days=1)
    WalletEntry.objects.create(
        channel=channel, day=day, kind="top_up", amount=Decimal(300), source="file", source_key="1"
    )
    for query in ({}, {"day": "nonsense"}, {"day": str(day)}):
        page = text(as_finance.get(url, query))
        assert "Search A" in page
        assert "¥300.00" in page


# Where it goes ---------------------------------------------------------------------------------


def test_an_admin_makes_a_destination_whose_secrets_are_never_shown(
    groups: Sandbox, as_channel_admin: Client
) -> None:
    assert "Nobody gets the sheet yet" in text(as_channel_admin.get(reverse("channels:pushes")))
    new = reverse("channels:new_push") + "?kind=dingtalk"
    address, secret = place(groups, "dingtalk")
    told = {
        "name": "Buyers",
        "address": "https://x.example/",
        "secret": secret,
        "at": "09:30",
        "language": "en",
    }
    refused = as_channel_admin.post(new, told)
    assert refused.status_code == 422
    assert "access_token=" in text(refused)
    assert secret not in text(refused)
    assert as_channel_admin.post(new, told | {"address": address}).status_code == 302
    found = PushDestination.objects.get()
    for name in ("push", "edit_push"):
        page = text(as_channel_admin.get(reverse(f"channels:{name}", args=[found.pk])))
        assert secret not in page
        assert "sandbox-dingtalk-token" not in page
    # Left empty, both stay.
    edited = told | {"name": "Media buyers", "address": "", "secret": ""}
    as_channel_admin.post(reverse("channels:edit_push", args=[found.pk]), edited)
    found.refresh_from_db()
    assert (found.name, found.credentials) == ("Media buyers", {"address": address, "secret": secret})


def test_send_now_tells_what_the_robot_answered(groups: Sandbox, as_channel_admin: Client) -> None:
    address, secret = place(groups, "feishu")
    found = PushDestination.objects.create(
        name="f", kind="feishu", credentials={"address": address, "secret": secret}, first_day="2026-01-01"
    )
    url = reverse("channels:send_push", args=[found.pk])
    assert "The sheet was sent" in text(as_channel_admin.post(url, follow=True))
    PushDestination.objects.update(credentials={"address": address, "secret": "wrong"})
    assert "It was not taken: 19021" in text(as_channel_admin.post(url, follow=True))
    assert list(SpendPush.objects.order_by("id").values_list("state", "test")) == [
        ("sent", True),
        ("failed", True),
    ]


def test_a_failed_push_stands_on_the_admins_first_page_and_on_nobody_elses(
    groups: Sandbox, as_channel_admin: Client, as_marketer: Client
) -> None:
    found = PushDestination.objects.create(
        name="Group of buyers", kind="wecom", first_day="2026-01-01",
        credentials={"address": "http://127.0.0.1:1/cgi-bin/webhook/send?key=hidden-key"},
    )  # fmt: skip
    now = timezone.now()
    late = pushing.due_at(found, timezone.localdate(now))
    pushing.push_due(late)
    page = text(as_channel_admin.get("/"))
    assert "Group of buyers" in page
    assert "hidden-key" not in page
    assert "Group of buyers" not in text(as_marketer.get("/"))


def test_mailboxes_are_checked_and_a_destination_can_be_switched_off(as_channel_admin: Client) -> None:
    channel = make_channel("email", "email", settings={"host": "127.0.0.1", "from_address": "a@b.example"})
    new = reverse("channels:new_push") + "?kind=email"
    told = {
        "name": "l",
        "channel": channel.pk,
        "recipients": "a@b.example, nobody",
        "at": "08:00",
        "language": "en",
    }
    assert "no mailbox" in text(as_channel_admin.post(new, told))
    assert as_channel_admin.post(new, told | {"recipients": "a@b.example, c@d.example"}).status_code == 302
    found = PushDestination.objects.get()
    assert found.recipients == "a@b.example\nc@d.example"
    as_channel_admin.post(reverse("channels:set_push_active", args=[found.pk]), {"active": "0"})
    found.refresh_from_db()
    assert found.active is False


@pytest.mark.parametrize("name", ["pushes", "new_push"])
def test_pushes_are_for_channel_admins(name: str, log_in: Any) -> None:
    url = reverse(f"channels:{name}")
    for who in ("marketer", "approver", "finance"):
        assert log_in(who).get(url).status_code == 403


# Credentials -------------------------------------------------------------------------------------


@pytest.fixture
def wecom(groups: Sandbox) -> Channel:
    config = groups.config.wecom
    settings = {"base_url": f"http://127.0.0.1:{groups.ports['wecom']}", "corp_id": config.corp_id}
    return make_channel(
        "wecom", "wecom", settings=settings, credentials={"secret": "old", "callback_token": "kept"}
    )


def rotate(client: Client, channel: Channel, **told: str) -> Any:
    fields = {f"adapter-{name}": value for name, value in told.items()}
    return client.post(reverse("channels:rotate", args=[channel.pk]), fields)


def test_new_credentials_hold_once_their_test_has_passed(
    groups: Sandbox, wecom: Channel, as_channel_admin: Client
) -> None:
    assert rotate(as_channel_admin, wecom, secret=groups.config.wecom.secret).status_code == 302
    wecom.refresh_from_db()
    assert wecom.credentials == {"secret": groups.config.wecom.secret, "callback_token": "kept"}
    assert wecom.last_check["ok"] is True
    assert wecom.credentials_changed_at is not None


def test_credentials_that_fail_their_test_leave_the_old_ones_unless_forced(
    wecom: Channel, as_channel_admin: Client
) -> None:
    answer = rotate(as_channel_admin, wecom, secret=SECRET)
    assert answer.status_code == 422
    assert "the old credentials stay" in text(answer)
    assert SECRET not in text(answer)
    wecom.refresh_from_db()
    assert (wecom.credentials["secret"], wecom.last_check, wecom.credentials_changed_at) == ("old", {}, None)
    assert rotate(as_channel_admin, wecom, secret=SECRET, force="on").status_code == 302
    wecom.refresh_from_db()
    assert (wecom.credentials["secret"], wecom.last_check["ok"]) == (SECRET, False)
    assert SECRET not in text(as_channel_admin.get(reverse("channels:rotate", args=[wecom.pk])))


def test_nothing_new_is_no_rotation_and_a_stopped_channel_goes_on_once_mended(
    groups: Sandbox, wecom: Channel, as_channel_admin: Client, as_marketer: Client
) -> None:
    assert rotate(as_channel_admin, wecom).status_code == 422
    assert as_marketer.get(reverse("channels:rotate", args=[wecom.pk])).status_code == 403
    Channel.objects.update(state="stopped", state_reason="40001")
    rotate(as_channel_admin, wecom, secret=groups.config.wecom.secret)
    wecom.refresh_from_db()
    assert wecom.state == "active"


# Quotas ----------------------------------------------------------------------------------------


def test_a_channels_page_tells_how_much_of_its_limits_is_used(as_channel_admin: Client) -> None:
    from campaigns.models import Budget, DayCount
    from tests import factories as make

    channel = make.channel("sms", adapter="manual", daily_capacity=200)
    found = make.campaign([channel], now=timezone.now(), name="Spring")
    found.channel_plans.update(daily_limit=50)
    Budget.objects.create(campaign=found, channel=channel, currency="CNY", amount=1000, spent=250)
    day = timezone.localdate()
    DayCount.objects.create(channel_id=channel.pk, campaign_id=0, day=day, taken=120)
    DayCount.objects.create(channel_id=channel.pk, campaign_id=found.pk, day=day, taken=50)
    page = text(as_channel_admin.get(reverse("channels:channel", args=[channel.pk])))
    for part in ("120", "60%", "100%", "¥250.00", "25%"):
        assert part in page
    free = make_channel()
    counts.count(free.pk, "accepted", 7)
    assert "no limit" in text(as_channel_admin.get(reverse("channels:channel", args=[free.pk])))
