"""What comes in is stored once, drained once, and never stands in the way of others."""

import hmac
import json
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client

from audiences.vocabulary import ResponseKind
from channels import inbox
from channels.accounts import forget_channels
from channels.adapters.base import Inbound, Receipt
from channels.models import Channel, ChannelCount, InboxEvent
from channels.views.inbound import LONGEST_BODY
from tests.channel_rows import make_channel

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def click(key: str, **fields: Any) -> Inbound:
    return Inbound(key, fields.pop("at", NOW), response=ResponseKind.CLICK, **fields)


def states(channel: Channel) -> list[tuple[str, str]]:
    return list(channel.inbox_events.order_by("id").values_list("dedupe_key", "state"))


@pytest.mark.django_db
def test_an_event_told_twice_is_stored_once_also_within_one_call() -> None:
    channel, other = make_channel(), make_channel()
    assert inbox.store(channel, [click("a"), click("b"), click("a")], NOW) == 2
    assert inbox.store(channel.pk, [click("b"), click("c")], NOW) == 1
    assert inbox.store(other, [click("a")], NOW) == 1
    assert inbox.store(channel, [], NOW) == 0
    assert states(channel) == [("a", "new"), ("b", "new"), ("c", "new")]


@pytest.mark.django_db
def test_an_event_is_stored_as_it_was_told() -> None:
    channel = make_channel()
    told = Inbound(
        "k" * 300,
        NOW - timedelta(hours=1),
        receipt=Receipt.BOUNCED,
        reference="r",
        identity_kind="email",
        identity_issuer="",
        identity_value="a@b.example",
        code="5.1.1\0",
        permanent=True,
        value=Decimal("12.3456"),
        currency="CNY",
        machine=True,
        campaign_id=7,
        touch_id=8,
        detail={"attempt_id": 9, "note": "中\0"},
    )
    inbox.store(channel, [told], NOW)
    inbox.store(channel, [told], NOW)
    event = InboxEvent.objects.get()
    assert len(event.dedupe_key) <= 160
    assert (event.kind, event.outcome, event.response, event.reference) == ("receipt", "bounced", "", "r")
    assert (event.identity_kind, event.identity_value, event.code) == ("email", "a@b.example", "5.1.1")
    assert (event.occurred_at, event.received_at) == (NOW - timedelta(hours=1), NOW)
    assert (event.value, event.currency, event.machine) == (Decimal("12.3456"), "CNY", True)
    assert (event.campaign_id, event.touch_id) == (7, 8)
    assert event.detail == {"attempt_id": 9, "note": "中", "permanent": True}


@pytest.mark.django_db
def test_taking_gives_the_oldest_first_and_marking_ends_it() -> None:
    channel = make_channel()
    inbox.store(channel, [click(key) for key in "abcde"], NOW)
    taken = inbox.take(3)
    assert [event.dedupe_key for event in taken] == ["a", "b", "c"]
    assert inbox.mark_drained([taken[0].pk, taken[1].pk], NOW) == 2
    inbox.set_aside(taken[2].pk, "no such touch", NOW)
    assert states(channel) == [
        ("a", "drained"),
        ("b", "drained"),
        ("c", "poison"),
        ("d", "new"),
        ("e", "new"),
    ]
    assert [event.dedupe_key for event in inbox.take(10)] == ["d", "e"]
    assert ChannelCount.objects.get(name="poison").n == 1
    inbox.mark_ignored([taken[2].pk], "not ours")
    assert inbox.replay([taken[2].pk]) == 0


@pytest.mark.django_db
def test_an_event_set_aside_can_be_given_another_chance() -> None:
    channel = make_channel()
    inbox.store(channel, [click("a")], NOW)
    (event,) = inbox.take(1)
    inbox.set_aside(event.pk, "campaign is gone", NOW)
    assert inbox.replay([event.pk], NOW) == 1
    assert states(channel) == [("a", "new")]
    assert InboxEvent.objects.get().error == ""


@pytest.mark.django_db(transaction=True)
def test_two_drainers_never_take_the_same_event() -> None:
    channel = make_channel()
    inbox.store(channel, [click(str(n)) for n in range(300)], NOW)
    taken: list[int] = []
    begin = threading.Barrier(3)

    def drain() -> None:
        try:
            begin.wait()
            while True:
                with transaction.atomic():
                    events = inbox.take(10)
                    taken.extend(event.pk for event in events)
                    inbox.mark_drained([event.pk for event in events], NOW)
                if not events:
                    return
        finally:
            connection.close()

    drainers = [threading.Thread(target=drain) for _ in range(3)]
    for drainer in drainers:
        drainer.start()
    for drainer in drainers:
        drainer.join()
    assert (len(taken), len(set(taken))) == (300, 300)


@pytest.mark.django_db(transaction=True)
def test_an_event_taken_by_a_drainer_that_failed_is_there_again() -> None:
    channel = make_channel()
    inbox.store(channel, [click("a")], NOW)

    def drain_and_fail() -> None:
        with transaction.atomic():
            inbox.mark_drained([event.pk for event in inbox.take(1)], NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drain_and_fail()
    assert states(channel) == [("a", "new")]


# Scanners -------------------------------------------------------------------------------------


def followed(touch: int, link: int, seconds: float) -> Inbound:
    at = NOW + timedelta(seconds=seconds)
    return click(f"{touch}:{link}:{seconds}", at=at, campaign_id=1, touch_id=touch, detail={"link_id": link})


@pytest.mark.django_db
def test_a_sweep_over_the_links_of_a_message_is_a_machines_and_a_reader_is_not() -> None:
    channel = make_channel()
    inbox.store(
        channel,
        [
            followed(1, 1, 0),
            followed(1, 2, 0.4),
            followed(1, 3, 0.9),  # a scanner
            followed(2, 1, 0),
            followed(2, 2, 9),  # a person who reads
            followed(3, 1, 0),
            followed(3, 1, 1),  # a person who clicks twice
        ],
        NOW,
    )
    machine = {(event.touch_id, event.detail["link_id"]) for event in inbox.take(100) if event.machine}
    assert machine == {(1, 1), (1, 2), (1, 3)}
    assert InboxEvent.objects.filter(machine=True).count() == 3


@pytest.mark.django_db
def test_fresh_clicks_wait_until_a_sweep_would_be_seen_and_nothing_else_waits() -> None:
    channel = make_channel()
    inbox.store(
        channel, [followed(1, 1, 0), Inbound("r", NOW, receipt=Receipt.DELIVERED, reference="x")], NOW
    )
    assert [event.dedupe_key for event in inbox.take(10, NOW)] == ["r"]
    assert len(inbox.take(10, NOW + inbox.SETTLE + timedelta(seconds=1))) == 2


# The webhook ----------------------------------------------------------------------------------


@pytest.fixture
def email() -> Channel:
    return make_channel("email", "email", credentials={"webhook_key": "key"})


def post(channel: Channel, body: bytes, key: str = "key", secret: str = "", **headers: Any) -> Any:
    signature = "sha256=" + hmac.new(key.encode(), body, sha256).hexdigest()
    path = f"/in/{channel.pk}/{secret or channel.inbound_secret}/"
    headers.setdefault("content_type", "application/json")
    return Client(enforce_csrf_checks=True).post(path, body, HTTP_X_EVENREACH_SIGNATURE=signature, **headers)


def told(*attempts: int) -> bytes:
    return json.dumps(
        {"events": [{"type": "delivered", "attempt_id": n, "id": f"e{n}"} for n in attempts]}
    ).encode()


@pytest.mark.django_db
def test_a_webhook_stores_what_it_is_told_once(email: Channel) -> None:
    assert post(email, told(1, 2)).status_code == 200
    assert post(email, told(2, 3)).status_code == 200
    assert states(email) == [("mail:e1", "new"), ("mail:e2", "new"), ("mail:e3", "new")]
    assert InboxEvent.objects.first().detail == {"attempt_id": 1}  # type: ignore[union-attr]


@pytest.mark.django_db
def test_a_wrong_signature_is_refused_and_counted(email: Channel) -> None:
    assert [post(email, told(1), key="wrong").status_code for _ in range(3)] == [403] * 3
    assert not InboxEvent.objects.exists()
    assert [(count.name, count.n) for count in ChannelCount.objects.all()] == [("bad_signature", 3)]


@pytest.mark.django_db
def test_a_wrong_address_learns_nothing(email: Channel) -> None:
    assert post(email, told(1), secret="x" * 32).status_code == 404
    other = Client().post("/in/999999/abc/", b"", content_type="text/plain")
    assert (other.status_code, other.content) == (404, b"")
    Channel.objects.filter(pk=email.pk).update(inbound_secret="")
    forget_channels()
    assert Client().post(f"/in/{email.pk}/x/", b"", content_type="text/plain").status_code == 404


@pytest.mark.django_db
def test_a_request_too_large_is_refused_and_counted(email: Channel) -> None:
    assert post(email, b" " * (LONGEST_BODY + 1)).status_code == 413
    assert ChannelCount.objects.get().name == "too_large"


@pytest.mark.django_db
def test_a_request_nobody_can_read_is_kept_whole_and_blocks_nothing(email: Channel) -> None:
    poison = b'{"events": [{"type": "teleported", "attempt_id": 1, "id": "e1"}]}'
    for _ in range(2):  # the provider may send it again: it is the same row
        assert post(email, poison).status_code == 200
    assert post(email, told(2)).status_code == 200
    event = InboxEvent.objects.get(state="poison")
    assert "teleported" in event.error
    assert states(email)[-1] == ("mail:e2", "new")
    assert [event.dedupe_key for event in inbox.take(10)] == ["mail:e2"]

    assert inbox.replay([event.pk], NOW) == 0
    assert "teleported" in InboxEvent.objects.get(pk=event.pk).error


@pytest.mark.django_db
def test_an_unread_request_is_parsed_again_once_the_adapter_is_mended(
    email: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from channels.mail import reports

    poison = b'{"events": [{"type": "teleported", "attempt_id": 1, "id": "e1"}]}'
    post(email, poison)
    event = InboxEvent.objects.get(state="poison")
    monkeypatch.setitem(reports.RECEIPTS, "teleported", Receipt.DELIVERED)
    assert inbox.replay([event.pk], NOW) == 1
    assert list(InboxEvent.objects.order_by("id").values_list("state", "outcome")) == [
        ("drained", ""),
        ("new", "delivered"),
    ]
    assert inbox.replay([event.pk], NOW) == 0


@pytest.mark.django_db
def test_secrets_of_a_request_are_not_kept(email: Channel) -> None:
    post(email, b"{", HTTP_AUTHORIZATION="Bearer hidden-token", HTTP_COOKIE="session=hidden")
    detail = json.dumps(InboxEvent.objects.get().detail)
    assert "hidden" not in detail
    assert "x-evenreach-signature" in detail


@pytest.mark.django_db
def test_a_database_that_is_gone_is_told_to_the_provider_so_that_it_sends_again(
    email: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    def gone(*args: Any) -> int:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(inbox.queries, "store", gone)
    with pytest.raises(OperationalError):
        post(email, told(1))
