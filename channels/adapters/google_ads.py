"""Google Ads: audiences through the Data Manager API, budgets and reports through Google's own client library.

Google tells nothing of a person, so the guarantee is *aggregate*. People are hashed here and the hashes are kept
nowhere. Every verb says what should be so and may be repeated.
"""

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import httpx
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import IdentityKind, Medium
from channels.adapters._flights import BY_AUDIENCE, daily, days_of, in_all, name_of, number_of, switched
from channels.adapters._google_ads_api import REQUIREMENTS, Api, sdk
from channels.adapters._people import Form, Person, customers_of, e164, email, hashed, people_of
from channels.adapters._refresh_tokens import RefreshTokens
from channels.adapters.base import (
    NOT_FOUND,
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

MOST_MEMBERS = 10_000
MICROS = Decimal(1_000_000)
WAIT_SLOWER, WAIT_PASSING = 60.0, 10.0
GMAIL = {"gmail.com", "googlemail.com"}
# Campaign types whose ads are shown unasked, and so know a frequency cap.
CAPPED = {"DISPLAY", "VIDEO", "DEMAND_GEN"}
UNITS = {"DAY": 1, "WEEK": 7, "MONTH": 30}
BAD_MEMBER = re.compile(r"audience_?[mM]embers\[(\d+)\]")
FLIGHT_FIELDS = (
    "campaign.id, campaign.resource_name, campaign.status, campaign.advertising_channel_type, campaign.start_date_time, "
    "campaign.end_date_time, campaign.frequency_caps, campaign_budget.resource_name, campaign_budget.period, "
    "campaign_budget.amount_micros, campaign_budget.total_amount_micros, campaign_budget.explicitly_shared"
)
BUDGET_FIELDS = (
    "account_budget.adjusted_spending_limit_micros, account_budget.adjusted_spending_limit_type, "
    "account_budget.amount_served_micros, account_budget.approved_start_date_time, "
    "account_budget.approved_end_date_time"
)
REPORT_FIELDS = (
    "segments.date, campaign.id, customer.currency_code, metrics.cost_micros, metrics.impressions, "
    "metrics.clicks, metrics.conversions"
)


def _email(value: str) -> str:
    """As Google normalises it: of its own mailboxes neither dots nor what follows a + count."""
    text = email(value)
    name, _at, domain = text.partition("@")
    if domain in GMAIL:
        name = name.split("+")[0].replace(".", "")
    return f"{name}@{domain}" if name and domain and not re.search(r"\s", text) else ""


FORMS: dict[str, Form] = {IdentityKind.EMAIL: hashed(_email), IdentityKind.PHONE: hashed(e164)}
FIELDS = {IdentityKind.EMAIL: "emailAddress", IdentityKind.PHONE: "phoneNumber"}


class Adapter(BaseAdapter):
    name = "google_ads"
    label = gettext_lazy("Google Ads")
    media: ClassVar[tuple[str, ...]] = (Medium.SEARCH, Medium.VIDEO)
    domain = Domain.PUBLIC
    guarantee = Guarantee.AGGREGATE
    observability = Observability.PERSON_TARGETED
    price_model = PriceModel.CPC
    address_kinds: ClassVar[tuple[str, ...]] = (IdentityKind.EMAIL, IdentityKind.PHONE)
    batch_size = MOST_MEMBERS
    needs_requirements = REQUIREMENTS
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("customer_id", gettext_lazy("Customer id"), gettext_lazy("Of the account, ten digits.")),
        Setting(
            "login_customer_id",
            gettext_lazy("Manager's customer id"),
            gettext_lazy("Where the account is reached through a manager account."),
            required=False,
        ),
        Setting("developer_token", gettext_lazy("Developer token"), kind="password", secret=True),
        Setting("client_id", gettext_lazy("OAuth client id")),
        Setting("client_secret", gettext_lazy("OAuth client secret"), kind="password", secret=True),
        Setting(
            "refresh_token",
            gettext_lazy("Refresh token"),
            gettext_lazy("With the scopes adwords and datamanager."),
            "password",
            secret=True,
        ),
        Setting(
            "campaign_type",
            gettext_lazy("Type of new campaigns"),
            gettext_lazy("Search campaigns know no frequency cap."),
            "choice",
            default="SEARCH",
            choices=(("SEARCH", gettext_lazy("Search")), ("DISPLAY", gettext_lazy("Display"))),
        ),
        Setting(
            "budget_period",
            gettext_lazy("Budget of new campaigns"),
            gettext_lazy("Google spends a day's budget up to twice on a good day."),
            "choice",
            default="DAILY",
            choices=(
                ("DAILY", gettext_lazy("a day's share")),
                ("CUSTOM_PERIOD", gettext_lazy("in all, over the flight")),
            ),
        ),
        Setting(
            "start_active",
            gettext_lazy("New campaigns start active"),
            gettext_lazy("They show nothing until somebody puts keywords and ads into them."),
            "boolean",
            default=True,
            required=False,
        ),
        Setting("version", gettext_lazy("Version of the API"), default="v26", required=False),
        Setting(
            "endpoint",
            gettext_lazy("Address of the Google Ads API"),
            gettext_lazy("Host, or host and port; always over TLS."),
            default="googleads.googleapis.com",
            required=False,
        ),
        Setting(
            "ca_file",
            gettext_lazy("File of certificates"),
            gettext_lazy("Only for an address of your own: whom to trust there, in PEM."),
            required=False,
        ),
        Setting(
            "base_url",
            gettext_lazy("Address of the Data Manager API"),
            kind="url",
            default="https://datamanager.googleapis.com",
            required=False,
        ),
        Setting(
            "token_url",
            gettext_lazy("Address of the token service"),
            kind="url",
            default="https://oauth2.googleapis.com/token",
            required=False,
        ),
        Setting(
            "timeout", gettext_lazy("Seconds to wait for Google"), kind="number", default=60, required=False
        ),
    )

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        told, secrets = account.settings, account.credentials
        self._customer = _digits(told.get("customer_id"))
        self._login = _digits(told.get("login_customer_id"))
        self._timeout = float(told.get("timeout") or 60)
        self._base = str(told.get("base_url") or "https://datamanager.googleapis.com").rstrip("/")
        self._http: httpx.Client | None = None
        self._facts: dict[str, str] = {}
        form = {
            "client_id": str(told.get("client_id") or ""),
            "client_secret": str(secrets.get("client_secret") or ""),
        }
        self._tokens = RefreshTokens(
            account, str(told.get("token_url") or "https://oauth2.googleapis.com/token"), form, self._client
        )
        self._api = Api(
            str(told.get("endpoint") or "googleads.googleapis.com"),
            str(told.get("version") or "v26"),
            developer_token=str(secrets.get("developer_token") or ""),
            login_customer_id=self._login,
            ca_file=str(told.get("ca_file") or ""),
            timeout=self._timeout,
            token=self._tokens.token,
            forget_token=self._tokens.forget,
        )

    # Audiences ------------------------------------------------------------------------------------

    def sync_audience(
        self, external_id: str, name: str, add: Sequence[AudienceChange], remove: Sequence[AudienceChange]
    ) -> AudienceResult:
        """Add and remove people, 10,000 a call. Without an id the list of this name is found, or made.

        Google takes a call and matches later: *done* means taken. What earlier calls of the same run did is told
        even when a later one fails. Raises :class:`AdapterError` when nothing was done.
        """
        audience = external_id or self._list(name)
        done: list[int] = []
        failed: dict[int, str] = {}
        try:
            for verb, changes in (("remove", remove), ("ingest", add)):
                people = people_of(changes, FORMS, failed)
                for start in range(0, len(people), MOST_MEMBERS):
                    done += self._push(verb, audience, people[start : start + MOST_MEMBERS], failed)
            size = self._size(audience)
        except AdapterError:
            if not done and external_id:
                raise
            size = None
        return AudienceResult(audience, done, failed, size)

    @property
    def _parent(self) -> str:
        return f"accountTypes/GOOGLE_ADS/accounts/{self._customer}"

    def _list(self, name: str) -> str:
        """The list of this name, found or made."""
        given = {"filter": f"display_name = {json.dumps(name, ensure_ascii=False)}"}
        answer = self._rest("GET", f"{self._parent}/userLists", params=given)
        for found in answer.get("userLists") or ():
            if found.get("displayName") == name:
                return str(found["id"])
        made = {
            "displayName": name,
            "description": "Evenreach",
            "membershipStatus": "OPEN",
            "ingestedUserListInfo": {"uploadKeyTypes": ["CONTACT_ID"]},
        }
        return str(self._rest("POST", f"{self._parent}/userLists", made)["id"])

    def _push(self, verb: str, audience: str, people: Sequence[Person], failed: dict[int, str]) -> list[int]:
        """One call; entries Google calls malformed are told as failed, and the others go once more."""
        while people:
            try:
                self._rest("POST", f"audienceMembers:{verb}", self._members(verb, audience, people))
            except AdapterError as error:
                wrong: frozenset[int] = getattr(error, "members", frozenset())
                if not wrong:
                    raise
                failed.update(
                    dict.fromkeys(customers_of(people[n] for n in wrong if n < len(people)), error.code)
                )
                kept = [person for n, person in enumerate(people) if n not in wrong]
                if len(kept) == len(people):
                    raise
                people = kept
                continue
            return customers_of(people)
        return []

    def _members(self, verb: str, audience: str, people: Sequence[Person]) -> dict[str, Any]:
        account = {"accountType": "GOOGLE_ADS", "accountId": self._customer}
        destination: dict[str, Any] = {"operatingAccount": account, "productDestinationId": audience}
        if self._login:
            destination["loginAccount"] = {"accountType": "GOOGLE_ADS", "accountId": self._login}
        body: dict[str, Any] = {
            "destinations": [destination],
            "audienceMembers": [
                {"userData": {"userIdentifiers": [{FIELDS[IdentityKind(person.kind)]: person.value}]}}
                for person in people
            ],
            "encoding": "HEX",
        }
        if verb == "ingest":  # only people who permit it get here
            body["consent"] = {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"}
            body["termsOfService"] = {"customerMatchTermsOfServiceStatus": "ACCEPTED"}
        return body

    def _size(self, audience: str) -> int | None:
        """Matched members, as Google rounds them; None while it does not tell."""
        told = self._rest("GET", f"{self._parent}/userLists/{audience}").get("sizeInfo") or {}
        size = told.get("searchNetworkMembersCount")
        return int(size) if size is not None else None

    # Flight ---------------------------------------------------------------------------------------

    def set_flight(self, flight: Flight) -> Flight:
        """Bring a campaign to these limits; only what differs is sent, in one change. A reference ``audience:<id>``
        finds, or makes, the campaign of that list. Returns what Google now says. Raises :class:`AdapterError`."""
        if not flight.reference:
            text = _("Name the campaign by its id, or write “audience:” and the id of the list it is for.")
            raise AdapterError(text, code="reference")
        if flight.reference.startswith(BY_AUDIENCE):
            campaign = self._campaign_of(flight.reference.removeprefix(BY_AUDIENCE), flight)
        else:
            campaign = flight.reference
        known = self._campaign(campaign)
        operations = self._differences(known, flight)
        if operations:
            self._api.mutate(self._customer, operations)
            known = self._campaign(campaign)
        return self._told(known, flight)

    def pause_flight(self, reference: str, paused: bool | None) -> bool:
        """The campaign's own switch. Raises :class:`AdapterError`."""
        campaign = number_of(reference, self._named)

        def change(wanted: bool) -> None:
            name = f"customers/{self._customer}/campaigns/{campaign}"
            update = {"resource_name": name, "status": "PAUSED" if wanted else "ENABLED"}
            mask = sdk("google.protobuf.field_mask_pb2").FieldMask(paths=["status"])
            self._api.mutate(
                self._customer, [{"campaign_operation": {"update": update, "update_mask": mask}}]
            )

        return switched(paused, lambda: self._campaign(campaign).campaign.status.name != "ENABLED", change)

    def _named(self, name: str) -> str:
        """The id of the campaign of this name; '' where there is none."""
        found = self._api.rows(
            self._customer,
            f"SELECT campaign.id FROM campaign WHERE campaign.name = '{_quoted(name)}' AND campaign.status != 'REMOVED'",
        )
        return str(found[0].campaign.id) if found else ""

    def _campaign_of(self, audience: str, flight: Flight) -> str:
        """The campaign we made for a list, found by its name, or made now with its budget: all or nothing."""
        name = name_of(audience)
        if known := self._named(name):
            return known
        kind = str(self.account.settings.get("campaign_type") or "SEARCH")
        base = f"customers/{self._customer}"
        campaign: dict[str, Any] = {
            "resource_name": f"{base}/campaigns/-2",
            "name": name,
            "campaign_budget": f"{base}/campaignBudgets/-1",
            "advertising_channel_type": kind,
            "status": "ENABLED" if self.account.settings.get("start_active", True) else "PAUSED",
            "contains_eu_political_advertising": "DOES_NOT_CONTAIN_EU_POLITICAL_ADVERTISING",
            "manual_cpc": {},
            "start_date_time": f"{max(flight.starts_on, self._today()).isoformat()} 00:00:00",
            "end_date_time": f"{flight.ends_on.isoformat()} 23:59:59",
        }
        if caps := self._caps(kind, flight):
            campaign["frequency_caps"] = caps
        budget: dict[str, Any] = {"resource_name": f"{base}/campaignBudgets/-1", "explicitly_shared": False}
        period = str(self.account.settings.get("budget_period") or "DAILY")
        budget |= self._amount(period, flight) | {"period": period}
        criterion = {
            "campaign": f"{base}/campaigns/-2", "user_list": {"user_list": f"{base}/userLists/{audience}"},
        }  # fmt: skip
        made = self._api.mutate(
            self._customer,
            [
                {"campaign_budget_operation": {"create": budget}},
                {"campaign_operation": {"create": campaign}},
                {"campaign_criterion_operation": {"create": criterion}},
            ],
        )
        return str(made[1].campaign_result.resource_name).rsplit("/", 1)[-1]

    def _campaign(self, campaign: str) -> Any:
        """The row of a campaign and its budget. Raises :class:`AdapterError` where there is none."""
        if not campaign.isdecimal():
            raise AdapterError(_("“%s” is no id of a campaign.") % campaign[:40], code="reference")
        rows = self._api.rows(
            self._customer, f"SELECT {FLIGHT_FIELDS} FROM campaign WHERE campaign.id = {campaign}"
        )
        if not rows:
            raise AdapterError(_("Google knows no campaign %s in this account.") % campaign, code=NOT_FOUND)
        return rows[0]

    def _differences(self, known: Any, flight: Flight) -> list[dict[str, Any]]:
        """Changes that bring a campaign to the flight, few as possible."""
        mask = sdk("google.protobuf.field_mask_pb2").FieldMask
        operations: list[dict[str, Any]] = []
        period = known.campaign_budget.period.name
        amount = self._amount(period, flight)
        (field, micros), = amount.items()  # fmt: skip
        if getattr(known.campaign_budget, field) != micros:
            if known.campaign_budget.explicitly_shared:
                text = _(
                    "The campaign's budget is shared with others. Give it a budget of its own at Google."
                )
                raise AdapterError(text, code="shared_budget")
            update = {"resource_name": known.campaign_budget.resource_name} | amount
            operations.append(
                {"campaign_budget_operation": {"update": update, "update_mask": mask(paths=[field])}}
            )
        changed: dict[str, Any] = {}
        starts_on, today = _day(known.campaign.start_date_time), self._today()
        wanted = max(flight.starts_on, today)
        if starts_on != wanted and not (starts_on and starts_on <= today and flight.starts_on <= today):
            changed["start_date_time"] = f"{wanted.isoformat()} 00:00:00"
        if _day(known.campaign.end_date_time) != flight.ends_on:
            changed["end_date_time"] = f"{flight.ends_on.isoformat()} 23:59:59"
        kind = known.campaign.advertising_channel_type.name
        caps = self._caps(kind, flight)
        if caps and self._cap_of(known) != (flight.cap_exposures, caps_days(caps)):
            changed["frequency_caps"] = caps
        if changed:
            update = {"resource_name": known.campaign.resource_name} | changed
            operations.append(
                {"campaign_operation": {"update": update, "update_mask": mask(paths=list(changed))}}
            )
        return operations

    def _amount(self, period: str, flight: Flight) -> dict[str, int]:
        """The budget in millionths, in the field its period wants."""
        if period == "CUSTOM_PERIOD":
            cents = (flight.budget * 100).to_integral_value(ROUND_DOWN) / 100
            return {"total_amount_micros": int(cents * MICROS)}
        return {"amount_micros": int(daily(flight) * MICROS)}

    def _caps(self, kind: str, flight: Flight) -> list[dict[str, Any]]:
        """The cap on exposures a person, where this type of campaign knows one."""
        if kind not in CAPPED or not flight.cap_exposures:
            return []
        days = max(1, flight.cap_days or days_of(flight))
        unit, length = ("WEEK", days // 7) if days % 7 == 0 else ("DAY", days)
        key = {"level": "CAMPAIGN", "event_type": "IMPRESSION", "time_unit": unit, "time_length": length}
        return [{"key": key, "cap": flight.cap_exposures}]

    def _cap_of(self, known: Any) -> tuple[int | None, int | None]:
        for entry in known.campaign.frequency_caps:
            if entry.key.level.name == "CAMPAIGN" and entry.key.event_type.name == "IMPRESSION":
                return entry.cap, UNITS.get(entry.key.time_unit.name, 0) * (entry.key.time_length or 1)
        return None, None

    def _told(self, known: Any, flight: Flight) -> Flight:
        """What Google keeps to, in the words of a flight. A start that both sides have behind them is agreed."""
        budget = known.campaign_budget
        if budget.period.name == "CUSTOM_PERIOD":
            micros = budget.total_amount_micros
            asked = self._amount("CUSTOM_PERIOD", flight)["total_amount_micros"]
            told_budget = flight.budget if micros == asked else Decimal(micros) / MICROS
        else:
            told_budget = in_all(Decimal(budget.amount_micros) / MICROS, flight)
        starts_on, today = _day(known.campaign.start_date_time), self._today()
        if starts_on is None or (starts_on <= today and flight.starts_on <= today):
            starts_on = flight.starts_on
        capped = known.campaign.advertising_channel_type.name in CAPPED
        cap, days = self._cap_of(known)
        if capped and days == caps_days(self._caps("DISPLAY", flight)):
            days = flight.cap_days
        return Flight(
            reference=str(known.campaign.id),
            budget=told_budget,
            starts_on=starts_on,
            ends_on=_day(known.campaign.end_date_time) or dt.date.max,
            cap_exposures=cap if capped else None,
            cap_days=days if capped else None,
        )

    # Reports --------------------------------------------------------------------------------------

    def fetch_report(self, day: dt.date) -> list[ReportRow]:
        """One row a campaign with anything to tell, of a day of the account's zone. Raises :class:`AdapterError`."""
        query = f"SELECT {REPORT_FIELDS} FROM campaign WHERE segments.date = '{day.isoformat()}'"
        return [
            ReportRow(
                day=dt.date.fromisoformat(row.segments.date),
                placement=str(row.campaign.id),
                currency=row.customer.currency_code,
                spend=Decimal(row.metrics.cost_micros) / MICROS,
                exposures=row.metrics.impressions,
                clicks=row.metrics.clicks,
                conversions=Decimal(str(row.metrics.conversions)),
            )
            for row in self._api.rows(self._customer, query)
        ]

    def fetch_balance(self) -> list[Balance]:
        """What the account's own budgets of this moment leave: the limit after adjustments, less what was served.
        Accounts without such a budget, or without a limit, are told none. Raises :class:`AdapterError`."""
        query = f"SELECT {BUDGET_FIELDS} FROM account_budget WHERE account_budget.status = 'APPROVED'"
        try:
            rows = self._api.rows(self._customer, query)
        except AdapterError as error:
            if error.code == "ACTION_NOT_PERMITTED":
                error.stops_channel = False  # money may be another's business; campaigns go on
            raise
        now = self._now().strftime("%Y-%m-%d %H:%M:%S")
        running = [row.account_budget for row in rows if _runs(row.account_budget, now)]
        if not running or any("adjusted_spending_limit_micros" not in budget for budget in running):
            return []
        left = sum(budget.adjusted_spending_limit_micros - budget.amount_served_micros for budget in running)
        return [Balance(self._account_facts()["currency"], Decimal(left) / MICROS)]

    # Calls ----------------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Read the account through both doors."""
        self._facts = {}
        try:
            facts = self._account_facts()
            self._rest("GET", f"{self._parent}/userLists", params={"pageSize": "1"})
        except AdapterError as error:
            return Checked(False, str(error))
        if facts.get("status") not in {"ENABLED", ""}:
            return Checked(False, _("This Google Ads account is not active (%s).") % facts["status"])
        return Checked(True, _("Google lets us into “%(name)s”.") % facts, facts)

    def close(self) -> None:
        self._api.close()
        if self._http is not None:
            self._http.close()
            self._http = None

    def _account_facts(self) -> dict[str, str]:
        if not self._facts:
            query = (
                "SELECT customer.descriptive_name, customer.currency_code, customer.time_zone, customer.status "
                "FROM customer"
            )
            rows = self._api.rows(self._customer, query)
            if not rows:
                raise AdapterError(_("Google tells nothing of this account."), code=NOT_FOUND)
            customer = rows[0].customer
            self._facts = {
                "name": customer.descriptive_name, "currency": customer.currency_code,
                "zone": customer.time_zone, "status": customer.status.name,
            }  # fmt: skip
        return self._facts

    def _now(self) -> dt.datetime:
        """In the account's zone."""
        return dt.datetime.now(ZoneInfo(self._account_facts()["zone"] or "UTC"))

    def _today(self) -> dt.date:
        return self._now().date()

    def _client(self) -> httpx.Client:
        if self._http is None:
            self._http = httpx.Client(timeout=self._timeout)
        return self._http

    def _rest(
        self, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """One call of the Data Manager API. Raises :class:`AdapterError`: all of them may be repeated."""
        for again in (True, False):
            headers = {"Authorization": f"Bearer {self._tokens.token()}"}
            if self._login and "/userLists" in path:
                headers["login-account"] = f"accountTypes/GOOGLE_ADS/accounts/{self._login}"
            try:
                answer = self._client().request(
                    method, f"{self._base}/v1/{path}", json=body, params=params, headers=headers
                )
            except httpx.HTTPError as error:
                text = _("Google cannot be reached (%(reason)s).") % {"reason": type(error).__name__}
                raise AdapterError(text, code="connect", retryable=True, retry_after=WAIT_PASSING) from None
            if answer.status_code == 401 and again:
                self._tokens.forget()
                continue
            break
        try:
            told = answer.json()
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise AdapterError(
                _("Google answered HTTP %s without a text we can read.") % answer.status_code,
                code=f"http {answer.status_code}", retryable=True, retry_after=WAIT_PASSING,
            )  # fmt: skip
        if answer.status_code >= 400 or "error" in told:
            raise _rest_error(told.get("error") or {}, answer)
        return told


class BadMembers(AdapterError):
    """Some entries of a call are malformed: which ones."""

    members: frozenset[int] = frozenset()


def caps_days(caps: Sequence[Mapping[str, Any]]) -> int | None:
    return UNITS[caps[0]["key"]["time_unit"]] * int(caps[0]["key"]["time_length"]) if caps else None


def _digits(value: Any) -> str:
    return "".join(filter(str.isdigit, str(value or "")))


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _day(text: str) -> dt.date | None:
    """The day of a time as Google writes it (``2026-11-23 00:00:00``)."""
    return dt.date.fromisoformat(text[:10]) if text else None


def _runs(budget: Any, now: str) -> bool:
    """Whether a budget of the account holds now; one without an end holds for ever."""
    return budget.approved_start_date_time <= now and not (
        budget.approved_end_date_time and budget.approved_end_date_time <= now
    )


def _rest_error(error: Mapping[str, Any], answer: httpx.Response) -> AdapterError:
    status = str(error.get("status") or f"http {answer.status_code}")
    details = [part for part in error.get("details") or () if isinstance(part, dict)]
    violations = [violation for part in details for violation in part.get("fieldViolations") or ()]
    members = {
        int(found[1]) for violation in violations if (found := BAD_MEMBER.search(str(violation.get("field"))))
    }
    text = _("Google says: %s") % str(error.get("message") or status)[:300]
    if members and status == "INVALID_ARGUMENT":
        told = BadMembers(text, code=str(violations[0].get("reason") or status))
        told.members = frozenset(members)
        return told
    slower, passing = status == "RESOURCE_EXHAUSTED", answer.status_code >= 500
    return AdapterError(
        text, code=status, retryable=slower or passing,
        stops_channel=status in {"UNAUTHENTICATED", "PERMISSION_DENIED"},
        retry_after=_wait(details, answer) if slower else WAIT_PASSING if passing else None,
    )  # fmt: skip


def _wait(details: Sequence[Mapping[str, Any]], answer: httpx.Response) -> float:
    """Seconds Google asks us to wait."""
    told = [str(part["retryDelay"]).rstrip("s") for part in details if part.get("retryDelay")]
    told.append(answer.headers.get("retry-after", ""))
    for text in told:
        try:
            return max(1.0, float(text))
        except ValueError:
            continue
    return WAIT_SLOWER
