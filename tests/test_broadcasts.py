"""Posts to chat groups and Moments in campaigns: approved by another, asked once, followed, weighed, never a touch."""

import datetime as dt
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from audiences.days import ONE, begins, day_of
from audiences.models import Identity
from campaigns import broadcast_work, broadcasts, channel_pauses, employee_tasks, lifecycle, responses, tasks
from campaigns.models import (
    Broadcast,
    BroadcastGroup,
    BroadcastTask,
    Campaign,
    EmployeeTask,
    Member,
    Response,
    Touch,
)
from campaigns.schedule import BEAT
from channels import employees
from channels.accounts import release_adapters
from channels.adapters import wecom
from channels.models import Channel, CustomerGroup, Employee, InboxEvent
from channels.sandbox.server import Sandbox
from reports.broadcasts import posts_of
from reports.coverage import coverage
from tests import factories as make
from tests.sandbox_fixture import start_sandbox, wecom_account
from tests.test_sandbox_road import at_noon, connect
from tests.test_wecom_posts import GROUPS, crowd

pytestmark = pytest.mark.django_db(transaction=True)
TEXT = "双十一到店有礼"
NOW, ZONE = at_noon()
MINUTE, HOUR = dt.timedelta(minutes=1), dt.timedelta(hours=1)


@pytest.fixture(autouse=True)
def _connections() -> Iterator[None]:
    wecom._tokens.clear()
    yield
    release_adapters()


@pytest.fixture
def running(tmp_path: Path, transactional_db: None) -> Iterator[Sandbox]:
    told: dict[str, Any] = {"confirm_seconds": 1e6, "job_seconds": 0.0, "groups": GROUPS}
    with start_sandbox(tmp_path, crowd(), wecom=told) as sandbox:
        yield sandbox


@pytest.fixture
def channel(running: Sandbox) -> Channel:
    found = connect("wecom", "wecom", wecom_account(running))
    employees.sync(found, NOW)
    return found


@pytest.fixture
def campaign(channel: Channel) -> Campaign:
    return make.campaign([channel], now=NOW, zone=ZONE, name="双十一")


def groups(*names: str) -> list[CustomerGroup]:
    found = CustomerGroup.objects.select_related("owner").filter(external_id__in=names)
    return list(found.order_by("external_id"))


def staff(*names: str) -> list[Employee]:
    return list(Employee.objects.filter(external_id__in=names).order_by("external_id"))


def planned(campaign: Campaign, make_user: Any, kind: str = "group", **told: Any) -> Broadcast:
    """A post that another person approved, due now."""
    channel = campaign.channel_plans.get().channel
    whom: dict[str, Any] = {"groups": groups("wr0", "wr1", "wr2")}
    if kind == "moments":
        whom = {"employees": staff("staff0", "staff1")}
    due_at = told.pop("due_at", NOW)
    post = broadcasts.plan(
        campaign, channel, kind, TEXT, due_at, user=make_user("marketer"), **whom | told
    )  # fmt: skip
    return broadcasts.approve(post, make_user("approver"), NOW)


def stands(post: Broadcast) -> dict[str, str]:
    return dict(post.tasks.values_list("employee__external_id", "state"))


def reference(post: Broadcast, employee: str = "staff0") -> str:
    return post.tasks.get(employee__external_id=employee).reference


def confirm(running: Sandbox, post: Broadcast, employee: str = "staff0") -> Any:
    told = reference(post, employee)
    if post.kind == "group":
        return running.call(running.corp.confirm, told, employee)
    return running.call(running.corp.moments.publish, told.removeprefix("mom:"), employee)


# Planning and approval ------------------------------------------------------------------------------


def test_each_owner_is_asked_once_for_all_chosen_groups_and_what_was_confirmed_is_weighed(
    running: Sandbox, campaign: Campaign, make_user: Any
) -> None:
    post = planned(campaign, make_user, url="https://shop.example.com/new")
    assert post.weight == Decimal("0.5")
    assert broadcast_work.work(NOW) == 2
    assert broadcast_work.work(NOW + MINUTE) == 0, "nobody is asked twice"
    assert [sorted(task.recipients.items()) for task in running.corp.tasks.values()] == [
        [("staff0", ["wr0", "wr2"])], [("staff1", ["wr1"])],
    ]  # fmt: skip
    assert "utm_content=post-" not in running.log_lines("wecom", "task")[0]["text"], "the link is ours"
    assert confirm(running, post)
    broadcast_work.work(NOW + 2 * MINUTE)
    assert stands(post) == {"staff0": "confirmed", "staff1": "open"}
    assert set(BroadcastGroup.objects.values_list("group__external_id", "state")) == {
        ("wr0", "sent"), ("wr1", ""), ("wr2", "sent"),
    }  # fmt: skip
    (line,) = posts_of(campaign.pk)
    assert (line.kind, line.posts, line.tasks, line.confirmed, line.waiting) == ("group", 1, 2, 1, 1)
    assert (line.shown, line.weight, line.weighted) == (62, Decimal("0.5"), Decimal("31.0"))


def test_beat_asks_employees_without_anybody_doing_anything(
    running: Sandbox, campaign: Campaign, make_user: Any
) -> None:
    post = planned(campaign, make_user)
    assert BEAT["campaigns-broadcast"]["task"] == tasks.broadcast.name
    tasks.broadcast.apply().get()
    assert stands(post) == {"staff0": "open", "staff1": "open"}


def test_groups_still_on_their_way_when_the_owner_confirmed_are_told_later(
    running: Sandbox, campaign: Campaign, make_user: Any
) -> None:
    running.change({"wecom": {"send_seconds": 1e6}})
    post = planned(campaign, make_user)
    broadcast_work.work(NOW)
    assert confirm(running, post)
    broadcast_work.work(NOW + MINUTE)
    one = post.tasks.get(employee__external_id="staff0")
    assert (one.state, one.shown) == ("confirmed", 0)
    running.change({"wecom": {"send_seconds": 0.0}})
    broadcast_work.work(NOW + 2 * MINUTE)
    one.refresh_from_db()
    assert (one.state, one.shown) == ("confirmed", 62)


def test_two_workers_at_once_ask_everybody_once(running: Sandbox, campaign: Campaign, make_user: Any) -> None:
    for _n in range(3):
        planned(campaign, make_user)

    def work(_n: int) -> int:
        try:
            return broadcast_work.work(NOW)
        finally:
            release_adapters()
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(work, range(4)))
    assert sum(done) + broadcast_work.work(NOW) == 6
    assert len(running.corp.tasks) == 6


def test_a_post_is_no_touch_and_changes_nothing_of_what_was_reached(
    running: Sandbox, channel: Channel, campaign: Campaign, make_user: Any
) -> None:
    people = list(
        Employee.objects.filter(channel=channel).values_list("contacts__identity__customer_id", flat=True)
    )
    make.released(campaign, people, due_at=NOW + HOUR, version=make.message("wecom", "另一条"))
    before = coverage(campaign, NOW).total
    post = planned(campaign, make_user, "moments")
    broadcast_work.work(NOW)
    broadcast_work.work(NOW + MINUTE)
    assert confirm(running, post)
    broadcast_work.work(NOW + 2 * MINUTE)
    assert stands(post) == {"staff0": "confirmed", "staff1": "open"}
    after = coverage(campaign, NOW).total
    assert (after.target, after.reached, after.unobserved, after.gap, after.over_total) == (
        before.target, before.reached, before.unobserved, before.gap, before.over_total,
    )  # fmt: skip
    assert set(Touch.objects.values_list("state", flat=True)) == {"planned"}
    (line,) = posts_of(campaign.pk)
    assert (line.shown, line.weighted) == (10, Decimal("2.0"))


def test_who_planned_a_post_does_not_approve_it_and_nobody_is_asked_before(
    running: Sandbox, channel: Channel, campaign: Campaign, make_user: Any
) -> None:
    maker = make_user("marketer")
    post = broadcasts.plan(campaign, channel, "moments", TEXT, NOW, employees=staff("staff0"), user=maker)
    with pytest.raises(ValidationError, match="does not approve"):
        broadcasts.approve(post, maker, NOW)
    assert broadcast_work.work(NOW) == 0
    broadcasts.approve(post, make_user("approver"), NOW)
    assert broadcast_work.work(NOW) == 1


def test_the_weight_is_the_channels_and_stays_with_the_post(
    channel: Channel, campaign: Campaign, make_user: Any
) -> None:
    post = planned(campaign, make_user, "moments")
    channel.settings |= {"moments_weight": 0.35}
    channel.save()
    assert planned(campaign, make_user, "moments").weight == Decimal("0.35")
    post.refresh_from_db()
    assert post.weight == Decimal("0.2")
    channel.settings |= {"moments_weight": 3}
    channel.save()
    with pytest.raises(ValidationError, match="from 0 to 1"):
        planned(campaign, make_user, "moments")


@pytest.mark.parametrize(
    ("kind", "told", "field"),
    [
        ("moments", {"employees": []}, "employees"),
        ("group", {"groups": []}, "groups"),
        ("moments", {"due_at": NOW + dt.timedelta(days=90)}, "due_at"),
        ("moments", {"due_at": NOW - dt.timedelta(days=90)}, "due_at"),
        ("moments", {"url": "shop"}, "url"),
    ],
)
def test_a_post_that_cannot_be_is_refused_where_it_is_wrong(
    campaign: Campaign, make_user: Any, kind: str, told: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        planned(campaign, make_user, kind, **told)
    assert field in refused.value.message_dict
    assert not Broadcast.objects.exists()


def test_text_is_measured_with_its_link(campaign: Campaign, channel: Channel) -> None:
    def plan(text: str, url: str = "") -> Broadcast:
        return broadcasts.plan(campaign, channel, "moments", text, NOW, employees=staff("staff0"), url=url)

    assert plan("a" * 2000)
    with pytest.raises(ValidationError):
        plan("a" * 2000, "https://shop.example.com/")
    with pytest.raises(ValidationError):
        plan("好" * 1334)


def test_who_would_see_moments_is_counted_with_those_the_campaign_leaves_alone(
    channel: Channel, campaign: Campaign, make_user: Any
) -> None:
    people = sorted(
        Employee.objects.filter(channel=channel, external_id="staff0").values_list(
            "contacts__identity__customer_id", flat=True
        )
    )
    Member.objects.bulk_create(
        Member(
            campaign_id=campaign.pk, customer_id=one, stage="member", held_out=n < 3, zone="Asia/Shanghai",
            entered_at=NOW, state_at=NOW,
        )
        for n, one in enumerate(people[:4])
    )  # fmt: skip
    post = planned(campaign, make_user, "moments", employees=staff("staff0"))
    told = broadcasts.audience_of(post)
    assert (told.customers, told.held_out, told.unwilling) == (10, 3, 10)
    assert broadcasts.audience_of(planned(campaign, make_user)) == broadcasts.Audience(93)


# Employees' days ------------------------------------------------------------------------------------


def test_whose_day_is_full_is_asked_the_next_day(
    running: Sandbox, campaign: Campaign, make_user: Any
) -> None:
    Employee.objects.filter(external_id="staff0").update(daily_tasks=1)
    first, second = planned(campaign, make_user), planned(campaign, make_user, "moments")
    assert broadcast_work.work(NOW) == 3
    assert stands(first) == {"staff0": "open", "staff1": "open"}
    assert stands(second) == {"staff0": "planned", "staff1": "open"}
    assert EmployeeTask.objects.count() == 3
    tomorrow = begins(day_of(NOW) + ONE) + MINUTE
    Broadcast.objects.update(until=tomorrow + HOUR)
    assert broadcast_work.work(tomorrow) == 1
    assert stands(second) == {"staff0": "open", "staff1": "open"}
    assert len(running.corp.moments.moments) == 2


def test_messages_and_posts_share_the_day(campaign: Campaign, channel: Channel, make_user: Any) -> None:
    Employee.objects.update(daily_tasks=1)
    planned(campaign, make_user, "moments", employees=staff("staff0"))
    broadcast_work.work(NOW)
    from channels.adapters.base import Outgoing

    batch = [Outgoing(1, "wm0", text="a", sender="staff0"), Outgoing(2, "wm1", text="a", sender="staff1")]
    reserved = employee_tasks.reserve(channel, batch, {1: campaign.pk, 2: campaign.pk}, NOW)
    assert [message.attempt_id for message in reserved.waiting] == [1]
    shares = employee_tasks.shares(channel, NOW)
    assert shares[staff("staff0")[0].pk].today == 1


def test_owners_of_groups_are_reminded_and_nobody_is_of_moments(
    running: Sandbox, campaign: Campaign, make_user: Any
) -> None:
    planned(campaign, make_user), planned(campaign, make_user, "moments")
    broadcast_work.work(NOW)
    broadcast_work.work(NOW + MINUTE)
    ten = dt.datetime.combine(NOW.date(), dt.time(2), tzinfo=dt.UTC)  # ten in Shanghai
    EmployeeTask.objects.update(made_at=ten - dt.timedelta(days=1))
    assert employee_tasks.remind_all(ten) == 2
    assert [len(task.reminders) for task in running.corp.tasks.values()] == [1, 1]


# Taking back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["group", "moments"])
def test_a_cancelled_post_cannot_be_confirmed_and_what_was_stands(
    running: Sandbox, campaign: Campaign, make_user: Any, kind: str
) -> None:
    post = planned(campaign, make_user, kind)
    broadcast_work.work(NOW)
    broadcast_work.work(NOW + MINUTE)
    assert confirm(running, post)
    broadcasts.cancel(post)
    broadcast_work.work(NOW + 2 * MINUTE)
    assert stands(post) == {"staff0": "confirmed", "staff1": "cancelled"}
    assert not confirm(running, post, "staff1")
    assert set(EmployeeTask.objects.values_list("state", flat=True)) == {"confirmed", "ended"}
    (line,) = posts_of(campaign.pk)
    assert (line.confirmed, line.waiting) == (1, 0)


@pytest.mark.parametrize("kind", ["group", "moments"])
def test_a_pause_takes_the_tasks_back_and_resuming_asks_anew(
    running: Sandbox, campaign: Campaign, make_user: Any, kind: str
) -> None:
    post = planned(campaign, make_user, kind)
    broadcast_work.work(NOW)
    lifecycle.pause(campaign, make_user("marketer"), NOW)
    broadcast_work.work(NOW + MINUTE)
    assert stands(post) == {"staff0": "planned", "staff1": "planned"}
    assert broadcast_work.work(NOW + MINUTE) == 0
    lifecycle.resume(campaign, make_user("marketer"), NOW)
    assert broadcast_work.work(NOW + 2 * MINUTE) == 2
    broadcast_work.work(NOW + 3 * MINUTE)
    assert confirm(running, post)


def test_a_channel_paused_within_its_campaign_takes_the_tasks_back_and_asks_anew(
    running: Sandbox, campaign: Campaign, channel: Channel, make_user: Any
) -> None:
    post = planned(campaign, make_user)
    broadcast_work.work(NOW)
    channel_pauses.pause(campaign, channel.pk, NOW)
    broadcast_work.work(NOW + MINUTE)
    assert stands(post) == {"staff0": "planned", "staff1": "planned"}
    assert broadcast_work.work(NOW + MINUTE) == 0
    channel_pauses.resume(campaign, channel.pk)
    assert broadcast_work.work(NOW + 2 * MINUTE) == 2


def test_a_stop_ends_the_post(running: Sandbox, campaign: Campaign, make_user: Any) -> None:
    post = planned(campaign, make_user)
    broadcast_work.work(NOW)
    lifecycle.stop(campaign, make_user("marketer"), "over", NOW)
    broadcast_work.work(NOW + MINUTE)
    assert stands(post) == {"staff0": "unconfirmed", "staff1": "unconfirmed"}
    post.refresh_from_db()
    assert post.state == "ended"
    assert not running.call(running.corp.confirm, running.log_lines("wecom", "task")[0]["msgid"], "staff0")


def test_who_does_not_confirm_in_time_is_not_confirmed_and_cannot_any_more(
    running: Sandbox, campaign: Campaign, make_user: Any
) -> None:
    post = planned(campaign, make_user)
    broadcast_work.work(NOW)
    told = reference(post)
    broadcast_work.work(post.until)
    assert stands(post) == {"staff0": "unconfirmed", "staff1": "unconfirmed"}
    assert not running.call(running.corp.confirm, told, "staff0")
    (line,) = posts_of(campaign.pk)
    assert (line.unconfirmed, line.shown) == (2, 0)


# Answers that were lost -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["group", "moments"])
def test_a_lost_answer_asks_nobody_twice(
    running: Sandbox, campaign: Campaign, make_user: Any, kind: str
) -> None:
    post = planned(campaign, make_user, kind)
    running.faults("wecom", next=["drop", "drop"])
    broadcast_work.work(NOW)
    assert all(told.startswith("~") for told in post.tasks.values_list("reference", flat=True))
    broadcast_work.work(NOW + MINUTE)
    broadcast_work.work(NOW + 2 * MINUTE)
    assert len(running.log_lines("wecom", "task" if kind == "group" else "moment")) == (
        2 if kind == "group" else 1
    )
    assert confirm(running, post)
    broadcast_work.work(NOW + 3 * MINUTE)
    assert stands(post)["staff0"] == "confirmed"


def test_a_worker_that_died_before_the_call_leaves_a_group_to_be_asked_and_moments_to_people(
    running: Sandbox, campaign: Campaign, make_user: Any
) -> None:
    group, moments = planned(campaign, make_user), planned(campaign, make_user, "moments")
    for post in (group, moments):
        mark = f"~0123456789abcdef.{int(time.time()) - 700}"
        broadcast_work._reserve(post, list(post.tasks.all()), mark, NOW)
    broadcast_work.work(NOW)
    assert stands(group) == {"staff0": "open", "staff1": "open"}, "known not to have been made: asked now"
    assert stands(moments) == {"staff0": "failed", "staff1": "failed"}
    assert set(moments.tasks.values_list("error", flat=True)) == {"lost"}
    assert len(running.corp.tasks) == 2
    assert not running.corp.moments.moments


def test_when_wecom_asks_to_wait_nobody_was_asked_and_the_day_is_free(
    running: Sandbox, campaign: Campaign, make_user: Any
) -> None:
    post = planned(campaign, make_user)
    running.faults("wecom", next=["throttle"])
    assert broadcast_work.work(NOW) == 0
    assert stands(post) == {"staff0": "planned", "staff1": "planned"}
    assert not EmployeeTask.objects.exists()
    assert broadcast_work.work(NOW + MINUTE) == 2


def test_what_wecom_refuses_fails_with_its_reason_and_does_not_stop_others(
    running: Sandbox, campaign: Campaign, make_user: Any
) -> None:
    post = planned(campaign, make_user)
    running.faults("wecom", next=["refuse"])
    assert broadcast_work.work(NOW) == 1
    assert sorted(stands(post).values()) == ["failed", "open"]
    assert "84061" in post.tasks.get(state="failed").error


# Reactions ------------------------------------------------------------------------------------------


def test_a_like_is_the_persons_own_act_and_answers_the_post_not_the_last_message(
    running: Sandbox, channel: Channel, campaign: Campaign, make_user: Any
) -> None:
    running.change({"wecom": {"like_share": 1.0}})
    other = make.campaign([channel], now=NOW)
    people = list(
        Employee.objects.filter(channel=channel).values_list("contacts__identity__customer_id", flat=True)
    )
    make.released(other, people, due_at=NOW - HOUR, version=make.message("wecom", "一"))
    post = planned(campaign, make_user, "moments")
    broadcast_work.work(NOW)
    broadcast_work.work(NOW + MINUTE)
    assert confirm(running, post)
    later = NOW + 2 * MINUTE
    broadcast_work.work(later)
    assert post.tasks.get(employee__external_id="staff0").likes == 10
    assert InboxEvent.objects.filter(response="like").count() == 10
    responses.drain(now=later + HOUR)
    told = Response.objects.values_list("campaign_id", "touch_id", "kind").distinct()
    assert list(told) == [(campaign.pk, None, "like")]
    broadcast_work.work(later + 2 * HOUR)
    assert InboxEvent.objects.filter(response="like").count() == 10, "told twice it is stored once"


def test_visits_by_the_link_are_counted_by_post(running: Sandbox, campaign: Campaign, make_user: Any) -> None:
    post = planned(campaign, make_user, url="https://shop.example.com/new")
    other = planned(campaign, make_user, url="https://shop.example.com/new")
    assert post.link_id != other.link_id
    InboxEvent.objects.bulk_create(
        InboxEvent(
            channel=post.channel, dedupe_key=f"k{n}", kind="response", response="click", occurred_at=NOW,
            received_at=NOW, campaign_id=campaign.pk, detail={"link_id": post.link_id}, machine=n == 0,
        )
        for n in range(4)
    )  # fmt: skip
    rows = broadcasts.standings([post, other])
    assert [row.visits for row in rows] == [3, 0]
    assert posts_of(campaign.pk)[0].visits == 3
    assert Identity.objects.count() == 20
    assert BroadcastTask.objects.count() == 4
