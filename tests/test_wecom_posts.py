"""WeCom's group messages and Moments posts: what goes over the wire, and what the far side refuses."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiences.vocabulary import ResponseKind
from channels.adapters import wecom
from channels.adapters.base import AdapterError, PostTold
from channels.adapters.wecom import Adapter
from channels.sandbox.people import Person
from channels.sandbox.server import Sandbox
from tests.sandbox_fixture import start_sandbox, wecom_account

GROUPS = [
    {"chat_id": f"wr{n}", "name": f"茶友群 {n}", "owner": f"staff{n % 2}", "customers": 30 + n}
    for n in range(4)
]
TEXT = "双十一到店有礼"


def crowd(n: int = 20) -> list[Person]:
    return [Person(str(k), wecom_external_id=f"wm{k}", wecom_userid=f"staff{k % 2}") for k in range(n)]


@pytest.fixture(autouse=True)
def _no_tokens_of_other_tests() -> None:
    wecom._tokens.clear()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Sandbox]:
    told: dict[str, Any] = {"confirm_seconds": 1e6, "job_seconds": 0.0, "groups": GROUPS}
    with start_sandbox(tmp_path, crowd(), wecom=told) as sandbox:
        yield sandbox


@pytest.fixture
def adapter(running: Sandbox) -> Iterator[Adapter]:
    made = Adapter(wecom_account(running))
    yield made
    made.close()


def states(told: PostTold) -> dict[str, Any]:
    return {done.employee: dict(done.groups) for done in told.done}


def test_a_group_message_is_told_by_group_once_its_owner_confirmed(
    adapter: Adapter, running: Sandbox
) -> None:
    posts = adapter.posts()
    asked = posts.ask("group", TEXT, ["staff0"], ["wr0", "wr2"])
    assert posts.told("group", asked.reference, ["staff0"]).done == []
    running.call(running.corp.confirm, asked.reference, "staff0")
    (done,) = posts.told("group", asked.reference, ["staff0"]).done
    assert (done.employee, dict(done.groups)) == ("staff0", {"wr0": "sent", "wr2": "sent"})
    assert done.at is not None
    assert abs(done.at.timestamp() - time.time()) < 60
    (task,) = running.log_lines("wecom", "task")
    assert (task["chat_type"], task["sender"]) == ("group", "staff0")
    assert [line["address"] for line in running.log_lines("wecom", "held")] == ["wr0", "wr2"]


def test_a_group_that_has_had_its_messages_of_the_month_gets_no_more(
    adapter: Adapter, running: Sandbox
) -> None:
    running.change({"wecom": {"per_month": 1}})
    posts = adapter.posts()
    for text, state in (("一", "sent"), ("二", "limit_reached")):
        asked = posts.ask("group", text, ["staff0"], ["wr0"])
        running.call(running.corp.confirm, asked.reference, "staff0")
        assert states(posts.told("group", asked.reference, ["staff0"])) == {"staff0": {"wr0": state}}


@pytest.mark.parametrize(
    ("kind", "text", "employees", "groups", "code"),
    [
        ("group", TEXT, ["staff0"], ["wr1"], "49008"),  # another's group
        ("group", TEXT, ["staff0"], [f"wr{n}" for n in range(2001)], "40058"),
        ("group", "好" * 1334, ["staff0"], ["wr0"], "40058"),
        ("group", TEXT, ["nobody"], ["wr0"], "84061"),
        ("moments", "a" * 2001, ["staff0"], [], "40058"),
        ("moments", "好" * 1334, ["staff0"], [], "40058"),
        ("moments", "", ["staff0"], [], "40058"),
    ],
)
def test_the_far_side_refuses_what_wecom_refuses(
    adapter: Adapter, kind: str, text: str, employees: list[str], groups: list[str], code: str
) -> None:
    with pytest.raises(AdapterError) as refused:
        adapter.posts().ask(kind, text, employees, groups)
    assert (refused.value.code, refused.value.retryable) == (code, False)


def test_a_moments_post_is_made_aside_and_tells_who_posted_how_many_can_see_it_and_who_reacted(
    adapter: Adapter, running: Sandbox
) -> None:
    running.change({"wecom": {"job_seconds": 1e6, "like_share": 1.0, "comment_share": 0.0}})
    posts = adapter.posts()
    asked = posts.ask("moments", TEXT, ["staff0", "staff1", "nobody"], [])
    waits = posts.told("moments", asked.reference, ["staff0", "staff1", "nobody"])
    assert (waits.making, waits.reference) == (True, asked.reference)
    running.change({"wecom": {"job_seconds": 0.0}})
    told = posts.told("moments", asked.reference, ["staff0", "staff1", "nobody"])
    assert (told.making, told.refused, told.done) == (False, ("nobody",), [])
    running.call(running.corp.moments.publish, told.reference.removeprefix("mom:"), "staff0")
    (done,) = posts.told("moments", told.reference, ["staff0", "staff1"]).done
    assert (done.employee, done.shown, len(done.reactions)) == ("staff0", 10, 10)
    assert {kind for kind, _address, _at in done.reactions} == {ResponseKind.LIKE}
    assert {address for _kind, address, _at in done.reactions} == {f"wm{n}" for n in range(0, 20, 2)}


def test_nobody_can_confirm_what_was_cancelled(adapter: Adapter, running: Sandbox) -> None:
    posts = adapter.posts()
    group = posts.ask("group", TEXT, ["staff0"], ["wr0"]).reference
    moment = posts.told("moments", posts.ask("moments", TEXT, ["staff0"], []).reference, ["staff0"]).reference
    for kind, reference in (("group", group), ("moments", moment)):
        posts.cancel(kind, reference)
        posts.cancel(kind, reference)
    assert not running.call(running.corp.confirm, group, "staff0")
    assert not running.call(running.corp.moments.publish, moment.removeprefix("mom:"), "staff0")


@pytest.mark.parametrize(("kind", "groups"), [("group", ["wr0"]), ("moments", [])])
def test_a_task_whose_answer_was_lost_is_found_by_text_time_and_employee(
    adapter: Adapter, running: Sandbox, kind: str, groups: list[str]
) -> None:
    posts = adapter.posts()
    mark = posts.mark(TEXT)
    running.faults("wecom", next=["drop"])
    assert posts.ask(kind, TEXT, ["staff0"], groups).reference == "", "it may have been made"
    told = posts.told(kind, mark, ["staff0"])
    assert (told.making, told.missing) == (False, False)
    assert not told.reference.startswith("~")
    assert len(running.log_lines("wecom", "task" if kind == "group" else "moment")) == 1


def test_a_call_that_never_arrived_is_missing_only_after_ten_minutes(adapter: Adapter) -> None:
    posts = adapter.posts()
    mark = posts.mark(TEXT)
    assert posts.told("group", mark, ["staff0"]) == PostTold(mark, making=True)
    old = f"{mark.partition('.')[0]}.{int(time.time()) - 601}"
    assert posts.told("group", old, ["staff0"]).missing


def test_the_far_side_remembers_posts_after_a_kill(tmp_path: Path) -> None:
    told = {"confirm_seconds": 1e6, "job_seconds": 0.0, "groups": GROUPS}
    with start_sandbox(tmp_path, crowd(), wecom=told) as first:
        adapter = Adapter(wecom_account(first))
        posts = adapter.posts()
        group = posts.ask("group", TEXT, ["staff0"], ["wr0"]).reference
        moment = posts.told(
            "moments", posts.ask("moments", TEXT, ["staff0"], []).reference, ["staff0"]
        ).reference
        first.call(first.corp.moments.publish, moment.removeprefix("mom:"), "staff0")
        adapter.close()
    wecom._tokens.clear()
    with start_sandbox(tmp_path, None, wecom=told) as second:
        adapter = Adapter(wecom_account(second))
        posts = adapter.posts()
        second.call(second.corp.confirm, group, "staff0")
        assert states(posts.told("group", group, ["staff0"])) == {"staff0": {"wr0": "sent"}}
        assert [done.shown for done in posts.told("moments", moment, ["staff0"]).done] == [10]
        adapter.close()
