"""The Google Ads API over gRPC and TLS: SearchStream and Mutate of one account.

Messages, field names, enums and errors are those of Google's client library, loaded when the first call comes; what
may be done with them (queries understood, dates, budgets, caps) is written here.
"""

import datetime as dt
import ipaddress
import operator
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from channels.sandbox.faults import Fault

if TYPE_CHECKING:
    from channels.sandbox.vendors.google_ads import Vendor

PATH = re.compile(r"/google\.ads\.googleads\.(v\d+)\.services\.GoogleAdsService/(SearchStream|Mutate)")
QUERY = re.compile(r"\s*SELECT\s+(.+?)\s+FROM\s+(\w+)(?:\s+WHERE\s+(.+?))?\s*", re.IGNORECASE | re.DOTALL)
CONDITION = re.compile(r"\s*([\w.]+)\s*(=|!=|>=|<=|>|<)\s*('(?:[^'\\]|\\.)*'|[\w-]+)\s*", re.DOTALL)
SIGNS = {
    "=": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip
FROM = {"campaign", "customer", "account_budget"}
CAPPED = {"DISPLAY", "VIDEO", "DEMAND_GEN"}
DAYS = {"DAY": 1, "WEEK": 7, "MONTH": 30}
KINDS = {
    "campaign_budget": "campaignBudgets",
    "campaign": "campaigns",
    "campaign_criterion": "campaignCriteria",
}


def certificate(folder: Path, host: str) -> tuple[bytes, bytes]:
    """The folder's own key and certificate, made once: for this host and the loopback."""
    key_file, pem_file = folder / "google_ads.key", folder / "google_ads.pem"
    if not pem_file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Evenreach sandbox")])
        now = dt.datetime.now(dt.UTC)
        names: list[x509.GeneralName] = [x509.DNSName("localhost")]
        for address in {"127.0.0.1", host}:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(address)))
            except ValueError:
                names.append(x509.DNSName(address))
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=3650))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem_format = serialization.PrivateFormat.PKCS8
        key_file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, pem_format, serialization.NoEncryption())
        )
        key_file.chmod(0o600)
        pem_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return key_file.read_bytes(), pem_file.read_bytes()


class AdsError(Exception):
    """One ``GoogleAdsError``: kind such as ``campaign_error`` and its code's name."""

    def __init__(self, kind: str, code: str, text: str, *, retry_seconds: int = 0) -> None:
        super().__init__(text)
        self.kind, self.code, self.text, self.retry_seconds = kind, code, text, retry_seconds


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign may do on a day. Money in the account's currency."""

    active: bool
    audiences: tuple[str, ...] = ()
    daily: float = 0.0
    total: float = 0.0
    days_left: int = 1
    cap: int = 0
    cap_days: int = 0

    def budget_of_day(self, spent: float) -> float:
        return max(0.0, self.total - spent) / self.days_left if self.total else self.daily


@dataclass
class AdsService:
    """Resources by name, as JSON of the library's messages, and the two methods on them."""

    vendor: "Vendor"
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: str = ""

    async def listen(self, host: str, port: int, key: bytes, pem: bytes, stack: AsyncExitStack) -> str:
        """Start the server; returns host:port. Raises :class:`ImportError` without Google's library."""
        grpc = import_module("grpc")
        import_module("google.ads.googleads.client")
        service = self

        base: Any = grpc.GenericRpcHandler

        class Handler(base):  # type: ignore[misc]
            def service(self, details: Any) -> Any:
                found = PATH.fullmatch(details.method)
                if found is None:
                    return None  # UNIMPLEMENTED
                service.version = found[1]
                if found[2] == "Mutate":
                    return grpc.unary_unary_rpc_method_handler(service._mutating)
                return grpc.unary_stream_rpc_method_handler(service._searching)

        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Handler(),))
        credentials = grpc.ssl_server_credentials([(key, pem)])
        port = server.add_secure_port(f"{host}:{port}", credentials)
        await server.start()
        stack.push_async_callback(server.stop, 0.1)
        return f"{host}:{port}"

    # -- what the library gives --------------------------------------------------------------------------
    def _types(self, module: str) -> Any:
        return import_module(f"google.ads.googleads.{self.version}.{module}")

    def _message(self, module: str, name: str) -> Any:
        return getattr(self._types(module), name).pb()()

    @staticmethod
    def _json(message: Any) -> dict[str, Any]:
        to_dict = import_module("google.protobuf.json_format").MessageToDict
        told: dict[str, Any] = to_dict(message, preserving_proto_field_name=True)
        return told

    # -- calls -------------------------------------------------------------------------------------------
    async def _searching(self, raw: bytes, context: Any) -> Any:
        request = self._message("services.types.google_ads_service", "SearchGoogleAdsStreamRequest")
        request.ParseFromString(raw)
        answers = await self._answered(request, context, lambda: self._search(request.query))
        for answer in answers or ():
            yield answer

    async def _mutating(self, raw: bytes, context: Any) -> bytes:
        request = self._message("services.types.google_ads_service", "MutateGoogleAdsRequest")
        request.ParseFromString(raw)
        answers = await self._answered(request, context, lambda: [self._mutate(request)], changing=True)
        return bytes(answers[0])

    async def _answered(
        self, request: Any, context: Any, work: Any, *, changing: bool = False
    ) -> list[bytes]:
        """Credentials, faults, work, log; an error goes into the trailing metadata, as Google puts it."""
        grpc = import_module("grpc")
        vendor = self.vendor
        metadata = dict(context.invocation_metadata())
        fault = Fault.OK
        try:
            self._let_in(metadata, request.customer_id)
            if changing:
                fault = vendor.config.faults.decide_call(vendor.seed, request.SerializeToString().hex())
            if fault is Fault.THROTTLE:
                raise AdsError(
                    "quota_error",
                    "RESOURCE_EXHAUSTED",
                    "Too many requests. Retry in 30 seconds.",
                    retry_seconds=30,
                )
            if fault is Fault.REFUSE:
                raise AdsError("request_error", "INVALID_INPUT", "The input is invalid.")
            answers: list[bytes] = [] if fault is Fault.DROP_BEFORE else work()
        except AdsError as error:
            vendor.count(f"ads error {error.code}")
            failure = self._failure(error)
            context.set_trailing_metadata(
                (
                    ("request-id", "sandbox"),
                    (f"google.ads.googleads.{self.version}.errors.googleadsfailure-bin", failure),
                )
            )
            status = {
                "quota_error": grpc.StatusCode.RESOURCE_EXHAUSTED,
                "authentication_error": grpc.StatusCode.UNAUTHENTICATED,
                "authorization_error": grpc.StatusCode.PERMISSION_DENIED,
                "internal_error": grpc.StatusCode.INTERNAL,
            }.get(error.kind, grpc.StatusCode.INVALID_ARGUMENT)
            await context.abort(status, "Request contains an invalid argument.")
        await vendor.log.flushed()
        if fault in {Fault.DROP, Fault.DROP_BEFORE}:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Connection reset")
        return answers

    def _let_in(self, metadata: dict[str, str], customer_id: str) -> None:
        config = self.vendor.config
        if config.faults.expired_token > 0:
            config.faults.expired_token -= 1
            self.vendor.tokens.expire()
            raise AdsError("authentication_error", "OAUTH_TOKEN_EXPIRED", "OAuth token has expired.")
        if not self.vendor.tokens.knows(metadata.get("authorization", "").removeprefix("Bearer ")):
            raise AdsError("authentication_error", "OAUTH_TOKEN_INVALID", "OAuth token is invalid.")
        if metadata.get("developer-token") != config.developer_token:
            raise AdsError(
                "authentication_error", "DEVELOPER_TOKEN_INVALID", "The developer token is not valid."
            )
        if (
            metadata.get("login-customer-id", "") != config.login_customer_id
            or customer_id != config.customer_id
        ):
            text = "User doesn't have permission to access customer."
            raise AdsError("authorization_error", "USER_PERMISSION_DENIED", text)

    def _failure(self, error: AdsError) -> bytes:
        failure = self._message("errors.types.errors", "GoogleAdsFailure")
        entry = failure.errors.add()
        entry.message = error.text
        number = (
            entry.error_code.DESCRIPTOR.fields_by_name[error.kind].enum_type.values_by_name[error.code].number
        )
        setattr(entry.error_code, error.kind, number)
        if error.retry_seconds:
            entry.details.quota_error_details.retry_delay.seconds = error.retry_seconds
        return bytes(failure.SerializeToString())

    # -- queries -----------------------------------------------------------------------------------------
    def _search(self, query: str) -> list[bytes]:
        found = QUERY.fullmatch(query)
        if found is None:
            raise AdsError("query_error", "QUERY_ERROR", "The query cannot be read.")
        names = [name.strip() for name in found[1].split(",")]
        if found[2] not in FROM:
            raise AdsError("query_error", "BAD_RESOURCE_TYPE_IN_FROM_CLAUSE", f"No resource {found[2]} here.")
        conditions = self._conditions(found[3] or "")
        for name in [*names, *(condition[0] for condition in conditions)]:
            self._known(name)
            if found[2] == "account_budget" and not name.startswith("account_budget."):
                text = f"'{name}' cannot be selected from {found[2]} here."
                raise AdsError("query_error", "PROHIBITED_RESOURCE_TYPE_IN_SELECT_CLAUSE", text)
        answer = self._message("services.types.google_ads_service", "SearchGoogleAdsStreamResponse")
        for row in self._rows(found[2], names, conditions):
            if all(self._holds(row, condition) for condition in conditions):
                kept = answer.results.add()
                for name in names:
                    self._copy(row, kept, name.split("."))
        answer.request_id = "sandbox"
        answer.field_mask.paths.extend(names)
        return [bytes(answer.SerializeToString())]

    def _conditions(self, text: str) -> list[tuple[str, str, str]]:
        conditions = []
        for part in re.split(r"\s+AND\s+", text, flags=re.IGNORECASE) if text else ():
            found = CONDITION.fullmatch(part)
            if found is None:
                raise AdsError("query_error", "QUERY_ERROR", f"The condition {part!r} cannot be read.")
            value = found[3]
            if value.startswith("'"):
                value = re.sub(r"\\(.)", r"\1", value[1:-1])
            conditions.append((found[1], found[2], value))
        return conditions

    def _known(self, name: str) -> None:
        """Field names are those of the library's ``GoogleAdsRow``."""
        descriptor = self._message("services.types.google_ads_service", "GoogleAdsRow").DESCRIPTOR
        for part in name.split("."):
            known = None if descriptor is None else descriptor.fields_by_name.get(part)
            if known is None:
                raise AdsError(
                    "query_error", "UNRECOGNIZED_FIELD", f"Unrecognized field in the query: '{name}'."
                )
            descriptor = known.message_type

    def _rows(self, resource: str, names: list[str], conditions: list[tuple[str, str, str]]) -> list[Any]:
        config = self.vendor.config
        metrics = any(name.startswith("metrics.") for name in names)
        days = [value for name, sign, value in conditions if name == "segments.date" and sign == "="]
        if metrics and any(name == "segments.date" for name in names) and not days:
            raise AdsError("query_error", "EXPECTED_FILTERS_ON_DATE_RANGE", "A date range is expected.")
        rows = []
        for name, fields in self.objects.items() if resource == "campaign" else ():
            if "/campaigns/" not in name:
                continue
            figures = None
            if metrics:
                figures = self.vendor.delivered.get((name.rsplit("/", 1)[-1], days[0] if days else ""))
                if figures is None or not figures.impressions:
                    continue  # a segment without metrics has no row
            row = self._row()
            self._fill(row.campaign, fields)
            if budget := self.objects.get(row.campaign.campaign_budget):
                self._fill(row.campaign_budget, budget)
            if figures is not None:
                row.segments.date = days[0]
                row.metrics.impressions, row.metrics.clicks = figures.impressions, figures.clicks
                row.metrics.cost_micros = round(figures.clicks * config.click_price * 1_000_000)
            rows.append(row)
        if resource == "customer":
            rows.append(self._row())
        if resource == "account_budget":
            rows += [self._budget(fields) for fields in config.account_budgets]
        return rows

    def _budget(self, fields: dict[str, Any]) -> Any:
        """A budget of the account; where nothing else is said, all that was delivered came from it."""
        row = self._row()
        clicks = sum(figures.clicks for figures in self.vendor.delivered.values())
        served = round(clicks * self.vendor.config.click_price * 1_000_000)
        self._fill(row.account_budget, {"status": "APPROVED", "amount_served_micros": served} | fields)
        return row

    def _row(self) -> Any:
        config = self.vendor.config
        row = self._message("services.types.google_ads_service", "GoogleAdsRow")
        row.customer.id = int(config.customer_id)
        row.customer.descriptive_name, row.customer.currency_code = "Evenreach sandbox", config.currency
        row.customer.time_zone, row.customer.status = config.zone, 2
        return row

    @staticmethod
    def _fill(message: Any, fields: dict[str, Any]) -> None:
        import_module("google.protobuf.json_format").ParseDict(fields, message)

    @staticmethod
    def _copy(row: Any, kept: Any, path: list[str]) -> None:
        *parents, last = path
        for part in parents:
            if not row.HasField(part):
                return
            row, kept = getattr(row, part), getattr(kept, part)
        descriptor = row.DESCRIPTOR.fields_by_name[last]
        if descriptor.has_presence and not row.HasField(last):
            return  # of several that exclude each other, one is told
        value = getattr(row, last)
        if descriptor.is_repeated:
            getattr(kept, last).MergeFrom(value)
        elif descriptor.message_type is not None:
            getattr(kept, last).CopyFrom(value)
        else:
            setattr(kept, last, value)

    @staticmethod
    def _holds(row: Any, condition: tuple[str, str, str]) -> bool:
        name, sign, wanted = condition
        *parents, last = name.split(".")
        for part in parents:
            row = getattr(row, part)
        descriptor, value = row.DESCRIPTOR.fields_by_name[last], getattr(row, last)
        if descriptor.enum_type is not None:
            value = descriptor.enum_type.values_by_number[value].name
        told, asked = (value, type(value)(wanted)) if isinstance(value, int | float) else (str(value), wanted)
        return bool(SIGNS[sign](told, asked))

    # -- changes -----------------------------------------------------------------------------------------
    def _mutate(self, request: Any) -> bytes:
        """All or nothing: work on a copy, keep it when every operation holds."""
        before = {name: dict(fields) for name, fields in self.objects.items()}
        answer = self._message("services.types.google_ads_service", "MutateGoogleAdsResponse")
        temporary: dict[str, str] = {}
        changed: list[str] = []
        try:
            for operation in request.mutate_operations:
                which = operation.WhichOneof("operation")
                kind = str(which).removesuffix("_operation")
                if kind not in KINDS:
                    raise AdsError("request_error", "INVALID_INPUT", f"No {which} here.")
                name = self._one(kind, getattr(operation, str(which)), temporary)
                changed.append(name)
                result = answer.mutate_operation_responses.add()
                getattr(result, f"{kind}_result").resource_name = name
            for name in changed:
                self._check(name)
        except AdsError:
            self.objects = before
            raise
        for name in dict.fromkeys(changed):
            self.vendor.write("object", resource=name, fields=self.objects[name])
        return bytes(answer.SerializeToString())

    def _one(self, kind: str, operation: Any, temporary: dict[str, str]) -> str:
        which = operation.WhichOneof("operation")
        if which == "create":
            fields = self._json(operation.create)
            given = fields.pop("resource_name", "")
            number = 20_000_001 + len(self.objects)
            base = f"customers/{self.vendor.config.customer_id}/{KINDS[kind]}"
            name = f"{base}/{number}"
            for field_name in ("campaign_budget", "campaign"):
                if fields.get(field_name) in temporary:
                    fields[field_name] = temporary[fields[field_name]]
            if kind == "campaign_criterion":
                name = f"{base}/{fields['campaign'].rsplit('/', 1)[-1]}~{number}"
            else:
                fields["id"] = str(number)
            temporary[given] = name
            self.objects[name] = {"resource_name": name, **fields}
            self.vendor.count(f"{kind} made")
            if kind == "campaign":
                self._new_campaign(self.objects[name])
            elif kind == "campaign_budget":
                self.objects[name].setdefault("period", "DAILY")
                self.objects[name].setdefault("explicitly_shared", True)
            return name
        if which != "update":
            raise AdsError("request_error", "INVALID_INPUT", "This sandbox creates and updates.")
        name = operation.update.resource_name
        if name not in self.objects:
            raise AdsError("mutate_error", "RESOURCE_NOT_FOUND", "Resource was not found.")
        fields = self._json(operation.update)
        for path in operation.update_mask.paths:
            if path in {"period", "id", "resource_name"}:
                raise AdsError("field_error", "IMMUTABLE_FIELD", f"{path} cannot be changed.")
            old = self.objects[name].get(path)
            if (
                path == "start_date_time"
                and old
                and old[:10] <= self._today().isoformat()
                and old != fields.get(path)
            ):
                text = "Cannot modify the start date of a campaign that has started."
                raise AdsError("campaign_error", "CANNOT_MODIFY_START_DATE_IF_ALREADY_STARTED", text)
            if path in fields:
                self.objects[name][path] = fields[path]
            else:
                self.objects[name].pop(path, None)
        return str(name)

    def _today(self) -> dt.date:
        return dt.datetime.now(ZoneInfo(self.vendor.config.zone)).date()

    def _new_campaign(self, fields: dict[str, Any]) -> None:
        if "contains_eu_political_advertising" not in fields:
            raise AdsError("mutate_error", "EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED", "Declare it.")
        names = [other.get("name") for name, other in self.objects.items() if "/campaigns/" in name]
        if names.count(fields.get("name")) > 1:
            raise AdsError(
                "campaign_error", "DUPLICATE_CAMPAIGN_NAME", "The name is used by another campaign."
            )
        if fields.get("start_date_time", "9")[:10] < self._today().isoformat():
            raise AdsError("campaign_error", "CANNOT_SET_DATE_TO_PAST", "The start lies in the past.")
        fields.setdefault("status", "ENABLED")

    def _check(self, name: str) -> None:
        fields = self.objects[name]
        if "/campaignBudgets/" in name:
            custom = fields.get("period") == "CUSTOM_PERIOD"
            if custom and "amount_micros" in fields:
                raise AdsError(
                    "campaign_budget_error",
                    "BUDGET_AMOUNT_MUST_BE_UNSET_FOR_CUSTOM_BUDGET_PERIOD",
                    "Unset it.",
                )
            if not custom and "total_amount_micros" in fields:
                raise AdsError(
                    "campaign_budget_error",
                    "TOTAL_BUDGET_AMOUNT_MUST_BE_UNSET_FOR_BUDGET_PERIOD_DAILY",
                    "Unset it.",
                )
            micros = int(fields.get("total_amount_micros" if custom else "amount_micros") or 0)
            if micros <= 0 or micros % 10_000:
                text = "The amount is no multiple of the currency's smallest unit."
                raise AdsError("campaign_budget_error", "NON_MULTIPLE_OF_MINIMUM_CURRENCY_UNIT", text)
        if "/campaigns/" in name:
            starts, ends = fields.get("start_date_time", ""), fields.get("end_date_time", "")
            for text, clock in ((starts, "00:00:00"), (ends, "23:59:59")):
                if text and not re.fullmatch(rf"\d{{4}}-\d\d-\d\d {clock}", text):
                    raise AdsError(
                        "date_error", "INVALID_STRING_DATE_TIME_SECONDS", "yyyy-MM-dd HH:mm:ss, whole days."
                    )
            if starts and ends and ends < starts:
                raise AdsError("date_range_error", "START_DATE_AFTER_END_DATE", "It ends before it starts.")
            budget = self.objects.get(fields.get("campaign_budget", ""))
            if budget is None:
                raise AdsError("mutate_error", "RESOURCE_NOT_FOUND", "The budget was not found.")
            if budget["period"] == "CUSTOM_PERIOD" and not ends:
                raise AdsError("campaign_error", "END_DATE_TIME_REQUIRED_FOR_TOTAL_BUDGET", "Give it an end.")
            if fields.get("frequency_caps") and fields.get("advertising_channel_type") not in CAPPED:
                text = "The operation is not permitted for this type of campaign."
                raise AdsError("context_error", "OPERATION_NOT_PERMITTED_FOR_CONTEXT", text)

    # -- delivery ----------------------------------------------------------------------------------------
    def plan(self, campaign: str, day: dt.date) -> Plan:
        fields = self.objects.get(f"customers/{self.vendor.config.customer_id}/campaigns/{campaign}")
        if fields is None:
            return Plan(active=False)
        budget = self.objects[fields["campaign_budget"]]
        ends = dt.date.fromisoformat(fields.get("end_date_time", "9999-12-31")[:10])
        starts = dt.date.fromisoformat(fields.get("start_date_time", "2000-01-01")[:10])
        audiences = tuple(
            other["user_list"]["user_list"].rsplit("/", 1)[-1]
            for name, other in self.objects.items()
            if "/campaignCriteria/" in name and other["campaign"] == fields["resource_name"]
        )
        cap, cap_days = 0, 0
        for entry in fields.get("frequency_caps", ()):
            cap = int(entry["cap"])
            cap_days = DAYS[entry["key"]["time_unit"]] * int(entry["key"].get("time_length", 1))
        return Plan(
            active=fields.get("status") == "ENABLED" and starts <= day <= ends,
            audiences=audiences,
            daily=int(budget.get("amount_micros") or 0) / 1e6,
            total=int(budget.get("total_amount_micros") or 0) / 1e6,
            days_left=max(1, (ends - day).days + 1),
            cap=cap,
            cap_days=cap_days,
        )
