"""Tasks employees confirm: so many a day each, reminded while they wait, ended when settled."""

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from audiences.days import ONE, begins, day_of
from audiences.models import ContactState, Customer
from audiences.vocabulary import permission_key
from campaigns import dispatch, employee_tasks, polling, responses
from campaigns.models import EmployeeTask
from channels import employees
from channels.accounts import release_adapters
from channels.adapters.base import Outcome, Outgoing, Sent
from channels.models import Channel, Employee, PlatformRule
from channels.sandbox.people import Person
from channels.sandbox.server import Sandbox
from tests import factories as make
from tests.sandbox_fixture import start_sandbox, wecom_account
from tests.test_sandbox_road import at_noon, connect

pytestmark = pytest.mark.django_db(transaction=True)
TEN = dt.datetime(2026, 11, 20, 10, tzinfo=ZoneInfo("Asia/Shanghai"))


@pytest.fixture(autouse=True)
def _connections() -> Iterator[None]:
    yield
    release_adapters()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Sandbox]:
    crowd = [Person(str(n), wecom_external_id=f"wm{n}", wecom_userid=f"staff{n % 2}") for n in range(20)]
    with start_sandbox(tmp_path, crowd, wecom={"confirm_seconds": 1e6}) as sandbox:
        yield sandbox


@pytest.fixture
def channel(running: Sandbox) -> Channel:
    found = connect("wecom", "wecom", wecom_account(running))
    employees.sync(found, TEN)
    return found


def due(channel: Channel, text: str) -> tuple[Any, dt.datetime]:
    """A touch for every customer of the channel, due now."""
    now, zone = at_noon()
    people = list(
        Employee.objects.filter(channel=channel).values_list("contacts__identity__customer_id", flat=True)
    )
    ContactState.objects.filter(pk__in=people).update(allowed=[permission_key(channel.brand_id, "wecom")])
    Customer.objects.filter(pk__in=people).update(zone=zone)
    found = make.campaign([channel], now=now, zone=zone)
    make.released(found, people, due_at=now, version=make.message("wecom", text))
    return found, now


def test_an_employee_gets_one_task_a_content_and_no_more_than_a_day_has_room_for(
    running: Sandbox, channel: Channel
) -> None:
    Employee.objects.filter(external_id="staff0").update(daily_tasks=1)
    first, now = due(channel, "新茶到店")
    assert dispatch.dispatch_channel(channel.pk, now=now).held == 20
    assert sorted(EmployeeTask.objects.values_list("employee__external_id", "customers", "state")) == [
        ("staff0", 10, "open"), ("staff1", 10, "open"),
    ]  # fmt: skip
    second, now = due(channel, "冬季品鉴")
    done = dispatch.dispatch_channel(channel.pk, now=now)
    assert (done.held, done.returned) == (10, 10)
    assert make.states(second) == {"held": 10, "planned": 10}
    waiting = second_waits(second)
    assert waiting == {("capacity", begins(day_of(now) + ONE))}
    assert len(running.log_lines("wecom", "task")) == 3


def second_waits(found: Any) -> set[Any]:
    from campaigns.models import Touch

    return set(Touch.objects.filter(campaign_id=found.pk, state="planned").values_list("deferred", "due_at"))


def test_a_confirmed_task_ends_with_its_time_and_counts_in_the_share(
    running: Sandbox, channel: Channel
) -> None:
    found, now = due(channel, "新茶到店")
    dispatch.dispatch_channel(channel.pk, now=now)
    one = EmployeeTask.objects.get(employee__external_id="staff0")
    running.call(running.corp.confirm, one.reference, "staff0")
    polling.poll(channel, now)
    responses.drain()
    assert employee_tasks.settle(now) == 1
    one.refresh_from_db()
    assert (one.state, one.ended_at is not None) == ("confirmed", True)
    shares = employee_tasks.shares(channel, now)
    pk = Employee.objects.get(external_id="staff0").pk
    assert shares[pk] == employee_tasks.Share(1, 1, 1, 1)
    assert sum(share.confirmed_week for share in shares.values()) == 1
    assert found


def messages(n: int, first: int = 0) -> list[Outgoing]:
    return [Outgoing(first + k, f"wm{2 * k}", text=f"text {first + k}", sender="staff0") for k in range(n)]


def test_two_workers_at_once_reserve_no_more_than_the_day_has(channel: Channel) -> None:
    Employee.objects.filter(external_id="staff0").update(daily_tasks=5)

    def reserve(first: int) -> int:
        try:
            campaigns = {first + k: 1 for k in range(4)}
            return len(employee_tasks.reserve(channel, messages(4, first), campaigns, TEN).tasks)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(reserve, [0, 100, 200, 300])) == 5


def test_a_task_that_was_not_made_gives_its_room_back(channel: Channel) -> None:
    reserved = employee_tasks.reserve(channel, messages(2), {0: 1, 1: 1}, TEN)
    employee_tasks.made(reserved, [Sent(0, Outcome.HELD, "msg1:wm0"), Sent(1, Outcome.REFUSED)])
    assert list(EmployeeTask.objects.values_list("reference", "attempt_id", "customers")) == [("msg1", 0, 1)]


def test_employees_are_reminded_three_times_at_most_and_not_at_night(
    running: Sandbox, channel: Channel
) -> None:
    due(channel, "新茶到店")
    now = at_noon()[0]
    dispatch.dispatch_channel(channel.pk, now=now)
    EmployeeTask.objects.update(made_at=TEN)
    hour = dt.timedelta(hours=1)
    assert employee_tasks.remind_all(TEN + 3 * hour) == 0, "not yet"
    assert employee_tasks.remind_all(TEN + 4 * hour) == 2
    assert employee_tasks.remind_all(TEN + 5 * hour) == 0
    assert employee_tasks.remind_all(TEN + 12 * hour) == 0, "it is ten at night"
    assert employee_tasks.remind_all(TEN + 24 * hour) == 2
    assert employee_tasks.remind_all(TEN + 28 * hour) == 2
    assert employee_tasks.remind_all(TEN + 48 * hour) == 0, "three reminders were made"
    reminders = running.call(lambda: [len(task.reminders) for task in running.corp.tasks.values()])
    assert reminders == [3, 3]


def test_a_platforms_rule_says_how_often_a_day_somebody_is_reminded(
    running: Sandbox, channel: Channel
) -> None:
    due(channel, "新茶到店")
    dispatch.dispatch_channel(channel.pk, now=at_noon()[0])
    EmployeeTask.objects.update(made_at=TEN)
    hour = dt.timedelta(hours=1)
    fields = {"medium": "wecom", "key": "reminders_a_day", "source": "WeCom's letter"}
    row = PlatformRule.objects.create(**fields, value=0, valid_from=TEN.date(), channel=channel)
    assert employee_tasks.remind_all(TEN + 4 * hour) == 0
    PlatformRule.objects.filter(pk=row.pk).update(value=1)
    assert employee_tasks.remind_all(TEN + 4 * hour) == 2
    assert employee_tasks.remind_all(TEN + 9 * hour) == 0, "one in 24 hours"
    assert employee_tasks.remind_all(TEN + 24 * hour) == 0, "twenty hours later"
    assert employee_tasks.remind_all(TEN + 28 * hour) == 2
    PlatformRule.objects.filter(pk=row.pk).update(valid_to=TEN.date() - dt.timedelta(days=1))
    assert employee_tasks.remind_all(TEN + 32 * hour) == 2, "three in all, as before"
