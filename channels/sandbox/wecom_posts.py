"""WeCom's posts to many: messages to chat groups as far as they differ, and Moments, with their limits.

Who sees a Moments post is told by number and name; that somebody looked is told by nobody, save by a like.
"""

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from channels.sandbox.faults import chance
from channels.sandbox.wecom_answers import Refused, ok, page_of

if TYPE_CHECKING:
    from channels.sandbox.wecom import Corp

MOST_GROUPS, MOST_SENDERS = 2000, 100_000
LONGEST_MOMENT, LONGEST_OCTETS = 2000, 4000
MOST_IMAGES = 9


@dataclass
class Moment:
    """A post that employees are asked to publish."""

    moment_id: str
    jobid: str
    created: float
    text: str
    employees: list[str]
    invalid: list[str] = field(default_factory=list)
    published: dict[str, float] = field(default_factory=dict)
    cancelled: bool = False


def check_group(corp: "Corp", body: dict[str, Any]) -> list[str]:
    """The groups of an ``add_msg_template`` of type group. Raises :class:`Refused`."""
    sender, wanted = body.get("sender") or "", body.get("chat_id_list") or []
    if not sender:
        raise Refused(40058, "sender is needed when chat_type is group")
    if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
        raise Refused(40058, "chat_id_list must be a list of strings")
    if len(wanted) > MOST_GROUPS:
        raise Refused(40058, "chat_id_list exceeds 2000")
    own = [group["chat_id"] for group in corp.config.groups if group["owner"] == sender]
    if not own:
        raise Refused(84061, "the sender owns no group")
    chosen = wanted or own  # without a list the owner chooses; here: all
    if set(chosen) - set(own):
        raise Refused(49008, "chat not found among the sender's")
    return chosen


class Moments:
    """The Moments of a corp."""

    def __init__(self, corp: "Corp") -> None:
        self._corp = corp
        self.moments: dict[str, Moment] = {}

    def handlers(self) -> dict[str, Any]:
        return {
            "add_moment_task": self._add,
            "get_moment_list": self._list,
            "get_moment_task": self._tasks,
            "get_moment_customer_list": self._customers,
            "get_moment_send_result": self._shown,
            "get_moment_comments": self._comments,
            "cancel_moment_task": self._cancel,
        }

    def restore(self, line: dict[str, Any]) -> None:
        if line["event"] == "moment":
            names = ("moment_id", "jobid", "created", "text", "employees", "invalid")
            self.moments[line["moment_id"]] = Moment(*(line[name] for name in names))
        elif line["event"] == "published":
            self.moments[line["moment_id"]].published[line["sender"]] = line["send_time"]
        elif line["event"] == "moment_cancelled":
            self.moments[line["moment_id"]].cancelled = True

    def expect(self, moment: Moment) -> None:
        """Employees publish after a while, or never, as they confirm messages."""
        corp = self._corp
        for userid in moment.employees:
            key = f"{moment.moment_id} {userid}"
            if (
                userid in moment.published
                or chance(corp.seed, "never confirms", key) < corp.config.never_share
            ):
                continue
            wait = -corp.config.confirm_seconds * math.log(1 - chance(corp.seed, "confirms", key))
            corp.later(self._publish_later(moment, userid, max(0.0, moment.created + wait - time.time())))

    async def _publish_later(self, moment: Moment, userid: str, wait: float) -> None:
        await asyncio.sleep(wait)
        await self.publish(moment.moment_id, userid)

    async def publish(self, moment_id: str, userid: str) -> bool:
        """The employee taps "publish". False when that is over."""
        moment, corp = self.moments[moment_id], self._corp
        if moment.cancelled or userid in moment.published or userid not in moment.employees:
            return False
        moment.published[userid] = int(time.time())
        corp.log.write(
            "wecom", "published", moment_id=moment_id, sender=userid, send_time=moment.published[userid]
        )
        corp.count("published")
        await corp.log.flushed()
        return True

    async def _add(self, body: dict[str, Any]) -> dict[str, Any]:
        text, attachments = (body.get("text") or {}).get("content") or "", body.get("attachments") or []
        if not text and not attachments:
            raise Refused(40058, "text and attachments are both empty")
        if len(text) > LONGEST_MOMENT or len(text.encode()) > LONGEST_OCTETS:
            raise Refused(40058, "invalid text size")
        kinds = {one.get("msgtype") for one in attachments}
        if len(kinds) > 1 or kinds - {"image", "video", "link"}:
            raise Refused(40058, "invalid attachments msgtype")
        if len(attachments) > (MOST_IMAGES if kinds == {"image"} else 1):
            raise Refused(40058, "invalid attachments size")
        asked = ((body.get("visible_range") or {}).get("sender_list") or {}).get("user_list") or []
        if len(asked) > MOST_SENDERS:
            raise Refused(40058, "user_list exceeds 100000")
        able = self._corp.employees()
        number = len(self.moments) + 1
        moment = Moment(
            f"momGCAAA{number:012d}", f"job{number:012d}", time.time(), text,
            [userid for userid in asked or able if userid in able], [one for one in asked if one not in able],
        )  # fmt: skip
        self.moments[moment.moment_id] = moment
        self._corp.log.write(
            "wecom", "moment", moment_id=moment.moment_id, jobid=moment.jobid, created=moment.created, text=text,
            employees=moment.employees, invalid=moment.invalid,
        )  # fmt: skip
        self._corp.count("moments")
        if moment.employees:
            self.expect(moment)
        return ok(jobid=moment.jobid)

    async def job(self, body: dict[str, Any]) -> dict[str, Any]:
        for moment in self.moments.values():
            if moment.jobid == body.get("jobid"):
                if time.time() < moment.created + self._corp.config.job_seconds:
                    return ok(status=2, type="add_moment_task")
                told = {"errcode": 0, "errmsg": "ok", "moment_id": moment.moment_id}
                if not moment.employees:
                    told = {"errcode": 40003, "errmsg": "invalid UserID", "moment_id": ""}
                told |= {"invalid_sender_list": {"user_list": moment.invalid, "department_list": []}}
                return ok(status=3, type="add_moment_task", result=told)
        raise Refused(40058, "invalid jobid")

    def _moment(self, body: dict[str, Any]) -> Moment:
        try:
            return self.moments[body.get("moment_id", "")]
        except KeyError:
            raise Refused(40058, "invalid moment_id") from None

    async def _list(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            start, end = float(body["start_time"]), float(body["end_time"])
        except (KeyError, ValueError):
            raise Refused(40058, "start_time and end_time are needed") from None
        if end - start > 30 * 86400:
            raise Refused(40058, "the time range exceeds 30 days")
        found = [one for one in self.moments.values() if start < one.created < end]
        page, cursor = page_of(found, body, 20, 20)
        return ok(
            next_cursor=cursor,
            moment_list=[
                {
                    "moment_id": one.moment_id, "creator": "", "create_time": int(one.created), "create_type": 0,
                    "visible_type": 1, "text": {"content": one.text},
                }
                for one in page
            ],
        )  # fmt: skip

    async def _tasks(self, body: dict[str, Any]) -> dict[str, Any]:
        moment = self._moment(body)
        page, cursor = page_of(moment.employees, body, 1000, 500)
        rows = [{"userid": userid, "publish_status": int(userid in moment.published)} for userid in page]
        return ok(next_cursor=cursor, task_list=rows)

    def _seen_by(self, body: dict[str, Any]) -> tuple[Moment, str, list[str]]:
        moment, userid = self._moment(body), body.get("userid", "")
        if userid not in moment.employees:
            raise Refused(40003, "invalid UserID")
        return moment, userid, self._corp.customers_of(userid) if userid in moment.published else []

    async def _customers(self, body: dict[str, Any]) -> dict[str, Any]:
        _of, userid, customers = self._seen_by(body)
        page, cursor = page_of(customers, body, 1000, 500)
        return ok(
            next_cursor=cursor, customer_list=[{"userid": userid, "external_userid": ext} for ext in page]
        )

    async def _shown(self, body: dict[str, Any]) -> dict[str, Any]:
        page, cursor = page_of(self._seen_by(body)[2], body, 5000, 3000)
        return ok(next_cursor=cursor, customer_list=[{"external_userid": ext} for ext in page])

    async def _comments(self, body: dict[str, Any]) -> dict[str, Any]:
        moment, userid, customers = self._seen_by(body)
        told: dict[str, list[dict[str, Any]]] = {}
        for name, share in (
            ("like_list", self._corp.config.like_share),
            ("comment_list", self._corp.config.comment_share),
        ):
            told[name] = [
                {"external_userid": ext, "create_time": int(moment.published[userid]) + 1}
                for ext in customers
                if chance(self._corp.seed, name, f"{moment.moment_id} {ext}") < share
            ]
        return ok(**told)

    async def _cancel(self, body: dict[str, Any]) -> dict[str, Any]:
        moment = self._moment(body)
        if not moment.cancelled:
            moment.cancelled = True
            self._corp.log.write("wecom", "moment_cancelled", moment_id=moment.moment_id)
            self._corp.count("moments cancelled")
        return ok()
