"""The audit trail: what is changed is recorded by the database, told with who and when, and never rewritten."""

from typing import Any

import pghistory
import pytest
from django.db import ProgrammingError, connection, transaction
from django.test import Client
from django.urls import reverse

from audiences import jobs
from audiences.models import Job, Segment
from config import audit, people
from config.models import ApiKey, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def as_chief(make_user: Any) -> Client:
    client = Client()
    client.force_login(
        make_user("chief", is_superuser=True), backend="allauth.account.auth_backends.AuthenticationBackend"
    )
    return client


def trail(**wanted: Any) -> list[audit.Change]:
    found = audit.Trail(audit.Wanted(**wanted))
    return found[0:100]


def test_changes_are_told_newest_first_with_what_differs() -> None:
    segment = Segment.objects.create(name="Members", rule={"all": []})
    Segment.objects.filter(pk=segment.pk).update(name="Members of Shanghai")  # past the ORM's save
    Segment.objects.filter(pk=segment.pk).update(counted=12)  # a count is no change of the rule
    segment.delete()
    told = [
        (
            str(change.action),
            change.name,
            [(str(one.field), one.before, one.after) for one in change.differences],
        )
        for change in trail(kind="audiences.segment")
    ]
    assert told == [
        ("removed", "Members of Shanghai", []),
        ("changed", "Members of Shanghai", [("name", "Members", "Members of Shanghai")]),
        ("made", "Members", [("name", "", "Members"), ("rule", "", "{'all': []}")]),
    ]


@pytest.mark.django_db(transaction=True)  # the name of who asks lasts as long as their transaction
def test_a_change_tells_who_did_it_and_what_the_installation_did_itself(as_chief: Client) -> None:
    as_chief.post(reverse("config:new_user"), {"username": "mei", "roles": ["finance"]})
    people.set_roles(User.objects.get(username="mei"), ["marketer"])
    told = {(change.who, str(change.action), change.name) for change in trail(kind="config.userrole")}
    assert told == {
        ("chief", "made", "mei · finance"),
        ("", "removed", "mei · finance"),
        ("", "made", "mei · marketer"),
    }
    chief = User.objects.get(username="chief")
    assert {change.who for change in trail(user_id=chief.pk)} == {"chief"}


def test_work_in_the_background_is_told_under_the_name_of_who_started_it(make_user: Any) -> None:
    jobs.job_kind("audit-test", lambda job: Segment.objects.create(name="By a job") and None)
    try:
        jobs.run_now("audit-test", user=make_user("mei", "marketer"))
    finally:
        del jobs.job_kinds._entries["audit-test"]
    assert [(change.who, change.name) for change in trail(kind="audiences.segment")] == [("mei", "By a job")]
    assert Job.objects.count() == 1


def test_secrets_are_not_in_the_trail(make_user: Any) -> None:
    mei = make_user("mei")
    mei.set_password("a-long-Passw0rd")
    mei.save()
    ApiKey.objects.create(owner=mei, name="CRM", prefix="abc", digest="d" * 64, scopes=["audiences:read"])
    for label, event in audit.event_models().items():
        names = {field.name for field in event._meta.get_fields()}
        assert not names & {"password", "digest", "credentials", "inbound_secret"}, label
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(e)::text FROM config_userevent e")
        assert mei.password not in "".join(row[0] for row in cursor.fetchall())


def test_what_is_recorded_cannot_be_changed_or_removed() -> None:
    Segment.objects.create(name="Members")
    event: Any = audit.event_models()["audiences.segment"]
    for act in (lambda: event.objects.update(name="x"), lambda: event.objects.all().delete()):
        with pytest.raises(ProgrammingError, match="Cannot update or delete"), transaction.atomic():
            act()
    assert [change.name for change in trail(kind="audiences.segment")] == ["Members"]


def test_a_page_of_a_long_trail_reads_a_page_only(
    django_assert_max_num_queries: Any, as_chief: Client
) -> None:
    with pghistory.context(user=User.objects.get(username="chief").pk):
        Segment.objects.bulk_create([Segment(name=f"Segment {n}") for n in range(400)])
    with django_assert_max_num_queries(45):
        answer = as_chief.get(reverse("config:audit_trail") + "?page=2&kind=audiences.segment")
    text = answer.content.decode()
    assert text.count("Segment ") >= 50
    assert "51–100 of 400" in text


def test_the_screen_narrows_by_kind_person_and_thing(as_chief: Client) -> None:
    first = Segment.objects.create(name="First")
    Segment.objects.create(name="Second")
    url = reverse("config:audit_trail")
    assert "First" in (page := as_chief.get(url).content.decode())
    assert "Second" in page
    one = as_chief.get(f"{url}?kind=audiences.segment&id={first.pk}").content.decode()
    assert "First" in one
    assert "Second" not in one
    assert "No change was recorded" in as_chief.get(f"{url}?user=999").content.decode()
    assert as_chief.get(f"{url}?kind=nonsense&user=x&id=y&page=z").status_code == 200
