"""Xiaohongshu (小红书聚光): the flight of a campaign, totals a day.

No upload of audiences is offered here, so the channel is a placement: nothing is known of a person. There is no
frequency cap. Budgets are in fen, reports in yuan. Every verb says what should be so and may be repeated.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import Medium
from channels.adapters._flights import daily, in_all, switched
from channels.adapters._oauth import (
    SECRETS,
    WAIT_MINUTES,
    WAIT_PASSING,
    OAuthAdapter,
    money,
    reaching,
    whole,
)
from channels.adapters.base import (
    NOT_FOUND,
    AdapterError,
    Balance,
    Checked,
    Credentials,
    Flight,
    ReportRow,
    Setting,
)
from channels.vocabulary import Domain, Guarantee, Observability, PriceModel

FEN = 100
LEAST_DAILY, BELOW_DAILY = 10_000, 99_999_900  # fen
OVER_STATUS = {401}
RESUME, PAUSE = 1, 2  # action_type
PAUSED_STATES = {2, 3}  # campaign_filter_state: paused, removed
PAGE = 1000


class Adapter(OAuthAdapter):
    name = "xiaohongshu"
    label = gettext_lazy("Xiaohongshu (小红书)")
    platform = "Xiaohongshu"
    address = "https://adapi.xiaohongshu.com"
    media: ClassVar[tuple[str, ...]] = (Medium.SOCIAL,)
    domain = Domain.PUBLIC
    guarantee = Guarantee.AGGREGATE
    observability = Observability.PLACEMENT
    price_model = PriceModel.CPC
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("account_id", gettext_lazy("Ad account"), gettext_lazy("The number of the advertiser.")),
        Setting("app_id", gettext_lazy("App id")),
        *SECRETS,
        *reaching(address),
    )

    # Flight ---------------------------------------------------------------------------------------

    def set_flight(self, flight: Flight) -> Flight:
        """Daily budget and dates of a campaign; only what differs is sent. There is no frequency cap, so none is told
        back. Raises :class:`AdapterError`."""
        reference = self.wanted_reference(flight, _("campaign"))
        budget = int(daily(flight) * FEN)
        if not LEAST_DAILY <= budget < BELOW_DAILY:
            raise AdapterError(
                _("Xiaohongshu takes ¥%(least)s to ¥%(most)s a day; this flight has ¥%(budget)s a day.")
                % {"least": LEAST_DAILY // FEN, "most": BELOW_DAILY // FEN, "budget": daily(flight)},
                code="budget",
            )
        wanted = {
            "limit_day_budget": 1, "campaign_day_budget": budget, "start_time": flight.starts_on.isoformat(),
            "expire_time": flight.ends_on.isoformat(),
        }  # fmt: skip
        known = self._campaign(reference)
        if any(not _same(known.get(name), value) for name, value in wanted.items()):
            self._post(
                "campaign/update",
                {"campaign_id": int(reference), "time_type": 1, "time_peroid_type": 0, **wanted},
            )
            known = self._campaign(reference)
        return Flight(
            reference=reference,
            budget=in_all(Decimal(known.get("campaign_day_budget") or 0) / FEN, flight),
            starts_on=dt.date.fromisoformat(str(known["start_time"])[:10]),
            ends_on=dt.date.fromisoformat(str(known["expire_time"])[:10]),
        )

    def pause_flight(self, reference: str, paused: bool | None) -> bool:
        """The campaign's own switch. Raises :class:`AdapterError`."""
        return switched(
            paused,
            lambda: _is_paused(self._campaign(reference)),
            lambda wanted: self._post(
                "campaign/status/update",
                {"campaign_ids": [int(reference)], "action_type": PAUSE if wanted else RESUME},
            ),
        )

    def _campaign(self, campaign: str) -> dict[str, Any]:
        if campaign.isdecimal():
            told = self._post(
                "campaign/list",
                {"campaign_ids": [int(campaign)], "page": {"page_index": 1, "page_size": 20}},
            )
            for one in told.get("base_campaign_dtos") or ():
                return dict(one)
        raise AdapterError(_("Xiaohongshu has no campaign %s.") % campaign, code=NOT_FOUND)

    # Reports --------------------------------------------------------------------------------------

    def fetch_report(self, day: dt.date) -> list[ReportRow]:
        """One row a campaign. The platform tells a day when it is over. Raises :class:`AdapterError`."""
        given = {"start_date": day.isoformat(), "end_date": day.isoformat(), "time_unit": "DAY"}
        return [_row(told) for told in self._rows("data/report/offline/campaign", given)]

    def _rows(self, path: str, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        page = seen = 0
        while True:
            page += 1
            answer = self._post(path, {**given, "page_num": page, "page_size": PAGE})
            rows = answer.get("data_list") or ()
            yield from rows
            seen += len(rows)
            if not rows or seen >= int(answer.get("total_count") or 0):
                return

    def fetch_balance(self) -> list[Balance]:
        """Cash and what Xiaohongshu gave, told in fen. Raises :class:`AdapterError`."""
        told = self._post("account/balance/info", {})
        if told.get("total_balance") is None:
            raise AdapterError(
                _("%(platform)s tells no balance that can be read.") % {"platform": self.platform},
                code="balance",
            )
        return [Balance("CNY", money(told["total_balance"]) / FEN)]

    # Calls ----------------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Ask for campaigns: enough to know that the token opens the account."""
        try:
            self._post("campaign/list", {"page": {"page_index": 1, "page_size": 1}})
        except AdapterError as error:
            return Checked(False, str(error))
        return Checked(
            True,
            _("Xiaohongshu lets us into account %s.") % self._account_id,
            {"account_id": self._account_id},
        )

    def exchange(self, credentials: Credentials) -> Credentials:
        told, status = self.ask(
            "POST", "/api/open/oauth2/refresh_token",
            json={
                "app_id": int(self.account.settings.get("app_id") or 0),
                "secret": str(credentials.get("app_secret") or ""),
                "refresh_token": str(credentials["refresh_token"]),
            },
        )  # fmt: skip
        fresh = self.understand(told, status)
        return {name: fresh.get(name) for name in ("access_token", "refresh_token")}

    def understand(self, told: Mapping[str, Any], status: int) -> Any:
        """The codes are not published; what an HTTP status means is."""
        code, text = told.get("code"), told.get("msg")
        if code == 0 and told.get("success", True):
            return told.get("data") or {}
        if status in OVER_STATUS or code in OVER_STATUS:
            raise self.over(code, text)
        retry = {429: WAIT_MINUTES, **dict.fromkeys(range(500, 600), WAIT_PASSING)}
        error = self.error(code, text, retry=retry, stops=(403,))
        if status in retry and not error.retryable:
            error.retryable, error.retry_after = True, retry[status]
        raise error

    def _post(self, path: str, given: Mapping[str, Any]) -> dict[str, Any]:
        body = {"advertiser_id": int(self._account_id), **given}
        return dict(self.call("POST", f"/api/open/jg/{path}", json=body))


def _is_paused(campaign: Mapping[str, Any]) -> bool:
    """By its own switch; a campaign without money is none."""
    return campaign.get("campaign_enable") == 0 or campaign.get("campaign_filter_state") in PAUSED_STATES


def _same(known: Any, wanted: Any) -> bool:
    return str(known)[:10] == wanted if isinstance(wanted, str) else bool(known == wanted)


def _row(told: Mapping[str, Any]) -> ReportRow:
    return ReportRow(
        day=dt.date.fromisoformat(str(told["time"])[:10]),
        placement=str(told["campaign_id"]),
        currency="CNY",
        spend=money(told.get("fee")),
        exposures=whole(told.get("impression")),
        clicks=whole(told.get("click")),
    )
