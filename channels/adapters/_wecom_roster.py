"""WeCom's employees with customers, their contacts and tags, chat groups, departures and daily figures."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from channels.adapters.base import AdapterError, RosterContact, RosterDay, RosterGroup, RosterReader

ZONE = ZoneInfo("Asia/Shanghai")
EMPLOYEES_AT_ONCE = 100
NO_CONTACTS = "84061"  # an employee without customers
NOT_SHOWN = {"48002", "60011", "60111", "301002"}  # the app may not read the address book
TAG_GROUP = "Evenreach"

Call = Callable[[str, str, Any], dict[str, Any]]
Pages = Callable[[str, dict[str, Any], str, int], Iterator[dict[str, Any]]]


class Roster(RosterReader):
    def __init__(self, call: Call, pages: Pages) -> None:
        self._call, self._pages = call, pages
        self._tags: dict[str, str] | None = None  # id → name

    def employees(self, known: Mapping[str, str]) -> Mapping[str, str]:
        told = self._call("GET", "externalcontact/get_follow_user_list", None).get("follow_user") or []
        return {userid: known.get(userid) or self._name(userid) for userid in told}

    def _name(self, userid: str) -> str:
        try:
            return str(self._call("GET", "user/get", {"userid": userid}).get("name") or userid)
        except AdapterError as error:
            if error.code in NOT_SHOWN:
                return userid
            raise

    def departures(self) -> Mapping[str, dt.datetime]:
        left: dict[str, dt.datetime] = {}
        rows = self._pages("externalcontact/get_unassigned_list", {"page_size": 1000}, "info", 1000)
        for row in rows:
            at = dt.datetime.fromtimestamp(int(row.get("dimission_time") or 0), dt.UTC)
            left[row["handover_userid"]] = max(at, left.get(row["handover_userid"], at))
        return left

    def contacts(self, employees: Sequence[str]) -> Iterator[RosterContact]:
        names = self._tag_names()
        for start in range(0, len(employees), EMPLOYEES_AT_ONCE):
            body = {"userid_list": list(employees[start : start + EMPLOYEES_AT_ONCE])}
            try:
                for row in self._pages(
                    "externalcontact/batch/get_by_user", body, "external_contact_list", 100
                ):
                    contact, follow = row["external_contact"], row["follow_info"]
                    yield RosterContact(
                        follow["userid"],
                        contact["external_userid"],
                        contact.get("name", ""),
                        dt.datetime.fromtimestamp(int(follow.get("createtime") or 0), dt.UTC),
                        tuple(names[tag] for tag in follow.get("tag_id") or () if tag in names),
                    )
            except AdapterError as error:
                if error.code != NO_CONTACTS:
                    raise

    def groups(self) -> Iterator[RosterGroup]:
        for row in self._pages(
            "externalcontact/groupchat/list", {"status_filter": 0}, "group_chat_list", 1000
        ):
            answer = self._call(
                "POST", "externalcontact/groupchat/get", {"chat_id": row["chat_id"], "need_name": 0}
            )
            group = answer["group_chat"]
            members = group.get("member_list") or ()
            yield RosterGroup(
                row["chat_id"], group.get("name", ""), group.get("owner", ""),
                sum(int(member.get("type", 0)) == 2 for member in members),
            )  # fmt: skip

    def days(self, employees: Sequence[str], first: dt.date, last: dt.date) -> Iterator[RosterDay]:
        """WeCom adds up whoever is asked for together, so each employee is asked for alone."""
        for userid in employees:
            body = {"userid": [userid], "start_time": _midnight(first), "end_time": _midnight(last)}
            for row in (
                self._call("POST", "externalcontact/get_user_behavior_data", body).get("behavior_data") or ()
            ):
                minutes = row.get("avg_reply_time")
                yield RosterDay(
                    userid,
                    dt.datetime.fromtimestamp(int(row["stat_time"]), ZONE).date(),
                    int(row.get("new_contact_cnt") or 0),
                    int(row.get("negative_feedback_cnt") or 0),
                    int(row.get("message_cnt") or 0),
                    float(minutes) if minutes is not None else None,
                )

    def tag(self, employee: str, address: str, add: Sequence[str], remove: Sequence[str]) -> None:
        ids = {name: tag for tag, name in self._tag_names().items()}
        missing = [name for name in add if name not in ids]
        if missing:
            body = {"group_name": TAG_GROUP, "tag": [{"name": name} for name in missing]}
            group = self._call("POST", "externalcontact/add_corp_tag", body).get("tag_group") or {}
            ids |= {tag["name"]: tag["id"] for tag in group.get("tag") or ()}
            self._tags = {tag: name for name, tag in ids.items()}
        self._call(
            "POST",
            "externalcontact/mark_tag",
            {
                "userid": employee,
                "external_userid": address,
                "add_tag": [ids[name] for name in add],
                "remove_tag": [ids[name] for name in remove if name in ids],
            },
        )

    def _tag_names(self) -> dict[str, str]:
        if self._tags is None:
            groups = self._call("POST", "externalcontact/get_corp_tag_list", {}).get("tag_group") or ()
            self._tags = {tag["id"]: tag["name"] for group in groups for tag in group.get("tag") or ()}
        return self._tags


def _midnight(day: dt.date) -> int:
    return int(dt.datetime.combine(day, dt.time.min, tzinfo=ZONE).timestamp())
