"""Microsoft Advertising (Bing): customer lists, campaign budgets and daily reports, over SOAP.

Microsoft tells nothing of a person, so the guarantee is *aggregate*. People are hashed here and the hashes are kept
nowhere. Every verb says what should be so and may be repeated.
"""

import csv
import datetime as dt
import io
import time
import zipfile
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

import httpx
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import IdentityKind, Medium
from channels.adapters._flights import BY_AUDIENCE, daily, in_all, name_of, number_of, switched
from channels.adapters._microsoft_soap import REQUIREMENTS, Soap, batch_errors, listed
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

MOST_ITEMS = 10_000
WAIT_PASSING = 10.0
SCOPE = "https://ads.microsoft.com/msads.manage offline_access"
CAMPAIGNS, REPORTS, CUSTOMERS = "CampaignManagementService", "ReportingService", "CustomerManagementService"
BILLING = "CustomerBillingService"
ORDERS = 100  # insertion orders on a page, the most Microsoft takes
_ENTITIES = "{https://bingads.microsoft.com/Customer/v13/Entities}"
PREDICATE, PREDICATES, PAGING = f"{_ENTITIES}Predicate", f"{_ENTITIES}ArrayOfPredicate", f"{_ENTITIES}Paging"
ORDER_BY, ORDER_BYS = f"{_ENTITIES}OrderBy", f"{_ENTITIES}ArrayOfOrderBy"
NOT_PERMITTED = "UserIsNotAuthorized"
_ARRAYS = "{http://schemas.microsoft.com/2003/10/Serialization/Arrays}"
LONGS, STRINGS = f"{_ARRAYS}ArrayOflong", f"{_ARRAYS}ArrayOfstring"
COLUMNS = ("TimePeriod", "CampaignId", "CurrencyCode", "Impressions", "Clicks", "Spend", "Conversions")
FORMS: dict[str, Form] = {IdentityKind.EMAIL: hashed(email), IdentityKind.PHONE: hashed(e164)}
SUBTYPES = {IdentityKind.EMAIL: "Email", IdentityKind.PHONE: "Phone"}


class Adapter(BaseAdapter):
    name = "microsoft_ads"
    label = gettext_lazy("Microsoft Advertising (Bing)")
    media: ClassVar[tuple[str, ...]] = (Medium.SEARCH,)
    domain = Domain.PUBLIC
    guarantee = Guarantee.AGGREGATE
    observability = Observability.PERSON_TARGETED
    price_model = PriceModel.CPC
    address_kinds: ClassVar[tuple[str, ...]] = (IdentityKind.EMAIL, IdentityKind.PHONE)
    batch_size = MOST_ITEMS
    needs_requirements = REQUIREMENTS
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting(
            "account_id", gettext_lazy("Account id"), gettext_lazy("The number, not the one with letters.")
        ),
        Setting(
            "customer_id", gettext_lazy("Customer id"), gettext_lazy("Of the company that owns the account.")
        ),
        Setting("developer_token", gettext_lazy("Developer token"), kind="password", secret=True),
        Setting("client_id", gettext_lazy("OAuth client id")),
        Setting(
            "client_secret",
            gettext_lazy("OAuth client secret"),
            gettext_lazy("Only of a web application."),
            "password",
            secret=True,
            required=False,
        ),
        Setting(
            "refresh_token",
            gettext_lazy("Refresh token"),
            gettext_lazy("With the scope msads.manage."),
            "password",
            secret=True,
        ),
        Setting(
            "time_zone",
            gettext_lazy("Time zone of new campaigns"),
            gettext_lazy("Microsoft's own word for it."),
            default="BeijingChongqingHongKongUrumqi",
            required=False,
        ),
        Setting(
            "languages",
            gettext_lazy("Languages of new campaigns"),
            gettext_lazy("Microsoft's own words for them, separated by spaces."),
            default="All",
            required=False,
        ),
        Setting(
            "start_active",
            gettext_lazy("New campaigns start active"),
            gettext_lazy("They show nothing until somebody puts keywords and ads into them."),
            "boolean",
            default=True,
            required=False,
        ),
        Setting(
            "report_wait",
            gettext_lazy("Seconds to wait for a report"),
            gettext_lazy("Microsoft makes it after it was asked for. Later it is asked for again."),
            "number",
            default=120,
            required=False,
        ),
        Setting(
            "base_url",
            gettext_lazy("Address of the API"),
            gettext_lazy("Only for an address of your own, such as the sandbox's."),
            "url",
            required=False,
        ),
        Setting(
            "token_url",
            gettext_lazy("Address of the token service"),
            kind="url",
            default="https://login.microsoftonline.com/common/oauth2/v2.0/token",
            required=False,
        ),
        Setting(
            "timeout",
            gettext_lazy("Seconds to wait for Microsoft"),
            kind="number",
            default=60,
            required=False,
        ),
    )

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        told, secrets = account.settings, account.credentials
        self._account = str(told.get("account_id") or "").strip()
        self._timeout = float(told.get("timeout") or 60)
        self._http: httpx.Client | None = None
        form = {"client_id": str(told.get("client_id") or ""), "scope": SCOPE}
        if secrets.get("client_secret"):
            form["client_secret"] = str(secrets["client_secret"])
        self._tokens = RefreshTokens(
            account,
            str(told.get("token_url") or "https://login.microsoftonline.com/common/oauth2/v2.0/token"),
            form,
            self._client,
        )
        self._soap = Soap(
            str(told.get("base_url") or ""),
            account_id=self._account,
            customer_id=str(told.get("customer_id") or "").strip(),
            developer_token=str(secrets.get("developer_token") or ""),
            timeout=self._timeout,
            token=self._tokens.token,
            forget_token=self._tokens.forget,
        )

    # Audiences ------------------------------------------------------------------------------------

    def sync_audience(
        self, external_id: str, name: str, add: Sequence[AudienceChange], remove: Sequence[AudienceChange]
    ) -> AudienceResult:
        """Add and remove people, 10,000 a call. Without an id the customer list of this name is found, or made.

        What earlier calls of the same run did is told even when a later one fails. Raises :class:`AdapterError` when
        nothing was done.
        """
        audience = external_id or self._list(name)
        done: list[int] = []
        failed: dict[int, str] = {}
        try:
            for action, changes in (("Remove", remove), ("Add", add)):
                people = people_of(changes, FORMS, failed)
                for kind in FORMS:
                    of_kind = [person for person in people if person.kind == kind]
                    for start in range(0, len(of_kind), MOST_ITEMS):
                        done += self._push(action, audience, of_kind[start : start + MOST_ITEMS], failed)
            size = self._size(audience)
        except AdapterError:
            if not done and external_id:
                raise
            size = None
        return AudienceResult(audience, done, failed, size)

    def _lists(self, audience: str = "") -> list[Any]:
        ids = self._soap.many(CAMPAIGNS, LONGS, [int(audience)]) if audience else None
        answer = self._soap.call(CAMPAIGNS, "GetAudiencesByIds", AudienceIds=ids, Type="CustomerList")
        return [found for found in listed(answer, "Audiences", "Audience") if found is not None]

    def _list(self, name: str) -> str:
        """The customer list of this name, found or made."""
        for found in self._lists():
            if str(found.Name) == name:
                return str(found.Id)
        made = self._soap.make(
            CAMPAIGNS, "CustomerList", Name=name, Description="Evenreach", ParentId=int(self._account or 0),
            Scope="Account", Type="CustomerList",
        )  # fmt: skip
        audiences = self._soap.many(CAMPAIGNS, "ArrayOfAudience", [made])
        answer = self._soap.call(CAMPAIGNS, "AddAudiences", Audiences=audiences)
        return self._only_id(answer, "AudienceIds")

    def _only_id(self, answer: Any, name: str) -> str:
        """The id of the one thing that was made. Raises :class:`AdapterError` with Microsoft's words."""
        ids = [found for found in listed(answer, name, "long") if found is not None]
        if not ids:
            errors = listed(answer, "PartialErrors", "BatchError")
            text = str(getattr(errors[0], "Message", "")) if errors else name
            code = batch_errors(errors)[0][1] if errors else "empty"
            raise AdapterError(_("Microsoft says: %s") % text[:300], code=code)
        return str(ids[0])

    def _push(
        self, action: str, audience: str, people: Sequence[Person], failed: dict[int, str]
    ) -> list[int]:
        """One call of one kind; entries Microsoft refuses are told as failed."""
        items = self._soap.many(CAMPAIGNS, STRINGS, [person.value for person in people])
        data = self._soap.make(
            CAMPAIGNS, "CustomerListUserData", ActionType=action, AudienceId=int(audience),
            CustomerListItemSubType=SUBTYPES[IdentityKind(people[0].kind)], CustomerListItems=items,
            AcceptCustomerMatchTerm=True,
        )  # fmt: skip
        answer = self._soap.call(CAMPAIGNS, "ApplyCustomerListUserData", CustomerListUserData=data)
        # The answer is the list of errors itself where it holds nothing else.
        errors = listed(answer, "BatchError") or listed(answer, "PartialErrors", "BatchError")
        wrong = {index: code for index, code in batch_errors(errors) if index < len(people)}
        for index, code in wrong.items():
            failed.update(dict.fromkeys(people[index].customers, code))
        return customers_of(person for n, person in enumerate(people) if n not in wrong)

    def _size(self, audience: str) -> int | None:
        """Matched members on search, as far as Microsoft tells (after up to two days)."""
        found = self._lists(audience)
        size = getattr(found[0], "SearchSize", None) if found else None
        return int(size) if size is not None else None

    # Flight ---------------------------------------------------------------------------------------

    def set_flight(self, flight: Flight) -> Flight:
        """Bring a campaign to these limits; only what differs is sent. A reference ``audience:<id>`` finds, or makes,
        the campaign of that list. Microsoft's search campaigns have no frequency cap, so none is claimed. Returns what
        Microsoft now says. Raises :class:`AdapterError`."""
        if not flight.reference:
            text = _("Name the campaign by its id, or write “audience:” and the id of the list it is for.")
            raise AdapterError(text, code="reference")
        if flight.reference.startswith(BY_AUDIENCE):
            audience = flight.reference.removeprefix(BY_AUDIENCE)
            campaign = self._campaign_of(audience, flight)
            self._target(campaign, audience)
        else:
            campaign = flight.reference
        known = self._campaign(campaign)
        changes = self._differences(known, flight)
        if changes:
            update = self._soap.make(
                CAMPAIGNS, "Campaign", Id=int(campaign), CampaignType=_kinds(known), **changes
            )
            self._send_campaigns("UpdateCampaigns", update)
            known = self._campaign(campaign)
        return self._told(campaign, known, flight)

    def _send_campaigns(self, operation: str, campaign: Any) -> Any:
        campaigns = self._soap.many(CAMPAIGNS, "ArrayOfCampaign", [campaign])
        answer = self._soap.call(CAMPAIGNS, operation, AccountId=int(self._account), Campaigns=campaigns)
        errors = [error for error in listed(answer, "BatchError") if error is not None]
        if errors:
            raise AdapterError(
                _("Microsoft says: %s") % str(errors[0].Message)[:300], code=batch_errors(errors)[0][1]
            )
        return answer

    def pause_flight(self, reference: str, paused: bool | None) -> bool:
        """The campaign's own switch. Raises :class:`AdapterError`."""
        campaign = number_of(reference, self._named)

        def change(wanted: bool) -> None:
            update = self._soap.make(
                CAMPAIGNS, "Campaign", Id=int(campaign), CampaignType=_kinds(self._campaign(campaign)),
                Status="Paused" if wanted else "Active",
            )  # fmt: skip
            self._send_campaigns("UpdateCampaigns", update)

        return switched(paused, lambda: str(self._campaign(campaign).Status) != "Active", change)

    def _named(self, name: str) -> str:
        """The id of the campaign of this name; '' where there is none."""
        answer = self._soap.call(
            CAMPAIGNS, "GetCampaignsByAccountId", AccountId=int(self._account), CampaignType="Search"
        )
        for found in listed(answer, "Campaign"):
            if found is not None and str(found.Name) == name:
                return str(found.Id)
        return ""

    def _campaign_of(self, audience: str, flight: Flight) -> str:
        """The campaign we made for a list, found by its name, or made now."""
        name = name_of(audience)
        if known := self._named(name):
            return known
        told = self.account.settings
        detail = self._soap.make(
            CAMPAIGNS, "TargetSettingDetail", CriterionTypeGroup="Audience", TargetAndBid=True
        )
        details = self._soap.many(CAMPAIGNS, "ArrayOfTargetSettingDetail", [detail])
        target = self._soap.make(CAMPAIGNS, "TargetSetting", Type="TargetSetting", Details=details)
        made = self._soap.make(
            CAMPAIGNS, "Campaign",
            Name=name, CampaignType="Search", BudgetType="DailyBudgetStandard", DailyBudget=float(daily(flight)),
            TimeZone=str(told.get("time_zone") or "BeijingChongqingHongKongUrumqi"),
            Languages=self._soap.many(CAMPAIGNS, STRINGS, str(told.get("languages") or "All").split()),
            Status="Active" if told.get("start_active", True) else "Paused",
            Settings=self._soap.many(CAMPAIGNS, "ArrayOfSetting", [target]), **_dates(flight),
        )  # fmt: skip
        return self._only_id(self._send_campaigns("AddCampaigns", made), "CampaignIds")

    def _target(self, campaign: str, audience: str) -> None:
        """The campaign aims at the list; said again only where it does not."""
        answer = self._soap.call(
            CAMPAIGNS, "GetCampaignCriterionsByIds", CampaignCriterionIds=None, CampaignId=int(campaign),
            CriterionType="Audience",
        )  # fmt: skip
        for found in listed(answer, "CampaignCriterions", "CampaignCriterion"):
            if str(getattr(getattr(found, "Criterion", None), "AudienceId", "")) == audience:
                return
        criterion = self._soap.make(
            CAMPAIGNS, "AudienceCriterion", Type="AudienceCriterion", AudienceId=int(audience), AudienceType="CustomerList"
        )  # fmt: skip
        made = self._soap.make(
            CAMPAIGNS, "BiddableCampaignCriterion", Type="BiddableCampaignCriterion", CampaignId=int(campaign),
            Criterion=criterion, Status="Active",
        )  # fmt: skip
        criterions = self._soap.many(CAMPAIGNS, "ArrayOfCampaignCriterion", [made])
        answer = self._soap.call(
            CAMPAIGNS, "AddCampaignCriterions", CampaignCriterions=criterions, CriterionType="Audience"
        )
        self._only_id(answer, "CampaignCriterionIds")

    def _campaign(self, campaign: str) -> Any:
        """Raises :class:`AdapterError` where there is none."""
        if not campaign.isdecimal():
            raise AdapterError(_("“%s” is no id of a campaign.") % campaign[:40], code="reference")
        ids = self._soap.many(CAMPAIGNS, LONGS, [int(campaign)])
        answer = self._soap.call(
            CAMPAIGNS, "GetCampaignsByIds", AccountId=int(self._account), CampaignIds=ids, CampaignType="Search Audience"
        )  # fmt: skip
        found = [entry for entry in listed(answer, "Campaigns", "Campaign") if entry is not None]
        if not found:
            raise AdapterError(
                _("Microsoft knows no campaign %s in this account.") % campaign, code=NOT_FOUND
            )
        return found[0]

    def _differences(self, known: Any, flight: Flight) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if _amount(known) != daily(flight):
            if getattr(known, "BudgetId", None):
                text = _(
                    "The campaign's budget is shared with others. Give it a budget of its own at Microsoft."
                )
                raise AdapterError(text, code="shared_budget")
            changes |= {"DailyBudget": float(daily(flight)), "BudgetType": "DailyBudgetStandard"}
        if (_day(known, "StartDate"), _day(known, "EndDate")) != (flight.starts_on, flight.ends_on):
            changes |= _dates(flight)
        return changes

    def _told(self, campaign: str, known: Any, flight: Flight) -> Flight:
        return Flight(
            reference=campaign,
            budget=in_all(_amount(known), flight),
            starts_on=_day(known, "StartDate") or dt.date.min,
            ends_on=_day(known, "EndDate") or dt.date.max,
        )

    # Reports --------------------------------------------------------------------------------------

    def fetch_report(self, day: dt.date) -> list[ReportRow]:
        """One row a campaign with anything to tell, of a day of the account's zone: asked for, waited for, downloaded.
        Raises :class:`AdapterError`, one to repeat when Microsoft takes longer than ``report_wait``."""
        answer = self._soap.call(REPORTS, "SubmitGenerateReport", ReportRequest=self._request(day))
        address = self._made(str(answer))
        if not address:
            return []  # Microsoft makes no file where there is nothing to tell
        return [_row(row, day) for row in self._rows(address)]

    def _request(self, day: dt.date) -> Any:
        soap = self._soap
        date = soap.make(REPORTS, "Date", Day=day.day, Month=day.month, Year=day.year)
        period = soap.make(REPORTS, "ReportTime", CustomDateRangeStart=date, CustomDateRangeEnd=date)
        accounts = soap.many(REPORTS, LONGS, [int(self._account)])
        scope = soap.make(REPORTS, "AccountThroughCampaignReportScope", AccountIds=accounts)
        return soap.make(
            REPORTS, "CampaignPerformanceReportRequest",
            Aggregation="Daily", Format="Csv", FormatVersion="2.0", ReportName="Evenreach", ReturnOnlyCompleteData=False,
            ExcludeReportHeader=True, ExcludeReportFooter=True, ExcludeColumnHeaders=False, Time=period, Scope=scope,
            Columns=soap.many(REPORTS, "ArrayOfCampaignPerformanceReportColumn", list(COLUMNS)),
        )  # fmt: skip

    def _made(self, request: str) -> str:
        """The address of the file once it is there, '' where there is nothing to tell."""
        until = time.monotonic() + float(self.account.settings.get("report_wait") or 120)
        pause = 0.2
        while True:
            told = self._soap.call(REPORTS, "PollGenerateReport", ReportRequestId=request)
            status = str(getattr(told, "Status", ""))
            if status == "Success":
                return str(getattr(told, "ReportDownloadUrl", None) or "")
            if status == "Error":
                raise AdapterError(
                    _("Microsoft could not make the report."),
                    code="report",
                    retryable=True,
                    retry_after=WAIT_PASSING,
                )
            if time.monotonic() + pause > until:
                text = _("Microsoft is still making the report; it is asked for again later.")
                raise AdapterError(text, code="report_wait", retryable=True, retry_after=WAIT_PASSING)
            time.sleep(pause)
            pause = min(5.0, pause * 2)

    def _rows(self, address: str) -> list[dict[str, str]]:
        """The rows of a zipped CSV file."""
        try:
            answer = self._client().get(address)
            answer.raise_for_status()
            with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
                text = packed.read(packed.namelist()[0]).decode("utf-8-sig")
        except (httpx.HTTPError, zipfile.BadZipFile, IndexError, UnicodeDecodeError) as error:
            reason = {"reason": type(error).__name__}
            text = _("The report cannot be downloaded from Microsoft (%(reason)s).") % reason
            raise AdapterError(text, code="download", retryable=True, retry_after=WAIT_PASSING) from None
        rows = list(csv.DictReader(io.StringIO(text)))
        if rows and set(COLUMNS) - set(rows[0]):
            raise AdapterError(_("Microsoft's report has other columns than were asked for."), code="columns")
        return rows

    def fetch_balance(self) -> list[Balance]:
        """What the account's insertion orders leave. Accounts that are not billed by the month have none, and of an
        order without a limit nothing is left or used up: no balance is told. Raises :class:`AdapterError`."""
        orders = [
            order for order in self._orders() if str(getattr(order, "Status", "")) in {"Active", "Exhausted"}
        ]
        remaining = [getattr(order, "BudgetRemaining", None) for order in orders]
        if not remaining or None in remaining:
            return []
        account = self._soap.call(CUSTOMERS, "GetAccount", AccountId=int(self._account))
        left = sum((Decimal(str(amount)) for amount in remaining), Decimal(0))
        return [Balance(str(account.CurrencyCode), left)]

    def _orders(self) -> Iterator[Any]:
        """All insertion orders of the account, page by page."""
        soap = self._soap
        if not self._account.isdecimal():
            raise AdapterError(_("The account id is a number."), code="account_id")
        mine = soap.make(BILLING, PREDICATE, Field="AccountId", Operator="Equals", Value=self._account)
        order = soap.make(BILLING, ORDER_BY, Field="Id", Order="Ascending")
        page = 0
        while True:
            try:
                answer = soap.call(
                    BILLING, "SearchInsertionOrders", Predicates=soap.many(BILLING, PREDICATES, [mine]),
                    Ordering=soap.many(BILLING, ORDER_BYS, [order]),
                    PageInfo=soap.make(BILLING, PAGING, Index=page, Size=ORDERS),
                )  # fmt: skip
            except AdapterError as error:
                if error.code == NOT_PERMITTED:
                    error.stops_channel = False  # money may be another's business; campaigns go on
                raise
            found = [one for one in listed(answer, "InsertionOrder") if one is not None]
            yield from found
            if len(found) < ORDERS:
                return
            page += 1

    # Calls ----------------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Read the account, and its lists: that service alone looks at the customer id."""
        try:
            self._lists()
            answer = self._soap.call(CUSTOMERS, "GetAccount", AccountId=int(self._account or 0))
        except AdapterError as error:
            return Checked(False, str(error))
        except ValueError:
            return Checked(False, _("The account id is a number."))
        facts = {
            "name": str(getattr(answer, "Name", "")),
            "currency": str(getattr(answer, "CurrencyCode", "")),
            "status": str(getattr(answer, "AccountLifeCycleStatus", "")),
        }
        if facts["status"] not in {"Active", "", "None"}:
            return Checked(False, _("This Microsoft account is not active (%s).") % facts["status"])
        return Checked(True, _("Microsoft lets us into “%(name)s”.") % facts, facts)

    def close(self) -> None:
        self._soap.close()
        if self._http is not None:
            self._http.close()
            self._http = None

    def _client(self) -> httpx.Client:
        if self._http is None:
            self._http = httpx.Client(timeout=self._timeout, follow_redirects=True)
        return self._http


def _dates(flight: Flight) -> dict[str, Any]:
    def midnight(day: dt.date) -> dt.datetime:
        return dt.datetime.combine(day, dt.time())  # noqa: DTZ901  (Microsoft reads it in the campaign's zone)

    return {
        "UseCampaignLevelDates": True, "StartDate": midnight(flight.starts_on), "EndDate": midnight(flight.ends_on),
    }  # fmt: skip


def _day(known: Any, name: str) -> dt.date | None:
    """The day of a time as Microsoft tells it."""
    value = getattr(known, name, None)
    if isinstance(value, dt.datetime):
        return value.date()
    return dt.date.fromisoformat(str(value)[:10]) if value else None


def _kinds(known: Any) -> str:
    """The types of a campaign, as the words of one list."""
    told = known.CampaignType
    return " ".join(map(str, told)) if isinstance(told, list) else str(told)


def _amount(known: Any) -> Decimal:
    """A campaign's budget of a day."""
    return Decimal(str(getattr(known, "DailyBudget", None) or 0)).quantize(Decimal("0.01"))


def _row(row: dict[str, str], day: dt.date) -> ReportRow:
    def number(name: str) -> Decimal:
        try:
            return Decimal((row[name] or "0").replace(",", ""))
        except InvalidOperation:
            return Decimal(0)

    return ReportRow(
        day=day,
        placement=row["CampaignId"],
        currency=row["CurrencyCode"],
        spend=number("Spend"),
        exposures=int(number("Impressions")),
        clicks=int(number("Clicks")),
        conversions=number("Conversions"),
    )
