"""The WeCom API of one corp, with employees who confirm mass messages after a while, or never.

What a call changes is on the disk before it is answered. WeCom carries no reference of ours: the log names each
recipient by ``msgid`` and ``external_userid``.
"""

import asyncio
import calendar
import datetime as dt
import itertools
import json
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
from aiohttp import web

from channels import wecom_crypto
from channels.sandbox.config import WeCom
from channels.sandbox.faults import Fault, chance
from channels.sandbox.log import Log, digest, read_log
from channels.sandbox.people import Population
from channels.sandbox.web import after
from channels.sandbox.wecom_answers import Refused, ok, page_of
from channels.sandbox.wecom_posts import Moments, check_group

KIND = "wecom"
ZONE = ZoneInfo("Asia/Shanghai")
UNSENT, SENT, NOT_A_FRIEND, LIMIT_REACHED = 0, 1, 2, 3
VERDICTS = {SENT: "sent", NOT_A_FRIEND: "not_friend", LIMIT_REACHED: "limit_reached"}
MOST_RECIPIENTS, LONGEST_TEXT, MOST_ATTACHMENTS, MOST_RESULTS, MOST_REMINDERS = 10_000, 4000, 9, 1000, 3


@dataclass
class Task:
    """A mass message that was created; each member has customers of their own to send it to."""

    msgid: str
    created: float
    text: str
    creator: str
    recipients: dict[str, list[str]] = field(default_factory=dict)  # userid → external ids, or groups
    confirmed: dict[str, float] = field(default_factory=dict)  # userid → when
    results: dict[str, tuple[int, int]] = field(
        default_factory=dict
    )  # external id, or group → status, send time
    cancelled: bool = False
    reminders: list[float] = field(default_factory=list)
    chat_type: str = "single"


# (external_userid, userid, text, msgid)
Arrived = Callable[[str, str, str, str], None]


@dataclass
class Corp:
    """The state of the corp and the handlers of its API."""

    config: WeCom
    log: Log
    seed: int
    people: Population | None = None
    arrived: Arrived | None = None
    callback: Callable[[], str] = str
    counters: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.moments = Moments(self)
        self._token = ""
        self._token_until = 0.0
        self._ids = itertools.count(1)
        self._received: dict[tuple[str, str], int] = {}  # (external id, month) → mass messages
        self._left: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._customers: dict[str, list[str]] = {}
        for person in self.people.people if self.people else ():
            if person.wecom_external_id:
                self._customers.setdefault(person.wecom_userid or "staff1", []).append(
                    person.wecom_external_id
                )
        self._tags: dict[str, str] = {}  # id → name
        self._marked: dict[tuple[str, str], set[str]] = {}  # (employee, external id) → tag ids
        self._departed: dict[str, int] = {}
        self._lost: dict[tuple[str, str], int] = {}  # (employee, day) → customers who deleted them
        self._employee = {ext: userid for userid, customers in self._customers.items() for ext in customers}

    def count(self, name: str, n: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + n

    # -- life --------------------------------------------------------------------------------------------
    def restore(self) -> None:
        """Read the log: tasks as they stood, with those still unconfirmed waiting for their employees again."""
        for line in read_log(self.log.directory.parent, KIND):
            task = self.tasks.get(line.get("msgid", ""))
            if line["event"] == "task":
                fresh = Task(line["msgid"], line["created"], line["text"], line["sender"])
                fresh.chat_type = line.get("chat_type", "single")
                self.tasks[fresh.msgid] = fresh
            elif line["event"] == "held" and task:
                task.recipients.setdefault(line["sender"], []).append(line["address"])
            elif line["event"] == "confirmed" and task:
                task.confirmed[line["sender"]] = line["send_time"]
            elif line["event"] == "result" and task:
                self._settle(task, line["address"], line["status"], line["send_time"])
            elif line["event"] == "cancelled" and task:
                task.cancelled = True
            elif line["event"] == "left":
                self._leaves(line["address"], line["sender"], line["at"][:10])
            elif line["event"] == "tag":
                self._tags[line["id"]] = line["name"]
            elif line["event"] == "marked":
                self._marked[line["sender"], line["address"]] = set(line["tags"])
            elif line["event"] == "departed":
                self._departed[line["sender"]] = line["dimission_time"]
            else:
                self.moments.restore(line)
        self._ids = itertools.count(len(self.tasks) + 1)
        for task in self.tasks.values():
            for userid in task.recipients:
                if userid not in task.confirmed and not task.cancelled:
                    self._expect_confirmation(task, userid)
        for moment in self.moments.moments.values():
            if not moment.cancelled:
                self.moments.expect(moment)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_get("/cgi-bin/gettoken", self._gettoken)
        base = "/cgi-bin/externalcontact/"
        for name, handler in {
            "add_msg_template": self._add,
            "get_groupmsg_list_v2": self._list_tasks,
            "get_groupmsg_task": self._members,
            "get_groupmsg_send_result": self._results,
            "remind_groupmsg_send": self._remind,
            "cancel_groupmsg_send": self._cancel,
            "batch/get_by_user": self._by_user,
            "get_corp_tag_list": self._tag_list,
            "add_corp_tag": self._add_tags,
            "mark_tag": self._mark,
            "groupchat/list": self._group_list,
            "groupchat/get": self._group,
            "get_unassigned_list": self._unassigned,
            "get_user_behavior_data": self._behaviour,
            **self.moments.handlers(),
        }.items():
            app.router.add_post(base + name, self._guarded(handler))
        app.router.add_get("/cgi-bin/user/get", self._guarded(self._user))
        app.router.add_get(base + "get_moment_task_result", self._guarded(self.moments.job))
        app.router.add_get(base + "list", self._guarded(self._list))
        app.router.add_get(base + "get_follow_user_list", self._guarded(self._follow_users))
        return app

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _guarded(
        self, handler: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """A call with token, faults and errors handled once."""

        async def guarded(request: web.Request) -> web.Response:
            fault = Fault.OK
            try:
                self._check_token(request.query.get("access_token", ""))
                raw = await request.read()
                try:
                    body = json.loads(raw) if raw else dict(request.query)
                except ValueError:
                    raise Refused(47001, "data format error") from None
                if request.path.endswith(("add_msg_template", "add_moment_task")):
                    fault = self.config.faults.decide_call(self.seed, digest(raw))
                if fault is Fault.THROTTLE:
                    raise Refused(45009, "api freq out of limit")
                if fault is Fault.REFUSE:
                    raise Refused(84061, "not external contact")
                answer = {"errcode": 0, "errmsg": "ok"} if fault is Fault.DROP_BEFORE else await handler(body)
            except Refused as error:
                answer = error.answer
                self.count(f"errcode {error.answer['errcode']}")
            await self.log.flushed()
            await after(request, fault, self.config.faults)
            return web.json_response(answer)

        return guarded

    # -- token -------------------------------------------------------------------------------------------
    async def _gettoken(self, request: web.Request) -> web.Response:
        if request.query.get("corpid") != self.config.corp_id:
            return web.json_response({"errcode": 40013, "errmsg": "invalid corpid"})
        if request.query.get("corpsecret") != self.config.secret:
            return web.json_response({"errcode": 40001, "errmsg": "invalid credential"})
        if not self._token or time.time() > self._token_until:
            self._token, self._token_until = (
                secrets.token_urlsafe(48),
                time.time() + self.config.token_seconds,
            )
        self.count("tokens")
        return web.json_response(
            {
                "errcode": 0,
                "errmsg": "ok",
                "access_token": self._token,
                "expires_in": self.config.token_seconds,
            }
        )

    def _check_token(self, token: str) -> None:
        if not token:
            raise Refused(41001, "access_token missing")
        if self.config.faults.expired_token > 0:
            self.config.faults.expired_token -= 1
            self._token = ""
            raise Refused(42001, "access_token expired")
        if token != self._token:
            raise Refused(40014, "invalid access_token")
        if time.time() > self._token_until:
            raise Refused(42001, "access_token expired")

    # -- mass messages -----------------------------------------------------------------------------------
    async def _add(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted, sender = body.get("external_userid") or [], body.get("sender") or ""
        text = (body.get("text") or {}).get("content") or ""
        attachments = body.get("attachments") or []
        chat_type = body.get("chat_type", "single")
        if chat_type not in {"single", "group"}:
            raise Refused(40058, "chat_type must be single or group")
        if chat_type == "group":
            self._check_content(text, attachments)
            return self._create({sender: check_group(self, body)}, text, sender, [], chat_type)
        if not isinstance(wanted, list) or not all(isinstance(ext, str) for ext in wanted):
            raise Refused(40058, "external_userid must be a list of strings")
        if not wanted:
            raise Refused(40058, "external_userid is empty")
        if len(wanted) > MOST_RECIPIENTS:
            raise Refused(40058, "external_userid exceeds 10000")
        if len(set(wanted)) != len(wanted):
            raise Refused(40058, "external_userid repeats")
        self._check_content(text, attachments)
        if sender and self._customers and sender not in self._customers:
            raise Refused(40003, "invalid UserID")
        if not any(self._known(ext) for ext in wanted):
            raise Refused(40096, "invalid external userid", fail_list=wanted)
        good: dict[str, list[str]] = {}
        failed = []
        for ext in wanted:
            userid = self._employee.get(ext) if self._customers else sender or "staff1"
            if userid is None or (sender and userid != sender):
                failed.append(ext)
            else:
                good.setdefault(userid, []).append(ext)
        if not good:
            raise Refused(84061, "not external contact", fail_list=failed)
        return self._create(good, text, sender, failed)

    def _check_content(self, text: str, attachments: list[Any]) -> None:
        if len(text.encode()) > LONGEST_TEXT:
            raise Refused(40058, "text.content exceeds 4000 bytes")
        if len(attachments) > MOST_ATTACHMENTS:
            raise Refused(40058, "attachments exceed 9")
        if not text and not attachments:
            raise Refused(40058, "text and attachments are both empty")

    def _known(self, ext: str) -> bool:
        return ext in self._employee or (
            not self._customers and self.config.open_world and ext[:2] in {"wm", "wo"}
        )

    def _create(
        self, good: dict[str, list[str]], text: str, sender: str, failed: list[str], chat_type: str = "single"
    ) -> dict[str, Any]:
        task = Task(f"msgGCAAA{next(self._ids):012d}", time.time(), text, sender, good, chat_type=chat_type)
        self.tasks[task.msgid] = task
        shown = digest(text)
        self.log.write(
            KIND, "task", msgid=task.msgid, created=task.created, text=text, sender=sender, chat_type=chat_type
        )  # fmt: skip
        for userid, customers in good.items():
            for ext in customers:
                self.log.write(
                    KIND,
                    "held",
                    verdict="held",
                    attempt="",
                    msgid=task.msgid,
                    address=ext,
                    sender=userid,
                    digest=shown,
                )
            self.count("held", len(customers))
            self._expect_confirmation(task, userid)
        for ext in failed:
            self.log.write(
                KIND,
                "failed",
                verdict="refused",
                attempt="",
                msgid=task.msgid,
                address=ext,
                sender=sender,
                digest=shown,
            )
        if failed:
            self.count("failed", len(failed))
        return {"errcode": 0, "errmsg": "ok", "fail_list": failed, "msgid": task.msgid}

    def _expect_confirmation(self, task: Task, userid: str) -> None:
        key = f"{task.msgid} {userid}"
        if chance(self.seed, "never confirms", key) < self.config.never_share:
            return
        wait = -self.config.confirm_seconds * math.log(1 - chance(self.seed, "confirms", key))
        self.later(self._confirm_later(task, userid, max(0.0, task.created + wait - time.time())))

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        running = asyncio.ensure_future(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _confirm_later(self, task: Task, userid: str, wait: float) -> None:
        await asyncio.sleep(wait)
        await self.confirm(task.msgid, userid)

    async def confirm(self, msgid: str, userid: str) -> bool:
        """The employee taps "send": whoever may still receive gets it now. False when that is over."""
        task = self.tasks[msgid]
        if task.cancelled or userid in task.confirmed or userid not in task.recipients:
            return False
        now = int(time.time())
        task.confirmed[userid] = now
        self.log.write(KIND, "confirmed", msgid=msgid, sender=userid, send_time=now)
        for ext in task.recipients[userid]:
            status = self._status_for(ext, now, task.chat_type)
            self._settle(task, ext, status, now)
            self.log.write(
                KIND, "result", verdict=VERDICTS[status], attempt="", msgid=msgid, address=ext, sender=userid,
                status=status, send_time=now, digest=digest(task.text),
            )  # fmt: skip
            self.count(VERDICTS[status])
        await self.log.flushed()
        if self.arrived and task.chat_type == "single":
            for ext in task.recipients[userid]:
                if task.results[ext][0] == SENT:
                    self.arrived(ext, userid, task.text, msgid)
        return True

    def _status_for(self, ext: str, now: float, chat_type: str) -> int:
        month = dt.datetime.fromtimestamp(now, ZONE)
        most = self.config.per_month or calendar.monthrange(month.year, month.month)[1]
        gone = ext in self._left or chance(self.seed, "deleted us", ext) < self.config.stranger_share
        if chat_type == "single" and gone:
            return NOT_A_FRIEND
        return LIMIT_REACHED if self._received.get((ext, f"{month:%Y-%m}"), 0) >= most else SENT

    def _settle(self, task: Task, ext: str, status: int, at: int) -> None:
        task.results[ext] = (status, at if status == SENT else 0)
        if status == SENT:
            key = (ext, f"{dt.datetime.fromtimestamp(at, ZONE):%Y-%m}")
            self._received[key] = self._received.get(key, 0) + 1

    def _task(self, body: dict[str, Any]) -> Task:
        try:
            return self.tasks[body.get("msgid", "")]
        except KeyError:
            raise Refused(41063, "msgid not found") from None

    async def _list_tasks(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            start, end = float(body["start_time"]), float(body["end_time"])
        except (KeyError, ValueError):
            raise Refused(40058, "start_time and end_time are needed") from None
        if end - start > 31 * 86400:
            raise Refused(40058, "the time range exceeds one month")
        kind = body.get("chat_type")
        if kind not in {"single", "group"}:
            raise Refused(40058, "chat_type must be single or group")
        found = [
            task
            for task in self.tasks.values()
            if start <= int(task.created) <= end and task.chat_type == kind
        ]
        page, cursor = page_of(found, body, 100, 50)
        return ok(
            next_cursor=cursor,
            group_msg_list=[
                {
                    "msgid": task.msgid, "creator": task.creator, "create_time": int(task.created), "create_type": 0,
                    "text": {"content": task.text}, "attachments": [],
                }
                for task in page
            ],
        )  # fmt: skip

    async def _members(self, body: dict[str, Any]) -> dict[str, Any]:
        task = self._task(body)
        page, cursor = page_of(list(task.recipients), body, MOST_RESULTS, 500)
        return ok(
            next_cursor=cursor,
            task_list=[
                {"userid": userid, "status": 2, "send_time": int(task.confirmed[userid])}
                if userid in task.confirmed else {"userid": userid, "status": 0}
                for userid in page
            ],
        )  # fmt: skip

    async def _results(self, body: dict[str, Any]) -> dict[str, Any]:
        task, userid = self._task(body), body.get("userid", "")
        if userid not in task.recipients:
            raise Refused(40003, "invalid UserID")
        page, cursor = page_of(task.recipients[userid], body, MOST_RESULTS, 500)
        told = time.time() >= task.confirmed.get(userid, 0) + self.config.send_seconds
        found = []
        for ext in page:
            status, at = task.results.get(ext, (UNSENT, 0)) if told else (UNSENT, 0)
            name = "chat_id" if task.chat_type == "group" else "external_userid"
            row = {name: ext, "userid": userid, "status": status}
            found.append({**row, "send_time": at} if at else row)
        return ok(next_cursor=cursor, send_list=found)

    async def _remind(self, body: dict[str, Any]) -> dict[str, Any]:
        task, now = self._task(body), time.time()
        task.reminders = [at for at in task.reminders if at > now - 86400]
        if len(task.reminders) >= MOST_REMINDERS:
            raise Refused(41093, "remind more than 3 times in 24 hours")
        task.reminders.append(now)
        return ok()

    async def _cancel(self, body: dict[str, Any]) -> dict[str, Any]:
        task = self._task(body)
        if not task.cancelled:
            task.cancelled = True
            self.log.write(KIND, "cancelled", msgid=task.msgid)
            self.count("cancelled")
        return ok()

    def employees(self) -> list[str]:
        """Who may post: employees with customers, and owners of groups, who did not leave."""
        owners = {group["owner"] for group in self.config.groups}
        return sorted((set(self._customers) | owners) - set(self._departed))

    def customers_of(self, userid: str) -> list[str]:
        return [ext for ext in self._customers.get(userid, ()) if ext not in self._left]

    # -- customers ---------------------------------------------------------------------------------------
    async def _follow_users(self, body: dict[str, Any]) -> dict[str, Any]:
        return ok(follow_user=sorted(set(self._customers) - set(self._departed)))

    async def _list(self, body: dict[str, Any]) -> dict[str, Any]:
        customers = self._customers.get(body.get("userid", ""))
        if not customers:
            raise Refused(84061, "not external contact")
        return ok(external_userid=[ext for ext in customers if ext not in self._left])

    async def _by_user(self, body: dict[str, Any]) -> dict[str, Any]:
        users = body.get("userid_list") or []
        if not 1 <= len(users) <= 100:
            raise Refused(40058, "userid_list must have 1 to 100 entries")
        pairs = [
            (userid, ext)
            for userid in users
            for ext in self._customers.get(userid, ())
            if ext not in self._left and userid not in self._departed
        ]
        if not pairs:
            raise Refused(84061, "not external contact")
        page, cursor = page_of(pairs, body, 100, 50)
        return ok(
            next_cursor=cursor,
            external_contact_list=[
                {
                    "external_contact": {"external_userid": ext, "name": ext[-6:], "type": 1},
                    "follow_info": {
                        "userid": userid,
                        "createtime": 1735689600,
                        "add_way": 1,
                        "tag_id": sorted(self._marked.get((userid, ext), ())),
                    },
                }
                for userid, ext in page
            ],
        )

    def _leaves(self, ext: str, userid: str, day: str) -> None:
        self._left.add(ext)
        self._lost[userid, day] = self._lost.get((userid, day), 0) + 1

    # -- employees, tags, groups -------------------------------------------------------------------------
    async def _user(self, body: dict[str, Any]) -> dict[str, Any]:
        userid = body.get("userid", "")
        if not self.config.shows_names:
            raise Refused(60011, "no privilege to access/modify contact/party/agent")
        if userid not in self._customers:
            raise Refused(60111, "userid not found")
        return ok(userid=userid, name=f"员工 {userid}", status=1)

    async def _tag_list(self, body: dict[str, Any]) -> dict[str, Any]:
        return ok(
            tag_group=[{"group_id": "g1", "tag": [{"id": k, "name": v} for k, v in self._tags.items()]}]
        )

    async def _add_tags(self, body: dict[str, Any]) -> dict[str, Any]:
        names = [tag.get("name", "") for tag in body.get("tag") or ()]
        if not names or not all(names):
            raise Refused(40058, "tag.name is empty")
        if set(names) & set(self._tags.values()):
            raise Refused(40071, "tag name already exists")
        made = []
        for name in names:
            ident = f"et{len(self._tags) + 1:06d}"
            self._tags[ident] = name
            self.log.write(KIND, "tag", id=ident, name=name)
            made.append({"id": ident, "name": name})
        return ok(tag_group={"group_id": "g1", "group_name": body.get("group_name", ""), "tag": made})

    async def _mark(self, body: dict[str, Any]) -> dict[str, Any]:
        userid, ext = body.get("userid", ""), body.get("external_userid", "")
        add, remove = set(body.get("add_tag") or ()), set(body.get("remove_tag") or ())
        if ext not in self._customers.get(userid, ()) or ext in self._left:
            raise Refused(84061, "not external contact")
        if not (add | remove) <= set(self._tags):
            raise Refused(40068, "invalid tagid")
        self.mark(userid, ext, (self._marked.get((userid, ext), set()) | add) - remove)
        return ok()

    def mark(self, userid: str, ext: str, tags: set[str]) -> None:
        self._marked[userid, ext] = tags
        self.log.write(KIND, "marked", sender=userid, address=ext, tags=sorted(tags))

    async def _group_list(self, body: dict[str, Any]) -> dict[str, Any]:
        page, cursor = page_of(self.config.groups, body, 1000, 1000)
        return ok(next_cursor=cursor, group_chat_list=[{"chat_id": g["chat_id"], "status": 0} for g in page])

    async def _group(self, body: dict[str, Any]) -> dict[str, Any]:
        for group in self.config.groups:
            if group["chat_id"] == body.get("chat_id"):
                members = [{"userid": group["owner"], "type": 1, "join_time": 1735689600}]
                members += [
                    {"userid": f"wmGroup{n}", "type": 2, "join_time": 1735689600}
                    for n in range(group["customers"])
                ]
                return ok(
                    group_chat={**{k: group[k] for k in ("chat_id", "name", "owner")}, "member_list": members}
                )
        raise Refused(49008, "chat not found")

    async def depart(self, userid: str) -> None:
        """The employee leaves the company; the customers wait for somebody."""
        self._departed[userid] = int(time.time())
        self.log.write(KIND, "departed", sender=userid, dimission_time=self._departed[userid])
        await self.log.flushed()

    async def _unassigned(self, body: dict[str, Any]) -> dict[str, Any]:
        rows = [
            {"handover_userid": userid, "external_userid": ext, "dimission_time": at}
            for userid, at in self._departed.items()
            for ext in self._customers.get(userid, ())
        ]
        page, cursor = page_of(rows, body, 1000, 1000)
        return ok(info=page, next_cursor=cursor, is_last=not cursor)

    async def _behaviour(self, body: dict[str, Any]) -> dict[str, Any]:
        users, first, last = body.get("userid") or [], body.get("start_time"), body.get("end_time")
        if not users or not isinstance(first, int) or not isinstance(last, int):
            raise Refused(40058, "userid, start_time and end_time are needed")
        if last - first > 30 * 86400:
            raise Refused(40058, "the time range exceeds 30 days")
        rows = []
        for at in range(first, last + 1, 86400):
            day = dt.datetime.fromtimestamp(at, ZONE).date().isoformat()
            rows.append({
                "stat_time": at, "chat_cnt": 3, "message_cnt": 10 * len(users), "reply_percentage": 80.0,
                "avg_reply_time": round(2 + 20 * chance(self.seed, "replies", f"{users[0]} {day}"), 1),
                "negative_feedback_cnt": sum(self._lost.get((userid, day), 0) for userid in users),
                "new_apply_cnt": 0,
                "new_contact_cnt": sum(int(4 * chance(self.seed, "adds", f"{userid} {day}")) for userid in users),
            })  # fmt: skip
        return ok(behavior_data=rows)

    async def leave(self, ext: str, userid: str) -> None:
        """The customer deletes the employee; WeCom tells the callback."""
        self._leaves(ext, userid, dt.datetime.now(ZONE).date().isoformat())
        self.log.write(KIND, "left", address=ext, sender=userid)
        await self.log.flushed()
        self.count("left")
        await self.tell({"ChangeType": "del_follow_user", "UserID": userid, "ExternalUserID": ext})

    async def tell(self, fields: dict[str, str], event: str = "change_external_contact") -> int:
        """Post an encrypted event to the callback; its HTTP status, or 0 where there is none or it is down.

        WeCom tries three times in all."""
        config, address = self.config, self.callback()
        if not address:
            return 0
        now = str(int(time.time()))
        inner = {"ToUserName": config.corp_id, "FromUserName": "sys", "CreateTime": now, "MsgType": "event"}
        xml = "".join(f"<{k}><![CDATA[{v}]]></{k}>" for k, v in {**inner, "Event": event, **fields}.items())
        sealed = wecom_crypto.seal(config.callback_aes_key, f"<xml>{xml}</xml>", config.corp_id)
        nonce = secrets.token_hex(5)
        query = {
            "msg_signature": wecom_crypto.signature(config.callback_token, now, nonce, sealed),
            "timestamp": now,
            "nonce": nonce,
        }
        body = f"<xml><ToUserName>{config.corp_id}</ToUserName><Encrypt><![CDATA[{sealed}]]></Encrypt></xml>"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as client:
            for _attempt in range(3):
                try:
                    async with client.post(address, params=query, data=body.encode()) as answer:
                        self.count(f"callback {answer.status}")
                        if answer.status < 500:
                            return answer.status
                except (aiohttp.ClientError, TimeoutError):
                    self.count("callback failed")
                await asyncio.sleep(1)
        return 0
