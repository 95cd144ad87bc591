"""Xiaohongshu's open API (聚光) of one advertiser: campaigns with budgets in fen, reports of days that are over."""

import datetime as dt
from typing import Any, ClassVar

from aiohttp import web

from channels.sandbox.ad_platform import ZONE, AdPlatform, Refused, within


class Vendor(AdPlatform):
    name = "xiaohongshu"
    port = 18122
    token_paths = ("/api/open/oauth2/refresh_token",)
    codes: ClassVar[dict[str, int]] = {
        "over": 401, "refresh_over": 401, "limit": 429, "parameter": 400, "trouble": 500,
    }  # fmt: skip

    def app(self) -> web.Application:
        app = web.Application()
        for path, handler in {
            "oauth2/refresh_token": self._token,
            "jg/campaign/list": self._list,
            "jg/campaign/update": self._update,
            "jg/campaign/status/update": self._switch,
            "jg/data/report/offline/campaign": self._report,
            "jg/account/balance/info": self._balance,
        }.items():
            app.router.add_post(f"/api/open/{path}", self.guarded(handler, path))
        return app

    def envelope(self, code: int, text: str, data: Any) -> dict[str, Any]:
        return {"code": code, "success": code == 0, "msg": "成功" if code == 0 else text, "data": data}

    def check_call(self, request: web.Request, given: dict[str, Any]) -> None:
        if str(given.get("advertiser_id")) != self.config.account_id:
            raise Refused(403, "advertiser_id is not permitted", 403)

    async def _token(self, request: web.Request, given: dict[str, Any]) -> Any:
        line = self.renew(given.get("app_id"), given.get("secret", ""), given.get("refresh_token"))
        return {
            "access_token": line["access"], "access_token_expires_in": int(self.config.token_seconds),
            "refresh_token": line["refresh"], "refresh_token_expires_in": int(self.config.refresh_seconds),
        }  # fmt: skip

    async def _balance(self, request: web.Request, given: dict[str, Any]) -> Any:
        """In fen: cash, what was given, and their sum."""
        cash, gift = self.left_fen(), round(self.config.gift * 100)
        spent = self.figures(*[dt.datetime.now(ZONE).date().isoformat()] * 2)
        return {
            "total_balance": cash + gift, "cash_balance": cash, "return_balance": gift, "compensate_return_balance": 0,
            "freeze_balance": 0, "available_balance": cash + gift, "today_spend": sum(told.spend_fen for *_, told in spent),
        }  # fmt: skip

    def day_budget_fen(self, placement: dict[str, Any], day: dt.date) -> int:
        if not placement.get("campaign_enable", 1) or not within(
            day, placement.get("start_time"), placement.get("expire_time")
        ):
            return 0
        return int(placement.get("campaign_day_budget") or 0)

    async def _list(self, request: web.Request, given: dict[str, Any]) -> Any:
        ids, page = {str(one) for one in given.get("campaign_ids") or ()}, given.get("page") or {}
        index, size = int(page.get("page_index", 1)), int(page.get("page_size", 20))
        if len(ids) > 20 or not 1 <= size <= 100:
            raise Refused(self.codes["parameter"], "at most 20 campaign_ids, page_size 1 to 100")
        rows = [
            {"campaign_id": int(key), "campaign_enable": 1, "campaign_filter_state": 1, **fields}
            for key, fields in sorted(self.placements.items())
            if not ids or key in ids
        ]
        return {
            "base_campaign_dtos": rows[(index - 1) * size : index * size],
            "page": {"page_index": index, "total_count": len(rows)},
        }

    async def _update(self, request: web.Request, given: dict[str, Any]) -> Any:
        key = str(given.get("campaign_id"))
        self.placement(key)
        if "limit_day_budget" not in given or "time_type" not in given or "time_peroid_type" not in given:
            raise Refused(
                self.codes["parameter"], "limit_day_budget, time_type and time_peroid_type are needed"
            )
        fields = {"limit_day_budget": given["limit_day_budget"]}
        if given["limit_day_budget"]:
            budget = given.get("campaign_day_budget")
            if not isinstance(budget, int) or not 10_000 <= budget < 99_999_900:
                raise Refused(self.codes["parameter"], "campaign_day_budget must be 10,000 to 99,999,899 fen")
            fields["campaign_day_budget"] = budget
        if given["time_type"]:
            begins, ends = (dt.date.fromisoformat(given[name]) for name in ("start_time", "expire_time"))
            if ends < begins:
                raise Refused(self.codes["parameter"], "expire_time must not be before start_time")
            fields |= {"start_time": given["start_time"], "expire_time": given["expire_time"]}
        self.place(key, **fields)
        return {"campaign_id": int(key)}

    async def _switch(self, request: web.Request, given: dict[str, Any]) -> Any:
        ids, action = given.get("campaign_ids") or [], given.get("action_type")
        if not 1 <= len(ids) <= 20 or action not in {1, 2}:
            raise Refused(
                self.codes["parameter"], "one to 20 campaign_ids, action_type 1 or 2 in this sandbox"
            )
        for key in map(str, ids):
            self.placement(key)
            self.place(key, campaign_enable=2 - action, campaign_filter_state=action)
        return {"campaign_ids": ids}

    async def _report(self, request: web.Request, given: dict[str, Any]) -> Any:
        """Days that are over: today's figures are not in the offline report."""
        page, size = int(given.get("page_num", 1)), int(given.get("page_size", 20))
        if given.get("time_unit", "DAY") != "DAY" or not 1 <= size <= 1000:
            raise Refused(self.codes["parameter"], "time_unit must be DAY, page_size 1 to 1000")
        today = dt.datetime.now(ZONE).date().isoformat()
        rows = [
            {
                "time": day, "campaign_id": key, "campaign_name": self.placements[key].get("campaign_name", key),
                "fee": f"{told.spend_fen / 100:,.2f}", "impression": str(told.exposures), "click": str(told.clicks),
            }
            for key, day, told in self.figures(given["start_date"], given["end_date"])
            if day < today
        ]  # fmt: skip
        return {"data_list": rows[(page - 1) * size : page * size], "total_count": len(rows)}
