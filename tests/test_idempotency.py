import threading

import pytest
from django.db import connection
from django.test import Client
from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.response import Response

from config import api_keys
from config.models import Heartbeat, IdempotentCall, User

go_on = threading.Event()
inside = threading.Event()


@api_view(["POST"])
def count(request):
    """Counts its calls in a row; answers as `status` of the body says."""
    row, _made = Heartbeat.objects.get_or_create(
        name="calls", defaults={"at": "2026-01-01T00:00Z", "detail": {"n": 0}}
    )
    row.detail["n"] += 1
    row.save()
    if request.data.get("wait"):
        inside.set()
        go_on.wait(10)
    status = request.data.get("status", 201)
    if status == 500:
        raise RuntimeError("broken")
    return Response({"n": row.detail["n"]}, status=status)


count.cls.scope_domain = "audiences"
urlpatterns = [path("api/v1/count", count)]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


@pytest.fixture
def key() -> str:
    return api_keys.issue(User.objects.create(username="shop"), "till", ["audiences:write"])[1]


def post(text: str, body: dict, idempotency: str = "order-1"):
    return Client(raise_request_exception=False).post(
        "/api/v1/count",
        body,
        content_type="application/json",
        headers={"authorization": f"Bearer {text}", "idempotency-key": idempotency},
    )


def calls() -> int:
    row = Heartbeat.objects.filter(name="calls").first()
    return row.detail["n"] if row else 0


def test_the_same_call_twice_is_carried_out_once_and_answered_twice(key: str) -> None:
    first, second = post(key, {"a": 1}), post(key, {"a": 1})
    assert (first.status_code, first.json()) == (201, {"n": 1})
    assert (second.status_code, second.json()) == (201, {"n": 1})
    assert "Idempotency-Replayed" not in first
    assert second["Idempotency-Replayed"] == "true"
    assert calls() == 1


def test_another_body_under_the_same_key_is_refused(key: str) -> None:
    post(key, {"a": 1})
    assert post(key, {"a": 2}).status_code == 422
    assert calls() == 1


def test_another_key_is_another_call(key: str) -> None:
    post(key, {"a": 1})
    post(key, {"a": 1}, "order-2")
    assert calls() == 2


def test_two_callers_do_not_share_keys(key: str) -> None:
    other = api_keys.issue(User.objects.create(username="other"), "till", ["audiences:write"])[1]
    post(key, {"a": 1})
    post(other, {"a": 1})
    assert calls() == 2


def test_a_call_that_broke_leaves_nothing_and_may_be_sent_again(key: str) -> None:
    assert post(key, {"status": 500}).status_code == 500
    assert calls() == 0
    assert IdempotentCall.objects.count() == 0


def test_what_a_refused_call_wrote_is_undone_and_the_refusal_is_kept(key: str) -> None:
    assert post(key, {"status": 400}).status_code == 400
    assert post(key, {"status": 400})["Idempotency-Replayed"] == "true"
    assert calls() == 0


def test_a_call_that_is_still_running_is_told_to_wait(key: str) -> None:
    inside.clear()
    go_on.clear()
    answers = []

    def first() -> None:
        answers.append(post(key, {"wait": True}).status_code)
        connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    assert post(key, {"wait": True}).status_code == 409
    go_on.set()
    thread.join()
    assert answers == [201]
    assert calls() == 1


def test_without_a_login_nothing_is_recorded() -> None:
    assert post("er_no_such", {"a": 1}).status_code == 401
    assert IdempotentCall.objects.count() == 0
