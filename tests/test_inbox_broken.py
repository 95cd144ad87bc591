"""The inbox under attack: the same told at once, poison between good events, four drains, bodies of any size."""

import hmac
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from audiences.models import Brand, Customer, Identity
from audiences.vocabulary import ResponseKind
from campaigns import responses
from campaigns.models import Response
from channels import inbox
from channels.adapters.base import Inbound
from channels.models import Channel, InboxEvent
from channels.views.inbound import LONGEST_BODY
from tests.channel_rows import make_channel

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
NOBODYS_BRAND = 987_654


@pytest.fixture
def email() -> Channel:
    return make_channel("email", "email", credentials={"webhook_key": "key"})


def people(n: int) -> None:
    made = Customer.objects.bulk_create([Customer(name=f"p{k}", stage="member") for k in range(n)])
    Identity.objects.bulk_create(
        [Identity(customer=one, kind="email", value=f"{one.name}@shop.example") for one in made]
    )


def told(n: int, kind: ResponseKind = ResponseKind.OPEN, **fields: Any) -> Inbound:
    return Inbound(
        f"e{n}", NOW, response=kind, identity_kind="email", identity_value=f"p{n}@shop.example", **fields
    )


def poison(n: int) -> Inbound:
    """An opt-out from a brand that does not exist: nothing tells before the database refuses it."""
    withdrawn = {"withdrawn": [f"{NOBODYS_BRAND}:email"]}
    return told(n, ResponseKind.OPT_OUT, detail=withdrawn)


def at_once(n: int, work: Callable[[], Any]) -> list[Any]:
    """What ``work`` returned in each of n threads that began together."""
    begin, done = threading.Barrier(n), []

    def run() -> None:
        try:
            begin.wait()
            done.append(work())
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == n
    return done


def post(channel: Channel, body: bytes, **headers: Any) -> int:
    proof = "sha256=" + hmac.new(b"key", body, sha256).hexdigest()
    path = f"/in/{channel.pk}/{channel.inbound_secret}/"
    answer = Client().post(
        path, body, content_type="application/json", HTTP_X_EVENREACH_SIGNATURE=proof, **headers
    )
    return answer.status_code


def body(events: list[dict[str, Any]]) -> bytes:
    return json.dumps({"events": events}).encode()


@pytest.mark.django_db(transaction=True)
def test_four_drains_at_once_and_poison_in_the_middle_lose_nothing_and_do_nothing_twice(
    email: Channel,
) -> None:
    people(60)
    inbox.store(email, [poison(n) if n in (20, 41) else told(n) for n in range(60)], NOW)
    later = NOW + timedelta(minutes=1)
    at_once(4, lambda: responses.drain(now=later))
    states = dict(InboxEvent.objects.values_list("dedupe_key", "state"))
    assert {key for key, state in states.items() if state == "poison"} == {"e20", "e41"}
    assert {state for key, state in states.items() if key not in ("e20", "e41")} == {"drained"}
    assert Response.objects.count() == 58
    event = InboxEvent.objects.get(dedupe_key="e20")
    assert "IntegrityError" in event.error
    assert str(NOBODYS_BRAND) in event.error

    # Mended, both go on; replayed by four admins at once, each once.
    Brand.objects.create(pk=NOBODYS_BRAND, code="late", name="Late")
    ids = list(InboxEvent.objects.filter(state="poison").values_list("pk", flat=True))
    assert sum(at_once(4, lambda: inbox.replay(ids, later))) == 2
    at_once(4, lambda: responses.drain(now=later))
    assert Response.objects.count() == 60
    assert set(InboxEvent.objects.values_list("state", flat=True)) == {"drained"}


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_is_all_poison_ends(email: Channel) -> None:
    people(5)
    inbox.store(email, [poison(n) for n in range(5)], NOW)
    responses.drain(now=NOW + timedelta(minutes=1))
    assert InboxEvent.objects.filter(state="poison").count() == 5


@pytest.mark.django_db
def test_what_was_done_meanwhile_is_not_set_aside(email: Channel) -> None:
    inbox.store(email, [told(1)], NOW)
    (event,) = inbox.take(1)
    inbox.mark_drained([event.pk], NOW)
    inbox.set_aside(event.pk, "failed for another drainer", NOW)
    event.refresh_from_db()
    assert (event.state, event.error) == ("drained", "")


@pytest.mark.django_db(transaction=True)
def test_the_same_webhook_eight_times_at_once_is_stored_once(email: Channel) -> None:
    events = [{"type": "open", "id": f"x{n}", "recipient": f"p{n}@shop.example"} for n in range(50)]
    assert at_once(8, lambda: post(email, body(events))) == [200] * 8
    assert InboxEvent.objects.count() == 50


@pytest.mark.django_db(transaction=True)
def test_a_response_replayed_from_the_log_of_a_provider_changes_nothing(email: Channel) -> None:
    people(3)
    events = [{"type": "open", "id": f"x{n}", "recipient": f"p{n}@shop.example"} for n in range(3)]
    for _again in range(3):
        assert post(email, body(events)) == 200
        responses.drain(now=datetime.now(UTC) + timedelta(minutes=1))
    assert (InboxEvent.objects.count(), Response.objects.count()) == (3, 3)


@pytest.mark.django_db(transaction=True)
def test_a_body_as_large_as_may_be_is_stored_at_once(email: Channel) -> None:
    events = [{"type": "open", "id": f"x{n}", "recipient": f"p{n}@shop.example"} for n in range(20_000)]
    raw = body(events)
    raw += b" " * (LONGEST_BODY - len(raw))
    assert post(email, raw) == 200
    assert InboxEvent.objects.count() == 20_000
    assert post(email, raw + b" ") == 413


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "raw", [b"[" * 100_000, b'{"events": ' + b"9" * 5000 + b"}", b"\xff\xfe\x00", b"null", b""]
)
def test_whatever_a_body_holds_is_answered_and_kept(email: Channel, raw: bytes) -> None:
    assert post(email, raw) == 200
    event = InboxEvent.objects.get()
    assert event.state == "poison"
    assert event.error


@pytest.mark.django_db(transaction=True)
def test_half_a_character_and_nul_bytes_do_not_stop_what_stands_beside_them(email: Channel) -> None:
    raw = (
        b'{"events": [{"type": "open", "id": "a\\ud800\\u0000", "recipient": "p1@shop.example"},'
        b'{"type": "open", "id": "b", "recipient": "p2@shop.example", "status": "\\udfff"}]}'
    )
    assert post(email, raw) == 200
    assert sorted(InboxEvent.objects.values_list("dedupe_key", "state")) == [
        ("mail:a?", "new"),
        ("mail:b", "new"),
    ]


@pytest.mark.django_db(transaction=True)
def test_an_event_that_no_column_takes_is_kept_and_the_others_are_stored(
    email: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from decimal import Decimal

    from channels.accounts import adapter_for
    from channels.adapters.base import InboundReply

    told_of = [told(1), told(2, value=Decimal("1e30")), told(3)]
    monkeypatch.setattr(
        type(adapter_for(email)), "parse_inbound", lambda self, request: InboundReply(events=told_of)
    )
    assert post(email, b"{}") == 200
    assert list(InboxEvent.objects.filter(state="new").values_list("dedupe_key", flat=True)) == ["e1", "e3"]
    (kept,) = InboxEvent.objects.filter(state="poison")
    assert "numeric" in kept.error
    told_of[1] = told(2, value=Decimal(5))
    assert inbox.replay([kept.pk]) == 1
    assert InboxEvent.objects.filter(state="new").count() == 3
