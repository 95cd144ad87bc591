"""Tencent Ads: audiences as files of hashes, the flight of an ad group, totals a day.

A file is taken at once and worked off later, so it is asked for until it is done; one sent twice changes nothing.
The platform has no frequency cap. Money is in fen. Every verb says what should be so and may be repeated.
"""

import datetime as dt
import hashlib
import io
import json
import secrets
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import IdentityKind, Medium
from channels.adapters._flights import BY_AUDIENCE, daily, in_all, switched
from channels.adapters._oauth import (
    SECRETS,
    WAIT_MINUTES,
    OAuthAdapter,
    reaching,
    sha256,
    whole,
)
from channels.adapters._people import Form, as_is, by_kind, hashed, mainland_number, people_of
from channels.adapters.base import (
    NOT_FOUND,
    AdapterError,
    AudienceChange,
    AudienceResult,
    Balance,
    Checked,
    Credentials,
    Flight,
    ReportRow,
    Setting,
)
from channels.vocabulary import Domain, Guarantee, Observability, PriceModel

FEN = 100
MOST_BYTES = 100 * 1024 * 1024  # of a zip
LEAST_DAILY, MOST_DAILY = Decimal(50), Decimal(4_000_000)  # yuan
OVER, REFRESH_OVER = {11000}, {11012}
RETRY = {10000: 10.0, 11016: 10.0, 11017: WAIT_MINUTES, 11018: 86_400.0, 11019: 10.0}
STOPS = (11001, 11002, 11003)
USER_ID_TYPES: dict[str, str] = {
    IdentityKind.PHONE: "SHA256_MOBILE_PHONE",
    IdentityKind.UNIONID: "WX_UNIONID",
    IdentityKind.OPENID: "WECHAT_OPENID",
}
DONE, BROKEN = {"SUCCESS"}, {"ERROR", "FAILED"}
FIELDS = ["date", "adgroup_id", "cost", "view_count", "valid_click_count", "conversions_count"]


class Adapter(OAuthAdapter):
    name = "tencent_ads"
    label = gettext_lazy("Tencent Ads")
    platform = "Tencent Ads"
    address = "https://api.e.qq.com"
    media: ClassVar[tuple[str, ...]] = (Medium.SOCIAL, Medium.VIDEO)
    domain = Domain.PUBLIC
    guarantee = Guarantee.AGGREGATE
    observability = Observability.PERSON_TARGETED
    price_model = PriceModel.CPM
    address_kinds: ClassVar[tuple[str, ...]] = (
        IdentityKind.PHONE,
        IdentityKind.OPENID,
        IdentityKind.UNIONID,
    )
    batch_size = 10_000
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("account_id", gettext_lazy("Ad account"), gettext_lazy("The number of the advertiser.")),
        Setting("app_id", gettext_lazy("App id")),
        *SECRETS,
        Setting(
            "wechat_app_id",
            gettext_lazy("WeChat app id"),
            gettext_lazy("Whose OpenIDs are uploaded; without it, phone numbers and UnionIDs are."),
            required=False,
        ),
        Setting(
            "poll_seconds",
            gettext_lazy("Seconds to wait for an uploaded file"),
            gettext_lazy("What is not worked off by then is asked for again two minutes later."),
            "number",
            default=30,
            required=False,
        ),
        Setting("version", gettext_lazy("Version of the API"), default="v3.0", required=False),
        *reaching(address),
    )

    # Audiences ------------------------------------------------------------------------------------

    def sync_audience(
        self, external_id: str, name: str, add: Sequence[AudienceChange], remove: Sequence[AudienceChange]
    ) -> AudienceResult:
        """Files of people to take out and to put in. Confirmed are those whose file the platform has worked off.

        What an earlier file did is told even when a later one fails. Raises :class:`AdapterError` when nothing
        was done.
        """
        audience = external_id or self._audience(name)
        done: list[int] = []
        failed: dict[int, str] = {}
        size: int | None = None
        try:
            for operation, changes in (("REDUCE", remove), ("APPEND", add)):
                for kind, people in by_kind(people_of(changes, self._forms, failed)).items():
                    for values in _parts(list(people)):
                        self._file(audience, operation, USER_ID_TYPES[kind], values, people, done, failed)
            size = self._size(audience)
        except AdapterError:
            if not done and external_id:
                raise
        return AudienceResult(audience, done, failed, size)

    @property
    def _forms(self) -> dict[str, Form]:
        forms: dict[str, Form] = {IdentityKind.PHONE: hashed(mainland_number), IdentityKind.UNIONID: as_is}
        if self.account.settings.get("wechat_app_id"):
            forms[IdentityKind.OPENID] = as_is
        return forms

    def _audience(self, name: str) -> str:
        """Made, or found again by a key of ours that the platform keeps unique."""
        given = {
            "account_id": self._account_id, "name": name[:32], "type": "CUSTOMER_FILE", "description": "Evenreach",
            "outer_audience_id": "evenreach_" + hashlib.sha256(name.encode()).hexdigest()[:24],
        }  # fmt: skip
        return str(self._post("custom_audiences/add", given)["audience_id"])

    def _file(
        self,
        audience: str,
        operation: str,
        kind: str,
        values: Sequence[str],
        people: Mapping[str, Sequence[int]],
        done: list[int],
        failed: dict[int, str],
    ) -> None:
        name = f"{operation.lower()}-{sha256(kind + chr(10).join(values))[:24]}.zip"
        told = self._known_file(audience, name, operation)
        if told is None:
            fields = {
                "account_id": self._account_id,
                "audience_id": audience,
                "user_id_type": kind,
                "operation_type": operation,
            }
            if kind == "WECHAT_OPENID":
                fields["open_app_id"] = str(self.account.settings["wechat_app_id"])
            sent = self.call(
                "POST", self._path("custom_audience_files/add"), data=fields,
                files={"file": (name, _zip(name, values), "application/zip")},
            )  # fmt: skip
            told = {"custom_audience_file_id": sent["custom_audience_file_id"], "process_status": "PENDING"}
        told = self._worked_off(audience, told)
        customers = [customer for value in values for customer in people[value]]
        if told["process_status"] in DONE and not told.get("process_code"):
            done.extend(customers)
        elif told["process_status"] in BROKEN or told.get("process_code"):
            failed.update(dict.fromkeys(customers, f"file {told.get('process_code') or 'ERROR'}"))

    def _known_file(self, audience: str, name: str, operation: str) -> dict[str, Any] | None:
        """The same file, sent before: unless it broke, or one that does the opposite came after it."""
        for told in self._files(audience):
            if told.get("operation_type") != operation:
                return None
            if told.get("name") == name:
                return None if told.get("process_status") in BROKEN else told
        return None

    def _files(self, audience: str) -> list[dict[str, Any]]:
        """The newest files of an audience, newest first."""
        given = {"account_id": self._account_id, "audience_id": audience, "page": "1", "page_size": "100"}
        answer = self._get("custom_audience_files/get", given)
        found = list(answer.get("list") or ())
        last = int((answer.get("page_info") or {}).get("total_page") or 1)
        if last > 1:
            found += self._get("custom_audience_files/get", {**given, "page": str(last)}).get("list") or ()
        return sorted(found, key=lambda told: int(told["custom_audience_file_id"]), reverse=True)

    def _worked_off(self, audience: str, told: dict[str, Any]) -> dict[str, Any]:
        """Ask until the file is done or broken, or the time is over."""
        until = time.monotonic() + float(self.account.settings.get("poll_seconds") or 30)
        nap = 0.05
        while told["process_status"] not in DONE | BROKEN and time.monotonic() < until:
            time.sleep(nap)
            nap = min(2 * nap, 2.0)
            found = self._get(
                "custom_audience_files/get",
                {
                    "account_id": self._account_id, "audience_id": audience, "page": "1", "page_size": "10",
                    "custom_audience_file_id": str(told["custom_audience_file_id"]),
                },
            ).get("list")  # fmt: skip
            if found:
                told = found[0]
        return told

    def _size(self, audience: str) -> int | None:
        found = self._get(
            "custom_audiences/get",
            {"account_id": self._account_id, "audience_id": audience, "page": "1", "page_size": "1"},
        ).get("list")
        return whole(found[0].get("user_count")) if found else None

    # Flight ---------------------------------------------------------------------------------------

    def set_flight(self, flight: Flight) -> Flight:
        """Daily budget and dates of an ad group; only what differs is sent. There is no frequency cap, so none is
        told back. ``audience:<id>`` is the ad group aimed at that audience. Raises :class:`AdapterError`."""
        budget = daily(flight)
        if not LEAST_DAILY <= budget <= MOST_DAILY:
            raise AdapterError(
                _("Tencent Ads takes ¥%(least)s to ¥%(most)s a day; this flight has ¥%(budget)s a day.")
                % {"least": LEAST_DAILY, "most": MOST_DAILY, "budget": budget},
                code="budget",
            )
        known = self._adgroup(flight.reference or self.wanted_reference(flight, _("ad group")))
        adgroup = int(known["adgroup_id"])
        if known.get("daily_budget") != int(budget * FEN):
            self._change(
                "adgroups/update_daily_budget",
                "update_daily_budget_spec",
                {"adgroup_id": adgroup, "daily_budget": int(budget * FEN)},
            )
        dates = {"begin_date": flight.starts_on.isoformat(), "end_date": flight.ends_on.isoformat()}
        if any(known.get(name) != value for name, value in dates.items()):
            self._change("adgroups/update_datetime", "update_datetime_spec", {"adgroup_id": adgroup, **dates})
        known = self._adgroup_by_id(str(adgroup))
        return Flight(
            reference=str(adgroup),
            budget=in_all(Decimal(known.get("daily_budget") or 0) / FEN, flight),
            starts_on=dt.date.fromisoformat(known["begin_date"]),
            ends_on=dt.date.fromisoformat(known.get("end_date") or known["begin_date"]),
        )

    def pause_flight(self, reference: str, paused: bool | None) -> bool:
        """The ad group's own switch. Raises :class:`AdapterError`."""
        adgroup = int(self._adgroup(reference)["adgroup_id"])
        return switched(
            paused,
            lambda: self._adgroup_by_id(str(adgroup)).get("configured_status") != "AD_STATUS_NORMAL",
            lambda wanted: self._change(
                "adgroups/update_configured_status",
                "update_configured_status_spec",
                {
                    "adgroup_id": adgroup,
                    "configured_status": "AD_STATUS_SUSPEND" if wanted else "AD_STATUS_NORMAL",
                },
            ),
        )

    def _adgroup(self, reference: str) -> dict[str, Any]:
        """An ad group by its number, or the one aimed at an audience. Raises :class:`AdapterError`."""
        if not reference.startswith(BY_AUDIENCE):
            return self._adgroup_by_id(reference)
        audience = reference.removeprefix(BY_AUDIENCE)
        aimed = [
            told
            for told in self._pages("adgroups/get", {"fields": json.dumps(_ADGROUP)})
            if audience in map(str, (told.get("targeting") or {}).get("custom_audience") or ())
        ]
        if len(aimed) == 1:
            return aimed[0]
        text = (
            _("Several ad groups are aimed at audience %(id)s: write the id of one on its page.")
            if aimed
            else _("No ad group is aimed at audience %(id)s yet: choose it in an ad group's targeting.")
        )
        raise AdapterError(text % {"id": audience}, code="reference" if aimed else NOT_FOUND)

    def _adgroup_by_id(self, adgroup: str) -> dict[str, Any]:
        rules = [{"field": "adgroup_id", "operator": "EQUALS", "values": [adgroup]}]
        for told in self._pages(
            "adgroups/get", {"filtering": json.dumps(rules), "fields": json.dumps(_ADGROUP)}
        ):
            return told
        raise AdapterError(_("Tencent Ads has no ad group %s.") % adgroup, code=NOT_FOUND)

    def _change(self, path: str, spec: str, change: dict[str, Any]) -> None:
        """A batch of one; a batch is taken although its members fail, so each is looked at."""
        told = self._post(path, {"account_id": self._account_id, spec: [change]})
        for one in told.get("list") or ():
            if one.get("code"):
                raise self._error(one)
        if told.get("fail_id_list"):
            raise AdapterError(_("Tencent Ads did not change ad group %s.") % change["adgroup_id"])

    # Reports --------------------------------------------------------------------------------------

    def fetch_report(self, day: dt.date) -> list[ReportRow]:
        """One row an ad group, in yuan. Raises :class:`AdapterError`."""
        given = {
            "level": "REPORT_LEVEL_ADGROUP", "group_by": json.dumps(["date", "adgroup_id"]),
            "date_range": json.dumps({"start_date": day.isoformat(), "end_date": day.isoformat()}),
            "fields": json.dumps(FIELDS),
        }  # fmt: skip
        return [_row(told) for told in self._pages("daily_reports/get", given, 2000)]

    def fetch_balance(self) -> list[Balance]:
        """All funds of the account that are its own, told in fen; lines of credit are not. Raises :class:`AdapterError`."""
        told = self._get("funds/get", {"account_id": self._account_id}).get("list") or ()
        own = [fund for fund in told if "CREDIT" not in str(fund.get("fund_type"))]
        return [Balance("CNY", sum((Decimal(fund.get("balance") or 0) for fund in own), Decimal(0)) / FEN)]

    # Calls ----------------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Read the ad account's newest audience: enough to know that the token opens it."""
        try:
            self._get("custom_audiences/get", {"account_id": self._account_id, "page": "1", "page_size": "1"})
        except AdapterError as error:
            return Checked(False, str(error))
        return Checked(
            True,
            _("Tencent Ads lets us into account %s.") % self._account_id,
            {"account_id": self._account_id},
        )

    def exchange(self, credentials: Credentials) -> Credentials:
        told, status = self.ask(
            "GET", "/oauth/token",
            params={
                "client_id": str(self.account.settings.get("app_id") or ""),
                "client_secret": str(credentials.get("app_secret") or ""), "grant_type": "refresh_token",
                "refresh_token": str(credentials["refresh_token"]),
            },
        )  # fmt: skip
        fresh = self.understand(told, status)
        return {name: fresh.get(name) for name in ("access_token", "refresh_token")}

    def authorise(self, token: str, request: dict[str, Any]) -> None:
        request["params"] = {
            **request.get("params", {}), "access_token": token, "timestamp": str(int(time.time())),
            "nonce": secrets.token_hex(16),
        }  # fmt: skip

    def understand(self, told: Mapping[str, Any], status: int) -> Any:
        code = told.get("code")
        if code == 0:
            return told.get("data") or {}
        if code in OVER | REFRESH_OVER:
            raise self.over(code, told.get("message_cn") or told.get("message"))
        raise self._error(told)

    def _error(self, told: Mapping[str, Any]) -> AdapterError:
        return self.error(
            told.get("code"), told.get("message_cn") or told.get("message"), retry=RETRY, stops=STOPS
        )

    def _path(self, path: str) -> str:
        return f"/{self.account.settings.get('version') or 'v3.0'}/{path}"

    def _get(self, path: str, given: Mapping[str, str]) -> dict[str, Any]:
        return dict(self.call("GET", self._path(path), params=dict(given)))

    def _post(self, path: str, given: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self.call("POST", self._path(path), json=dict(given)))

    def _pages(self, path: str, given: Mapping[str, str], size: int = 100) -> Iterator[dict[str, Any]]:
        page = 1
        while True:
            answer = self._get(
                path, {"account_id": self._account_id, **given, "page": str(page), "page_size": str(size)}
            )
            yield from answer.get("list") or ()
            if page >= int((answer.get("page_info") or {}).get("total_page") or 1):
                return
            page += 1


_ADGROUP = [
    "adgroup_id", "adgroup_name", "begin_date", "end_date", "daily_budget", "configured_status", "targeting",
]  # fmt: skip


def _parts(values: Sequence[str], most: int = MOST_BYTES) -> Iterator[Sequence[str]]:
    """Pieces whose zip stays below the platform's limit, whatever compression brings."""
    longest = max(map(len, values), default=0) + 1
    size = max(1, (most - 1024) // longest)
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _zip(name: str, lines: Sequence[str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name.replace(".zip", ".txt"), "\n".join(lines) + "\n")
    return buffer.getvalue()


def _row(told: Mapping[str, Any]) -> ReportRow:
    conversions = told.get("conversions_count")
    return ReportRow(
        day=dt.date.fromisoformat(told["date"]),
        placement=str(told["adgroup_id"]),
        currency="CNY",
        spend=Decimal(str(told.get("cost") or 0)) / FEN,
        exposures=whole(told.get("view_count")),
        clicks=whole(told.get("valid_click_count")),
        conversions=None if conversions is None else Decimal(str(conversions)),
    )
