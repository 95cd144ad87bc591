"""Meta (Facebook, Instagram): audiences mirrored, the flight's limits set, daily totals fetched.

The platform tells nothing of a person, so the guarantee is *aggregate*. People are hashed here, as Meta wants it,
and the hashes are kept nowhere. Every verb says what should be so and may be repeated.
"""

import datetime as dt
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import httpx
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import IdentityKind, Medium
from channels.adapters._flights import BY_AUDIENCE, name_of, number_of, switched
from channels.adapters._people import Form, by_kind, hashed, people_of
from channels.adapters.base import (
    Account,
    AdapterError,
    AudienceChange,
    AudienceResult,
    Balance,
    BaseAdapter,
    Checked,
    Flight,
    ReportRow,
    Setting,
)
from channels.vocabulary import Domain, Guarantee, Observability, PriceModel

MOST_USERS = 10_000
TOKEN, PERMISSION, FLAGGED = {102, 190}, {10, 200, 294}, 471
SLOWER = {4, 17, 32, 613, 80000, 80001, 80002, 80003, 80004, 80005, 80006, 80008, 80014}
PASSING = {1, 2}  # the platform's own trouble
WAIT_SLOWER, WAIT_PASSING = 300.0, 10.0
WHOLE = {
    "CLP",
    "COP",
    "CRC",
    "HUF",
    "IDR",
    "ISK",
    "JPY",
    "KRW",
    "PYG",
    "TWD",
    "VND",
}  # budgets without hundredths
MOST_DAYS = 90
FIELDS = "date_start,adset_id,account_currency,spend,impressions,clicks,reach,frequency"


def _email(value: str) -> str:
    return value.strip().lower()


def _phone(value: str) -> str:
    return "".join(filter(str.isdigit, value)).lstrip("0")


FORMS: dict[str, Form] = {IdentityKind.EMAIL: hashed(_email), IdentityKind.PHONE: hashed(_phone)}
SCHEMAS: dict[str, str] = {IdentityKind.EMAIL: "EMAIL_SHA256", IdentityKind.PHONE: "PHONE_SHA256"}


class Adapter(BaseAdapter):
    name = "meta"
    label = gettext_lazy("Meta (Facebook, Instagram)")
    media: ClassVar[tuple[str, ...]] = (Medium.SOCIAL,)
    domain = Domain.PUBLIC
    guarantee = Guarantee.AGGREGATE
    observability = Observability.PERSON_TARGETED
    price_model = PriceModel.CPM
    address_kinds: ClassVar[tuple[str, ...]] = (IdentityKind.PHONE, IdentityKind.EMAIL)
    batch_size = MOST_USERS
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("account_id", gettext_lazy("Ad account"), gettext_lazy("Begins with act_.")),
        Setting(
            "token",
            gettext_lazy("Access token"),
            gettext_lazy("Of a system user, with ads_management."),
            "password",
            secret=True,
        ),
        Setting("app_secret", gettext_lazy("App secret"), kind="password", secret=True),
        Setting(
            "countries",
            gettext_lazy("Countries of new ad sets"),
            gettext_lazy("Two letters each, separated by spaces."),
            required=False,
            default="US",
        ),
        Setting(
            "start_active",
            gettext_lazy("New ad sets start active"),
            gettext_lazy("They show nothing until somebody puts an ad into them."),
            "boolean",
            default=True,
            required=False,
        ),
        Setting("version", gettext_lazy("Version of the API"), default="v26.0", required=False),
        Setting(
            "base_url",
            gettext_lazy("Address of the API"),
            kind="url",
            default="https://graph.facebook.com",
            required=False,
        ),
        Setting(
            "timeout", gettext_lazy("Seconds to wait for Meta"), kind="number", default=60, required=False
        ),
    )

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        told = account.settings
        self._base = str(told.get("base_url") or "https://graph.facebook.com").rstrip("/")
        self._version = str(told.get("version") or "v26.0")
        self._act = str(told.get("account_id") or "")
        self._http: httpx.Client | None = None
        self._about: dict[str, Any] | None = None

    # Audiences ------------------------------------------------------------------------------------

    def sync_audience(
        self, external_id: str, name: str, add: Sequence[AudienceChange], remove: Sequence[AudienceChange]
    ) -> AudienceResult:
        """Add and remove people, 10,000 a call. Without an id the audience of this name is found, or made.

        What an earlier call of the same run did is told even when a later one fails; the rest stays wanted.
        Raises :class:`AdapterError` when nothing was done.
        """
        audience = external_id or self._audience(name)
        done: list[int] = []
        failed: dict[int, str] = {}
        try:
            for method, changes in (("DELETE", remove), ("POST", add)):
                for kind, people in by_kind(people_of(changes, FORMS, failed)).items():
                    self._push(method, audience, SCHEMAS[kind], people, done, failed)
            size = self._size(audience)
        except AdapterError:
            if not done and external_id:
                raise
            size = None
        return AudienceResult(audience, done, failed, size)

    def _audience(self, name: str) -> str:
        rules = [{"field": "name", "operator": "EQUAL", "value": name}]
        for found in self._pages(
            f"{self._act}/customaudiences", {"fields": "id,name", "filtering": json.dumps(rules)}
        ):
            if found.get("name") == name:
                return str(found["id"])
        given = {
            "name": name, "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY",
            "description": "Evenreach",
        }  # fmt: skip
        return str(self._call("POST", f"{self._act}/customaudiences", given)["id"])

    def _push(
        self,
        method: str,
        audience: str,
        schema: str,
        people: Mapping[str, Sequence[int]],
        done: list[int],
        failed: dict[int, str],
    ) -> None:
        """One schema's hashes (hash → customers), in calls that belong to one session of Meta's."""
        hashes = list(people)
        session = secrets.randbits(48)
        for n, start in enumerate(range(0, len(hashes), MOST_USERS), 1):
            chunk = hashes[start : start + MOST_USERS]
            given = {
                "payload": json.dumps({"schema": schema, "data": chunk, "is_raw": False}, separators=(",", ":")),
                "session": json.dumps({
                    "session_id": session, "batch_seq": n, "last_batch_flag": start + MOST_USERS >= len(hashes),
                    "estimated_num_total": len(hashes),
                }),
            }  # fmt: skip
            answer = self._call(method, f"{audience}/users", given)
            invalid = {str(sample) for sample in answer.get("invalid_entry_samples") or ()}
            for value in chunk:
                if value in invalid:
                    failed.update(dict.fromkeys(people[value], "invalid_entry"))
                else:
                    done.extend(people[value])

    def _size(self, audience: str) -> int | None:
        """Matched members, as far as Meta tells (a lower bound). Raises :class:`AdapterError` for a blocked one."""
        told = self._call("GET", audience, {"fields": "approximate_count_lower_bound,operation_status"})
        status = told.get("operation_status") or {}
        if status.get("code") == FLAGGED:
            raise AdapterError(
                _("Meta has blocked this audience: %s") % status.get("description", ""), code=str(FLAGGED)
            )
        size = told.get("approximate_count_lower_bound")
        return int(size) if size is not None and int(size) >= 0 else None

    # Flight ---------------------------------------------------------------------------------------

    def set_flight(self, flight: Flight) -> Flight:
        """Bring an ad set to these limits; only what differs is sent. A reference ``audience:<id>`` finds, or makes,
        the ad set of that audience. Returns what Meta now says. Raises :class:`AdapterError`."""
        if not flight.reference:
            raise AdapterError(
                _("Name the ad set by its id, or write “audience:” and the id of the audience it is for."),
                code="reference",
            )
        wanted = self._wanted(flight)
        adset = flight.reference
        if adset.startswith(BY_AUDIENCE):
            adset = self._adset_of(adset.removeprefix(BY_AUDIENCE), wanted)
        known = self._adset(adset)
        changes = {
            name: value for name, value in wanted.items() if not self._same(name, known.get(name), value)
        }
        if changes:
            given = {
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in changes.items()
            }
            self._call("POST", adset, given)
            known = self._adset(adset)
        return self._told(adset, known)

    def _wanted(self, flight: Flight) -> dict[str, Any]:
        """Budget in minor units; the flight from the first midnight to the one behind its last day."""
        zone = self._zone
        wanted: dict[str, Any] = {
            "lifetime_budget": str(int((flight.budget * self._minor).to_integral_value())),
            "start_time": dt.datetime.combine(flight.starts_on, dt.time(), zone).isoformat(),
            "end_time": dt.datetime.combine(
                flight.ends_on + dt.timedelta(days=1), dt.time(), zone
            ).isoformat(),
        }
        if flight.cap_exposures:
            days = max(1, min(MOST_DAYS, flight.cap_days or (flight.ends_on - flight.starts_on).days + 1))
            wanted["frequency_control_specs"] = [
                {
                    "event": "IMPRESSIONS",
                    "interval_days": days,
                    "max_frequency": min(MOST_DAYS, flight.cap_exposures),
                }
            ]
        return wanted

    def pause_flight(self, reference: str, paused: bool | None) -> bool:
        """The ad set's own switch. Raises :class:`AdapterError`."""
        adset = number_of(reference, lambda name: self._named("adsets", name))
        return switched(
            paused,
            lambda: self._call("GET", adset, {"fields": "status"}).get("status") != "ACTIVE",
            lambda wanted: self._call("POST", adset, {"status": "PAUSED" if wanted else "ACTIVE"}),
        )

    def _named(self, kind: str, name: str) -> str:
        """The id of an ad set or campaign of this name; '' where there is none."""
        by_name = json.dumps([{"field": "name", "operator": "EQUAL", "value": name}])
        for found in self._pages(f"{self._act}/{kind}", {"fields": "id,name", "filtering": by_name}):
            if found.get("name") == name:
                return str(found["id"])
        return ""

    def _adset_of(self, audience: str, wanted: Mapping[str, Any]) -> str:
        """The ad set we made for an audience, found by its name, or made now."""
        name = name_of(audience)
        if known := self._named("adsets", name):
            return known
        campaign = self._named("campaigns", name) or str(
            self._call(
                "POST", f"{self._act}/campaigns",
                {"name": name, "objective": "OUTCOME_AWARENESS", "special_ad_categories": "[]", "status": "ACTIVE"},
            )["id"]
        )  # fmt: skip
        countries = str(self.account.settings.get("countries") or "US").upper().split()
        given = {
            "name": name, "campaign_id": campaign, "billing_event": "IMPRESSIONS", "optimization_goal": "REACH",
            "status": "ACTIVE" if self.account.settings.get("start_active", True) else "PAUSED",
            "targeting": json.dumps(
                {"custom_audiences": [{"id": audience}], "geo_locations": {"countries": countries}}
            ),
            **{key: value if isinstance(value, str) else json.dumps(value) for key, value in wanted.items()},
        }  # fmt: skip
        return str(self._call("POST", f"{self._act}/adsets", given)["id"])

    def _adset(self, adset: str) -> dict[str, Any]:
        fields = "lifetime_budget,daily_budget,start_time,end_time,frequency_control_specs,effective_status"
        return self._call("GET", adset, {"fields": fields})

    def _same(self, name: str, known: Any, wanted: Any) -> bool:
        if name.endswith("_time") and known:
            return _moment(known) == _moment(wanted)
        return bool(known == wanted)

    def _told(self, adset: str, known: Mapping[str, Any]) -> Flight:
        zone = self._zone
        specs = known.get("frequency_control_specs") or [{}]
        ends = _moment(known["end_time"]).astimezone(zone) - dt.timedelta(microseconds=1)
        return Flight(
            reference=adset,
            budget=Decimal(known.get("lifetime_budget") or 0) / self._minor,
            starts_on=_moment(known["start_time"]).astimezone(zone).date(),
            ends_on=ends.date(),
            cap_exposures=specs[0].get("max_frequency"),
            cap_days=specs[0].get("interval_days"),
        )

    # Reports --------------------------------------------------------------------------------------

    def fetch_report(self, day: dt.date) -> list[ReportRow]:
        """One row an ad set with anything to tell. Raises :class:`AdapterError`."""
        given = {
            "level": "adset", "time_increment": "1", "fields": FIELDS, "limit": "500",
            "time_range": json.dumps({"since": day.isoformat(), "until": day.isoformat()}),
        }  # fmt: skip
        return [_row(told, self._currency) for told in self._pages(f"{self._act}/insights", given)]

    def fetch_balance(self) -> list[Balance]:
        """Of an account with a spending limit, which is how prepaid ones are topped up, what the limit leaves; of any other
        the bill that is due, below zero. Raises :class:`AdapterError`."""
        told = self._call("GET", self._act, {"fields": "currency,balance,amount_spent,spend_cap"})
        cap = Decimal(str(told.get("spend_cap") or 0))
        minor = 1 if told.get("currency") in WHOLE else 100
        left = (
            cap - Decimal(str(told.get("amount_spent") or 0))
            if cap
            else -Decimal(str(told.get("balance") or 0))
        )
        return [Balance(str(told.get("currency") or ""), left / minor)]

    # Calls ----------------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Read the ad account."""
        self._about = None
        try:
            about = self._account_facts
        except AdapterError as error:
            return Checked(False, str(error))
        if about.get("account_status") not in {None, 1}:
            return Checked(
                False, _("Meta has disabled this ad account (status %s).") % about["account_status"]
            )
        facts = {name: str(about.get(name, "")) for name in ("name", "currency", "timezone_name")}
        return Checked(True, _("Meta lets us into “%(name)s”.") % facts, facts)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    @property
    def _account_facts(self) -> dict[str, Any]:
        if self._about is None:
            self._about = self._call(
                "GET", self._act, {"fields": "name,currency,timezone_name,account_status"}
            )
        return self._about

    @property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(str(self._account_facts.get("timezone_name") or "UTC"))

    @property
    def _currency(self) -> str:
        return str(self._account_facts.get("currency") or "")

    @property
    def _minor(self) -> int:
        return 1 if self._currency in WHOLE else 100

    def _pages(self, path: str, given: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        after = ""
        while True:
            answer = self._call("GET", path, {**given, "after": after} if after else given)
            yield from answer.get("data") or ()
            paging = answer.get("paging") or {}
            after = (paging.get("cursors") or {}).get("after", "") if paging.get("next") else ""
            if not after:
                return

    def _call(self, method: str, path: str, given: Mapping[str, str]) -> dict[str, Any]:
        """One call, with the proof that the token is ours. Raises :class:`AdapterError`: all verbs may be repeated,
        so a lost answer is a call to repeat."""
        if self._http is None:
            self._http = httpx.Client(
                base_url=self._base, timeout=float(self.account.settings.get("timeout") or 60)
            )
        token = str(self.account.credentials.get("token") or "")
        secret = str(self.account.credentials.get("app_secret") or "")
        proof = hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()
        fields = {**given, "appsecret_proof": proof}
        try:
            answer = self._http.request(
                method, f"/{self._version}/{path}", headers={"Authorization": f"Bearer {token}"},
                params=fields if method == "GET" else None, data=None if method == "GET" else fields,
            )  # fmt: skip
        except httpx.HTTPError as error:
            text = _("Meta cannot be reached (%(reason)s).") % {"reason": type(error).__name__}
            raise AdapterError(text, code="connect", retryable=True, retry_after=WAIT_PASSING) from None
        try:
            told = answer.json()
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise AdapterError(
                _("Meta answered HTTP %s without a text we can read.") % answer.status_code,
                code=f"http {answer.status_code}", retryable=True, retry_after=WAIT_PASSING,
            )  # fmt: skip
        if "error" in told:
            raise _error(told["error"], answer)
        return told


def _row(told: Mapping[str, Any], currency: str) -> ReportRow:
    def whole(name: str) -> int | None:
        return int(told[name]) if told.get(name) not in {None, ""} else None

    return ReportRow(
        day=dt.date.fromisoformat(told["date_start"]),
        placement=str(told["adset_id"]),
        currency=str(told.get("account_currency") or currency),
        spend=Decimal(str(told.get("spend") or "0")),
        exposures=whole("impressions"),
        clicks=whole("clicks"),
        reach=whole("reach"),
        frequency=float(told["frequency"]) if told.get("frequency") else None,
    )


def _error(error: Mapping[str, Any], answer: httpx.Response) -> AdapterError:
    code = int(error.get("code") or 0)
    slower, passing = code in SLOWER, code in PASSING or answer.status_code >= 500
    return AdapterError(
        _("Meta says: %s") % str(error.get("error_user_msg") or error.get("message") or code)[:300],
        code=str(code), retryable=slower or passing, stops_channel=code in TOKEN or code in PERMISSION,
        retry_after=_regained(answer) if slower else WAIT_PASSING if passing else None,
    )  # fmt: skip


def _regained(answer: httpx.Response) -> float:
    """Seconds until Meta lets us in again, where its usage header tells."""
    try:
        usage = json.loads(answer.headers.get("x-business-use-case-usage", "{}"))
        minutes = [
            int(entry.get("estimated_time_to_regain_access") or 0)
            for entries in usage.values()
            for entry in entries
        ]
    except (ValueError, AttributeError, TypeError):
        return WAIT_SLOWER
    return max(minutes, default=0) * 60.0 or WAIT_SLOWER


def _moment(text: str) -> dt.datetime:
    """A time as Meta writes it (``2026-11-23T00:00:00+0800``)."""
    return dt.datetime.fromisoformat(text)
