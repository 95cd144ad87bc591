"""From a due touch by a vendor's own client to its far side, and back over our webhook: nobody is sent to twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from campaigns import dispatch, polling, responses
from campaigns.models import Attempt, MessageVersion, Touch
from channels.accounts import release_adapters
from channels.adapters.base import Outcome, Outgoing, Sent
from channels.models import ChannelThrottle
from tests import factories as make
from tests.sandbox_fixture import start_sandbox
from tests.sms_vendors import aliyun_account, tencent_account, twilio_account
from tests.test_sandbox_road import at_noon, attempts, connect
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)
VENDORS: dict[str, Any] = {
    "aliyun_sms": aliyun_account,
    "tencent_sms": tencent_account,
    "twilio": twilio_account,
}


@pytest.fixture(autouse=True)
def _connections() -> Iterator[None]:
    yield
    release_adapters()


def road(name: str, far: Any, n: int) -> tuple[Any, Any]:
    """A channel of this vendor with ``n`` due touches, and the moment."""
    channel = connect("sms", name, VENDORS[name](far, timeout=2))
    now, zone = at_noon()
    version = make.message("sms", "你好 拒收请回复R")
    MessageVersion.objects.filter(pk=version.pk).update(
        template="1110" if name == "tencent_sms" else "SMS_1110"
    )
    found = make.campaign([channel], now=now, zone=zone)
    make.released(found, make.customers(n, media=("sms",), zone=zone), due_at=now, version=version)
    return channel, now


@pytest.mark.parametrize("name", VENDORS)
@pytest.mark.parametrize("fault", ["ok", "drop"])
def test_every_touch_goes_out_once_and_ends_delivered_by_its_receipt(
    tmp_path: Path, live_server: LiveServer, settings: Any, name: str, fault: str
) -> None:
    settings.PUBLIC_URL = live_server.url
    with start_sandbox(tmp_path, vendors={name: {"receipt_seconds": 0.3}}) as far:
        channel, now = road(name, far, 12)
        callback = f"{live_server.url}/in/{channel.pk}/{channel.inbound_secret}/"
        far.change({"vendors": {name: {"callback": callback}}})
        far.faults(name, **({fault: 1.0} if fault != "ok" else {}))
        done = dispatch.dispatch_channel(channel.pk, now=now)
        assert (done.claimed, done.accepted, done.unknown) == ((12, 12, 0) if fault == "ok" else (12, 0, 12))

        def settled() -> bool:
            responses.drain()
            return attempts() == {"delivered": 12}

        far.wait(settled, 20)
        assert dispatch.dispatch_channel(channel.pk, now=now).claimed == 0
        lines = [line for line in far.log_lines(name, "submit") if line["verdict"] == "accepted"]
        assert len(lines) == 12, "an unknown touch is never sent again"
        assert Touch.objects.filter(state="delivered").count() == 12


@pytest.mark.parametrize("name", VENDORS)
def test_without_any_receipt_the_vendor_is_asked_what_became_of_lost_answers(
    tmp_path: Path, name: str
) -> None:
    with start_sandbox(tmp_path, vendors={name: {"receipt_seconds": 0.05, "faults": {"drop": 1.0}}}) as far:
        channel, now = road(name, far, 3)
        assert dispatch.dispatch_channel(channel.pk, now=now).unknown == 3

        def settled() -> bool:
            polling.poll(channel)
            responses.drain()
            return "unknown" not in attempts()  # asked early, a vendor may say that it is still on the way

        far.wait(settled, 20)
        assert set(attempts()) <= {"accepted", "delivered"}


def test_a_number_that_must_wait_holds_no_channel() -> None:
    def answer(message: Outgoing) -> Sent:
        return Sent(
            message.attempt_id, Outcome.THROTTLED, code="BUSINESS_LIMIT", retry_after=3600, address_only=True
        )

    channel = make.channel("sms", wire=Wire(answer))
    now, zone = at_noon()
    found = make.campaign([channel], now=now, zone=zone)
    make.released(found, make.customers(2, ("sms",), zone=zone), due_at=now)
    dispatch.dispatch_channel(channel.pk, now=now)
    waits = {(touch.due_at - now).total_seconds() for touch in Touch.objects.all()}
    assert min(waits) >= 3600
    assert Attempt.objects.filter(state="throttled").count() == 2
    assert ChannelThrottle.objects.get(channel=channel).backoff_until is None
