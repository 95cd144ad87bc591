"""Google's far side: a token service, the Data Manager API (HTTP), and the Google Ads API (gRPC over TLS).

The Google Ads API is answered only where ``grpc`` is asked for and Google's library is installed: its messages are
that library's own. The certificate is made for the folder: ``google_ads.pem``; the port is in ``google_ads.port``.
"""
# ruff: noqa: S105  (what stands here opens the sandbox only)

import contextlib
import datetime as dt
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from aiohttp import web

from channels.sandbox.faults import Fault
from channels.sandbox.log import digest
from channels.sandbox.vendors._delivery import Figures, Lists, Matching, day_of, keep, market_of
from channels.sandbox.vendors._google_ads_grpc import AdsService, certificate
from channels.sandbox.vendors._oauth import TokenService
from channels.sandbox.vendors.base import BaseVendor, Door, VendorConfig
from channels.sandbox.web import after, serve

MOST_MEMBERS, MOST_IDENTIFIERS = 10_000, 10
HASH = re.compile(r"[0-9a-f]{64}")
# Google's own library writes enums as numbers; both are taken.
ENUMS: dict[str, dict[Any, str]] = {
    "accountType": {1: "GOOGLE_ADS"},
    "encoding": {1: "HEX", 2: "BASE64"},
    "customerMatchTermsOfServiceStatus": {1: "ACCEPTED", 2: "REJECTED"},
    "uploadKeyTypes": {1: "CONTACT_ID"},
}
FILTER = re.compile(r'\s*(?:display_name|displayName)\s*=\s*"((?:[^"\\]|\\.)*)"\s*')


@dataclass
class Config(VendorConfig):
    """One account and its delivery."""

    customer_id: str = "1234567890"
    login_customer_id: str = ""  # asked for when set
    developer_token: str = "sandbox-developer-token"
    client_id: str = "sandbox-client"
    client_secret: str = "sandbox-client-secret"
    refresh_token: str = "sandbox-refresh-token"
    token_seconds: int = 3600
    currency: str = "CNY"
    zone: str = "Asia/Shanghai"
    # As Google tells them; such an account is billed by the month, others have none.
    account_budgets: list[dict[str, Any]] = field(default_factory=list)
    grpc: bool = False  # listen for the Google Ads API as well
    grpc_port: int = 0  # 0: a free one, kept
    per_minute: int = 300  # calls of the Data Manager API; above it RESOURCE_EXHAUSTED
    match_share: float = 0.7
    click_share: float = 0.05
    click_price: float = 2.0
    searches: float = 1.5  # impressions a matched person and day
    minimum_audience: int = 100  # a smaller list is not served


class RpcError(Exception):
    """An error of ``google.rpc.Status``."""

    def __init__(self, http: int, status: str, text: str, *details: Mapping[str, Any]) -> None:
        super().__init__(text)
        self.http = http
        self.body = {"error": {"code": http, "message": text, "status": status, "details": list(details)}}


def violation(field: str, reason: str, text: str) -> dict[str, Any]:
    return {"field": field, "description": text, "reason": reason}


def bad_request(*violations: Mapping[str, Any]) -> RpcError:
    details = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": list(violations)}
    text = "There was a problem with the request."
    return RpcError(400, "INVALID_ARGUMENT", text, details)


def _by_name(fields: dict[str, Any]) -> dict[str, Any]:
    """Numbers of known enums as their names."""
    for name in ENUMS.keys() & fields.keys():
        value, known = fields[name], ENUMS[name]
        fields[name] = (
            [known.get(v, v) for v in value] if isinstance(value, list) else known.get(value, value)
        )
    return fields


def _gmail(value: str) -> str:
    """The normal form of an address in this vendor's own words."""
    text = value.strip().lower()
    if text.endswith(("@gmail.com", "@googlemail.com")):
        user, domain = text.rsplit("@", 1)
        return re.sub(r"\.", "", re.sub(r"\+.*", "", user)) + "@" + domain
    return text


class Vendor(BaseVendor):
    name: ClassVar[str] = "google_ads"
    port: ClassVar[int] = 18130
    Config = Config

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        config = self.config
        self.tokens = TokenService(
            {
                "client_id": config.client_id, "client_secret": config.client_secret,
                "refresh_token": config.refresh_token,
            }, config.token_seconds,
        )  # fmt: skip
        self.lists: dict[str, dict[str, Any]] = {}  # id → user list
        self.members = Lists()
        self.matching = Matching(
            self.seed, config.match_share, self.people,
            {"email": _gmail, "phone": lambda value: value if value.startswith("+") else ""}, "sha256",
        )  # fmt: skip
        self.delivered: dict[tuple[str, str], Figures] = {}
        self.ads = AdsService(self)
        self.endpoint = ""  # of the Google Ads API, once it listens
        self.folder: Path = self.log.directory.parent
        self._calls: list[float] = []

    # -- life --------------------------------------------------------------------------------------------
    def restore(self) -> None:
        for line in self.lines():
            if line["event"] == "list":
                self.lists[line["id"]] = line["fields"]
            elif line["event"] == "members":
                self.members.change(line["audience"], line["hashes"], add=line["verb"] == "ingest")
            elif line["event"] == "object":
                self.ads.objects[line["resource"]] = line["fields"]
            elif line["event"] == "delivered":
                self.delivered[line["campaign"], line["day"]] = Figures(line["impressions"], line["clicks"])

    async def serve(self, host: str, port: int, stack: AsyncExitStack) -> int:
        runner, port = await serve(self.app(), host, port)
        stack.push_async_callback(runner.cleanup)
        if self.config.grpc:
            kept = self.folder / "google_ads.port"
            wanted = self.config.grpc_port
            with contextlib.suppress(OSError, ValueError):
                wanted = wanted or int(kept.read_text())
            key, pem = certificate(self.folder, host)
            self.endpoint = await self.ads.listen(host, wanted, key, pem, stack)
            kept.write_text(self.endpoint.rsplit(":", 1)[-1])
        return port

    @property
    def ca_file(self) -> str:
        return str(self.folder / "google_ads.pem")

    def app(self) -> web.Application:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_post("/token", self.tokens.handle)
        lists = "/v1/accountTypes/{product}/accounts/{account}/userLists"
        app.router.add_get(lists, self._guarded(self._listed))
        app.router.add_post(lists, self._guarded(self._create))
        app.router.add_get(lists + "/{list}", self._guarded(self._read))
        app.router.add_post("/v1/audienceMembers:ingest", self._guarded(self._ingest))
        app.router.add_post("/v1/audienceMembers:remove", self._guarded(self._remove))
        return app

    def doors(self) -> Mapping[str, Door]:
        async def deliver(body: dict[str, Any]) -> Any:
            figures = self.deliver(
                str(body["campaign"]), dt.date.fromisoformat(body["day"]), float(body.get("share", 1.0))
            )
            return {"impressions": figures.impressions, "clicks": figures.clicks}

        return {"/google_ads/deliver": deliver}

    # -- Data Manager ------------------------------------------------------------------------------------
    def _guarded(
        self, handler: Callable[[web.Request, dict[str, Any]], Awaitable[dict[str, Any]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """A call with token, quota, faults and errors handled once."""

        async def guarded(request: web.Request) -> web.Response:
            raw = await request.read()
            fault, status = Fault.OK, 200
            try:
                self._let_in(request)
                if request.method != "GET":
                    fault = self.config.faults.decide_call(self.seed, digest(request.path, raw.decode()))
                if fault is Fault.THROTTLE:
                    raise self._exhausted()
                if fault is Fault.REFUSE:
                    raise RpcError(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")
                try:
                    body = json.loads(raw, object_hook=_by_name) if raw else {}
                except ValueError:
                    raise RpcError(400, "INVALID_ARGUMENT", "Invalid JSON payload received.") from None
                answer = {} if fault is Fault.DROP_BEFORE else await handler(request, body)
            except RpcError as error:
                answer, status = error.body, error.http
                self.count(f"error {error.body['error']['status']}")
            await self.log.flushed()
            await after(request, fault, self.config.faults)
            return web.json_response(answer, status=status)

        return guarded

    def _let_in(self, request: web.Request) -> None:
        self.check_token(request.headers.get("Authorization", ""))
        if self.config.login_customer_id and "/userLists" in request.path:
            wanted = f"accountTypes/GOOGLE_ADS/accounts/{self.config.login_customer_id}"
            if request.headers.get("login-account") != wanted:
                raise RpcError(403, "PERMISSION_DENIED", "The caller does not have permission")
        account = request.match_info.get("account")
        if account is not None and (
            account != self.config.customer_id or request.match_info["product"] != "GOOGLE_ADS"
        ):
            raise RpcError(403, "PERMISSION_DENIED", "The caller does not have permission")
        now = time.monotonic()
        self._calls = [at for at in self._calls if at > now - 60]
        if len(self._calls) >= self.config.per_minute:
            raise self._exhausted()
        self._calls.append(now)

    def check_token(self, header: str) -> None:
        """Raises :class:`RpcError` 401."""
        if self.config.faults.expired_token > 0:
            self.config.faults.expired_token -= 1
            self.tokens.expire()
        if not self.tokens.knows(header.removeprefix("Bearer ")):
            text = "Request had invalid authentication credentials."
            raise RpcError(401, "UNAUTHENTICATED", text)

    def _exhausted(self) -> RpcError:
        retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "30s"}
        return RpcError(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric.", retry)

    def _shown(self, key: str) -> dict[str, Any]:
        matched = len(self.matching.people_in(self.members.members.get(key, ())))
        size = matched // 10 * 10  # Google rounds
        return {
            "name": f"accountTypes/GOOGLE_ADS/accounts/{self.config.customer_id}/userLists/{key}", "id": key,
            **self.lists[key], "sizeInfo": {"searchNetworkMembersCount": str(size), "displayNetworkMembersCount": str(size)},
        }  # fmt: skip

    async def _listed(self, request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        wanted = request.query.get("filter", "")
        shown = [self._shown(key) for key in self.lists]
        if wanted:
            found = FILTER.fullmatch(wanted)
            if found is None:
                raise bad_request(violation("filter", "INVALID_FILTER", "The filter is invalid."))
            name = json.loads(f'"{found[1]}"')
            shown = [entry for entry in shown if entry["displayName"] == name]
        return {"userLists": shown[: int(request.query.get("pageSize") or 50)]}

    async def _create(self, request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        name = body.get("displayName")
        if not name:
            raise bad_request(
                violation("user_list.display_name", "REQUIRED_FIELD_MISSING", "It is required.")
            )
        if any(known["displayName"] == name for known in self.lists.values()):
            raise bad_request(violation("user_list.display_name", "DISPLAY_NAME_ALREADY_USED", "It is used."))
        info = body.get("ingestedUserListInfo") or {}
        if info.get("uploadKeyTypes") != ["CONTACT_ID"]:
            reason = "UNSUPPORTED_USER_LIST_UPLOAD_KEY_TYPES"
            raise bad_request(violation("user_list.ingested_user_list_info", reason, "CONTACT_ID only here."))
        key = str(8_000_000_001 + len(self.lists))
        self.lists[key] = {"displayName": name, "membershipStatus": "OPEN", "ingestedUserListInfo": info}
        self.write("list", id=key, fields=self.lists[key])
        self.count("lists")
        return self._shown(key)

    async def _read(self, request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        if request.match_info["list"] not in self.lists:
            raise RpcError(404, "NOT_FOUND", "Requested entity was not found.")
        return self._shown(request.match_info["list"])

    async def _ingest(self, request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        terms = (body.get("termsOfService") or {}).get("customerMatchTermsOfServiceStatus")
        if terms != "ACCEPTED":
            raise bad_request(
                violation("terms_of_service", "TERMS_AND_CONDITIONS_NOT_SIGNED", "Accept them.")
            )
        return self._members("ingest", body)

    async def _remove(self, request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        for unknown in {"consent", "termsOfService"} & set(body):
            raise RpcError(
                400, "INVALID_ARGUMENT", f'Invalid JSON payload received. Unknown name "{unknown}"'
            )
        return self._members("remove", body)

    def _members(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        audience = self._destination(body)
        rows = body.get("audienceMembers") or []
        if not rows:
            raise bad_request(violation("audience_members", "REQUIRED_FIELD_MISSING", "It is required."))
        if len(rows) > MOST_MEMBERS:
            raise bad_request(violation("audience_members", "TOO_MANY_AUDIENCE_MEMBERS", "10,000 at most."))
        if body.get("encoding") != "HEX":
            raise bad_request(violation("encoding", "INVALID_ENUM_VALUE", "This sandbox reads HEX."))
        hashes, wrong = [], []
        for n, row in enumerate(rows):
            place = f"audience_members.audience_members[{n}].user_data.user_identifiers"
            identifiers = (row.get("userData") or {}).get("userIdentifiers") or []
            if not identifiers:
                wrong.append(violation(place, "NO_IDENTIFIERS_PROVIDED", "At least one is required."))
            if len(identifiers) > MOST_IDENTIFIERS:
                wrong.append(violation(place, "TOO_MANY_USER_IDENTIFIERS", "10 at most."))
            for entry in identifiers:
                value = entry.get("emailAddress") or entry.get("phoneNumber") or ""
                if len(entry) != 1 or not HASH.fullmatch(value):
                    wrong.append(violation(place, "INVALID_SHA256_FORMAT", "The value is no SHA-256 in hex."))
                hashes.append(value)
        refused = set(self.config_refused)
        wrong += [
            violation(f"audience_members.audience_members[{n}].user_data", "INVALID_AUDIENCE_MEMBER", "Refused.")
            for n, value in enumerate(hashes) if value in refused
        ]  # fmt: skip
        if wrong:
            raise bad_request(*wrong[:100])
        self.members.change(audience, hashes, add=verb == "ingest")
        self.write("members", verdict="accepted", attempt="", verb=verb, audience=audience, hashes=hashes)
        self.count("added" if verb == "ingest" else "removed", len(hashes))
        return {"requestId": digest(verb, audience, str(time.time_ns()))}

    config_refused: tuple[str, ...] = ()  # hashes called malformed, for tests of partial failure

    def _destination(self, body: dict[str, Any]) -> str:
        (destination, *more) = body.get("destinations") or [{}]
        operating, login = destination.get("operatingAccount") or {}, destination.get("loginAccount") or {}
        account = (operating.get("accountType"), operating.get("accountId"))
        if more or account != ("GOOGLE_ADS", self.config.customer_id):
            raise bad_request(
                violation("destinations[0].operating_account", "INVALID_DESTINATION", "Not known.")
            )
        if str(login.get("accountId") or "") != self.config.login_customer_id:
            raise RpcError(403, "PERMISSION_DENIED", "The caller does not have permission")
        key = str(destination.get("productDestinationId") or "")
        if key not in self.lists:
            raise bad_request(
                violation("destinations[0].product_destination_id", "INVALID_USER_LIST_ID", "Not known.")
            )
        return key

    # -- delivery ----------------------------------------------------------------------------------------
    def deliver(self, campaign: str, day: dt.date, share: float = 1.0) -> Figures:
        """Bring a day's delivery of a campaign (its id) to ``share`` of what budget, cap and audience allow."""
        key = (campaign, day.isoformat())
        before = self.delivered.get(key, Figures())
        plan = self.ads.plan(campaign, day)
        people = self.matching.people_in(
            value for audience in plan.audiences for value in self.members.members.get(audience, ())
        )
        if not plan.active or len(people) < self.config.minimum_audience:
            return before
        earlier = {
            dt.date.fromisoformat(other): figures
            for (of, other), figures in self.delivered.items()
            if of == campaign and other != key[1]
        }
        spent = sum(figures.clicks for figures in earlier.values()) * self.config.click_price
        cap_left = None
        if plan.cap:
            seen = sum(
                figures.impressions
                for other, figures in earlier.items()
                if 0 < (day - other).days < plan.cap_days
            )
            cap_left = plan.cap * len(people) - seen
        figures = day_of(
            self.seed, market_of(self.config),
            campaign, day, people=len(people), budget=plan.budget_of_day(spent), cap_left=cap_left, share=share,
            before=before,
        )  # fmt: skip
        return keep(self, self.delivered, key, figures, people)
