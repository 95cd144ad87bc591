"""Microsoft Advertising's far side: a token service, four SOAP services of one account, and report files.

Messages are read and written here by hand; whether they are Microsoft's is settled by Microsoft's own client library,
which makes the requests and reads the answers.
"""
# ruff: noqa: S105  (what stands here opens the sandbox only)

import csv
import datetime as dt
import io
import itertools
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from channels.sandbox.faults import Fault
from channels.sandbox.log import digest
from channels.sandbox.vendors._delivery import Figures, Lists, Matching, day_of, keep, market_of
from channels.sandbox.vendors._oauth import TokenService
from channels.sandbox.vendors._soap import ADAPI, Call, NoEnvelope, answer, fault, many, read
from channels.sandbox.vendors.base import BaseVendor, Door, VendorConfig
from channels.sandbox.web import after

MOST_ITEMS = 1_000_000
MOST_PREDICATES, MOST_ORDERS = 6, 100
HASH = re.compile(r"[0-9a-f]{64}")
CHANGING = {
    "AddAudiences",
    "ApplyCustomerListUserData",
    "AddCampaigns",
    "UpdateCampaigns",
    "AddCampaignCriterions",
}
COLUMNS = {
    "TimePeriod", "CampaignId", "CampaignName", "CurrencyCode", "Impressions", "Clicks", "Spend", "Conversions",
}  # fmt: skip
ENTITIES = "https://bingads.microsoft.com/Customer/v13/Entities"


@dataclass
class Config(VendorConfig):
    """One account and its delivery."""

    account_id: str = "180000001"
    customer_id: str = "250000001"
    developer_token: str = "sandbox-developer-token"
    client_id: str = "sandbox-client"
    client_secret: str = ""  # asked for when set
    refresh_token: str = "sandbox-refresh-token"
    token_seconds: int = 3600
    currency: str = "CNY"
    # As Microsoft tells them; such an account is billed by the month, others have none.
    insertion_orders: list[dict[str, Any]] = field(default_factory=list)
    sees_money: bool = True  # whether the user may ask the billing service
    report_polls: int = 1  # a report is pending so many times before it is there
    match_share: float = 0.7
    click_share: float = 0.05
    click_price: float = 2.0
    searches: float = 1.5
    minimum_audience: int = 300
    refused: str = ""  # hashes refused one by one, separated by spaces


class ServiceError(Exception):
    """An error of the whole call: ``AdApiError`` for the caller's fault before the work, else ``OperationError``."""

    def __init__(self, code: int, name: str, text: str, *, operation: bool = False) -> None:
        super().__init__(text)
        self.code, self.name, self.text, self.operation = code, name, text, operation


def batch_error(index: int, code: int, name: str, text: str) -> dict[str, Any]:
    return {"Code": code, "ErrorCode": name, "Index": index, "Message": text, "Type": "BatchError"}


class Vendor(BaseVendor):
    name: ClassVar[str] = "microsoft_ads"
    port: ClassVar[int] = 18133
    Config = Config

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        config = self.config
        expected = {"client_id": config.client_id, "refresh_token": config.refresh_token}
        if config.client_secret:
            expected["client_secret"] = config.client_secret
        self.tokens = TokenService(expected, config.token_seconds)
        self.lists: dict[str, dict[str, Any]] = {}
        self.members = Lists()
        self.matching = Matching(
            self.seed, config.match_share, self.people,
            {"email": lambda value: value.strip().lower(), "phone": lambda value: value}, "sha256",
        )  # fmt: skip
        self.campaigns: dict[str, dict[str, Any]] = {}
        self.criterions: dict[str, dict[str, Any]] = {}
        self.delivered: dict[tuple[str, str], Figures] = {}
        self.reports: dict[str, dict[str, Any]] = {}
        self._ids = itertools.count(1)

    # -- life --------------------------------------------------------------------------------------------
    def restore(self) -> None:
        kept = {"list": self.lists, "campaign": self.campaigns, "criterion": self.criterions}
        n = 0
        for line in self.lines():
            if line["event"] in kept:
                n += line["id"] not in kept[line["event"]]
                kept[line["event"]].setdefault(line["id"], {}).update(line["fields"])
            elif line["event"] == "members":
                self.members.change(line["audience"], line["hashes"], add=line["verb"] == "Add")
            elif line["event"] == "delivered":
                self.delivered[line["campaign"], line["day"]] = Figures(line["impressions"], line["clicks"])
        self._ids = itertools.count(n + 1)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/token", self.tokens.handle)
        app.router.add_post("/Api/{path:.*}", self._serve)
        app.router.add_get("/reports/{report}.zip", self._download)
        return app

    def doors(self) -> Mapping[str, Door]:
        async def deliver(body: dict[str, Any]) -> Any:
            figures = self.deliver(
                str(body["campaign"]), dt.date.fromisoformat(body["day"]), float(body.get("share", 1.0))
            )
            return {"impressions": figures.impressions, "clicks": figures.clicks}

        return {"/microsoft_ads/deliver": deliver}

    async def _serve(self, request: web.Request) -> web.Response:
        raw = await request.read()
        treated, status = Fault.OK, 200
        try:
            call = read(raw)
            told = request.headers.get("SOAPAction", "").strip('"')
            if told != call.operation:
                raise NoEnvelope(f"SOAPAction {told!r} is not {call.operation!r}")
            handler = getattr(self, f"_do_{call.operation}", None)
            if handler is None:
                raise NoEnvelope(f"no operation {call.operation} here")
            self._let_in(call)
            if call.operation in CHANGING:
                treated = self.config.faults.decide_call(self.seed, digest(call.operation, raw.decode()))
            if treated is Fault.THROTTLE:
                raise ServiceError(
                    117, "CallRateExceeded", "You have exceeded the number of calls allowed per minute."
                )
            if treated is Fault.REFUSE:
                raise ServiceError(1001, "InvalidRequest", "The request is not valid.", operation=True)
            body = (
                b""
                if treated is Fault.DROP_BEFORE
                else answer(call.operation, call.namespace, handler(call, request))
            )
        except NoEnvelope as error:
            body, status = fault(str(error), "Error", "", {}), 500
        except ServiceError as error:
            self.count(f"error {error.code}")
            body, status = self._fault(error, call), 500
        await self.log.flushed()
        await after(request, treated, self.config.faults)
        return web.Response(body=body, status=status, content_type="text/xml", charset="utf-8")

    @staticmethod
    def _fault(error: ServiceError, call: Call) -> bytes:
        entry = {"Code": error.code, "ErrorCode": error.name, "Message": error.text}
        text = "Invalid client data. Check the SOAP fault details for more information."
        if error.operation:
            details = {
                "TrackingId": "sandbox",
                "BatchErrors": None,
                "OperationErrors": {"OperationError": [entry]},
            }
            return fault(text, "ApiFaultDetail", call.namespace, details)
        details = {"TrackingId": "sandbox", "Errors": {"AdApiError": [entry]}}
        return fault(text, "AdApiFaultDetail", ADAPI, details)

    def _let_in(self, call: Call) -> None:
        config, told = self.config, call.headers
        if config.faults.expired_token > 0:
            config.faults.expired_token -= 1
            self.tokens.expire()
            raise ServiceError(109, "AuthenticationTokenExpired", "Authentication token expired.")
        if told.get("DeveloperToken") != config.developer_token or not self.tokens.knows(
            told.get("AuthenticationToken", "")
        ):
            raise ServiceError(105, "InvalidCredentials", "Authentication failed.")
        ours = (told.get("CustomerAccountId"), told.get("CustomerId")) == (
            config.account_id,
            config.customer_id,
        )
        ours = ours or "/Customer/" in call.namespace  # that service takes no such headers
        ours = ours or ("/Billing/" in call.namespace and config.sees_money)  # nor does that one
        if not ours or str(call.fields.get("AccountId") or config.account_id) != config.account_id:
            raise ServiceError(
                106, "UserIsNotAuthorized", "The user is not authorized to perform this action."
            )

    def _store(
        self, kind: str, kept: dict[str, dict[str, Any]], fields: dict[str, Any], key: str = ""
    ) -> str:
        key = key or str(
            {"list": 8_100_000_000, "campaign": 4_200_000_000, "criterion": 6_300_000_000}[kind]
            + next(self._ids)
        )
        kept.setdefault(key, {}).update(fields)
        self.write(kind, id=key, fields=fields)
        return key

    # -- customers ---------------------------------------------------------------------------------------
    def _do_GetAccount(self, call: Call, request: web.Request) -> dict[str, Any]:
        account = {
            "@xmlns": ENTITIES, "CurrencyCode": self.config.currency, "Id": self.config.account_id,
            "Name": "Evenreach sandbox", "AccountLifeCycleStatus": "Active",
        }  # fmt: skip
        return {"Account": account}

    # -- billing -----------------------------------------------------------------------------------------
    def _do_SearchInsertionOrders(self, call: Call, request: web.Request) -> dict[str, Any]:
        """Microsoft answers 500 without a word to a page that is too large."""
        predicates = many(call.fields.get("Predicates"), "Predicate")
        page, ordering = call.fields.get("PageInfo") or {}, many(call.fields.get("Ordering"), "OrderBy")
        index, size = int(page.get("Index", -1)), int(page.get("Size", 0))
        wanted = {"Field": "AccountId", "Operator": "Equals", "Value": self.config.account_id}
        if wanted not in predicates or len(predicates) > MOST_PREDICATES:
            raise NoEnvelope("the predicate AccountId is required, and six are taken")
        if index < 0 or not 1 <= size <= MOST_ORDERS:
            raise NoEnvelope("a page has 1 to 100 insertion orders")
        if len(ordering) != 1 or ordering[0].get("Field") not in {"Id", "Name"}:
            raise NoEnvelope("insertion orders are ordered by Id or Name")
        shown = sorted(
            map(self._insertion_order, self.config.insertion_orders), key=lambda one: int(one["Id"])
        )
        some = shown[index * size : (index + 1) * size]
        return {"InsertionOrders": {"@xmlns": ENTITIES, "InsertionOrder": some}}

    def _insertion_order(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """In the order of Microsoft's description; an active one without more to it paid for all that was delivered."""
        cap = fields.get("SpendCapAmount")
        spent = 0.0
        if fields.get("Status", "Active") == "Active":
            clicks = sum(figures.clicks for figures in self.delivered.values())
            spent = round(clicks * self.config.click_price, 2)
        spent = fields.get("BudgetSpent", spent)
        return {
            "@xmlns": ENTITIES, "AccountId": self.config.account_id, "Id": fields["Id"], "SpendCapAmount": cap,
            "Status": fields.get("Status", "Active"), "BudgetRemaining": None if cap is None else round(cap - spent, 2),
            "BudgetSpent": None if cap is None else spent,
        }  # fmt: skip

    # -- customer lists ----------------------------------------------------------------------------------
    def _do_GetAudiencesByIds(self, call: Call, request: web.Request) -> dict[str, Any]:
        if call.fields.get("Type") != "CustomerList":
            raise ServiceError(
                4400, "CampaignServiceInvalidAudienceType", "This sandbox has customer lists.", operation=True
            )
        wanted = many(call.fields.get("AudienceIds"), "long") or list(self.lists)
        shown: list[dict[str, Any] | None] = []
        errors = []
        for n, key in enumerate(wanted):
            if key not in self.lists:
                shown.append(None)
                errors.append(
                    batch_error(n, 4405, "CampaignServiceInvalidAudienceId", "The id is not valid.")
                )
                continue
            matched = len(self.matching.people_in(self.members.members.get(key, ())))
            fields = self.lists[key]
            shown.append({
                "@type": "CustomerList", "AudienceNetworkSize": matched, "Description": fields.get("Description"), "Id": key,
                "Name": fields["Name"], "ParentId": self.config.account_id, "Scope": "Account", "SearchSize": matched,
                "Type": "CustomerList",
            })  # fmt: skip
        return {"Audiences": {"Audience": shown}, "PartialErrors": {"BatchError": errors}}

    def _do_AddAudiences(self, call: Call, request: web.Request) -> dict[str, Any]:
        ids: list[str | None] = []
        errors = []
        for n, fields in enumerate(many(call.fields.get("Audiences"), "Audience")):
            if fields.get("@type") != "CustomerList" or not fields.get("Name"):
                ids.append(None)
                errors.append(
                    batch_error(
                        n,
                        4400,
                        "CampaignServiceInvalidAudienceType",
                        "A customer list with a name is wanted.",
                    )
                )
            elif any(known["Name"] == fields["Name"] for known in self.lists.values()):
                ids.append(None)
                errors.append(
                    batch_error(n, 4407, "CampaignServiceDuplicateAudienceName", "The name is used.")
                )
            else:
                ids.append(
                    self._store(
                        "list", self.lists, {"Name": fields["Name"], "Description": fields.get("Description")}
                    )
                )
                self.count("lists")
        return {"AudienceIds": {"long": ids}, "PartialErrors": {"BatchError": errors}}

    def _do_ApplyCustomerListUserData(self, call: Call, request: web.Request) -> dict[str, Any]:
        data = call.fields.get("CustomerListUserData") or {}
        audience, action = str(data.get("AudienceId")), data.get("ActionType")
        items = many(data.get("CustomerListItems"), "string")
        if audience not in self.lists:
            raise ServiceError(
                4405, "CampaignServiceInvalidAudienceId", "The id is not valid.", operation=True
            )
        if action not in {"Add", "Remove", "Replace"} or data.get("CustomerListItemSubType") not in {
            "Email",
            "Phone",
        }:
            raise ServiceError(
                4417, "CampaignServiceInvalidCustomerListData", "Action or kind is not valid.", operation=True
            )
        if data.get("AcceptCustomerMatchTerm") != "true":
            raise ServiceError(
                4419, "CustomerMatchTermNotAccepted", "Accept the terms first.", operation=True
            )
        if not 0 < len(items) <= MOST_ITEMS:
            raise ServiceError(4418, "CampaignServiceArrayLimit", "1 to 1,000,000 items.", operation=True)
        refused = set(self.config.refused.split())
        errors = [
            batch_error(n, 4420, "InvalidCustomerListItem", "The item is no SHA-256 in hex.")
            for n, value in enumerate(items) if not HASH.fullmatch(value) or value in refused
        ]  # fmt: skip
        wrong = {error["Index"] for error in errors}
        hashes = [value for n, value in enumerate(items) if n not in wrong]
        if action == "Replace":
            self.members.members.pop(audience, None)
        self.members.change(audience, hashes, add=action != "Remove")
        self.write("members", verdict="accepted", attempt="", verb=action, audience=audience, hashes=hashes)
        self.count("added" if action != "Remove" else "removed", len(hashes))
        return {"PartialErrors": {"BatchError": errors}}

    # -- campaigns ---------------------------------------------------------------------------------------
    def _do_GetCampaignsByAccountId(self, call: Call, request: web.Request) -> dict[str, Any]:
        return {"Campaigns": {"Campaign": [self._campaign(key) for key in self.campaigns]}}

    def _do_GetCampaignsByIds(self, call: Call, request: web.Request) -> dict[str, Any]:
        wanted = many(call.fields.get("CampaignIds"), "long")
        shown = [self._campaign(key) if key in self.campaigns else None for key in wanted]
        errors = [
            batch_error(n, 1100, "CampaignServiceInvalidCampaignId", "The id is not valid.")
            for n, entry in enumerate(shown) if entry is None
        ]  # fmt: skip
        return {"Campaigns": {"Campaign": shown}, "PartialErrors": {"BatchError": errors}}

    def _campaign(self, key: str) -> dict[str, Any]:
        """Elements in the order of Microsoft's description."""
        fields = self.campaigns[key]
        order = (
            "BudgetType", "DailyBudget", "EndDate", "Id", "Name", "StartDate", "Status", "TimeZone",
            "UseCampaignLevelDates", "CampaignType", "BudgetId",
        )  # fmt: skip
        return {name: {"Id": key, **fields}[name] for name in order if name in fields or name == "Id"}

    def _do_AddCampaigns(self, call: Call, request: web.Request) -> dict[str, Any]:
        ids: list[str | None] = []
        errors = []
        for n, fields in enumerate(many(call.fields.get("Campaigns"), "Campaign")):
            error = self._wrong(n, fields, new=True)
            if error is not None:
                ids.append(None)
                errors.append(error)
                continue
            kept = {name: value for name, value in fields.items() if name not in {"@type", "Id"}}
            ids.append(self._store("campaign", self.campaigns, kept))
            self.count("campaigns")
        return {"CampaignIds": {"long": ids}, "PartialErrors": {"BatchError": errors}}

    def _do_UpdateCampaigns(self, call: Call, request: web.Request) -> dict[str, Any]:
        errors = []
        for n, fields in enumerate(many(call.fields.get("Campaigns"), "Campaign")):
            key = str(fields.get("Id"))
            error = self._wrong(n, {**self.campaigns.get(key, {}), **fields}, new=False)
            if key not in self.campaigns:
                error = batch_error(n, 1100, "CampaignServiceInvalidCampaignId", "The id is not valid.")
            if error is not None:
                errors.append(error)
                continue
            changed = {
                name: value
                for name, value in fields.items()
                if name not in {"@type", "Id"} and value is not None
            }
            self._store("campaign", self.campaigns, changed, key)
        return {"PartialErrors": {"BatchError": errors}}

    def _wrong(self, n: int, fields: Mapping[str, Any], *, new: bool) -> dict[str, Any] | None:
        if new and any(known["Name"] == fields.get("Name") for known in self.campaigns.values()):
            return batch_error(n, 1115, "CampaignServiceDuplicateCampaignName", "The name is used.")
        if new and not (fields.get("Name") and fields.get("TimeZone") and fields.get("Languages")):
            return batch_error(
                n, 1102, "CampaignServiceMissingField", "Name, TimeZone and Languages are wanted."
            )
        try:
            budget = float(fields.get("DailyBudget") or 0)
        except ValueError:
            budget = 0.0
        if budget < 0.05:
            return batch_error(
                n, 1129, "CampaignServiceDailyBudgetBelowMinimum", "The daily budget is below the minimum."
            )
        starts, ends = fields.get("StartDate"), fields.get("EndDate")
        if (starts or ends) and fields.get("UseCampaignLevelDates") != "true":
            return batch_error(
                n, 1133, "CampaignServiceCampaignLevelDatesNotEnabled", "Say UseCampaignLevelDates."
            )
        if starts and ends and str(ends) < str(starts):
            return batch_error(n, 1134, "CampaignServiceInvalidDateRange", "It ends before it starts.")
        return None

    def _do_GetCampaignCriterionsByIds(self, call: Call, request: web.Request) -> dict[str, Any]:
        campaign = str(call.fields.get("CampaignId"))
        shown = [
            {
                "@type": "BiddableCampaignCriterion", "CampaignId": campaign,
                "Criterion": {
                    "@type": "AudienceCriterion", "Type": "AudienceCriterion", "AudienceId": fields["audience"],
                    "AudienceType": "CustomerList",
                },
                "Id": key, "Status": "Active", "Type": "BiddableCampaignCriterion",
            }
            for key, fields in self.criterions.items() if fields["campaign"] == campaign
        ]  # fmt: skip
        return {"CampaignCriterions": {"CampaignCriterion": shown}, "PartialErrors": {"BatchError": []}}

    def _do_AddCampaignCriterions(self, call: Call, request: web.Request) -> dict[str, Any]:
        ids: list[str | None] = []
        for fields in many(call.fields.get("CampaignCriterions"), "CampaignCriterion"):
            criterion = fields.get("Criterion") or {}
            campaign, audience = str(fields.get("CampaignId")), str(criterion.get("AudienceId"))
            known = campaign in self.campaigns and audience in self.lists
            if not known or criterion.get("@type") != "AudienceCriterion":
                raise ServiceError(
                    4200,
                    "CampaignServiceInvalidCriterion",
                    "Campaign or audience is not valid.",
                    operation=True,
                )
            ids.append(
                self._store("criterion", self.criterions, {"campaign": campaign, "audience": audience})
            )
        return {"CampaignCriterionIds": {"long": ids}, "NestedPartialErrors": {"BatchErrorCollection": []}}

    # -- reports -----------------------------------------------------------------------------------------
    def _do_SubmitGenerateReport(self, call: Call, request: web.Request) -> dict[str, Any]:
        told = call.fields.get("ReportRequest") or {}
        if told.get("@type") != "CampaignPerformanceReportRequest" or told.get("Format") != "Csv":
            raise ServiceError(
                2004,
                "ReportingServiceInvalidReportRequest",
                "A campaign report as Csv is wanted.",
                operation=True,
            )
        columns = many(told.get("Columns"), "CampaignPerformanceReportColumn")
        if not columns or set(columns) - COLUMNS or told.get("Aggregation") != "Daily":
            raise ServiceError(
                2006,
                "ReportingServiceInvalidColumns",
                "Columns or aggregation are not known here.",
                operation=True,
            )
        if many((told.get("Scope") or {}).get("AccountIds"), "long") != [self.config.account_id]:
            raise ServiceError(
                2017, "ReportingServiceUnauthorizedAccountId", "The account is not yours.", operation=True
            )
        days = [
            self._date((told.get("Time") or {}).get(name))
            for name in ("CustomDateRangeStart", "CustomDateRangeEnd")
        ]
        if None in days:
            raise ServiceError(
                2020, "ReportingServiceInvalidCustomDateRange", "The dates are not valid.", operation=True
            )
        key = digest(str(told), str(next(self._ids)))
        headers = told.get("ExcludeReportHeader") != "true"
        self.reports[key] = {
            "columns": columns,
            "days": days,
            "headers": headers,
            "polls": self.config.report_polls,
        }
        return {"ReportRequestId": key}

    @staticmethod
    def _date(told: Mapping[str, Any] | None) -> dt.date | None:
        try:
            return dt.date(int((told or {})["Year"]), int((told or {})["Month"]), int((told or {})["Day"]))
        except (KeyError, ValueError, TypeError):
            return None

    def _do_PollGenerateReport(self, call: Call, request: web.Request) -> dict[str, Any]:
        report = self.reports.get(str(call.fields.get("ReportRequestId")))
        if report is None:
            raise ServiceError(
                2100, "ReportingServiceInvalidReportId", "The id is not valid.", operation=True
            )
        if report["polls"] > 0:
            report["polls"] -= 1
            return {"ReportRequestStatus": {"ReportDownloadUrl": None, "Status": "Pending"}}
        address = f"{request.scheme}://{request.host}/reports/{call.fields['ReportRequestId']}.zip"
        empty = not self._report_rows(report)
        return {"ReportRequestStatus": {"ReportDownloadUrl": None if empty else address, "Status": "Success"}}

    def _report_rows(self, report: Mapping[str, Any]) -> list[dict[str, str]]:
        first, last = report["days"]
        rows = []
        for (campaign, day), figures in sorted(self.delivered.items(), key=lambda item: item[0]):
            if first <= dt.date.fromisoformat(day) <= last and figures.impressions:
                rows.append({
                    "TimePeriod": day, "CampaignId": campaign, "CampaignName": self.campaigns[campaign].get("Name", ""),
                    "CurrencyCode": self.config.currency, "Clicks": str(figures.clicks),
                    "Impressions": str(figures.impressions),
                    "Spend": f"{figures.clicks * self.config.click_price:.2f}", "Conversions": "0",
                })  # fmt: skip
        return rows

    async def _download(self, request: web.Request) -> web.Response:
        report = self.reports.get(request.match_info["report"])
        if report is None:
            raise web.HTTPNotFound
        text = io.StringIO()
        if report["headers"]:
            text.write('"Report Name: Evenreach"\r\n\r\n')
        writer = csv.DictWriter(text, report["columns"], quoting=csv.QUOTE_ALL, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(self._report_rows(report))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("report.csv", "\ufeff" + text.getvalue())
        return web.Response(body=packed.getvalue(), content_type="application/zip")

    # -- delivery ----------------------------------------------------------------------------------------
    def deliver(self, campaign: str, day: dt.date, share: float = 1.0) -> Figures:
        """Bring a day's delivery of a campaign (its id) to ``share`` of what budget and audience allow."""
        fields, key = self.campaigns[campaign], (campaign, day.isoformat())
        before = self.delivered.get(key, Figures())
        people = self.matching.people_in(
            value
            for criterion in self.criterions.values() if criterion["campaign"] == campaign
            for value in self.members.members.get(criterion["audience"], ())
        )  # fmt: skip
        starts, ends = str(fields.get("StartDate") or "2000")[:10], str(fields.get("EndDate") or "9999")[:10]
        active = fields.get("Status") == "Active" and starts <= key[1] <= ends
        if not active or len(people) < self.config.minimum_audience:
            return before
        figures = day_of(
            self.seed, market_of(self.config), campaign, day,
            people=len(people), budget=float(fields["DailyBudget"]), cap_left=None, share=share, before=before,
        )  # fmt: skip
        return keep(self, self.delivered, key, figures, people)
