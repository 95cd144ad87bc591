"""Weibo (超级粉丝通): the flight of an ad with its frequency cap, totals a day.

No upload of audiences is offered here, so the channel is a placement: nothing is known of a person. The budget is
the ad series's, the dates and the cap are the ad's. Money is in yuan. Every verb says what should be so.
"""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import Medium
from channels.adapters._flights import days_of
from channels.adapters._oauth import (
    SECRETS,
    WAIT_MINUTES,
    WAIT_PASSING,
    OAuthAdapter,
    money,
    reaching,
    whole,
)
from channels.adapters.base import AdapterError, Checked, Credentials, Flight, ReportRow, Setting
from channels.vocabulary import Domain, Guarantee, Observability, PriceModel

LEAST, MOST, STEP = Decimal(150), Decimal("9999999.99"), Decimal(100)  # yuan, of an ad series
PAGE = 200
OVER_STATUS = {401}
FIELDS = ("consume", "pv", "bhv", "traffic_bhv")


class Adapter(OAuthAdapter):
    name = "weibo"
    label = gettext_lazy("Weibo (微博)")
    platform = "Weibo"
    address = "https://api.biz.weibo.com"
    media: ClassVar[tuple[str, ...]] = (Medium.SOCIAL,)
    domain = Domain.PUBLIC
    guarantee = Guarantee.AGGREGATE
    observability = Observability.PLACEMENT
    price_model = PriceModel.CPM
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting(
            "account_id",
            gettext_lazy("Ad account"),
            gettext_lazy("Empty: the account that authorised the app."),
            required=False,
        ),
        Setting("app_id", gettext_lazy("App id")),
        *SECRETS[1:],  # the platform renews without the app's secret
        *reaching(address),
    )

    # Flight ---------------------------------------------------------------------------------------

    def set_flight(self, flight: Flight) -> Flight:
        """The budget of an ad's series, the dates and the frequency cap of the ad; only what differs is sent.

        Raises :class:`AdapterError`, also before a change that the platform would not take.
        """
        reference = self.wanted_reference(flight, _("ad"))
        ad = self._ad(reference)
        series = self._get(f"campaigns/{ad['campaign_id']}")
        self._budget(ad["campaign_id"], money(series.get("lifetime_budget")), flight)
        wanted: dict[str, Any] = {}
        dates = {"start_time": flight.starts_on.isoformat(), "stop_time": flight.ends_on.isoformat()}
        schedule = ad.get("delivery_schedule") or {}
        if any(str(schedule.get(name) or "")[:10] != value for name, value in dates.items()):
            wanted["delivery_schedule"] = {**schedule, **dates}
        cap = (flight.cap_exposures, flight.cap_days or days_of(flight)) if flight.cap_exposures else None
        if cap and _cap(ad) != cap:
            frequency = json.dumps([{"time_interval": cap[1], "limit": cap[0]}])
            wanted["targeting"] = {**(ad.get("targeting") or {}), "frequency": frequency}
        if wanted:
            self._post(f"ads/{reference}", wanted)
            ad = self._ad(reference)
        series = self._get(f"campaigns/{ad['campaign_id']}")
        schedule, told = ad.get("delivery_schedule") or {}, _cap(ad)
        return Flight(
            reference=reference,
            budget=money(series.get("lifetime_budget")),
            starts_on=dt.date.fromisoformat(str(schedule["start_time"])[:10]),
            ends_on=dt.date.fromisoformat(str(schedule["stop_time"])[:10]),
            cap_exposures=told[0] if told else None,
            cap_days=told[1] if told else None,
        )

    def _budget(self, series: Any, known: Decimal, flight: Flight) -> None:
        wanted = flight.budget.quantize(Decimal("0.01"))
        if wanted == known:
            return
        if not LEAST <= wanted <= MOST:
            text = _("Weibo takes budgets of ¥%(least)s to ¥%(most)s; this flight has ¥%(budget)s.")
            raise AdapterError(text % {"least": LEAST, "most": MOST, "budget": wanted}, code="budget")
        if known and abs(wanted - known) < STEP:
            text = _(
                "Weibo changes a budget by ¥100 or more; it stands at ¥%(known)s, ¥%(budget)s is wanted."
            )
            raise AdapterError(text % {"known": known, "budget": wanted}, code="budget")
        self._post(f"campaigns/{series}", {"lifetime_budget": float(wanted)})

    def _ad(self, reference: str) -> dict[str, Any]:
        if not reference.isdecimal():
            raise AdapterError(_("Weibo has no ad %s.") % reference, code="reference")
        return self._get(f"ads/{reference}")

    # Reports --------------------------------------------------------------------------------------

    def fetch_report(self, day: dt.date) -> list[ReportRow]:
        """One row an ad; clicks are those that led away from Weibo (traffic_bhv). Raises :class:`AdapterError`."""
        given = {
            "start_date": day.isoformat(), "end_date": day.isoformat(), "group_by": "date", "fields": list(FIELDS),
        }  # fmt: skip
        return [_row(told, day) for told in self._rows("report/effect/get_ad_data", given)]

    def _rows(self, path: str, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        page = 1
        while True:
            answer = self._get(path, {**given, "page": str(page), "page_size": str(PAGE)})
            answer = answer.get("data") or answer
            yield from answer.get("list") or ()
            if page >= int(answer.get("pages") or 1):
                return
            page += 1

    # Calls ----------------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Ask for the series of the account: enough to know that the token opens it."""
        try:
            self._get("campaigns", {"page": "1", "page_size": "1"})
        except AdapterError as error:
            return Checked(False, str(error))
        return Checked(
            True, _("Weibo lets us into account %s.") % (self._account_id or _("of the authorisation")), {}
        )

    def exchange(self, credentials: Credentials) -> Credentials:
        told, status = self.ask(
            "POST", "/oauth/refresh_token",
            json={
                "client_id": int(self.account.settings.get("app_id") or 0),
                "refresh_token": str(credentials["refresh_token"]),
            },
        )  # fmt: skip
        fresh = self.understand(told, status)
        fresh = fresh.get("data") or fresh
        return {name: fresh.get(name) for name in ("access_token", "refresh_token")}

    def authorise(self, token: str, request: dict[str, Any]) -> None:
        request["headers"] = {
            "Authorization": f"Bearer {token}", "Accept": "application/json,application/text+gw2.0",
        }  # fmt: skip

    def understand(self, told: Mapping[str, Any], status: int) -> Any:
        """An answer carries its fields beside a code of 0, or none. Error codes are not published; statuses are."""
        code, text = told.get("code", 0), told.get("message")
        if status < 400 and code == 0:
            return told
        if status in OVER_STATUS or code in OVER_STATUS:
            raise self.over(code, text)
        retry = {429: WAIT_MINUTES, **dict.fromkeys(range(500, 600), WAIT_PASSING)}
        error = self.error(code or status, text, retry=retry, stops=(403,))
        if status in retry and not error.retryable:
            error.retryable, error.retry_after = True, retry[status]
        raise error

    def _get(self, path: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return dict(self.call("GET", f"/v3/{path}", params={**self._whose, **(given or {})}))

    def _post(self, path: str, given: Mapping[str, Any]) -> dict[str, Any]:
        whose = {name: int(value) for name, value in self._whose.items()}
        return dict(self.call("POST", f"/v3/{path}", json={**whose, **given}))

    @property
    def _whose(self) -> dict[str, str]:
        return {"advertiser_id": self._account_id} if self._account_id else {}


def _cap(ad: Mapping[str, Any]) -> tuple[int, int] | None:
    """(exposures, days) of an ad's targeting, which the platform gives as JSON or as text of it."""
    told = (ad.get("targeting") or {}).get("frequency") or []
    rules = json.loads(told) if isinstance(told, str) else told
    return (int(rules[0]["limit"]), int(rules[0]["time_interval"])) if rules else None


def _row(told: Mapping[str, Any], day: dt.date) -> ReportRow:
    return ReportRow(
        day=dt.date.fromisoformat(str(told.get("date") or day)[:10]),
        placement=str(told["ad_id"]),
        currency="CNY",
        spend=money(told.get("consume")),
        exposures=whole(told.get("pv")),
        clicks=whole(told.get("traffic_bhv")),
    )
