"""Weibo's business API of one advertiser: ad series with a budget, ads with dates and a frequency cap, reports."""

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any, ClassVar

from aiohttp import web

from channels.sandbox.ad_platform import AdConfig, AdPlatform, Refused, paged, within

SERIES = "series"


@dataclass
class Config(AdConfig):
    refresh_seconds: float = 90 * 86_400.0


class Vendor(AdPlatform):
    """Placements are ads; an ad's ``campaign_id`` names its series, which is kept beside them as ``series:<id>``."""

    name = "weibo"
    port = 18123
    Config = Config
    token_paths = ("/oauth/refresh_token",)
    codes: ClassVar[dict[str, int]] = {
        "over": 401, "refresh_over": 401, "limit": 429, "parameter": 400, "trouble": 500,
    }  # fmt: skip

    def app(self) -> web.Application:
        app = web.Application()
        router = app.router
        router.add_post("/oauth/refresh_token", self.guarded(self._token))
        router.add_get("/v3/campaigns", self.guarded(self._list))
        router.add_get(r"/v3/campaigns/{id:\d+}", self.guarded(self._series, "series"))
        router.add_post(r"/v3/campaigns/{id:\d+}", self.guarded(self._update_series, "update series"))
        router.add_get(r"/v3/ads/{id:\d+}", self.guarded(self._ad, "ad"))
        router.add_post(r"/v3/ads/{id:\d+}", self.guarded(self._update_ad, "update ad"))
        router.add_get("/v3/report/effect/get_ad_data", self.guarded(self._report))
        return app

    def envelope(self, code: int, text: str, data: Any) -> dict[str, Any]:
        return {"code": code, "message": text, **(data or {})}

    def token_of(self, request: web.Request) -> str:
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    def check_call(self, request: web.Request, given: dict[str, Any]) -> None:
        if str(given.get("advertiser_id", self.config.account_id)) != self.config.account_id:
            raise Refused(403, "advertiser_id is not permitted", 403)

    async def _token(self, request: web.Request, given: dict[str, Any]) -> Any:
        line = self.renew(given.get("client_id"), None, given.get("refresh_token"))
        return {
            "access_token": line["access"], "expires_in": int(self.config.token_seconds), "token_type": "Bearer",
            "refresh_token": line["refresh"], "refresh_expires_in": int(self.config.refresh_seconds),
        }  # fmt: skip

    # -- series and ads ----------------------------------------------------------------------------------
    def _series_of(self, ad: dict[str, Any]) -> dict[str, Any]:
        return self.placements.get(f"{SERIES}:{ad.get('campaign_id')}", {})

    def day_budget_fen(self, placement: dict[str, Any], day: dt.date) -> int:
        """The series's budget spread over the days of the ad; a series itself shows nothing."""
        schedule = placement.get("delivery_schedule") or {}
        starts, stops = schedule.get("start_time"), schedule.get("stop_time")
        if not starts or not stops or not within(day, starts, stops):
            return 0
        days = (dt.date.fromisoformat(stops[:10]) - dt.date.fromisoformat(starts[:10])).days + 1
        return int(float(self._series_of(placement).get("lifetime_budget") or 0) * 100) // days

    def cap(self, placement: dict[str, Any]) -> tuple[int, int] | None:
        for rule in json.loads((placement.get("targeting") or {}).get("frequency") or "[]"):
            return int(rule["limit"]), int(rule["time_interval"])
        return None

    async def _list(self, request: web.Request, given: dict[str, Any]) -> Any:
        rows = [
            {"id": int(key.partition(":")[2]), **fields}
            for key, fields in self.placements.items()
            if ":" in key
        ]
        found, info = paged(rows, given.get("page"), given.get("page_size", 20), 200)
        return {"list": found, "page": info["page"], "pages": info["total_page"]}

    async def _series(self, request: web.Request, given: dict[str, Any]) -> Any:
        key = request.match_info["id"]
        return {"id": int(key), **self.placement(f"{SERIES}:{key}")}

    async def _update_series(self, request: web.Request, given: dict[str, Any]) -> Any:
        key = request.match_info["id"]
        known = self.placement(f"{SERIES}:{key}")
        budget, before = given.get("lifetime_budget"), float(known.get("lifetime_budget") or 0)
        if not isinstance(budget, int | float) or not 150 <= budget <= 9_999_999.99:
            raise Refused(self.codes["parameter"], "系列总预算为150元至9,999,999.99元")
        if before and abs(budget - before) < 100:
            raise Refused(self.codes["parameter"], "单次修改幅度不得低于100元")
        spent = sum(
            figures.spend_fen
            for (ad, _day), figures in self.delivered.items()
            if str(self.placements[ad].get("campaign_id")) == key
        ) / 100  # fmt: skip
        if budget < before and budget < max(spent * 1.2, spent + 150):
            raise Refused(self.codes["parameter"], "不得低于当前系列实时总消耗*120%及总消耗+150元")
        self.place(f"{SERIES}:{key}", lifetime_budget=f"{budget:.2f}")
        return {"id": int(key), **self.placement(f"{SERIES}:{key}")}

    async def _ad(self, request: web.Request, given: dict[str, Any]) -> Any:
        key = request.match_info["id"]
        return {"id": int(key), **self.placement(key)}

    async def _update_ad(self, request: web.Request, given: dict[str, Any]) -> Any:
        key = request.match_info["id"]
        self.placement(key)
        fields = {name: given[name] for name in ("targeting", "delivery_schedule") if name in given}
        for rule in json.loads((fields.get("targeting") or {}).get("frequency") or "[]"):
            if not (isinstance(rule.get("limit"), int) and isinstance(rule.get("time_interval"), int)):
                raise Refused(self.codes["parameter"], "frequency: limit and time_interval must be numbers")
            if rule["limit"] < 1 or rule["time_interval"] < 1:
                raise Refused(
                    self.codes["parameter"], "frequency: limit and time_interval must be at least 1"
                )
        self.place(key, **fields)
        return {"id": int(key), **self.placement(key)}

    # -- reports -----------------------------------------------------------------------------------------
    async def _report(self, request: web.Request, given: dict[str, Any]) -> Any:
        names = set(request.query.getall("fields"))
        if given.get("group_by") != "date" or not names:
            raise Refused(self.codes["parameter"], "group_by must be date, and fields are needed")
        rows = []
        for key, day, told in self.figures(given["start_date"], given["end_date"]):
            row = {
                "consume": told.spend_fen / 100, "pv": told.exposures, "bhv": told.clicks * 3,
                "traffic_bhv": told.clicks,
            }  # fmt: skip
            rows.append(
                {"ad_id": int(key), "date": day, **{name: row[name] for name in names if name in row}}
            )
        found, info = paged(rows, given.get("page"), given.get("page_size", 20), 200)
        return {
            "data": {
                "list": found, "page": info["page"], "pages": info["total_page"], "total_num": info["total_number"]
            }
        }  # fmt: skip
