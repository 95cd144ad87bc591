"""Baidu search marketing (百度营销): audiences by file, campaign budgets, daily reports.

Baidu tells nothing of a person, so the guarantee is *aggregate*. People are hashed here and the hashes are kept
nowhere. Every verb says what should be so and may be repeated.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import httpx
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import IdentityKind, Medium
from channels.adapters._flights import BY_AUDIENCE, daily, in_all, name_of, number_of, switched
from channels.adapters._people import Form, Person, customers_of, hashed, mainland_number, people_of
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

MOST_MEMBERS = 100_000  # lines of one file
PAGE = 500
CAMPAIGN_REPORT = 2290316
COLUMNS = ("date", "campaignId", "impression", "click", "cost")
SERVICES = "/json/sms/service"
OK, PARTIAL, FAILED, SYSTEM = range(4)  # header.status
WAIT_SLOWER, WAIT_PASSING = 60.0, 10.0
SLOWER = range(8500, 8600)  # quota and frequency
FORBIDDEN = {801, 802, 803, 804}  # shut out after too many wrong credentials
CREDENTIALS = range(8100, 8200)
PASSING = {800, 405, 421, 502}
# Baidu's search campaigns have a budget of the day, and no dates (nor a cap on what one person sees).
WITHOUT = ("starts_on", "ends_on")


class Tokens(RefreshTokens):
    """Baidu asks in JSON, with words of its own."""

    def _ask(
        self, client: httpx.Client, url: str, form: Mapping[str, str], refresh_token: str
    ) -> httpx.Response:
        given: dict[str, Any] = {**form, "refreshToken": refresh_token}
        given["userId"] = int(form["userId"]) if form["userId"].isdecimal() else form["userId"]
        return client.post(url, json=given)

    def _read(self, told: Any) -> dict[str, Any]:
        data = told.get("data") or {}
        if told.get("code") or not data.get("accessToken"):
            return {"error": str(told.get("code") or "no token")}
        return {
            "access_token": data["accessToken"],
            "refresh_token": data.get("refreshToken"),
            "expires_in": data.get("expiresIn"),
        }


class Adapter(BaseAdapter):
    name = "baidu"
    label = gettext_lazy("Baidu search marketing")
    media: ClassVar[tuple[str, ...]] = (Medium.SEARCH,)
    domain = Domain.PUBLIC
    guarantee = Guarantee.AGGREGATE
    observability = Observability.PERSON_TARGETED
    price_model = PriceModel.CPC
    address_kinds: ClassVar[tuple[str, ...]] = (IdentityKind.PHONE,)
    batch_size = MOST_MEMBERS
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("user_name", gettext_lazy("User name of the account")),
        Setting("user_id", gettext_lazy("User id of the account"), gettext_lazy("A number (ucid).")),
        Setting("app_id", gettext_lazy("App id")),
        Setting("secret_key", gettext_lazy("Secret key of the app"), kind="password", secret=True),
        Setting("refresh_token", gettext_lazy("Refresh token"), kind="password", secret=True),
        Setting(
            "hash",
            gettext_lazy("Hash of phone numbers"),
            gettext_lazy("As your contract with Baidu says."),
            "choice",
            default="md5",
            choices=(("md5", "MD5"), ("sha256", "SHA-256")),
        ),
        Setting(
            "id_type",
            gettext_lazy("Baidu's word for hashed phone numbers"),
            default="MD5_PHONE",
            required=False,
        ),
        Setting("add_word", gettext_lazy("Baidu's word for adding"), default="ADD", required=False),
        Setting("remove_word", gettext_lazy("Baidu's word for removing"), default="REMOVE", required=False),
        Setting(
            "start_active",
            gettext_lazy("New campaigns start active"),
            gettext_lazy("They show nothing until somebody puts keywords and ads into them."),
            "boolean",
            default=True,
            required=False,
        ),
        Setting("currency", gettext_lazy("Currency of the account"), default="CNY", required=False),
        Setting(
            "base_url",
            gettext_lazy("Address of the API"),
            kind="url",
            default="https://api.baidu.com",
            required=False,
        ),
        Setting(
            "token_url",
            gettext_lazy("Address of the token service"),
            kind="url",
            default="https://u.baidu.com/oauth/refreshToken",
            required=False,
        ),
        Setting(
            "timeout", gettext_lazy("Seconds to wait for Baidu"), kind="number", default=60, required=False
        ),
    )

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        told, secrets = account.settings, account.credentials
        self._base = str(told.get("base_url") or "https://api.baidu.com").rstrip("/")
        self._http: httpx.Client | None = None
        form = {
            "appId": str(told.get("app_id") or ""), "secretKey": str(secrets.get("secret_key") or ""),
            "userId": str(told.get("user_id") or "").strip(),
        }  # fmt: skip
        self._tokens = Tokens(
            account,
            str(told.get("token_url") or "https://u.baidu.com/oauth/refreshToken"),
            form,
            self._client,
        )

    def _told(self, name: str, default: str) -> str:
        return str(self.account.settings.get(name) or default)

    # Audiences ------------------------------------------------------------------------------------

    def sync_audience(
        self, external_id: str, name: str, add: Sequence[AudienceChange], remove: Sequence[AudienceChange]
    ) -> AudienceResult:
        """Add and remove people by files. Without an id the audience of this name is found, or made.

        Baidu takes a file and matches later: *done* means taken. What earlier files of the same run did is told even
        when a later one fails. Raises :class:`AdapterError` when nothing was done.
        """
        audience, size = (external_id, None) if external_id else self._audience(name)
        forms: dict[str, Form] = {IdentityKind.PHONE: hashed(mainland_number, self._told("hash", "md5"))}
        done: list[int] = []
        failed: dict[int, str] = {}
        try:
            for word, changes in (
                (self._told("remove_word", "REMOVE"), remove),
                (self._told("add_word", "ADD"), add),
            ):
                people = people_of(changes, forms, failed)
                for start in range(0, len(people), MOST_MEMBERS):
                    done += self._push(word, audience, name, people[start : start + MOST_MEMBERS])
            size = self._size(audience)
        except AdapterError:
            if not done and external_id:
                raise
        return AudienceResult(audience, done, failed, size)

    def _audience(self, name: str) -> tuple[str, int | None]:
        """(id, size) of the audience of this name, found or made."""
        for found in self._call("ExtAudienceService/getAudienceList", {"keywords": name}):
            if found.get("groupName") == name:
                return str(found["groupId"]), found.get("groupCount")
        made = self._call("ExtAudienceService/createEmptyGroup", {"groupName": name})
        return str(made[0]["groupId"]), None

    def _push(self, word: str, audience: str, name: str, people: Sequence[Person]) -> list[int]:
        """One file: a hash a line. It is uploaded, then poured into the audience."""
        lines = ("\n".join(person.value for person in people) + "\n").encode()
        md5 = hashlib.md5(lines, usedforsecurity=False).hexdigest()
        file_name = f"evenreach-{md5}.txt"
        file_id = self._upload(file_name, lines)
        given: dict[str, Any] = {
            "groupId": int(audience), "fileId": file_id, "filePath": file_name, "fileMd5": md5, "fileType": "txt",
            "idType": self._told("id_type", "MD5_PHONE"), "reqType": word, "uuidCount": len(people),
        }  # fmt: skip
        if name:
            given["groupName"] = name
        self._call("ExtAudienceService/updateIdUpload4Pour", given)
        return customers_of(people)

    def _upload(self, name: str, content: bytes) -> int:
        params = {"fileName": name, "fileType": "txt", "storeType": "AUDIENCE", "bizFlag": "AUDIENCE"}
        data = self._call("MarketingFileService/uploadFile", params, upload=(name, content))
        return int(data[0]["fileId"])

    def _size(self, audience: str) -> int | None:
        """Matched people, once Baidu has counted them."""
        found = self._call("ExtAudienceService/getAudienceList", {"groupIds": [int(audience)]})
        size = found[0].get("groupCount") if found else None
        return int(size) if size is not None else None

    # Flight ---------------------------------------------------------------------------------------

    def set_flight(self, flight: Flight) -> Flight:
        """Bring a campaign's budget of the day to the flight's share; sent only when it differs. Baidu's search
        campaigns have no dates and no cap, so none is claimed. A reference ``audience:<id>`` finds, or makes, the
        campaign of that audience. Raises :class:`AdapterError`."""
        if not flight.reference:
            text = _(
                "Name the campaign by its id, or write “audience:” and the id of the audience it is for."
            )
            raise AdapterError(text, code="reference")
        campaign = flight.reference
        if campaign.startswith(BY_AUDIENCE):
            campaign = self._campaign_of(campaign.removeprefix(BY_AUDIENCE), flight)
        known = self._campaign(campaign)
        if _budget(known) != daily(flight):
            if known.get("sharedBudgetId"):
                text = _("The campaign's budget is shared with others. Give it a budget of its own at Baidu.")
                raise AdapterError(text, code="shared_budget")
            change = {"campaignId": int(campaign), "budget": float(daily(flight))}
            self._call("CampaignService/updateCampaign", {"campaignTypes": [change]})
            known = self._campaign(campaign)
        return Flight(
            reference=campaign,
            budget=in_all(_budget(known), flight),
            starts_on=flight.starts_on,
            ends_on=flight.ends_on,
            without=WITHOUT,
        )

    def pause_flight(self, reference: str, paused: bool | None) -> bool:
        """The campaign's own switch. Raises :class:`AdapterError`."""
        campaign = number_of(reference, self._named)

        def change(wanted: bool) -> None:
            change = {"campaignId": int(campaign), "pause": wanted}
            self._call("CampaignService/updateCampaign", {"campaignTypes": [change]})

        return switched(paused, lambda: bool(self._campaign(campaign).get("pause")), change)

    def _named(self, name: str) -> str:
        """The id of the campaign of this name; '' where there is none."""
        fields = ["campaignId", "campaignName"]
        for found in self._call("CampaignService/getCampaign", {"campaignFields": fields, "campaignIds": []}):
            if found.get("campaignName") == name:
                return str(found["campaignId"])
        return ""

    def _campaign_of(self, audience: str, flight: Flight) -> str:
        """The campaign we made for an audience, found by its name, or made now."""
        name = name_of(audience)
        if known := self._named(name):
            return known
        made = {
            "campaignName": name, "budget": float(daily(flight)),
            "pause": not self.account.settings.get("start_active", True),
        }  # fmt: skip
        return str(self._call("CampaignService/addCampaign", {"campaignTypes": [made]})[0]["campaignId"])

    def _campaign(self, campaign: str) -> dict[str, Any]:
        """Raises :class:`AdapterError` where there is none."""
        if not campaign.isdecimal():
            raise AdapterError(_("“%s” is no id of a campaign.") % campaign[:40], code="reference")
        fields = ["campaignId", "campaignName", "budget", "pause", "status", "sharedBudgetId"]
        given = {"campaignFields": fields, "campaignIds": [int(campaign)]}
        found = self._call("CampaignService/getCampaign", given)
        if not found:
            raise AdapterError(_("Baidu knows no campaign %s in this account.") % campaign, code=NOT_FOUND)
        return dict(found[0])

    # Reports --------------------------------------------------------------------------------------

    def fetch_report(self, day: dt.date) -> list[ReportRow]:
        """One row a campaign with anything to tell, of a day in China. Raises :class:`AdapterError`."""
        rows: list[ReportRow] = []
        start = 0
        while True:
            given = {
                "reportType": CAMPAIGN_REPORT, "startDate": day.isoformat(), "endDate": day.isoformat(), "timeUnit": "DAY",
                "columns": list(COLUMNS), "sorts": [], "filters": [], "startRow": start, "rowCount": PAGE, "needSum": False,
            }  # fmt: skip
            data = self._call("OpenApiReportService/getReportData", given)
            told = data[0] if data else {}
            found = told.get("rows") or []
            rows += [self._row(row) for row in found]
            start += len(found)
            if not found or start >= int(told.get("totalRowCount") or 0):
                return rows

    def _row(self, row: Mapping[str, Any]) -> ReportRow:
        return ReportRow(
            day=dt.date.fromisoformat(str(row["date"])[:10]),
            placement=str(row["campaignId"]),
            currency=self._told("currency", "CNY"),
            spend=Decimal(str(row.get("cost") or 0)),  # in yuan
            exposures=int(row.get("impression") or 0),
            clicks=int(row.get("click") or 0),
        )

    def fetch_balance(self) -> list[Balance]:
        """Of the account, in its currency. Raises :class:`AdapterError`."""
        found = self._call("AccountService/getAccountInfo", {"accountFields": ["userId", "balance"]})
        return [
            Balance(self._told("currency", "CNY").upper(), Decimal(str(one["balance"])))
            for one in found
            if one.get("balance") is not None
        ]

    # Calls ----------------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Read the account."""
        try:
            fields = ["userId", "balance", "budget"]
            found = self._call("AccountService/getAccountInfo", {"accountFields": fields})
        except AdapterError as error:
            return Checked(False, str(error))
        facts = {
            "name": self._told("user_name", ""),
            **{key: str(v) for key, v in (found[0] if found else {}).items()},
        }
        return Checked(True, _("Baidu lets us into “%(name)s”.") % facts, facts)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def _client(self) -> httpx.Client:
        if self._http is None:
            self._http = httpx.Client(timeout=float(self.account.settings.get("timeout") or 60))
        return self._http

    def _call(
        self, method: str, body: Mapping[str, Any], upload: tuple[str, bytes] | None = None
    ) -> list[dict[str, Any]]:
        """One call in Baidu's envelope; returns ``body.data``. Raises :class:`AdapterError`: all may be repeated."""
        for again in (True, False):
            header = {"userName": self._told("user_name", ""), "accessToken": self._tokens.token()}
            try:
                if upload is not None:
                    form = {**header, "params": json.dumps(body)}
                    answer = self._client().post(
                        f"{self._base}{SERVICES}/{method}", data=form, files={"file": (*upload, "text/plain")}
                    )
                else:
                    answer = self._client().post(
                        f"{self._base}{SERVICES}/{method}", json={"header": header, "body": body}
                    )
            except httpx.HTTPError as error:
                text = _("Baidu cannot be reached (%(reason)s).") % {"reason": type(error).__name__}
                raise AdapterError(text, code="connect", retryable=True, retry_after=WAIT_PASSING) from None
            told = _envelope(answer)
            failure = _failure(told["header"])
            if failure is None:
                data = (told.get("body") or {}).get("data")
                return [entry for entry in data or [] if isinstance(entry, dict)]
            if again and int(failure.code) in CREDENTIALS:
                self._tokens.forget()  # expired on its way: once more with a fresh one
                continue
            raise failure
        raise AssertionError("unreachable")


def _envelope(answer: httpx.Response) -> dict[str, Any]:
    try:
        told = answer.json()
    except ValueError:
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("header"), dict):
        raise AdapterError(
            _("Baidu answered HTTP %s without a text we can read.") % answer.status_code,
            code=str(answer.status_code), retryable=True, retry_after=WAIT_PASSING,
        )  # fmt: skip
    return told


def _failure(header: Mapping[str, Any]) -> AdapterError | None:
    """What a header says went wrong. A call that failed in part failed: all of ours are about one thing."""
    status = int(header.get("status") or 0)
    if status == OK:
        return None
    failures = header.get("failures") or [{}]
    code = int(failures[0].get("code") or 0)
    text = str(failures[0].get("message") or header.get("desc") or code)[:300]
    slower = code in SLOWER
    passing = not slower and (status == SYSTEM or code in PASSING) and code not in FORBIDDEN
    return AdapterError(
        _("Baidu says: %s") % text,
        code=str(code),
        retryable=slower or passing,
        stops_channel=code in CREDENTIALS or code in FORBIDDEN,
        retry_after=WAIT_SLOWER if slower else WAIT_PASSING if passing else None,
    )


def _budget(known: Mapping[str, Any]) -> Decimal:
    """A campaign's budget of a day, in yuan."""
    return Decimal(str(known.get("budget") or 0)).quantize(Decimal("0.01"))
