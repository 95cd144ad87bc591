"""WeCom tasks that wait for an employee are cancelled at once when nobody may be contacted by them any more."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiences import consent
from audiences.days import day_of
from audiences.models import Identity
from campaigns import dispatch, employee_tasks, exits, lifecycle, polling, recalling, responses
from campaigns.models import Attempt, Campaign, EmployeeTask
from channels.accounts import release_adapters
from channels.models import Channel, Employee
from channels.sandbox.people import Person
from channels.sandbox.server import Sandbox
from tests import factories as make
from tests.sandbox_fixture import start_sandbox, wecom_account
from tests.test_sandbox_road import at_noon, connect

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _connections() -> Iterator[None]:
    yield
    release_adapters()


@pytest.fixture
def running(tmp_path: Path, transactional_db: None) -> Iterator[Sandbox]:
    crowd = [
        Person(str(n), wecom_external_id=f"wecom_external_id{n}", wecom_userid="staff1")
        for n in make.next_customers()
    ]
    with start_sandbox(tmp_path, crowd, wecom={"confirm_seconds": 1e6}) as sandbox:
        yield sandbox


def held(running: Sandbox, n: int = 4) -> tuple[Channel, Campaign, list[int], dt.datetime, str]:
    """A running campaign with one task for ``n`` people that waits: channel, campaign, people, now, msgid."""
    account = wecom_account(running)
    channel = connect("wecom", "wecom", account)
    now, zone = at_noon()
    people = make.customers(n, media=("wecom",), zone=zone)
    Identity.objects.filter(customer_id__in=people).update(issuer=account.settings["corp_id"])
    found = make.campaign([channel], now=now, zone=zone)
    make.released(found, people, due_at=now, version=make.message("wecom", "冬季品鉴开始了"))
    assert dispatch.dispatch_channel(channel.pk, now=now).held == n
    assert recalling.recall_all(now) == 0, "what is wanted stays"
    return channel, found, people, now, _task(running)


def _task(running: Sandbox) -> str:
    return str(running.log_lines("wecom", "task")[-1]["msgid"])


def confirmed(running: Sandbox, msgid: str) -> Any:
    return running.call(running.corp.confirm, msgid, "staff1")


def test_a_pause_cancels_the_task_and_resuming_makes_a_new_one(running: Sandbox, make_user: Any) -> None:
    channel, found, people, now, msgid = held(running)
    lifecycle.pause(found, make_user("marketer"), now)
    assert recalling.recall_all(now) == 4
    assert confirmed(running, msgid) is False, "a cancelled task cannot be confirmed"
    assert make.states(found) == {"planned": 4}
    assert recalling.recall_all(now) == 0
    assert dispatch.dispatch_channel(channel.pk, now=now).claimed == 0, "it is paused"
    lifecycle.resume(found, make_user("marketer"), now)
    assert dispatch.dispatch_channel(channel.pk, now=now).held == 4
    assert confirmed(running, _task(running)) is True
    assert len(running.log_lines("wecom", "result")) == 4


def test_a_stop_cancels_the_task_and_its_touches_are_let_go(running: Sandbox, make_user: Any) -> None:
    _channel, found, _people, now, msgid = held(running)
    lifecycle.stop(found, make_user("marketer"), "over", now)
    assert recalling.recall_all(now) == 4
    exits.from_stops(now)
    assert confirmed(running, msgid) is False
    assert make.states(found) == {"released:campaign_stopped": 4}
    assert running.log_lines("wecom", "result") == []


@pytest.mark.parametrize("how", ["exit", "opt_out"])
def test_who_leaves_is_taken_out_and_the_others_get_a_new_task(running: Sandbox, how: str) -> None:
    channel, found, people, now, msgid = held(running)
    if how == "exit":
        exits.exit_members([(found.pk, people[0], "conversion")], now)
    else:
        consent.opt_out(people[0], "wecom", channel.brand_id, "test", "test", now)
    assert recalling.recall_all(now) == 4
    assert confirmed(running, msgid) is False
    assert dispatch.dispatch_channel(channel.pk, now=now).held == 3
    assert make.states(found) == {"held": 3, {"exit": "released:exit", "opt_out": "gap:opted_out"}[how]: 1}
    confirmed(running, _task(running))
    reached = {line["address"] for line in running.log_lines("wecom", "result")}
    assert reached == {f"wecom_external_id{one}" for one in people[1:]}


def test_what_was_confirmed_before_the_cancellation_stands_as_sent(running: Sandbox, make_user: Any) -> None:
    _channel, found, _people, now, msgid = held(running)
    assert confirmed(running, msgid) is True
    lifecycle.pause(found, make_user("marketer"), now)
    assert recalling.recall_all(now) == 4
    assert make.states(found) == {"sent": 4}
    assert set(Attempt.objects.values_list("state", flat=True)) == {"accepted"}


def test_a_task_taken_back_gives_its_place_and_its_money_back(running: Sandbox, make_user: Any) -> None:
    from audiences.models import ContactState

    _channel, found, people, now, _msgid = held(running)
    assert all(ContactState.objects.get(pk=one).recent_attempts for one in people)
    lifecycle.pause(found, make_user("marketer"), now)
    recalling.recall_all(now)
    assert not any(ContactState.objects.get(pk=one).recent_attempts for one in people)
    assert set(Attempt.objects.values_list("state", "code")) == {("throttled", "recalled")}


def test_wecom_that_cannot_be_reached_is_asked_again(running: Sandbox, make_user: Any) -> None:
    channel, found, _people, now, msgid = held(running)
    lifecycle.pause(found, make_user("marketer"), now)
    address = dict(channel.settings)
    channel.settings = address | {"base_url": "http://127.0.0.1:1"}
    channel.save()
    assert recalling.recall_all(now) == 0
    assert make.states(found) == {"held": 4}
    channel.settings = address
    channel.save()
    assert recalling.recall_all(now) == 4
    assert confirmed(running, msgid) is False


# A task whose call was never answered -------------------------------------------------------------


def lost(running: Sandbox, n: int = 4) -> tuple[Channel, Campaign, dt.datetime]:
    """A running campaign whose one task was made at WeCom, and nobody told us: its touches are unknown."""
    account = wecom_account(running, timeout=2)
    channel = connect("wecom", "wecom", account)
    now, zone = at_noon()
    people = make.customers(n, media=("wecom",), zone=zone)
    Identity.objects.filter(customer_id__in=people).update(issuer=account.settings["corp_id"])
    found = make.campaign([channel], now=now, zone=zone)
    make.released(found, people, due_at=now, version=make.message("wecom", "冬季品鉴开始了"))
    running.faults("wecom", next=["drop"])
    assert dispatch.dispatch_channel(channel.pk, now=now).unknown == n
    return channel, found, now


def asked(channel: Channel, times: int = 2) -> None:
    for _time in range(times):
        polling.poll(channel)
        responses.drain()


def test_a_task_of_a_lost_call_is_held_once_it_is_found_and_a_pause_cancels_it(
    running: Sandbox, make_user: Any
) -> None:
    channel, found, now = lost(running)
    msgid = _task(running)
    lifecycle.pause(found, make_user("marketer"), now)
    assert recalling.recall_all(now) == 0, "nobody knows of the task yet"
    asked(channel)
    assert make.states(found) == {"held": 4}
    assert {one.partition(":")[0] for one in Attempt.objects.values_list("reference", flat=True)} == {msgid}
    assert recalling.recall_all(now) == 4
    assert make.states(found) == {"planned": 4}
    assert confirmed(running, msgid) is False, "the employee cannot send it any more"
    asked(channel)
    assert running.log_lines("wecom", "result") == []
    lifecycle.resume(found, make_user("marketer"), now)
    assert dispatch.dispatch_channel(channel.pk, now=now).held == 4, "a new task, and nobody has two messages"
    assert confirmed(running, _task(running)) is True
    assert len(running.log_lines("wecom", "result")) == 4


def test_a_task_of_a_lost_call_that_is_confirmed_was_sent_when_the_employee_sent_it(running: Sandbox) -> None:
    channel, found, _now = lost(running)
    asked(channel)
    assert make.states(found) == {"held": 4}
    assert set(Attempt.objects.values_list("cost", "sent_at")) == {(0, None)}, "what waits costs nothing"
    assert confirmed(running, _task(running)) is True
    asked(channel)
    assert make.states(found) == {"sent": 4}
    times = {line["send_time"] for line in running.log_lines("wecom", "result")}
    assert {int(at.timestamp()) for at in Attempt.objects.values_list("sent_at", flat=True)} == {
        int(at) for at in times
    }


def test_an_employees_task_of_a_lost_call_gets_its_name_so_that_it_can_be_reminded_of(
    running: Sandbox,
) -> None:
    channel, _found, now = lost(running)
    employee = Employee.objects.create(channel=channel, external_id="staff1", name="李丽", daily_tasks=5)
    attempt = Attempt.objects.order_by("id")[0]
    task = EmployeeTask.objects.create(
        channel=channel, employee=employee, day=day_of(now), campaign_id=attempt.campaign_id, attempt_id=attempt.id,
        customers=4, made_at=now, reference=attempt.reference.partition(":")[0],
    )  # fmt: skip
    asked(channel)
    employee_tasks.settle(now)
    task.refresh_from_db()
    assert (task.state, task.reference) == ("open", _task(running))
