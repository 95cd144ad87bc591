"""Who may open what: every address of the project, held against every role."""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

from audiences.access import ADMINISTRATOR, Role
from audiences.registers import navigation
from config.models import ApiKey, User

# Open without a log-in, each with the reason. Everything else names its roles.
PUBLIC = {
    "healthz": "machines that watch ask it",
    "readyz": "machines that watch ask it",
    "metrics": "its own token, or the machine itself",
    "javascript-catalog": "translations of scripts hold no data",
    "set_language": "Django's own language switch",
    "config:language": "the log-in page speaks both languages",
}
# Customers, mail readers and platforms come without a log-in; each address carries a sealed token or a
# secret of its own, which the tests of its app try to forge.
PUBLIC |= {
    "channels:follow": "short links",
    "channels:pixel": "the picture that counts opens",
    "channels:unsubscribe": "one-click unsubscribe of mail programs",
    "channels:preference_centre": "where a customer says what they want",
    "channels:inbound": "webhooks, signed by the platform",
}

SAMPLES = {"int": "1", "str": "x", "slug": "x", "path": "x", "uuid": str(uuid.UUID(int=1))}


@dataclass(frozen=True)
class Address:
    path: str  # with sample values
    name: str
    view: Any

    @property
    def is_api(self) -> bool:
        return hasattr(self.view, "cls")

    @property
    def is_public(self) -> bool:
        return self.name in PUBLIC or self.path.startswith("/accounts/")  # the log-in pages of allauth


def addresses() -> list[Address]:
    return list(_walk(get_resolver().url_patterns, "/", ""))


def _walk(patterns: list[Any], before: str, space: str) -> Iterator[Address]:
    for one in patterns:
        path = before + _sample(one.pattern)
        if isinstance(one, URLResolver):
            yield from _walk(one.url_patterns, path, f"{space}{one.namespace}:" if one.namespace else space)
        elif isinstance(one, URLPattern):
            yield Address(path, f"{space}{one.name or ''}", one.callback)


def _sample(pattern: Any) -> str:
    if isinstance(pattern, RoutePattern):
        return re.sub(
            r"<(?:(\w+):)?\w+>", lambda match: SAMPLES.get(match.group(1) or "str", "1"), str(pattern._route)
        )
    return (
        re.sub(r"\(\?P<\w+>([^)]*)\)", _sample_of, str(pattern))
        .strip("^$")
        .replace("\\", "")
        .replace("/?", "/")
    )


def _sample_of(group: re.Match[str]) -> str:
    """Something a named group of a regular expression matches: its first word, or a digit."""
    word = re.match(r"\w+(?=\||$)", group.group(1))
    return word.group(0) if word else "1"


SCREENS = [one for one in addresses() if not one.is_api and not one.is_public]
APIS = [one for one in addresses() if one.is_api]


def client_of(user: User | None) -> Client:
    client = Client(raise_request_exception=False)
    if user is not None:
        client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def test_every_screen_names_its_roles() -> None:
    known = set(Role.values) | {ADMINISTRATOR}
    nameless = [one.path for one in SCREENS if not getattr(one.view, "roles", ())]
    assert nameless == []
    assert {role for one in SCREENS for role in (*one.view.roles, *one.view.write_roles)} <= known


def test_what_is_open_to_everybody_stays_a_short_list() -> None:
    names = {one.name for one in addresses()}
    assert set(PUBLIC) <= names, "the list of open addresses names one that no longer exists"
    assert len(PUBLIC) <= 11


@pytest.mark.django_db
def test_somebody_unknown_is_sent_to_the_log_in_page_from_every_screen() -> None:
    client = client_of(None)
    for one in SCREENS:
        answers = [
            answer for answer in (client.get(one.path), client.post(one.path)) if answer.status_code != 405
        ]
        assert answers, f"{one.path} takes neither GET nor POST"
        for answer in answers:
            assert answer.status_code == 302, f"{one.path} answers {answer.status_code} to somebody unknown"
            assert answer["Location"].startswith("/accounts/login/?next=")


@pytest.mark.django_db
def test_somebody_without_a_role_gets_403_everywhere_and_learns_nothing(make_user: Any) -> None:
    client = client_of(make_user("nobody"))
    for one in SCREENS:
        answers = {client.get(one.path).status_code, client.post(one.path).status_code} - {405}
        assert answers == {403}, f"{one.path} answers {answers} to somebody without a role"


@pytest.mark.django_db
@pytest.mark.parametrize("role", Role.values)
def test_a_role_opens_its_own_screens_and_no_other(role: str, make_user: Any) -> None:
    client = client_of(make_user(role, role))
    for one in SCREENS:
        read, written = client.get(one.path), client.post(one.path)
        if role in one.view.roles:
            assert read.status_code in {200, 302, 400, 404, 405, 422}, (
                f"{role} gets {read.status_code} at {one.path}"
            )
            assert not read.get("Location", "").startswith(settings.LOGIN_URL)
        else:
            assert read.status_code in {403, 405}, f"{role} gets {read.status_code} at {one.path}"
        if role not in one.view.write_roles:
            assert written.status_code in {403, 405}, f"{role} may write at {one.path}: {written.status_code}"


@pytest.mark.django_db
def test_an_administrator_opens_every_screen(make_user: Any) -> None:
    client = client_of(make_user("chief", is_superuser=True))
    for one in SCREENS:
        answer = client.get(one.path)
        assert answer.status_code in {200, 302, 400, 404, 405, 422}, (
            f"{one.path} answers {answer.status_code}"
        )


@pytest.mark.django_db
def test_the_api_refuses_whoever_shows_nothing(make_user: Any) -> None:
    nobody, unknown = client_of(make_user("nobody")), client_of(None)
    for one in APIS:
        for method in ("get", "post", "put", "patch", "delete"):
            answer = getattr(unknown, method)(one.path, content_type="application/json")
            assert answer.status_code in {401, 403}, (
                f"{method} {one.path}: {answer.status_code} without a log-in"
            )
        if one.name == "schema":
            continue  # it describes the API; whoever is logged in may read it
        answer = nobody.get(one.path)
        assert answer.status_code in {403, 405}, f"{one.path}: {answer.status_code} without a role"


@pytest.mark.django_db
def test_a_key_that_may_only_read_writes_nothing(make_user: Any) -> None:
    from config.api_keys import SCOPES, issue

    owner = make_user("chief", is_superuser=True)
    _key, text = issue(owner, "reader", [scope for scope in SCOPES if scope.endswith(":read")])
    assert ApiKey.objects.count() == 1
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {text}"})
    for one in APIS:
        for method in ("post", "put", "patch", "delete"):
            answer = getattr(client, method)(one.path, "{}", content_type="application/json")
            assert answer.status_code in {403, 405}, (
                f"{method} {one.path}: {answer.status_code} with a reading key"
            )


@pytest.mark.django_db
def test_an_account_that_was_closed_is_out_at_once(make_user: Any) -> None:
    person = make_user("mei", "marketer")
    client = client_of(person)
    assert client.get("/").status_code == 200
    User.objects.filter(pk=person.pk).update(is_active=False)
    assert client.get("/").status_code == 302


def test_every_place_in_the_navigation_exists_and_is_open_to_whom_it_is_shown() -> None:
    by_name = {one.name: one for one in addresses()}
    for name, entry in navigation.items():
        assert entry.url_name in by_name, (
            f"the navigation entry {name!r} leads to {entry.url_name!r}, which is no page"
        )
        allowed = set(by_name[entry.url_name].view.roles)
        shown = set(entry.roles) or set(Role.values)
        assert shown <= allowed, f"the navigation shows {name!r} to {shown - allowed}, who may not open it"
