"""WeCom's messages to chat groups (客户群群发) and Moments posts (客户朋友圈): tasks that employees confirm.

A group message is one employee's, who owns the groups; it is known as ``msgid``. A Moments post is one task for
several employees, made aside: known as ``job:<jobid>`` until it is made, then as ``mom:<moment_id>``. A call whose
answer was lost stays ``~<digest of the text>.<seconds>``, and is looked for by text and time.
"""

import datetime as dt
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from audiences.vocabulary import ResponseKind
from channels.adapters.base import PostAsked, PostDone, PostLimits, PostMaker, PostTold

GROUP, MOMENTS = "group", "moments"
LIMITS = {GROUP: PostLimits(4000, 4000, groups=2000, reminds=True), MOMENTS: PostLimits(2000, 4000)}
MARK, JOB, MOMENT = "~", "job:", "mom:"
LOOK_AROUND = 300  # seconds between our clock and WeCom's, and for a call on its way
MADE = 3  # of get_moment_task_result
STATES = {0: "", 1: "sent", 2: "not_a_friend", 3: "limit_reached"}  # of a group, in get_groupmsg_send_result

Call = Callable[[str, str, Any], dict[str, Any]]
Pages = Callable[[str, dict[str, Any], str, int], Iterator[dict[str, Any]]]
Make = Callable[[str, dict[str, Any], str], PostAsked]


class Posts(PostMaker):
    def __init__(self, call: Call, pages: Pages, make: Make) -> None:
        self._call, self._pages, self._make = call, pages, make

    def mark(self, text: str) -> str:
        return f"{MARK}{_digest(text)}.{int(time.time())}"

    def ask(self, kind: str, text: str, employees: Sequence[str], groups: Sequence[str]) -> PostAsked:
        if kind == GROUP:
            (sender,) = employees
            body = {
                "chat_type": "group", "sender": sender, "chat_id_list": list(groups), "allow_select": False,
                "text": {"content": text},
            }  # fmt: skip
            return self._make("externalcontact/add_msg_template", body, "msgid")
        seen_by = {"sender_list": {"user_list": list(employees)}}
        body = {"text": {"content": text}, "visible_range": seen_by}
        asked = self._make("externalcontact/add_moment_task", body, "jobid")
        return PostAsked(asked.reference and f"{JOB}{asked.reference}")

    def told(self, kind: str, reference: str, employees: Sequence[str]) -> PostTold:
        if reference.startswith(MARK):
            found = self._group_like(reference, employees) if kind == GROUP else self._moment_like(reference)
            if not found:
                began = int(reference.rpartition(".")[2])
                return PostTold(reference, making=True, missing=time.time() > began + 2 * LOOK_AROUND)
            reference = found
        if reference.startswith(JOB):
            answer = self._call(
                "GET", "externalcontact/get_moment_task_result", {"jobid": reference[len(JOB) :]}
            )
            if int(answer.get("status") or 0) != MADE:
                return PostTold(reference, making=True)
            result = answer.get("result") or {}
            if result.get("errcode"):
                return PostTold(reference, error=f"{result['errcode']} {result.get('errmsg', '')}"[:200])
            refused = (result.get("invalid_sender_list") or {}).get("user_list") or ()
            made = f"{MOMENT}{result['moment_id']}"
            return PostTold(
                made, refused=tuple(refused), done=self._moment(made, set(employees) - set(refused))
            )
        if kind == GROUP:
            return PostTold(reference, done=self._group(reference, employees))
        return PostTold(reference, done=self._moment(reference, set(employees)))

    def cancel(self, kind: str, reference: str) -> None:
        if kind == GROUP:
            self._call("POST", "externalcontact/cancel_groupmsg_send", {"msgid": reference})
        else:
            body = {"moment_id": reference[len(MOMENT) :]}
            self._call("POST", "externalcontact/cancel_moment_task", body)

    # Groups ---------------------------------------------------------------------------------------

    def _group(self, msgid: str, employees: Sequence[str]) -> list[PostDone]:
        done = []
        for member in self._pages("externalcontact/get_groupmsg_task", {"msgid": msgid}, "task_list", 1000):
            if not member.get("status") or member["userid"] not in employees:
                continue
            body = {"msgid": msgid, "userid": member["userid"]}
            rows = list(self._pages("externalcontact/get_groupmsg_send_result", body, "send_list", 1000))
            states = {
                row["chat_id"]: STATES.get(int(row["status"]), str(row["status"]))
                for row in rows
                if row.get("chat_id")
            }
            done.append(PostDone(member["userid"], True, _moment_of(member.get("send_time")), states))
        return done

    def _group_like(self, mark: str, employees: Sequence[str]) -> str:
        """The task of this text, time and employee, or ""."""
        body = {"chat_type": "group", **_around(mark)}
        for task in self._pages("externalcontact/get_groupmsg_list_v2", body, "group_msg_list", 100):
            if not _is_of(mark, task):
                continue
            query = {"msgid": task["msgid"]}
            members = self._pages("externalcontact/get_groupmsg_task", query, "task_list", 1000)
            if any(member["userid"] in employees for member in members):
                return str(task["msgid"])
        return ""

    # Moments --------------------------------------------------------------------------------------

    def _moment(self, reference: str, employees: set[str]) -> list[PostDone]:
        moment = reference[len(MOMENT) :]
        done = []
        for task in self._pages("externalcontact/get_moment_task", {"moment_id": moment}, "task_list", 1000):
            if not task.get("publish_status") or task["userid"] not in employees:
                continue
            body = {"moment_id": moment, "userid": task["userid"]}
            seen_by = self._pages("externalcontact/get_moment_send_result", body, "customer_list", 5000)
            told = self._call("POST", "externalcontact/get_moment_comments", body)
            done.append(
                PostDone(
                    task["userid"], True, shown=sum(1 for _customer in seen_by), reactions=tuple(_reactions(told))
                )
            )  # fmt: skip
        return done

    def _moment_like(self, mark: str) -> str:
        body = {"filter_type": 0, **_around(mark)}
        for moment in self._pages("externalcontact/get_moment_list", body, "moment_list", 20):
            if _is_of(mark, moment):
                return f"{MOMENT}{moment['moment_id']}"
        return ""


def _reactions(told: Mapping[str, Any]) -> Iterator[tuple[ResponseKind, str, dt.datetime]]:
    """Of customers; employees react as well, and are no customers."""
    for name, kind in (("like_list", ResponseKind.LIKE), ("comment_list", ResponseKind.REPLY)):
        for row in told.get(name) or ():
            if row.get("external_userid"):
                at = _moment_of(row.get("create_time")) or dt.datetime.now(dt.UTC)
                yield kind, row["external_userid"], at


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]


def _around(mark: str) -> dict[str, int]:
    began = int(mark.rpartition(".")[2])
    return {"start_time": began - LOOK_AROUND, "end_time": began + LOOK_AROUND}


def _is_of(mark: str, task: Mapping[str, Any]) -> bool:
    text = (task.get("text") or {}).get("content", "")
    return mark[len(MARK) :].partition(".")[0] == _digest(text)


def _moment_of(seconds: Any) -> dt.datetime | None:
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC) if seconds else None
