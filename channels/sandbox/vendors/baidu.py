"""Baidu's far side: a token service, and the services of one search account in Baidu's envelope.

Every call is ``{"header": {"userName", "accessToken"}, "body": …}``; every answer has ``header.status`` 0, 1, 2 or 3 and
``failures``, with HTTP 200. Files come in a form. What Baidu matches is known by hash only.
"""
# ruff: noqa: S105  (what stands here opens the sandbox only)

import datetime as dt
import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from aiohttp import web

from channels.sandbox.faults import Fault
from channels.sandbox.log import digest
from channels.sandbox.vendors._delivery import Figures, Lists, Matching, day_of, keep, market_of
from channels.sandbox.vendors.base import BaseVendor, Door, VendorConfig
from channels.sandbox.web import after

SERVICES = "/json/sms/service/{service}/{method}"
CHANGING = {"createEmptyGroup", "uploadFile", "updateIdUpload4Pour", "addCampaign", "updateCampaign"}
HEX = {"md5": re.compile(r"[0-9a-f]{32}"), "sha256": re.compile(r"[0-9a-f]{64}")}
REPORTS = {2208157, 2290316}
CAMPAIGN_COLUMNS = {"date", "campaignId", "campaignName", "impression", "click", "cost", "ctr", "cpc"}


@dataclass
class Config(VendorConfig):
    """One account and its delivery."""

    user_name: str = "baidu-sandbox"
    user_id: int = 30000001
    app_id: str = "sandbox-app"
    secret_key: str = "sandbox-secret-key"
    refresh_token: str = "sandbox-refresh-token"
    token_seconds: int = 86400
    rotates: bool = False  # each refresh token is good for one use
    hash: str = "md5"
    id_type: str = "MD5_PHONE"
    add_word: str = "ADD"
    remove_word: str = "REMOVE"
    smallest_budget: float = 50.0  # a day, in yuan
    match_share: float = 0.7
    click_share: float = 0.05
    click_price: float = 2.0
    searches: float = 1.5
    minimum_audience: int = 100
    topped_up: float = 10_000.0  # yuan, once


class ApiError(Exception):
    """One failure of a call."""

    def __init__(self, code: int, text: str, *, position: str = "", status: int = 2) -> None:
        super().__init__(text)
        self.status = status
        self.failure = {"code": code, "message": text, "position": position}


def _mainland(value: str) -> str:
    """A number as Baidu hashes it, in this side's own words."""
    found = re.fullmatch(r"\+86(1\d{10})", value)
    return found[1] if found else ""


class Vendor(BaseVendor):
    name: ClassVar[str] = "baidu"
    port: ClassVar[int] = 18132
    Config = Config

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.groups: dict[str, str] = {}  # id → name
        self.files: dict[str, dict[str, Any]] = {}
        self.members = Lists()
        self.matching = Matching(
            self.seed, self.config.match_share, self.people, {"phone": _mainland}, self.config.hash
        )
        self.campaigns: dict[str, dict[str, Any]] = {}
        self.aims: dict[str, str] = {}  # campaign → group, tied at Baidu by a person
        self.delivered: dict[tuple[str, str], Figures] = {}
        self.tokens: set[str] = set()
        self.given = 0
        self._refresh = self.config.refresh_token
        self._ids = itertools.count(1)

    # -- life --------------------------------------------------------------------------------------------
    def restore(self) -> None:
        n = 0
        for line in self.lines():
            if line["event"] == "group":
                self.groups[line["id"]] = line["name"]
            elif line["event"] == "members":
                self.members.change(
                    line["audience"], line["hashes"], add=line["verb"] == self.config.add_word
                )
            elif line["event"] == "campaign":
                self.campaigns.setdefault(line["id"], {}).update(line["fields"])
            elif line["event"] == "aim":
                self.aims[line["campaign"]] = line["group"]
            elif line["event"] == "delivered":
                self.delivered[line["campaign"], line["day"]] = Figures(line["impressions"], line["clicks"])
            n += 1
        self._ids = itertools.count(n + 1)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/oauth/refreshToken", self._refresh_token)
        app.router.add_post(SERVICES, self._serve)
        return app

    def doors(self) -> Mapping[str, Door]:
        async def deliver(body: dict[str, Any]) -> Any:
            figures = self.deliver(
                str(body["campaign"]), dt.date.fromisoformat(body["day"]), float(body.get("share", 1.0))
            )
            return {"impressions": figures.impressions, "clicks": figures.clicks}

        async def aim(body: dict[str, Any]) -> Any:
            self.aim(str(body["campaign"]), str(body["group"]))
            return {}

        return {"/baidu/deliver": deliver, "/baidu/aim": aim}

    async def _refresh_token(self, request: web.Request) -> web.Response:
        config = self.config
        told = await request.json()
        wanted = {
            "appId": config.app_id, "secretKey": config.secret_key, "refreshToken": self._refresh, "userId": config.user_id
        }  # fmt: skip
        if {name: told.get(name) for name in wanted} != wanted:
            return web.json_response({"code": 400032, "message": "Invalid refreshToken or app", "data": None})
        token = f"bd-{next(self._ids):06d}"
        self.tokens.add(token)
        self.given += 1
        if config.rotates:
            self._refresh = f"refresh-{self.given:04d}"
        data = {
            "accessToken": token, "refreshToken": self._refresh, "expiresIn": config.token_seconds,
            "refreshExpiresIn": 2_592_000, "userId": config.user_id, "scope": "[]",
        }  # fmt: skip
        return web.json_response({"code": 0, "message": "success", "data": data})

    async def _serve(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        fault, data, header = Fault.OK, [], {"status": 0, "desc": "success", "failures": []}
        try:
            told, body, content = await self._read(request, method)
            self._let_in(told)
            handler = getattr(self, f"_do_{method}", None)
            if handler is None:
                raise ApiError(404, "ApiService not found may be hostname or uri not right")
            if method in CHANGING:
                fault = self.config.faults.decide_call(
                    self.seed, digest(method, json.dumps(body, sort_keys=True))
                )
            if fault is Fault.THROTTLE:
                raise ApiError(8501, "Request frequency exceeds the limit")
            if fault is Fault.REFUSE:
                raise ApiError(8002, "The Json message you provided is invalid")
            if fault is not Fault.DROP_BEFORE:
                data = handler(body, content) if method == "uploadFile" else handler(body)
        except ApiError as error:
            self.count(f"error {error.failure['code']}")
            header = {"status": error.status, "desc": "failure", "failures": [error.failure]}
        await self.log.flushed()
        await after(request, fault, self.config.faults)
        header |= {
            "oprs": len(data),
            "succ": len(data),
            "oprtime": 0,
            "quota": 1,
            "rquota": 99_999,
            "traceid": "sandbox",
        }
        return web.json_response({"header": header, "body": {"data": data}})

    @staticmethod
    async def _read(request: web.Request, method: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
        """(header, body, file): JSON, or a form where a file comes."""
        try:
            if method == "uploadFile":
                form = await request.post()
                file = form["file"]
                if not isinstance(file, web.FileField):
                    raise ApiError(8002, "The file is missing")
                params = json.loads(str(form["params"]))
                header = {name: str(value) for name, value in form.items() if name not in {"file", "params"}}
                return header, params, file.file.read()
            told = await request.json()
            return dict(told["header"]), dict(told.get("body") or {}), b""
        except (ValueError, KeyError, TypeError):
            raise ApiError(8002, "The Json message you provided is invalid") from None

    def _let_in(self, header: Mapping[str, Any]) -> None:
        if not header.get("userName"):
            raise ApiError(8101, "Username is not set in request header")
        if self.config.faults.expired_token > 0:
            self.config.faults.expired_token -= 1
            self.tokens.clear()
        if header.get("accessToken") not in self.tokens:
            raise ApiError(8106, "The access token is invalid or expired")
        if header["userName"] != self.config.user_name:
            raise ApiError(8104, "The user has not authorized this app")

    # -- audiences ---------------------------------------------------------------------------------------
    def _group(self, key: str) -> dict[str, Any]:
        members = self.members.members.get(key, ())
        return {
            "groupId": int(key), "groupName": self.groups[key], "groupStatus": "AVAILABLE",
            "groupCount": len(self.matching.people_in(members)), "createTime": 0,
        }  # fmt: skip

    def _do_createEmptyGroup(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        name = body.get("groupName")
        if not name or name in self.groups.values():
            raise ApiError(9010201, "The name is missing or used", position="groupName")
        key = str(70_000_000 + next(self._ids))
        self.groups[key] = name
        self.write("group", id=key, name=name)
        self.count("groups")
        return [{"groupId": int(key), "groupName": name}]

    def _do_getAudienceList(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        ids = {str(key) for key in body.get("groupIds") or self.groups}
        words = str(body.get("keywords") or "")
        return [self._group(key) for key, name in self.groups.items() if key in ids and words in name]

    def _do_uploadFile(self, params: Mapping[str, Any], content: bytes) -> list[dict[str, Any]]:
        for name in ("fileName", "fileType", "storeType", "bizFlag"):
            if not params.get(name):
                raise ApiError(9010301, "A parameter is missing", position=name)
        key = str(50_000_000 + next(self._ids))
        self.files[key] = {"name": params["fileName"], "content": content}
        return [{"fileId": int(key)}]

    def _do_updateIdUpload4Pour(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        config, group = self.config, str(body.get("groupId"))
        file = self.files.get(str(body.get("fileId")))
        if group not in self.groups:
            raise ApiError(9010202, "The group does not exist", position="groupId")
        if file is None or body.get("filePath") != file["name"]:
            raise ApiError(9010302, "The file does not exist", position="fileId")
        if body.get("fileMd5") != hashlib.md5(file["content"], usedforsecurity=False).hexdigest():
            raise ApiError(9010303, "The file's MD5 is another one", position="fileMd5")
        if body.get("idType") != config.id_type or body.get("reqType") not in {
            config.add_word,
            config.remove_word,
        }:
            raise ApiError(9010304, "The kind of the ids or of the request is not known", position="idType")
        hashes = file["content"].decode().split()
        if body.get("uuidCount") != len(hashes) or not all(
            HEX[config.hash].fullmatch(value) for value in hashes
        ):
            raise ApiError(9010305, "The file holds other lines than told", position="uuidCount")
        self.members.change(group, hashes, add=body["reqType"] == config.add_word)
        self.write(
            "members", verdict="accepted", attempt="", verb=body["reqType"], audience=group, hashes=hashes
        )
        self.count("poured", len(hashes))
        return [{"groupId": int(group), "groupName": self.groups[group]}]

    # -- campaigns ---------------------------------------------------------------------------------------
    def _left(self) -> float:
        clicks = sum(figures.clicks for figures in self.delivered.values())
        return round(self.config.topped_up - clicks * self.config.click_price, 2)

    def _do_getAccountInfo(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        known = {"userId": self.config.user_id, "balance": self._left(), "budget": 0.0, "budgetType": 0}
        wanted = body.get("accountFields") or []
        if set(wanted) - set(known):
            raise ApiError(9010101, "A field is not known", position="accountFields")
        return [{name: known[name] for name in wanted}]

    def _do_getCampaign(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        fields = body.get("campaignFields") or []
        if not fields:
            raise ApiError(9010401, "campaignFields is missing", position="campaignFields")
        ids = {str(key) for key in body.get("campaignIds") or self.campaigns}
        return [
            {name: {"campaignId": int(key), **told}.get(name) for name in fields}
            for key, told in self.campaigns.items() if key in ids
        ]  # fmt: skip

    def _do_addCampaign(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        made = []
        for told in body.get("campaignTypes") or []:
            name = told.get("campaignName")
            if not name or any(known["campaignName"] == name for known in self.campaigns.values()):
                raise ApiError(9010402, "The name is missing or used", position="campaignName")
            self._check_budget(told)
            key = str(90_000_000 + next(self._ids))
            self._keep(
                key, {"campaignName": name, "budget": told["budget"], "pause": bool(told.get("pause"))}
            )
            self.count("campaigns")
            made.append({"campaignId": int(key), "campaignName": name})
        return made

    def _do_updateCampaign(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        changed = []
        for told in body.get("campaignTypes") or []:
            key = str(told.get("campaignId"))
            if key not in self.campaigns:
                raise ApiError(9010403, "The campaign does not exist", position="campaignId")
            if "budget" in told:
                self._check_budget(told)
            self._keep(
                key, {name: told[name] for name in ("budget", "pause", "campaignName") if name in told}
            )
            changed.append({"campaignId": int(key)})
        return changed

    def _check_budget(self, told: Mapping[str, Any]) -> None:
        budget = told.get("budget")
        if not isinstance(budget, int | float) or budget < self.config.smallest_budget:
            raise ApiError(
                9010404, f"The budget is below {self.config.smallest_budget:.0f} yuan", position="budget"
            )

    def _keep(self, key: str, fields: dict[str, Any]) -> None:
        self.campaigns.setdefault(key, {}).update(fields)
        self.write("campaign", id=key, fields=fields)

    def aim(self, campaign: str, group: str) -> None:
        """Tie an audience to a campaign, as a person does on Baidu's own pages."""
        self.aims[campaign] = group
        self.write("aim", campaign=campaign, group=group)

    # -- reports -----------------------------------------------------------------------------------------
    def _do_getReportData(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        columns = body.get("columns") or []
        if body.get("reportType") not in REPORTS or body.get("timeUnit") != "DAY":
            raise ApiError(9010501, "The report is not known here", position="reportType")
        if not columns or set(columns) - CAMPAIGN_COLUMNS:
            raise ApiError(9010502, "A column is not known", position="columns")
        try:
            first, last = dt.date.fromisoformat(body["startDate"]), dt.date.fromisoformat(body["endDate"])
            start, most = int(body["startRow"]), int(body["rowCount"])
        except (KeyError, ValueError, TypeError):
            raise ApiError(9010503, "Dates or rows are not valid", position="startDate") from None
        rows = []
        for (campaign, day), figures in sorted(self.delivered.items(), key=lambda item: item[0]):
            if first <= dt.date.fromisoformat(day) <= last and figures.impressions:
                row = {
                    "date": day, "campaignId": int(campaign), "campaignName": self.campaigns[campaign]["campaignName"],
                    "impression": figures.impressions, "click": figures.clicks,
                    "cost": round(figures.clicks * self.config.click_price, 2),
                }  # fmt: skip
                rows.append({name: row[name] for name in columns if name in row})
        shown = rows[start : start + most]
        return [{"rows": shown, "rowCount": len(shown), "totalRowCount": len(rows)}]

    # -- delivery ----------------------------------------------------------------------------------------
    def deliver(self, campaign: str, day: dt.date, share: float = 1.0) -> Figures:
        """Bring a day's delivery of a campaign to ``share`` of what budget and audience allow."""
        fields, key = self.campaigns[campaign], (campaign, day.isoformat())
        before = self.delivered.get(key, Figures())
        people = self.matching.people_in(self.members.members.get(self.aims.get(campaign, ""), ()))
        if fields.get("pause") or len(people) < self.config.minimum_audience:
            return before
        figures = day_of(
            self.seed, market_of(self.config), campaign, day,
            people=len(people), budget=float(fields["budget"]), cap_left=None, share=share, before=before,
        )  # fmt: skip
        return keep(self, self.delivered, key, figures, people)
