"""Ocean Engine's open API of one advertiser: data sources, published audiences, projects, custom reports.

Files are zips of lines of base64, each a protocol-buffer message of ids, taken with their MD5. A data source works
its changes off in order; what it holds takes force when its audience is published, once in 24 hours.
"""

import base64
import binascii
import datetime as dt
import hashlib
import io
import itertools
import json
import re
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from aiohttp import web

from channels.sandbox.ad_platform import ZONE, AdConfig, AdPlatform, Refused, paged, within
from channels.sandbox.faults import chance
from channels.sandbox.vendors._delivery import Plain

MOST_BYTES = 50 * 1024 * 1024
MOST_A_LINE = 10_000
MOBILE_HASH_SHA256 = 6
SHA256 = re.compile(r"[0-9a-f]{64}")
ADD, REMOVE, RESET = 1, 2, 3


@dataclass
class Config(AdConfig):
    publish_hours: float = 24.0  # an audience may be published once in this time


class Vendor(AdPlatform):
    name = "ocean_engine"
    medium = "video"
    port = 18121
    Config = Config
    token_paths = ("/open_api/oauth2/refresh_token/",)
    hashed: ClassVar[dict[str, Plain]] = {"phone": lambda value: value.removeprefix("+86")}
    codes: ClassVar[dict[str, int]] = {
        "over": 40102, "refresh_over": 40103, "limit": 40110, "parameter": 40001, "trouble": 50000,
    }  # fmt: skip

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.uploads: dict[str, list[str]] = {}
        self.sources: dict[str, dict[str, Any]] = {}
        self.published: dict[str, dict[str, Any]] = {}  # source → {"at", "members", "through"}
        self._ids = itertools.count(1)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=MOST_BYTES + 1024 * 1024)
        router = app.router
        for path, handler in {
            "2/dmp/data_source/read/": self._read_source,
            "2/dmp/custom_audience/select/": self._select,
            "v3.0/project/list/": self._list_projects,
            "v3.0/report/custom/get/": self._report,
            "2/advertiser/fund/get/": self._fund,
        }.items():
            router.add_get(f"/open_api/{path}", self.guarded(handler, path))
        for path, handler in {
            "oauth2/refresh_token/": self._token,
            "2/dmp/data_source/file/upload/": self._upload,
            "2/dmp/data_source/create/": self._create,
            "2/dmp/data_source/update/": self._update,
            "2/dmp/custom_audience/publish/": self._publish,
            "2/dmp/custom_audience/push_v2/": self._push,
            "v3.0/project/update/": self._update_project,
            "v3.0/project/status/update/": self._switch_projects,
        }.items():
            router.add_post(f"/open_api/{path}", self.guarded(handler, path))
        return app

    async def _fund(self, request: web.Request, given: dict[str, Any]) -> Any:
        cash, grant = self.left_fen() / 100, float(self.config.gift)
        return {
            "advertiser_id": int(self.config.account_id), "name": "Evenreach sandbox", "balance": round(cash + grant, 2),
            "valid_balance": round(cash + grant, 2), "cash": cash, "valid_cash": cash, "grant": grant, "valid_grant": grant,
        }  # fmt: skip

    def check_call(self, request: web.Request, given: dict[str, Any]) -> None:
        if str(given.get("advertiser_id")) != self.config.account_id:
            raise Refused(40002, "advertiser_id is not permitted")

    async def _token(self, request: web.Request, given: dict[str, Any]) -> Any:
        if given.get("grant_type") != "refresh_token":
            raise Refused(40108, "grant_type is not valid here")
        line = self.renew(given.get("app_id"), given.get("secret", ""), given.get("refresh_token"))
        return {
            "access_token": line["access"], "expires_in": int(self.config.token_seconds),
            "refresh_token": line["refresh"], "refresh_token_expires_in": int(self.config.refresh_seconds),
        }  # fmt: skip

    # -- data sources ------------------------------------------------------------------------------------
    def restore_line(self, line: dict[str, Any]) -> None:
        event = line["event"]
        if event == "upload":
            self.uploads[line["path"]] = line["hashes"]
        elif event == "source":
            next(self._ids)
            self.sources[line["id"]] = {**line["fields"], "logs": []}
        elif event == "change":
            next(self._ids)
            self.sources[line["id"]]["logs"].append(line["log"])
        elif event == "published":
            self.published[line["id"]] = {
                "at": line["time"], "through": line["through"], "members": set(line["members"])
            }  # fmt: skip

    async def _upload(self, request: web.Request, given: dict[str, Any]) -> Any:
        if not isinstance(given.get("file"), tuple):
            raise Refused(self.codes["parameter"], "file is missing")
        _name, raw = given["file"]
        if len(raw) > MOST_BYTES:
            raise Refused(self.codes["parameter"], "file is larger than 50 MB")
        digest = hashlib.md5(raw, usedforsecurity=False).hexdigest()
        if given.get("file_signature") != digest:
            raise Refused(self.codes["parameter"], "file_signature is not the MD5 of the file")
        hashes = list(self._unpacked(raw))
        path = f"dmp/{self.config.account_id}/{digest}"
        self.uploads[path] = hashes
        self.write("upload", verdict="accepted", attempt="", path=path, hashes=hashes)
        self.count("uploaded", len(hashes))
        return {"file_path": path}

    def _unpacked(self, raw: bytes) -> Iterator[str]:
        try:
            with zipfile.ZipFile(io.BytesIO(raw)) as packed:
                (only,) = packed.namelist()
                lines = packed.read(only).split()
        except (zipfile.BadZipFile, ValueError):
            raise Refused(self.codes["parameter"], "file is not a zip of one file") from None
        for line in lines:
            try:
                ids = list(_ids_of(base64.b64decode(line, validate=True)))
            except (binascii.Error, IndexError, ValueError):
                raise Refused(self.codes["parameter"], "a line is not base64 of a DmpData message") from None
            if len(ids) > MOST_A_LINE:
                raise Refused(self.codes["parameter"], "a line has more than 10,000 ids")
            for kind, value in ids:
                if kind != MOBILE_HASH_SHA256 or not SHA256.fullmatch(value):
                    raise Refused(self.codes["parameter"], "an id is no SHA-256 in lower case")
                yield value

    def _check_change(self, given: dict[str, Any]) -> None:
        paths = given.get("file_paths") or []
        if not 1 <= len(paths) <= 1000 or any(path not in self.uploads for path in paths):
            raise Refused(self.codes["parameter"], "file_paths: one to 1000 uploaded files")
        if given.get("data_format") != 0 or given.get("file_storage_type") != 0:
            raise Refused(self.codes["parameter"], "data_format and file_storage_type must be 0")

    def _change(self, key: str, action: int, given: dict[str, Any]) -> None:
        self._check_change(given)
        paths = given["file_paths"]
        log = {"change_log_id": next(self._ids), "action": action, "file_paths": paths, "at": time.time()}
        self.sources[key]["logs"].append(log)
        self.write("change", id=key, log=log)

    async def _create(self, request: web.Request, given: dict[str, Any]) -> Any:
        if not 1 <= len(given.get("data_source_name", "")) <= 30:
            raise Refused(self.codes["parameter"], "data_source_name must have 1 to 30 characters")
        number = next(self._ids)
        key = hashlib.sha256(f"{self.seed}{number}".encode()).hexdigest()[:20]
        fields = {"name": given["data_source_name"], "audience": 700_000 + number}
        self._check_change(given)
        self.sources[key] = {**fields, "logs": []}
        self.write("source", id=key, fields=fields)
        self._change(key, 0, given)
        return {"data_source_id": key}

    async def _update(self, request: web.Request, given: dict[str, Any]) -> Any:
        key = str(given.get("data_source_id"))
        if key not in self.sources:
            raise Refused(self.codes["parameter"], f"data source {key} does not exist")
        if given.get("operation_type") not in {ADD, REMOVE, RESET}:
            raise Refused(self.codes["parameter"], "operation_type must be 1, 2 or 3")
        self._change(key, int(given["operation_type"]), given)
        return {"data_source_id": key}

    def _effective(self, log: dict[str, Any]) -> bool:
        return time.time() >= log["at"] + self.config.process_seconds

    def members(self, key: str) -> set[str]:
        """Whom a data source holds, as far as its changes are worked off."""
        held: set[str] = set()
        for log in self.sources[key]["logs"]:
            if not self._effective(log):
                break
            hashes = {value for path in log["file_paths"] for value in self.uploads[path]}
            held = (
                held - hashes
                if log["action"] == REMOVE
                else hashes
                if log["action"] == RESET
                else held | hashes
            )
        return held

    def shown(self, key: str) -> set[str]:
        """Whom the published audience holds."""
        return set(self.published.get(key, {}).get("members", ()))

    def _audience(self, key: str) -> dict[str, Any]:
        held = self.shown(key)
        known = sum(chance(self.seed, "matched", value) < self.config.match_share for value in held)
        return {
            "custom_audience_id": self.sources[key]["audience"], "name": self.sources[key]["name"],
            "data_source_id": key, "upload_num": len(held), "cover_num": known, "isdel": 0,
            "delivery_status": f"CUSTOM_AUDIENCE_DELIVERY_STATUS_{'AVAILABLE' if held else 'NEED_PUBLISH'}",
        }  # fmt: skip

    async def _read_source(self, request: web.Request, given: dict[str, Any]) -> Any:
        rows = []
        for key in json.loads(given["data_source_id_list"]):
            if key not in self.sources:
                continue
            source, published = self.sources[key], self.published.get(key)
            through = published["through"] if published else 0
            logs = [
                {
                    "change_log_id": log["change_log_id"], "action": str(log["action"]),
                    "status": "2" if self._effective(log) else "1", "file_paths": log["file_paths"],
                    "publish_time": _text(published["at"]) if published and log["change_log_id"] <= through else "",
                }
                for log in source["logs"]
            ]  # fmt: skip
            rows.append({
                "data_source_id": key, "name": source["name"], "status": logs[0]["status"], "change_logs": logs,
                "latest_published_time": _text(published["at"]) if published else "",
                "latest_published_changelog_id": through or -1, "upload_num": len(self.members(key)),
                "default_audience": self._audience(key),
            })  # fmt: skip
        return {"data_list": rows}

    async def _select(self, request: web.Request, given: dict[str, Any]) -> Any:
        offset, limit = int(given.get("offset", 0)), int(given.get("limit", 100))
        if not 1 <= limit <= 100:
            raise Refused(self.codes["parameter"], "limit must be 1 to 100")
        rows = [self._audience(key) for key in self.sources]
        return {
            "custom_audience_list": rows[offset : offset + limit],
            "offset": offset,
            "total_num": len(rows),
        }

    async def _publish(self, request: web.Request, given: dict[str, Any]) -> Any:
        key = self._source_of(given)
        last = self.published.get(key)
        if last and time.time() < last["at"] + self.config.publish_hours * 3600:
            raise Refused(40003, "an audience may be published once in 24 hours")
        through = [log["change_log_id"] for log in self.sources[key]["logs"] if self._effective(log)]
        if not through:
            raise Refused(40003, "the data source is still being worked off")
        now, members = time.time(), self.members(key)
        self.published[key] = {"at": now, "through": through[-1], "members": members}
        self.write("published", id=key, time=now, through=through[-1], members=sorted(members))
        self.count("published")
        return {}

    async def _push(self, request: web.Request, given: dict[str, Any]) -> Any:
        key = self._source_of(given)
        targets = given.get("target_advertiser_ids") or []
        if not 1 <= len(targets) <= 100 or key not in self.published:
            raise Refused(self.codes["parameter"], "one to 100 advertisers, of a published audience")
        self.write("pushed", id=key, targets=targets)
        return {}

    def _source_of(self, given: dict[str, Any]) -> str:
        for key, source in self.sources.items():
            if source["audience"] == given.get("custom_audience_id"):
                return key
        raise Refused(self.codes["parameter"], f"audience {given.get('custom_audience_id')} does not exist")

    # -- projects ----------------------------------------------------------------------------------------
    def audience(self, placement: dict[str, Any]) -> set[str]:
        """Those of the published audiences: what was pushed and not published is shown to nobody."""
        return {value for key in self.sources for value in self.shown(key)}

    def day_budget_fen(self, placement: dict[str, Any], day: dt.date) -> int:
        setting = placement.get("delivery_setting") or {}
        if placement.get("opt_status", "ENABLE") != "ENABLE" or not within(
            day, setting.get("start_time"), setting.get("end_time")
        ):
            return 0
        return round(float(setting.get("budget") or 0) * 100)

    def _page(self, rows: list[Any], given: dict[str, Any], name: str, most: int) -> dict[str, Any]:
        try:
            found, info = paged(rows, given.get("page"), given.get("page_size"), most)
        except ValueError as error:
            raise Refused(self.codes["parameter"], str(error)) from None
        return {name: found, "page_info": info}

    async def _list_projects(self, request: web.Request, given: dict[str, Any]) -> Any:
        ids = {str(one) for one in json.loads(given.get("filtering") or "{}").get("ids") or ()}
        rows = [
            {"project_id": int(key), "opt_status": "ENABLE", **fields}
            for key, fields in sorted(self.placements.items())
            if not ids or key in ids
        ]
        return self._page(rows, given, "list", 10)

    async def _update_project(self, request: web.Request, given: dict[str, Any]) -> Any:
        key, setting = str(given.get("project_id")), given.get("delivery_setting") or {}
        known = self.placement(key).get("delivery_setting") or {}
        if setting.get("budget_mode", "") not in {"", "BUDGET_MODE_DAY", "BUDGET_MODE_INFINITE"}:
            raise Refused(self.codes["parameter"], "budget_mode is not valid")
        budget = setting.get("budget", 300)
        if not isinstance(budget, int | float) or budget < 300 or round(budget, 2) != budget:
            raise Refused(self.codes["parameter"], "项目日预算不少于300元，最多两位小数")
        for name in ("start_time", "end_time"):
            if name in setting:
                dt.date.fromisoformat(str(setting[name])[:10])
        self.place(key, delivery_setting={**known, **setting})
        return {"project_id": int(key)}

    async def _switch_projects(self, request: web.Request, given: dict[str, Any]) -> Any:
        changes = given.get("data") or []
        if not 1 <= len(changes) <= 10:
            raise Refused(self.codes["parameter"], "data: one to 10 projects")
        done, errors = [], []
        for one in changes:
            key, status = str(one.get("project_id")), one.get("opt_status")
            if key in self.placements and status in {"ENABLE", "DISABLE"}:
                self.place(key, opt_status=status)
                done.append(int(key))
            else:
                errors.append(
                    {"project_id": one.get("project_id"), "error_code": 40001, "error_message": "项目不存在"}
                )
        return {"project_ids": done, "errors": errors}

    # -- reports -----------------------------------------------------------------------------------------
    async def _report(self, request: web.Request, given: dict[str, Any]) -> Any:
        start, end = given["start_time"], given["end_time"]
        if (dt.date.fromisoformat(end) - dt.date.fromisoformat(start)).days > 30:
            raise Refused(self.codes["parameter"], "at most 30 days")
        if json.loads(given["dimensions"]) != ["stat_time_day", "cdp_project_id"]:
            raise Refused(self.codes["parameter"], "dimensions are not known to this sandbox")
        names = json.loads(given["metrics"])
        rows = []
        for key, day, told in self.figures(start, end):
            metrics = {
                "stat_cost": f"{told.spend_fen / 100:.2f}", "show_cnt": str(told.exposures),
                "click_cnt": str(told.clicks), "convert_cnt": str(told.clicks // 20),
            }  # fmt: skip
            rows.append({
                "dimensions": {"stat_time_day": day, "cdp_project_id": key},
                "metrics": {name: metrics[name] for name in names if name in metrics},
            })  # fmt: skip
        return self._page(rows, given, "rows", 1000)


def _text(at: float) -> str:
    return dt.datetime.fromtimestamp(at, ZONE).strftime("%Y-%m-%d %H:%M:%S")


def _ids_of(raw: bytes) -> Iterator[tuple[int, str]]:
    """(data type, id) of a DmpData message. Raises IndexError or ValueError for another one."""
    for number, item in _fields(raw):
        if number != 1 or not isinstance(item, bytes):
            raise ValueError("not a DmpData message")
        found = dict(_fields(item))
        kind, value = found.get(2), found.get(3)
        if not isinstance(kind, int) or not isinstance(value, bytes):
            raise ValueError("an IdItem without dataType and id")
        yield kind, value.decode()


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field number and value of a protocol-buffer message: varints and byte strings."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        value, at = _varint(raw, at)
        if tag & 7 == 2:
            if at + value > len(raw):
                raise ValueError("cut short")
            yield tag >> 3, raw[at : at + value]
            at += value
        elif tag & 7 == 0:
            yield tag >> 3, value
        else:
            raise ValueError("a wire type that is not expected")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
