"""The page of a channel's employees and the same over the API: who may see it, who may change it."""

import datetime as dt
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audiences.access import Role
from audiences.days import day_of
from audiences.models import Job
from campaigns.models import EmployeeTask
from channels.models import Channel, Employee, EmployeeDay
from tests.channel_rows import make_channel

pytestmark = pytest.mark.django_db


@pytest.fixture
def channel() -> Channel:
    found = make_channel("wecom", "wecom", settings={"corp_id": "ww1"})
    one = Employee.objects.create(
        channel=found, external_id="lili", name="李丽", store="静安店", daily_tasks=3
    )
    Employee.objects.create(channel=found, external_id="gone", name="Gone", left_at=timezone.now())
    now = timezone.now()
    day = day_of(now)
    for number, state in enumerate(("confirmed", "confirmed", "ended", "open")):
        EmployeeTask.objects.create(
            channel=found, employee=one, day=day, campaign_id=1, attempt_id=number, customers=9, state=state,
            made_at=now, reference=f"m{number}",
        )  # fmt: skip
    EmployeeDay.objects.create(
        employee=one, day=day - dt.timedelta(days=1), customers_added=4, deletions=1, messages=9,
        first_reply_minutes=6.5,
    )  # fmt: skip
    return found


def test_the_page_shows_tasks_shares_and_who_left(client: Client, make_user: Any, channel: Channel) -> None:
    client.force_login(make_user("m", Role.MARKETER))
    page = client.get(reverse("campaigns:employees", args=[channel.pk])).content.decode()
    for shown in ("李丽", "静安店", "50.0%", "2 / 4", "6.5", "Left the company"):
        assert shown in page
    assert 'name="daily_tasks"' not in page, "a marketer reads"
    panel = client.get(reverse("channels:channel", args=[channel.pk])).content.decode()
    assert "1 employees; 4 tasks today, 2 of them confirmed." in panel
    other = make_channel("manual", "sms")
    assert "tasks today" not in client.get(reverse("channels:channel", args=[other.pk])).content.decode()
    assert (
        "This channel has no employees."
        in client.get(reverse("campaigns:employees", args=[other.pk])).content.decode()
    )


def test_a_channel_admin_sets_tasks_a_day_and_starts_a_sync(
    client: Client, make_user: Any, channel: Channel
) -> None:
    one = Employee.objects.get(external_id="lili")
    address = reverse("campaigns:daily_tasks", args=[channel.pk, one.pk])
    client.force_login(make_user("m", Role.MARKETER))
    assert client.post(address, {"daily_tasks": "9"}).status_code == 403
    assert client.post(reverse("campaigns:sync_employees", args=[channel.pk])).status_code == 403
    client.force_login(make_user("c", Role.CHANNEL_ADMIN))
    for told, stands in (("12", 12), ("many", 12), ("-1", 12), ("0", 0)):
        client.post(address, {"daily_tasks": told})
        one.refresh_from_db()
        assert one.daily_tasks == stands
    client.post(reverse("campaigns:sync_employees", args=[channel.pk]))
    client.post(reverse("campaigns:sync_employees", args=[channel.pk]))
    assert Job.objects.filter(kind="employees", subject=f"channel:{channel.pk}").count() >= 1
    other = make_channel("wecom", "wecom", settings={"corp_id": "ww2"})
    assert (
        client.post(
            reverse("campaigns:daily_tasks", args=[other.pk, one.pk]), {"daily_tasks": "1"}
        ).status_code
        == 404
    )


def test_the_api_tells_the_same_and_guards_the_same(client: Client, make_user: Any, channel: Channel) -> None:
    address = f"/api/v1/channels/{channel.pk}/employees/"
    assert client.get(address).status_code in (401, 403)
    client.force_login(make_user("m", Role.MARKETER))
    rows = {row["external_id"]: row for row in client.get(address).json()}
    told = rows["lili"]
    assert (told["tasks_today"], told["confirmed_today"], told["tasks"], told["confirmed"]) == (4, 2, 4, 2)
    assert (told["customers_added"], told["deletions"], told["first_reply_minutes"]) == (4, 1, 6.5)
    assert rows["gone"]["left_at"]
    one = f"{address}{told['id']}/"
    assert client.patch(one, {"daily_tasks": 9}, content_type="application/json").status_code == 403
    client.force_login(make_user("c", Role.CHANNEL_ADMIN))
    assert client.patch(one, {"daily_tasks": 9}, content_type="application/json").json() == {"daily_tasks": 9}
    assert client.patch(one, {"daily_tasks": -9}, content_type="application/json").status_code == 400
    assert Employee.objects.get(external_id="lili").daily_tasks == 9


def test_the_one_page_does_both_jobs_and_the_old_addresses_lead_to_it(
    client: Client, make_user: Any, channel: Channel
) -> None:
    hand = make_channel("manual", "call")
    user = make_user("mei")
    one = Employee.objects.create(channel=hand, external_id="7", name="Mei", store="Xuhui", user=user)
    client.force_login(make_user("c", Role.CHANNEL_ADMIN))
    for at, to in (
        (f"/channels/{hand.pk}/people/", reverse("campaigns:employees", args=[hand.pk])),
        (f"/channels/{hand.pk}/people/{one.pk}/", reverse("campaigns:employee", args=[hand.pk, one.pk])),
    ):
        answer = client.get(at)
        assert (answer.status_code, answer.headers["Location"]) == (302, to)
    by_hand = client.get(reverse("campaigns:employees", args=[hand.pk])).content.decode()
    for shown in ("Mei", "Xuhui", ">mei<", "Has left", "Add an employee"):
        assert shown in by_hand
    assert "Confirmed in 7 days" not in by_hand, "nobody confirms on a channel worked by hand"
    page = client.get(reverse("campaigns:employees", args=[channel.pk])).content.decode()
    for shown in ("2 / 4", "Bring up to date now", "Add an employee", "Came back"):
        assert shown in page
    panel = client.get(reverse("channels:channel", args=[hand.pk])).content.decode()
    assert panel.count(reverse("campaigns:employees", args=[hand.pk])) == 1, "one page, one link"
    assert "Mei" in panel
    client.post(reverse("campaigns:employee", args=[hand.pk, one.pk]), {"action": "left"})
    one.refresh_from_db()
    assert one.left_at is not None
    client.post(reverse("campaigns:employee", args=[hand.pk, one.pk]), {"action": "back"})
    one.refresh_from_db()
    assert one.left_at is None


def test_a_wrong_employee_stays_in_the_form_and_only_admins_see_log_ins(
    client: Client, make_user: Any, channel: Channel
) -> None:
    Employee.objects.filter(external_id="lili").update(user=make_user("li.li"))
    client.force_login(make_user("c", Role.CHANNEL_ADMIN))
    wrong = {"name": "Twin", "external_id": "lili", "daily_tasks": "5"}
    answer = client.post(reverse("campaigns:add_employee", args=[channel.pk]), wrong)
    assert answer.status_code == 422
    assert "Another employee of this channel has this number." in answer.content.decode()
    assert 'value="Twin"' in answer.content.decode()
    client.force_login(make_user("m", Role.MARKETER))
    page = client.get(reverse("campaigns:employees", args=[channel.pk])).content.decode()
    assert "li.li" not in page
    assert "Add an employee" not in page
    assert client.post(reverse("campaigns:add_employee", args=[channel.pk]), wrong).status_code == 403
    one = Employee.objects.get(external_id="lili")
    assert client.get(reverse("campaigns:employee", args=[channel.pk, one.pk])).status_code == 403
