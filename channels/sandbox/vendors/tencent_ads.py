"""Tencent Ads v3.0 of one advertiser: audiences from files, ad groups, daily reports.

Each call must have a fresh nonce and a timestamp within 300 s. Files are zips of one hash a line and are worked off
later, in the order they came; the newest says what holds for whom it names.
"""

import datetime as dt
import io
import itertools
import json
import re
import time
import zipfile
from dataclasses import dataclass
from typing import Any, ClassVar

from aiohttp import web

from channels.sandbox.ad_platform import AdConfig, AdPlatform, Handler, Refused, paged, within
from channels.sandbox.faults import chance
from channels.sandbox.vendors._delivery import Plain

SHA256 = re.compile(r"[0-9a-f]{64}")
TYPES = {
    "SHA256_MOBILE_PHONE": SHA256, "WX_UNIONID": re.compile(r"[\w-]{6,64}"),
    "WECHAT_OPENID": re.compile(r"[\w-]{6,64}"),
}  # fmt: skip
MOST_BYTES = 100 * 1024 * 1024
BATCHES = {
    "adgroups/update_daily_budget": "update_daily_budget_spec",
    "adgroups/update_datetime": "update_datetime_spec",
    "adgroups/update_configured_status": "update_configured_status_spec",
}
NONCE, STALE = 11_003, 11_002
RUNS = "AD_STATUS_NORMAL"


@dataclass
class Config(AdConfig):
    broken_share: float = 0.0  # of files that cannot be worked off
    files_a_minute: int = 50


class Vendor(AdPlatform):
    name = "tencent_ads"
    port = 18120
    Config = Config
    rotates = False  # the refresh token stays, its time begins anew
    token_paths = ("/oauth/token",)
    hashed: ClassVar[dict[str, Plain]] = {"phone": lambda value: value.removeprefix("+86")}
    codes: ClassVar[dict[str, int]] = {
        "over": 11000, "refresh_over": 11012, "limit": 11017, "parameter": 18001, "trouble": 10000,
    }  # fmt: skip

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.audiences: dict[str, dict[str, Any]] = {}
        self.files: list[dict[str, Any]] = []
        self._nonces: dict[str, float] = {}
        self._ids = itertools.count(1)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=MOST_BYTES + 1024 * 1024)
        router = app.router
        router.add_get("/oauth/token", self.guarded(self._token))
        for path, handler in {
            "custom_audiences/get": self._get_audiences,
            "custom_audience_files/get": self._get_files,
            "adgroups/get": self._get_adgroups,
            "daily_reports/get": self._reports,
            "funds/get": self._funds,
        }.items():
            router.add_get(f"/v3.0/{path}", self.guarded(handler, path))
        for path, handler in {
            "custom_audiences/add": self._add_audience,
            "custom_audience_files/add": self._add_file,
            "adgroups/update_daily_budget": self._update_budget,
            "adgroups/update_datetime": self._update_dates,
            "adgroups/update_configured_status": self._update_status,
        }.items():
            router.add_post(f"/v3.0/{path}", self.guarded(handler, path))
        return app

    async def _funds(self, request: web.Request, given: dict[str, Any]) -> Any:
        if str(given.get("account_id")) != self.config.account_id:
            raise Refused(self.codes["parameter"], "account_id")
        spent = sum(one.spend_fen for one in self.delivered.values())
        funds = (("GENERAL_CASH", self.left_fen()), ("GENERAL_GIFT", round(self.config.gift * 100)))
        known = {"fund_status": "FUND_STATUS_NORMAL", "bill_deposit_amount": 0, "realtime_cost": spent}
        credit = {"fund_type": "GENERAL_CREDIT_ROLL", "balance": 5_000_000, **known}
        return {"list": [*({"fund_type": kind, "balance": fen, **known} for kind, fen in funds), credit]}

    def envelope(self, code: int, text: str, data: Any) -> dict[str, Any]:
        text = "" if code == 0 else text
        return {"code": code, "message": text, "message_cn": text, "data": data}

    def token_of(self, request: web.Request) -> str:
        return request.query.get("access_token", "")

    def most_a_minute(self, bucket: str) -> int:
        most = super().most_a_minute(bucket)
        return int(self.config.files_a_minute) if bucket == "custom_audience_files/add" else most

    def check_call(self, request: web.Request, given: dict[str, Any]) -> None:
        now, nonce = time.time(), request.query.get("nonce", "")
        try:
            told = float(request.query.get("timestamp", ""))
        except ValueError:
            raise Refused(STALE, "timestamp is missing") from None
        if abs(told - now) > 300:
            raise Refused(STALE, "timestamp is more than 300 seconds away")
        self._nonces = {known: at for known, at in self._nonces.items() if at > now - 600}
        if not 1 <= len(nonce) <= 32 or nonce in self._nonces:
            raise Refused(NONCE, "nonce is missing, too long or was used before")
        self._nonces[nonce] = now
        if str(given.get("account_id")) != self.config.account_id:
            raise Refused(self.codes["parameter"], "account_id is not permitted")

    async def refused(self, handler: Handler, request: web.Request, given: dict[str, Any]) -> Any:
        """A batch is taken, and its members are refused."""
        spec = BATCHES.get(request.path.removeprefix("/v3.0/"))
        if spec is None:
            return await super().refused(handler, request, given)
        failed = [one["adgroup_id"] for one in given[spec]]
        told = {"code": 31009, "message": "refused", "message_cn": "不允许修改"}
        return {"list": [{"adgroup_id": key, **told} for key in failed], "fail_id_list": failed}

    async def _token(self, request: web.Request, given: dict[str, Any]) -> Any:
        if given.get("grant_type") != "refresh_token":
            raise Refused(self.codes["parameter"], "grant_type is not valid here")
        line = self.renew(given.get("client_id"), given.get("client_secret", ""), given.get("refresh_token"))
        return {
            "access_token": line["access"], "access_token_expires_in": int(self.config.token_seconds),
            "refresh_token_expires_in": int(self.config.refresh_seconds),
        }  # fmt: skip

    # -- audiences ---------------------------------------------------------------------------------------
    def restore_line(self, line: dict[str, Any]) -> None:
        if line["event"] == "audience":
            self.audiences[line["id"]] = line["fields"]
            next(self._ids)
        elif line["event"] == "file":
            self.files.append({name: line[name] for name in line if name not in {"at", "kind", "event"}})
            next(self._ids)

    async def _add_audience(self, request: web.Request, given: dict[str, Any]) -> Any:
        if given.get("type") != "CUSTOMER_FILE":
            raise Refused(self.codes["parameter"], "this sandbox has audiences of type CUSTOMER_FILE only")
        if not 1 <= len(given.get("name", "")) <= 32:
            raise Refused(self.codes["parameter"], "name must have 1 to 32 characters")
        outer = given.get("outer_audience_id", "")
        if not re.fullmatch(r"\w{0,64}", outer, re.ASCII):
            raise Refused(self.codes["parameter"], "outer_audience_id: letters, digits and _ only")
        for key, known in self.audiences.items():
            if outer and known["outer_audience_id"] == outer:
                return {"audience_id": int(key)}
        key = str(500_000 + next(self._ids))
        fields = {"name": given["name"], "outer_audience_id": outer}
        self.audiences[key] = fields
        self.write("audience", id=key, fields=fields)
        return {"audience_id": int(key)}

    async def _add_file(self, request: web.Request, given: dict[str, Any]) -> Any:
        kind, operation = given.get("user_id_type", ""), given.get("operation_type") or "APPEND"
        key = str(given.get("audience_id"))
        if key not in self.audiences:
            raise Refused(self.codes["parameter"], f"audience {key} does not exist")
        if kind not in TYPES or operation not in {"APPEND", "REDUCE"}:
            raise Refused(self.codes["parameter"], "user_id_type or operation_type is not valid")
        if (kind == "WECHAT_OPENID") != bool(given.get("open_app_id")):
            raise Refused(
                self.codes["parameter"], "open_app_id goes with WECHAT_OPENID, and with nothing else"
            )
        if not isinstance(given.get("file"), tuple):
            raise Refused(self.codes["parameter"], "file is missing")
        name, raw = given["file"]
        lines = self._unpacked(raw)
        number = 900_000 + next(self._ids)
        good = [line for line in lines if TYPES[kind].fullmatch(line)]
        broken = not good or chance(self.seed, "broken", name) < self.config.broken_share
        file = {
            "number": number, "audience": key, "name": name, "user_id_type": kind, "operation": operation,
            "lines": len(lines), "hashes": good, "broken": broken, "taken": time.time(),
        }  # fmt: skip
        self.files.append(file)
        self.write("file", verdict="accepted", attempt="", **file)
        self.count(operation.lower(), len(good))
        return {"custom_audience_file_id": number}

    def _unpacked(self, raw: bytes) -> list[str]:
        if len(raw) > MOST_BYTES:
            raise Refused(self.codes["parameter"], "file is larger than 100 MB")
        try:
            with zipfile.ZipFile(io.BytesIO(raw)) as packed:
                (only,) = packed.namelist()
                if not only.endswith((".txt", ".csv")):
                    raise Refused(self.codes["parameter"], "the zip must hold a txt or csv file")
                return packed.read(only).decode().split()
        except (zipfile.BadZipFile, ValueError):
            raise Refused(self.codes["parameter"], "file is not a zip of one text file") from None

    def _status(self, file: dict[str, Any]) -> str:
        if time.time() < file["taken"] + self.config.process_seconds:
            return "PENDING"
        return "ERROR" if file["broken"] else "SUCCESS"

    def members(self, audience: str) -> set[str]:
        """Whom an audience holds: every file that is worked off, in the order they came."""
        held: set[str] = set()
        for file in self.files:
            if file["audience"] == audience and self._status(file) == "SUCCESS":
                if file["operation"] == "APPEND":
                    held.update(file["hashes"])
                else:
                    held.difference_update(file["hashes"])
        return held

    def _page(self, rows: list[Any], given: dict[str, Any], most: int = 100) -> dict[str, Any]:
        try:
            found, info = paged(rows, given.get("page"), given.get("page_size"), most)
        except ValueError as error:
            raise Refused(self.codes["parameter"], str(error)) from None
        return {"list": found, "page_info": info}

    async def _get_files(self, request: web.Request, given: dict[str, Any]) -> Any:
        rows = [
            {
                "audience_id": int(file["audience"]), "custom_audience_file_id": file["number"],
                "name": file["name"], "user_id_type": file["user_id_type"], "operation_type": file["operation"],
                "process_status": self._status(file), "error_message": "",
                "process_code": 201 if self._status(file) == "ERROR" else 0,
                "line_count": file["lines"], "valid_line_count": len(file["hashes"]),
                "user_count": self._known(set(file["hashes"])),
            }
            for file in self.files
            if file["audience"] == given.get("audience_id", file["audience"])
            and str(file["number"]) == given.get("custom_audience_file_id", str(file["number"]))
        ]  # fmt: skip
        return self._page(rows, given)

    async def _get_audiences(self, request: web.Request, given: dict[str, Any]) -> Any:
        rows = [
            {
                "audience_id": int(key), "account_id": int(self.config.account_id), "type": "CUSTOMER_FILE",
                "status": "SUCCESS", "user_count": self._known(self.members(key)), **fields,
            }
            for key, fields in self.audiences.items()
            if key == given.get("audience_id", key)
        ]  # fmt: skip
        return self._page(rows, given)

    def _known(self, hashes: set[str]) -> int:
        return sum(chance(self.seed, "matched", value) < self.config.match_share for value in hashes)

    # -- ad groups ---------------------------------------------------------------------------------------
    def audience(self, placement: dict[str, Any]) -> set[str]:
        """Those of the audiences it is aimed at; by itself it is aimed at all of the account's."""
        aimed = (placement.get("targeting") or {}).get("custom_audience") or self.audiences
        return {value for key in aimed for value in self.members(str(key))}

    def day_budget_fen(self, placement: dict[str, Any], day: dt.date) -> int:
        if placement.get("configured_status", RUNS) != RUNS or not within(
            day, placement.get("begin_date"), placement.get("end_date")
        ):
            return 0
        return int(placement.get("daily_budget") or 0)

    async def _get_adgroups(self, request: web.Request, given: dict[str, Any]) -> Any:
        wanted: set[str] | None = None
        for rule in json.loads(given.get("filtering") or "[]"):
            if rule["field"] != "adgroup_id" or rule["operator"] not in {"EQUALS", "IN"}:
                raise Refused(self.codes["parameter"], "filtering is not known to this sandbox")
            wanted = set(map(str, rule["values"]))
        rows = [
            {"adgroup_id": int(key), "configured_status": RUNS, **fields}
            for key, fields in sorted(self.placements.items())
            if wanted is None or key in wanted
        ]
        names = json.loads(given.get("fields") or "[]")
        return self._page(
            [{name: row[name] for name in row if not names or name in names} for row in rows], given
        )

    async def _update_budget(self, request: web.Request, given: dict[str, Any]) -> Any:
        return self._batch(given["update_daily_budget_spec"], self._budget)

    def _budget(self, one: dict[str, Any]) -> dict[str, Any]:
        budget = one.get("daily_budget")
        if not isinstance(budget, int) or (budget and not 5_000 <= budget <= 400_000_000):
            raise Refused(self.codes["parameter"], "daily_budget must be 5,000 to 400,000,000 fen")
        return {"daily_budget": budget}

    async def _update_dates(self, request: web.Request, given: dict[str, Any]) -> Any:
        return self._batch(given["update_datetime_spec"], self._dates)

    def _dates(self, one: dict[str, Any]) -> dict[str, Any]:
        begins, ends = dt.date.fromisoformat(one["begin_date"]), dt.date.fromisoformat(one["end_date"])
        if ends < begins:
            raise Refused(self.codes["parameter"], "end_date must not be before begin_date")
        return {"begin_date": one["begin_date"], "end_date": one["end_date"]}

    async def _update_status(self, request: web.Request, given: dict[str, Any]) -> Any:
        return self._batch(given["update_configured_status_spec"], self._status_of)

    def _status_of(self, one: dict[str, Any]) -> dict[str, Any]:
        if one.get("configured_status") not in {RUNS, "AD_STATUS_SUSPEND"}:
            raise Refused(
                self.codes["parameter"], "configured_status is AD_STATUS_NORMAL or AD_STATUS_SUSPEND"
            )
        return {"configured_status": one["configured_status"]}

    def _batch(self, spec: list[dict[str, Any]], change: Any) -> dict[str, Any]:
        told, failed = [], []
        for one in spec:
            key = str(one["adgroup_id"])
            try:
                self.placement(key)
                self.place(key, **change(one))
                told.append({"code": 0, "adgroup_id": int(key), "message": "", "message_cn": ""})
            except Refused as error:
                failed.append(int(key))
                text = {"message": str(error), "message_cn": str(error)}
                told.append({"code": error.code, "adgroup_id": int(key), **text})
        return {"list": told, "fail_id_list": failed}

    # -- reports -----------------------------------------------------------------------------------------
    async def _reports(self, request: web.Request, given: dict[str, Any]) -> Any:
        if given.get("level") != "REPORT_LEVEL_ADGROUP" or json.loads(given["group_by"]) != [
            "date",
            "adgroup_id",
        ]:
            raise Refused(self.codes["parameter"], "level or group_by is not known to this sandbox")
        days, names = json.loads(given["date_range"]), json.loads(given["fields"])
        rows = []
        for key, day, told in self.figures(days["start_date"], days["end_date"]):
            row = {
                "date": day, "adgroup_id": int(key), "cost": told.spend_fen, "view_count": told.exposures,
                "valid_click_count": told.clicks, "conversions_count": told.clicks // 20,
            }  # fmt: skip
            rows.append({name: row[name] for name in names if name in row})
        return self._page(rows, given, 2000)
