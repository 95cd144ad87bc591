"""Tencent Cloud SMS: SendSms and the calls that ask or fetch, signed by TC3-HMAC-SHA256, with receipts and replies.

It recomputes the signature of every call over the request as it came. Errors come as HTTP 200; each number of a call has
a code of its own. A receipt counts as told when our webhook has answered ``{"result": 0}``, or when it was fetched.
"""

import asyncio
import datetime as dt
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from aiohttp import web

from channels.sandbox.faults import Fault, chance
from channels.sandbox.log import digest
from channels.sandbox.people import Person
from channels.sandbox.vendors.base import BaseVendor, Door, VendorConfig
from channels.sandbox.web import after

ALGORITHM, SERVICE, VERSION = "TC3-HMAC-SHA256", "sms", "2021-01-11"
ZONE = ZoneInfo("Asia/Shanghai")
CLOCK_SECONDS = 300
MOST_NUMBERS, LONGEST_CONTEXT, MOST_REPORTS = 200, 511, 100
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=([^/]+)/(\d{{4}}-\d\d-\d\d)/(\w+)/tc3_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)
_HOME, _ABROAD = re.compile(r"\+86(1[3-9]\d{9})"), re.compile(r"\+((?!86)[1-9]\d{6,14})")
JSON = {"Content-Type": "application/json"}  # without a charset: the vendor's client looks for exactly this


VARIABLE = re.compile(r"\{(\d+)\}")
# What a parameter may not hold: an address, or a domain.
ADDRESS = re.compile(r"://|www\.|\b[a-z0-9-]+\.(com|cn|net|org|io|link|top|shop|example)\b", re.IGNORECASE)


class Failed(Exception):
    """An error of the whole call."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(text or code)
        self.code, self.text = code, text or code


@dataclass
class TencentConfig(VendorConfig):
    secret_id: str = "AKIDsandbox"  # noqa: S105
    secret_key: str = "sandbox-tencent-key"  # noqa: S105
    app_id: str = "1400006666"
    signatures: list[str] = field(default_factory=lambda: ["Evenreach"])
    # id → its text with {1}, {2}, …, or only how many parameters it has; none: any id of digits
    templates: dict[str, Any] = field(default_factory=dict)
    longest_value: int = 0  # characters of a parameter, as the console tells for the account; 0: no limit
    session_context: bool = True  # receipts repeat it: a real account must ask for that
    pull: bool = True  # receipts may be fetched
    answer_seconds: float = 0.0
    receipt_seconds: float = 0.2
    undeliverable_share: float = 0.0
    numbers: dict[str, str] = field(default_factory=dict)  # E.164 → the code it is answered with
    marketing_hours: bool = False  # marketing from 8 to 22 only
    day_limit: int = 0  # messages of the application a day at home; 0: none
    out_of_money: bool = False
    # Fields of SmsPackagesStatistics, times in seconds since 1970; usage is counted from the first on.
    packages: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Message:
    serial: str
    phone: str
    context: str
    at: float
    told: bool = False


class Vendor(BaseVendor):
    name: ClassVar[str] = "tencent_sms"
    port: ClassVar[int] = 18111
    Config: ClassVar[type[VendorConfig]] = TencentConfig
    config: TencentConfig

    def restore(self) -> None:
        self._messages: dict[str, Message] = {}
        self._replies: list[dict[str, Any]] = []
        for line in self.lines():
            if line["event"] == "submit" and line["verdict"] == "accepted":
                self._messages[line["serial"]] = Message(
                    line["serial"], line["address"], line["context"], line["sent_at"]
                )
            elif line["event"] == "receipt":
                self._messages[line["serial"]].told = True
        self._untold = [message for message in self._messages.values() if not message.told]

    def start(self) -> None:
        for message in self._untold:
            self._report([message])

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1024 * 1024)
        app.router.add_post("/", self._serve)
        return app

    def doors(self) -> Mapping[str, Door]:
        return {"/tencent_sms/reply": self._reply}

    # -- calls -------------------------------------------------------------------------------------------
    async def _serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        action = request.headers.get("X-TC-Action", "")
        self.count("calls")
        self.write("call", action=action, digest=digest(body))
        fault, answer = Fault.OK, {}
        try:
            self._check_signature(request, body)
            handler = {
                "SendSms": self._send, "PullSmsSendStatus": self._pull, "PullSmsReplyStatus": self._pull_replies,
                "PullSmsSendStatusByPhoneNumber": self._by_number, "SendStatusStatistics": self._figures,
                "SmsPackagesStatistics": self._packages,
            }.get(action)  # fmt: skip
            if handler is None or request.headers.get("X-TC-Version") != VERSION:
                raise Failed("InvalidAction")
            try:
                asked = json.loads(body)
            except ValueError:
                raise Failed("InvalidParameter.InvalidParameters", "no JSON") from None
            if action == "SendSms":
                fault = self.config.faults.decide(self.seed, asked.get("SessionContext") or digest(body))
            if fault is Fault.THROTTLE:
                self._note(asked, "throttled", "RequestLimitExceeded")
                raise Failed("RequestLimitExceeded", "请求的次数超过了频率限制")
            if fault is Fault.REFUSE:
                self._note(asked, "refused", "FailedOperation.TemplateIncorrectOrUnapproved")
                raise Failed("FailedOperation.TemplateIncorrectOrUnapproved")
            if fault is not Fault.DROP_BEFORE:
                answer = handler(asked, fault not in {Fault.SILENT, Fault.DROP})
        except Failed as error:
            self.count(error.code)
            answer = {"Error": {"Code": error.code, "Message": error.text}}
        await self.log.flushed()
        if self.config.answer_seconds:
            await asyncio.sleep(self.config.answer_seconds)
        await after(request, fault, self.config.faults)
        answer["RequestId"] = digest(body, str(time.time()))
        return web.Response(body=json.dumps({"Response": answer}).encode(), headers=JSON)

    def _check_signature(self, request: web.Request, body: bytes) -> None:
        """Raises :class:`Failed` as the gateway does."""
        headers = request.headers
        found = _AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
        if found is None:
            raise Failed("AuthFailure.InvalidAuthorization")
        secret_id, date, service, signed, signature = found.groups()
        if secret_id != self.config.secret_id:
            raise Failed("AuthFailure.SecretIdNotFound", "The SecretId is not found.")
        stamp = headers.get("X-TC-Timestamp", "")
        if not stamp.isdigit() or abs(time.time() - int(stamp)) > CLOCK_SECONDS:
            raise Failed("AuthFailure.SignatureExpire")
        if dt.datetime.fromtimestamp(int(stamp), dt.UTC).strftime("%Y-%m-%d") != date or service != SERVICE:
            raise Failed("AuthFailure.SignatureFailure", "The credential scope does not fit.")
        names = signed.split(";")
        if not {"content-type", "host"} <= set(names):
            raise Failed("AuthFailure.SignatureFailure", "content-type and host must be signed.")
        lines = "".join(f"{name}:{headers.get(name, '').strip().lower()}\n" for name in names)
        payload = hashlib.sha256(body).hexdigest()
        canonical = "\n".join((request.method, "/", request.query_string, lines, signed, payload))
        text = f"{ALGORITHM}\n{stamp}\n{date}/{service}/tc3_request\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"TC3{self.config.secret_key}".encode()
        for step in (date, service, "tc3_request"):
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        wanted = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, signature):
            raise Failed("AuthFailure.SignatureFailure", "The provided credentials could not be validated.")

    # -- sending -----------------------------------------------------------------------------------------
    def _note(self, asked: Mapping[str, Any], verdict: str, code: str) -> None:
        for phone in asked.get("PhoneNumberSet") or ():
            self.write(
                "submit", verdict=verdict, address=phone, context=asked.get("SessionContext", ""), code=code
            )

    def _send(self, asked: dict[str, Any], answered: bool) -> dict[str, Any]:
        try:
            phones = self._checked(asked)
        except Failed as error:
            self._note(asked, "refused", error.code)
            raise
        context, now = str(asked.get("SessionContext") or ""), time.time()
        statuses, taken = [], []
        for phone in phones:
            code = self._code(phone, asked)
            serial = ""
            if code == "Ok":
                serial = f"{int(now)}:{len(self._messages) + 1:012d}"
                message = self._messages[serial] = Message(serial, phone, context, now)
                taken.append(message)
                if self._arrives(message):
                    self.reached("sms", "phone", phone, self._shown(asked))
            self.write(
                "submit", verdict="accepted" if serial else "refused", address=phone, context=context, serial=serial,
                code=code, sent_at=now, template=asked["TemplateId"],
                digest=digest(json.dumps(asked.get("TemplateParamSet") or [])), answered=answered,
            )  # fmt: skip
            self.count("accepted" if serial else "refused")
            statuses.append({
                "SerialNo": serial, "PhoneNumber": phone, "Fee": 1 if serial else 0, "SessionContext": context,
                "Code": code, "Message": "send success" if serial else code, "IsoCode": "CN",
            })  # fmt: skip
        self._report(taken)
        return {"SendStatusSet": statuses}

    def _shown(self, asked: Mapping[str, Any]) -> str:
        """What the phone shows; of a template whose text is not known here, its parameters."""
        values = asked.get("TemplateParamSet") or []
        text = self.config.templates.get(str(asked["TemplateId"]))
        if not isinstance(text, str):
            return " ".join(values)
        return VARIABLE.sub(lambda found: values[int(found[1]) - 1], text)

    def _checked(self, asked: Mapping[str, Any]) -> list[str]:
        """The numbers of a call as a whole in order. Raises :class:`Failed`."""
        phones = asked.get("PhoneNumberSet")
        if not isinstance(phones, list) or not phones:
            raise Failed("MissingParameter.EmptyPhoneNumberSet")
        if len(phones) > MOST_NUMBERS:
            raise Failed("LimitExceeded.PhoneNumberCountLimit")
        if str(asked.get("SmsSdkAppId")) != self.config.app_id:
            raise Failed("UnauthorizedOperation.SmsSdkAppIdVerifyFail")
        if len(str(asked.get("SessionContext") or "").encode()) > LONGEST_CONTEXT:
            raise Failed("InvalidParameterValue.ContentLengthLimit", "SessionContext")
        if len({str(phone).startswith("+86") for phone in phones}) > 1:
            raise Failed("UnsupportedOperation.ContainDomesticAndInternationalPhoneNumber")
        params = asked.get("TemplateParamSet") or []
        if not all(isinstance(value, str) for value in params):
            raise Failed("InvalidParameter.InvalidParameters", "TemplateParamSet")
        return [str(phone) for phone in phones]

    def _code(self, phone: str, asked: Mapping[str, Any]) -> str:
        """What this number is answered with."""
        home = _HOME.fullmatch(phone)
        template = str(asked.get("TemplateId"))
        wanted = self.config.templates.get(template)
        today = dt.datetime.now(ZONE)
        if not home and not _ABROAD.fullmatch(phone):
            return "InvalidParameterValue.IncorrectPhoneNumber"
        if phone in self.config.numbers:
            return self.config.numbers[phone]
        if self.config.out_of_money:
            return "FailedOperation.InsufficientBalanceInSmsPackage"
        if home and asked.get("SignName") not in self.config.signatures:
            return "FailedOperation.SignatureIncorrectOrUnapproved"
        if wanted is None and (self.config.templates or not template.isdigit()):
            return "FailedOperation.TemplateUnapprovedOrNotExist"
        if isinstance(wanted, str) and not _approved(wanted):
            return "FailedOperation.TemplateUnapprovedOrNotExist"
        values = asked.get("TemplateParamSet") or []
        parameters = len(VARIABLE.findall(wanted)) if isinstance(wanted, str) else wanted
        if parameters is not None and parameters != len(values):
            return "FailedOperation.TemplateParamSetNotMatchApprovedTemplate"
        if home and any(ADDRESS.search(value) for value in values):
            return "InvalidParameterValue.ProhibitedUseUrlInTemplateParameter"
        if self.config.longest_value and any(len(value) > self.config.longest_value for value in values):
            return "InvalidParameterValue.TemplateParameterLengthLimit"
        if self.config.marketing_hours and not 8 <= today.hour < 22:
            return "FailedOperation.MarketingSendTimeConstraint"
        if self.config.day_limit:
            begins = today.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
            if sum(message.at >= begins for message in self._messages.values()) >= self.config.day_limit:
                return "LimitExceeded.AppMainlandChinaDailyLimit"
        return "Ok"

    # -- what became of it -------------------------------------------------------------------------------
    def _arrives(self, message: Message) -> bool:
        return chance(self.seed, "unreachable", message.phone) >= self.config.undeliverable_share

    def _report(self, messages: list[Message]) -> None:
        faults = self.config.faults
        wait = self.config.receipt_seconds + faults.receipt_seconds
        for at in range(0, len(messages), MOST_REPORTS):
            some = messages[at : at + MOST_REPORTS]
            if faults.receipt_shuffle:
                some = sorted(some, key=lambda message: chance(self.seed, "shuffle", message.serial))
            when = 0.0 if chance(self.seed, "early", some[0].serial) < faults.receipt_early else wait
            self._push(some, when)
            if chance(self.seed, "repeat", some[0].serial) < faults.receipt_repeat:
                self._push(some, when + 0.05)

    def _push(self, messages: list[Message], wait: float) -> None:
        body = []
        for message in messages:
            code, number = (
                ("86", message.phone[3:]) if message.phone.startswith("+86") else ("", message.phone[1:])
            )
            arrives = self._arrives(message)
            one = {
                "user_receive_time": dt.datetime.now(ZONE).strftime("%Y-%m-%d %H:%M:%S"), "nationcode": code,
                "mobile": number, "report_status": "SUCCESS" if arrives else "FAIL",
                "errmsg": "DELIVRD" if arrives else "UNDELIV", "description": "用户短信送达成功" if arrives else "未送达",
                "sid": message.serial,
            }  # fmt: skip
            body.append(one | ({"ext": message.context} if self.config.session_context else {}))

        def taken(status: int, answer: bytes) -> bool:
            if status != 200 or not _is_zero(answer):
                return False
            for message in messages:
                self._known(message)
            return True

        self.tell(json.dumps(body).encode(), JSON, after=wait, taken=taken)

    def _known(self, message: Message) -> None:
        message.told = True
        self.write("receipt", serial=message.serial)

    async def _reply(self, asked: dict[str, Any]) -> Any:
        phone, now = str(asked["phone"]), int(time.time())
        body = {
            "extend": asked.get("to", ""), "mobile": phone.removeprefix("+86"), "nationcode": "86",
            "sign": self.config.signatures[0], "text": asked["text"], "time": now,
        }  # fmt: skip
        self._replies.append({
            "ExtendCode": asked.get("to", ""), "CountryCode": "86", "PhoneNumber": phone, "ReplyTime": now,
            "SignName": self.config.signatures[0], "ReplyContent": asked["text"], "SubscriberNumber": body["mobile"],
        })  # fmt: skip
        self.tell(
            json.dumps(body).encode(), JSON, taken=lambda status, answer: status == 200 and _is_zero(answer)
        )
        return {}

    async def answers(self, person: Person, text: str) -> None:
        await self._reply({"phone": person.phone, "text": text})

    def _row(self, message: Message) -> dict[str, Any]:
        arrives = self._arrives(message)
        return {
            "UserReceiveTime": int(message.at + self.config.receipt_seconds), "CountryCode": "86",
            "SubscriberNumber": message.phone.removeprefix("+86"), "PhoneNumber": message.phone,
            "SerialNo": message.serial, "ReportStatus": "SUCCESS" if arrives else "FAIL",
            "Description": "DELIVRD" if arrives else "UNDELIV",
            "SessionContext": message.context if self.config.session_context else "",
        }  # fmt: skip

    def _ready(self, asked: Mapping[str, Any]) -> list[Message]:
        if str(asked.get("SmsSdkAppId")) != self.config.app_id or not self.config.pull:
            raise Failed("UnauthorizedOperation.RequestPermissionDeny")
        if not 1 <= int(asked.get("Limit") or 0) <= 100:
            raise Failed("InvalidParameterValue.LimitVerifyFail")
        now = time.time()
        return [
            message for message in self._messages.values() if now >= message.at + self.config.receipt_seconds
        ]

    def _pull(self, asked: dict[str, Any], answered: bool) -> dict[str, Any]:
        """Each is told once, as Tencent does."""
        found = [message for message in self._ready(asked) if not message.told][: asked["Limit"]]
        for message in found:
            self._known(message)
        return {"PullSmsSendStatusSet": [self._row(message) for message in found]}

    def _pull_replies(self, asked: dict[str, Any], answered: bool) -> dict[str, Any]:
        self._ready(asked)
        found, self._replies = self._replies[: asked["Limit"]], self._replies[asked["Limit"] :]
        return {"PullSmsReplyStatusSet": found}

    def _by_number(self, asked: dict[str, Any], answered: bool) -> dict[str, Any]:
        found = [
            message for message in self._ready(asked)
            if message.phone == asked.get("PhoneNumber") and message.at >= float(asked["BeginTime"])
        ]  # fmt: skip
        return {"PullSmsSendStatusSet": [self._row(message) for message in found[: asked["Limit"]]]}

    def _figures(self, asked: dict[str, Any], answered: bool) -> dict[str, Any]:
        if str(asked.get("SmsSdkAppId")) != self.config.app_id:
            raise Failed("UnauthorizedOperation.SmsSdkAppIdVerifyFail")
        if not all(re.fullmatch(r"\d{10}", str(asked.get(name))) for name in ("BeginTime", "EndTime")):
            raise Failed("InvalidParameterValue.BeginTimeVerifyFail")
        n = len(self._messages)
        return {"SendStatusStatistics": {"FeeCount": n, "RequestCount": n, "RequestSuccessCount": n}}

    def _packages(self, asked: dict[str, Any], answered: bool) -> dict[str, Any]:
        """Packages made between two hours, each with what was used of it."""
        if str(asked.get("SmsSdkAppId")) != self.config.app_id:
            raise Failed("UnauthorizedOperation.SmsSdkAppIdVerifyFail")
        if not 1 <= int(asked.get("Limit") or 0) <= 500 or asked.get("Offset") is None:
            raise Failed("InvalidParameterValue.LimitVerifyFail")
        begins, ends = (_hour(asked.get(name)) for name in ("BeginTime", "EndTime"))
        if not begins < ends < time.time():
            raise Failed("InvalidParameterValue.EndTimeVerifyFail")
        used = len(self._messages)
        rows = []
        for package in self.config.packages:
            row = {"PackageType": 1, "CurrentUsage": 0} | package
            row["CurrentUsage"] += (taken := min(used, row["PackageAmount"] - row["CurrentUsage"]))
            used -= taken
            if begins <= row["PackageCreateTime"] <= ends:
                rows.append(row)
        return {"SmsPackagesStatisticsSet": rows[asked["Offset"] :][: asked["Limit"]]}


def _approved(text: str) -> bool:
    """Whether the review lets a template pass: numbered from 1 on, words between parameters, none in a link."""
    numbers = [int(number) for number in VARIABLE.findall(text)]
    if numbers != list(range(1, len(numbers) + 1)) or (numbers and not VARIABLE.sub("", text).strip()):
        return False
    return "}{" not in text and re.search(r"(://|www\.)[^\s，。]*\{\d", text) is None


def _hour(text: Any) -> float:
    try:
        return dt.datetime.strptime(str(text), "%Y%m%d%H").replace(tzinfo=ZONE).timestamp()
    except ValueError:
        raise Failed("InvalidParameterValue.BeginTimeVerifyFail") from None


def _is_zero(answer: bytes) -> bool:
    try:
        return bool(json.loads(answer).get("result") == 0)
    except (ValueError, AttributeError):
        return False
