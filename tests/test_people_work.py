"""People's work on a phone: an employee logs in, sees their own tasks, reports, and takes a slip of the thumb back."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audiences.models import ContactState, Identity
from campaigns import dispatch, people_tasks, responses
from campaigns.models import PeopleTask, Touch
from channels.models import Employee
from tests import factories as make
from tests.factories import HOUR, NOW

pytestmark = pytest.mark.django_db(transaction=True)


def calls(n: int = 1, medium: str = "call", **employee: Any) -> tuple[Any, Any]:
    channel = make.channel(medium, adapter="manual")
    Employee.objects.create(channel=channel, external_id="e", name="Mei", **employee)
    found = make.campaign([channel])
    make.released(found, make.customers(n, (medium,)), version=make.message(medium))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    people_tasks.make(NOW)
    return channel, found


def report(outcome: str, at: Any = NOW + HOUR) -> PeopleTask:
    reached = outcome in dict(people_tasks.REACHED)
    return people_tasks.report(PeopleTask.objects.get(), reached=reached, outcome=outcome, now=at)


def test_a_report_can_be_taken_back_until_it_takes_force() -> None:
    _channel, found = calls()
    task = report("interested")
    assert people_tasks.undo(task, NOW + HOUR).state == "open"
    assert make.states(found) == {"held": 1}
    assert people_tasks.settle_due(NOW + 2 * HOUR) == 0
    task = report("no_answer", NOW + 2 * HOUR)
    assert people_tasks.settle_due(NOW + 3 * HOUR) == 1
    with pytest.raises(people_tasks.TooLate):
        people_tasks.undo(task, NOW + 3 * HOUR)
    assert make.states(found) == {"gap:unconfirmed": 1}


def test_a_report_made_in_time_counts_although_the_deadline_passed_before_it_took_force() -> None:
    _channel, found = calls()
    end = Touch.objects.get().deadline_at
    report("reached", end - timedelta(seconds=1))
    dispatch.sweep(end + timedelta(days=2))
    people_tasks.make(end + timedelta(days=2))
    assert make.states(found) == {"sent": 1}
    assert PeopleTask.objects.get().state == "done"


def test_who_wants_no_calls_has_opted_out_and_a_wrong_number_is_not_called_again() -> None:
    channel, _found = calls()
    report("refused")
    people_tasks.settle_due(NOW + 2 * HOUR)
    responses.drain(now=NOW + 3 * HOUR)
    assert f"contact:{channel.brand_id}:call" in ContactState.objects.get().blocked
    calls()
    wrong = PeopleTask.objects.get(state="open")
    people_tasks.report(wrong, reached=False, outcome="wrong_number", now=NOW + HOUR)
    people_tasks.settle_due(NOW + 2 * HOUR)
    touch = Touch.objects.get(id=wrong.touch_id, campaign_id=wrong.campaign_id)
    assert (touch.state, touch.reason) == ("gap", "bounced")
    assert Identity.objects.get(customer_id=wrong.customer_id).invalid_at is not None


def test_a_channel_worked_by_hand_gives_its_employees_tasks_whatever_its_medium() -> None:
    _channel, _found = calls(2, "other")
    assert set(PeopleTask.objects.values_list("employee__name", flat=True)) == {"Mei"}


def make_task(title: str, employee: Employee | None, **due: float) -> PeopleTask:
    return PeopleTask.objects.create(
        channel=make.channel("call", adapter="manual"), employee=employee, title=title,
        due_at=timezone.now() + timedelta(**due),
    )  # fmt: skip


@pytest.fixture
def mei(make_user: Callable[..., Any]) -> Employee:
    """An employee with a log-in and no role."""
    return Employee.objects.create(
        channel=make.channel("call", adapter="manual"), external_id="mei", name="Mei", user=make_user("mei")
    )


def test_an_employee_without_a_role_sees_their_own_tasks_and_nothing_else(
    mei: Employee, log_in: Callable[[str], Client]
) -> None:
    mine, other = make_task("Call Ann", mei, hours=-1), make_task("Call Bob", None, hours=1)
    client = log_in("mei")
    assert client.get("/").headers["Location"] == reverse("campaigns:tasks")
    page = client.get(reverse("campaigns:tasks"), {"of": "all"}).content.decode()
    assert "Call Ann" in page
    assert "Call Bob" not in page
    assert "Late" in page
    assert client.get(reverse("campaigns:task", args=[mine.pk])).status_code == 200
    for name in ("task", "report_task", "undo_task"):
        url = reverse(f"campaigns:{name}", args=[other.pk])
        assert (client.get(url) if name == "task" else client.post(url)).status_code == 404
    for name in ("campaigns:campaigns", "channels:channels", "audiences:customers"):
        assert client.get(reverse(name)).status_code == 403


def test_the_list_offers_to_take_back_what_was_just_reported(
    mei: Employee, log_in: Callable[[str], Client]
) -> None:
    task = make_task("Put up the poster", mei, hours=1)
    client = log_in("mei")
    url = reverse("campaigns:report_task", args=[task.pk])
    client.post(url, {"outcome": "interested"})  # a poster is not interested
    answer = client.post(url, {"outcome": "done", "note": "x"})
    page = client.get(answer.headers["Location"]).content.decode()
    assert "Put up the poster: Done" in page
    assert "Take it back" in page
    client.post(reverse("campaigns:undo_task", args=[task.pk]))
    task.refresh_from_db()
    assert (task.state, task.note) == ("open", "x")


def test_an_employee_who_left_sees_nothing(mei: Employee, log_in: Callable[[str], Client]) -> None:
    Employee.objects.update(left_at=timezone.now())
    assert log_in("mei").get(reverse("campaigns:tasks")).status_code == 403


def test_a_channel_admin_gives_an_employee_a_log_in(as_channel_admin: Client, make_user: Any) -> None:
    channel, user = make.channel("call", adapter="manual"), make_user("mei")
    url = reverse("campaigns:add_employee", args=[channel.pk])
    told = {"name": "Mei", "external_id": "7", "store": "Xuhui", "daily_tasks": "20", "user": user.pk}
    assert as_channel_admin.post(url, told).status_code == 302
    assert as_channel_admin.post(url, told).status_code == 422  # the same number again
    found = Employee.objects.get()
    assert (found.user, found.store) == (user, "Xuhui")
    as_channel_admin.post(reverse("campaigns:employee", args=[channel.pk, found.pk]), {"action": "left"})
    found.refresh_from_db()
    assert found.left_at is not None


# Whose task it is ---------------------------------------------------------------------------------


def test_a_placement_is_given_to_somebody_who_then_sees_it_on_their_phone(
    as_marketer: Client, log_in: Callable[[str], Client], mei: Employee
) -> None:
    channel = make.channel("kol", adapter="manual")
    task = PeopleTask.objects.create(channel=channel, title="Poster, shop 3", due_at=timezone.now() + HOUR)
    phone = log_in("mei")
    assert phone.get(reverse("campaigns:task", args=[task.pk])).status_code == 404
    assert mei.name in as_marketer.get(reverse("campaigns:task", args=[task.pk])).content.decode()
    url = reverse("campaigns:assign_task", args=[task.pk])
    assert as_marketer.post(url, {"employee": mei.pk}).status_code == 302
    assert phone.get(reverse("campaigns:task", args=[task.pk])).status_code == 200
    assert phone.post(url, {"employee": ""}).status_code == 403, "an employee gives nothing away"
    assert "Poster, shop 3" in phone.get(reverse("campaigns:tasks")).content.decode()
    people_tasks.report(task, reached=True, outcome="done", now=timezone.now())
    as_marketer.post(url, {"employee": ""})
    task.refresh_from_db()
    assert task.employee == mei, "whose it was stays once it is reported"


def test_nobody_who_left_or_works_elsewhere_gets_a_call() -> None:
    channel, _found = calls()
    task = PeopleTask.objects.get()
    other = Employee.objects.create(channel=make.channel("call"), external_id="x", name="Other")
    with pytest.raises(ValidationError):
        people_tasks.assign(task, other)
    here = Employee.objects.create(channel=channel, external_id="y", name="Here")
    assert people_tasks.assign(task, here).employee == here
    Employee.objects.filter(pk=here.pk).update(left_at=timezone.now())
    with pytest.raises(ValidationError):
        people_tasks.assign(task, here)


def test_other_systems_see_assign_report_and_take_back_tasks(as_marketer: Client, mei: Employee) -> None:
    calls()
    task = PeopleTask.objects.get()
    (told,) = as_marketer.get("/api/v1/people-tasks/?state=open").json()["results"]
    assert (told["id"], "interested" in told["outcomes"]) == (task.pk, True)
    url = f"/api/v1/people-tasks/{task.pk}/"
    json = "application/json"
    assert as_marketer.patch(url, {"employee": mei.pk}, json).status_code == 400, "of another channel"
    assert as_marketer.patch(url, {"employee": None}, json).json()["employee"] is None
    assert as_marketer.post(f"{url}report/", {"outcome": "posted"}, json).status_code == 400
    assert as_marketer.post(f"{url}report/", {"outcome": "interested"}, json).json()["state"] == "done"
    assert as_marketer.post(f"{url}report/", {"outcome": "interested"}, json).status_code == 409
    assert as_marketer.patch(url, {"employee": None}, json).status_code == 409
    assert as_marketer.post(f"{url}undo/").json()["state"] == "open"
