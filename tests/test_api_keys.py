from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from config import api_keys
from config.api_keys import HasScope
from config.models import ApiKey, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return User.objects.create(username="shop")


@api_view(["GET", "POST"])
def echo(request):
    return Response({"as": request.user.username})


echo.cls.scope_domain = "audiences"


def call(method: str, text: str) -> int:
    request = getattr(APIRequestFactory(), method)(
        "/api/v1/echo", headers={"authorization": f"Bearer {text}"}
    )
    return echo(request).status_code


def test_the_secret_is_not_kept(owner: User) -> None:
    key, text = api_keys.issue(owner, "till", ["audiences:read"])
    secret = text.split("_", 2)[2]
    row = ApiKey.objects.filter(pk=key.pk).values().get()
    assert secret not in str(row)
    assert api_keys.find(text) == key


def test_a_key_reads_and_writes_only_within_its_scopes(owner: User) -> None:
    _key, text = api_keys.issue(owner, "till", ["audiences:read"])
    assert call("get", text) == 200
    assert call("post", text) == 403


def test_a_wrong_expired_or_withdrawn_key_is_refused(owner: User) -> None:
    key, text = api_keys.issue(owner, "till", ["audiences:read"])
    _late, late = api_keys.issue(owner, "old", ["audiences:read"], timezone.now() - timedelta(seconds=1))
    assert call("get", text + "x") == 401
    assert call("get", late) == 401
    assert call("get", "er_nothing") == 401
    api_keys.revoke(key)
    assert call("get", text) == 401


def test_a_key_of_somebody_who_left_is_refused(owner: User) -> None:
    _key, text = api_keys.issue(owner, "till", ["audiences:read"])
    User.objects.update(is_active=False)
    assert call("get", text) == 401


def test_use_of_a_key_is_remembered(owner: User) -> None:
    key, text = api_keys.issue(owner, "till", ["audiences:read"])
    call("get", text)
    key.refresh_from_db()
    assert key.last_used_at is not None


def test_unknown_scopes_are_refused_when_a_key_is_made(owner: User) -> None:
    with pytest.raises(ValueError, match="everything:write"):
        api_keys.issue(owner, "till", ["everything:write"])


def test_every_scope_is_of_one_of_our_apps(settings) -> None:
    assert {scope.split(":")[0] for scope in api_keys.SCOPES} == set(settings.ROAD)
    assert HasScope.message


def test_every_word_of_the_schema_has_a_name_of_its_own(tmp_path: Path) -> None:
    call_command("spectacular", "--file", str(tmp_path / "schema.yml"), "--validate", "--fail-on-warn")


def test_the_schema_is_for_those_who_are_known(client: Client, owner: User) -> None:
    assert client.get("/api/schema/").status_code == 401
    client.force_login(owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.get("/api/schema/").status_code == 200
