"""Accounts, roles, API keys and one's own settings, on the screens."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audiences import jobs
from audiences.models import Job, Segment
from config import api_keys, heartbeat, people
from config.models import ApiKey, Heartbeat, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def chief(make_user: Any) -> User:
    user: User = make_user("chief", is_superuser=True)
    return user


@pytest.fixture
def as_chief(chief: User) -> Client:
    client = Client()
    client.force_login(chief, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def secret(html: str) -> str:
    found = re.search(r'id="secret">([^<]+)<', html)
    assert found
    return found.group(1)


def test_a_new_account_gets_its_roles_and_a_password_shown_once(as_chief: Client) -> None:
    answer = as_chief.post(
        reverse("config:new_user"), {"username": "mei", "first_name": "Mei", "roles": ["marketer", "finance"]}
    )
    password = secret(answer.content.decode())
    mei = User.objects.get(username="mei")
    assert sorted(mei.groups.values_list("name", flat=True)) == ["finance", "marketer"]
    assert Client().login(username="mei", password=password)
    assert password not in as_chief.get(reverse("config:user", args=[mei.pk])).content.decode()


def test_roles_are_taken_away_as_they_are_given(as_chief: Client, make_user: Any) -> None:
    mei = make_user("mei", "marketer")
    as_chief.post(reverse("config:user", args=[mei.pk]), {"username": "mei", "roles": ["approver"]})
    assert list(mei.groups.values_list("name", flat=True)) == ["approver"]


def test_a_name_that_is_taken_is_told_at_its_field(as_chief: Client, make_user: Any) -> None:
    make_user("mei")
    answer = as_chief.post(reverse("config:new_user"), {"username": "mei", "roles": []})
    assert answer.status_code == 422
    assert "already exists" in answer.content.decode()


def test_a_new_password_ends_the_old_one_and_its_sessions(as_chief: Client, make_user: Any) -> None:
    mei = make_user("mei", "marketer")
    mei.set_password("old-Passw0rd")
    mei.save()
    hers = Client()
    hers.login(username="mei", password="old-Passw0rd")
    assert hers.get("/").status_code == 200
    answer = as_chief.post(reverse("config:reset_password", args=[mei.pk]))
    assert hers.get("/").status_code == 302
    assert not Client().login(username="mei", password="old-Passw0rd")
    assert Client().login(username="mei", password=secret(answer.content.decode()))


def test_a_closed_account_loses_its_keys(as_chief: Client, make_user: Any) -> None:
    mei = make_user("mei", "marketer")
    _key, text = api_keys.issue(mei, "CRM", ["audiences:read"])
    as_chief.post(reverse("config:set_active", args=[mei.pk]), {"active": "0"})
    mei.refresh_from_db()
    assert not mei.is_active
    as_chief.post(reverse("config:set_active", args=[mei.pk]), {"active": "1"})
    assert api_keys.find(text) is None  # opened again, the keys stay withdrawn


def test_nobody_closes_their_own_account_or_the_last_administrator(chief: User, make_user: Any) -> None:
    with pytest.raises(ValidationError, match="your own account"):
        people.set_active(chief, False, chief)
    other = make_user("other", is_superuser=True)
    people.set_active(other, False, chief)
    with pytest.raises(ValidationError, match="last administrator"):
        people.set_active(chief, False, other)


def test_the_last_administrator_cannot_be_made_an_ordinary_person(as_chief: Client, chief: User) -> None:
    answer = as_chief.post(reverse("config:user", args=[chief.pk]), {"username": "chief", "roles": []})
    assert answer.status_code == 422
    assert "last administrator" in answer.content.decode()
    chief.refresh_from_db()
    assert chief.is_superuser


def test_a_key_is_shown_once_and_kept_as_a_hash(as_marketer: Client) -> None:
    answer = as_marketer.post(
        reverse("config:new_api_key"),
        {"name": "CRM", "scopes": ["audiences:read", "audiences:write"], "days": "90"},
    )
    text = secret(answer.content.decode())
    key = ApiKey.objects.get()
    assert (key.name, key.scopes, key.owner.username) == (
        "CRM",
        ["audiences:read", "audiences:write"],
        "marketer",
    )
    assert key.expires_at is not None
    assert api_keys.find(text) == key
    assert answer["Cache-Control"] == "no-store"
    assert text not in as_marketer.get(reverse("config:api_keys")).content.decode()


def test_a_key_without_scopes_is_refused_with_a_reason(as_marketer: Client) -> None:
    answer = as_marketer.post(reverse("config:new_api_key"), {"name": "CRM", "days": "90"})
    assert answer.status_code == 422
    assert not ApiKey.objects.exists()


def test_keys_of_others_are_neither_seen_nor_withdrawn_but_by_an_administrator(
    as_marketer: Client, as_finance: Client, as_chief: Client
) -> None:
    key, text = api_keys.issue(User.objects.get(username="finance"), "ledger export", ["reports:read"])
    assert "ledger export" not in as_marketer.get(reverse("config:api_keys")).content.decode()
    assert as_marketer.post(reverse("config:revoke_api_key", args=[key.pk])).status_code == 403
    assert api_keys.find(text) == key
    assert "ledger export" in as_chief.get(reverse("config:api_keys")).content.decode()
    as_finance.post(reverse("config:revoke_api_key", args=[key.pk]))
    assert api_keys.find(text) is None


def test_the_language_is_kept_on_the_person_and_leads_to_no_other_site(as_marketer: Client) -> None:
    answer = as_marketer.post(
        reverse("config:language"), {"language": "zh-hans", "next": "https://evil.example/"}
    )
    assert answer["Location"] == "/"
    assert User.objects.get(username="marketer").language == "zh-hans"
    assert "首页" in as_marketer.get("/").content.decode()
    as_marketer.post(reverse("config:language"), {"language": "klingon"})
    assert User.objects.get(username="marketer").language == "zh-hans"


def test_a_time_zone_that_does_not_exist_is_refused(as_marketer: Client) -> None:
    answer = as_marketer.post(reverse("config:profile"), {"zone": "Mars/Base", "language": ""})
    assert answer.status_code == 422
    as_marketer.post(
        reverse("config:profile"), {"zone": "Europe/Paris", "language": "en", "first_name": "Mei"}
    )
    assert User.objects.get(username="marketer").zone == "Europe/Paris"


def test_the_first_page_leads_a_newcomer_through_the_first_ten_minutes(as_marketer: Client) -> None:
    page = as_marketer.get("/").content.decode()
    assert "The first ten minutes" in page
    assert "badge bg-green-lt" not in page
    Segment.objects.create(name="Members", rule={"all": []})
    page = as_marketer.get("/").content.decode()
    assert page.count('class="done"') == 1


def test_the_first_page_tells_of_failed_work_until_it_is_done(as_marketer: Client) -> None:
    jobs.job_kind("home-test", lambda job: None, "Count of everybody")
    try:
        now = timezone.now()
        Job.objects.create(kind="home-test", subject="a", state="failed", error="No rows.", finished_at=now)
        Job.objects.create(kind="home-test", subject="b", state="running", done=1, total=9)
        page = as_marketer.get("/").content.decode()
        assert "No rows." in page
        assert "1 / 9" in page
        Job.objects.create(
            kind="home-test", subject="a", state="done", finished_at=now + timedelta(seconds=1)
        )
        assert "No rows." not in as_marketer.get("/").content.decode()
    finally:
        del jobs.job_kinds._entries["home-test"]


def test_the_first_page_tells_when_no_worker_is_at_work(as_marketer: Client) -> None:
    assert "No worker is at work" in as_marketer.get("/").content.decode()
    heartbeat.mark(heartbeat.WORKER)
    heartbeat.mark(heartbeat.BEAT)
    assert "No worker is at work" not in as_marketer.get("/").content.decode()
    Heartbeat.objects.update(at=timezone.now() - timedelta(minutes=5))
    assert "No worker is at work" in as_marketer.get("/").content.decode()
