"""Aliyun SMS: SendBatchSms, QuerySendDetails and QuerySmsSign, signed by ACS3-HMAC-SHA256, with receipts and replies;
and QueryAccountBalance of Aliyun's billing, signed alike.

It recomputes the signature of every call over the request as it came. One number that it cannot serve spoils the whole
call. A receipt counts as told when our webhook has answered ``{"code": 0}``.
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
from urllib.parse import parse_qsl, quote
from zoneinfo import ZoneInfo

from aiohttp import web

from channels.sandbox.faults import Fault, chance
from channels.sandbox.log import digest
from channels.sandbox.people import Person
from channels.sandbox.vendors.base import BaseVendor, Door, VendorConfig
from channels.sandbox.web import after

ALGORITHM = "ACS3-HMAC-SHA256"
ZONE = ZoneInfo("Asia/Shanghai")
VERSION, BILLING_VERSION = "2017-05-25", "2017-12-14"
CLOCK_SECONDS = 15 * 60
MOST_NUMBERS, LONGEST_OUT_ID, MOST_REPORTS = 100, 255, 100
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=([^,]+),\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]+)"
)
_HOME, _ABROAD = re.compile(r"(?:\+?86|0086)?(1[3-9]\d{9})"), re.compile(r"(?:\+|00)?((?!86)[1-9]\d{6,14})")
LIMITS = (("minute", 60, "分钟"), ("hour", 3600, "小时"), ("day", 86400, "天"))


VARIABLE = re.compile(r"\$\{(\w+)\}")
LONGEST_VALUE = 35
# What a value may not hold: an address, or a domain.
ADDRESS = re.compile(r"://|www\.|\b[a-z0-9-]+\.(com|cn|net|org|io|link|top|shop|example)\b", re.IGNORECASE)


class Refused(Exception):
    """A code other than OK. The gateway's own come with an HTTP status of their own."""

    def __init__(self, code: str, text: str, status: int = 200) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


@dataclass
class AliyunConfig(VendorConfig):
    access_key_id: str = "LTAIsandbox"
    access_key_secret: str = "sandbox-aliyun-secret"  # noqa: S105
    signatures: list[str] = field(default_factory=lambda: ["Evenreach"])  # approved ones
    waiting_signatures: list[str] = field(default_factory=list)  # known, not approved
    templates: dict[str, str] = field(
        default_factory=dict
    )  # code → text with ${name}; none: any SMS_<digits>
    answer_seconds: float = 0.0
    receipt_seconds: float = 0.2
    undeliverable_share: float = 0.0
    number_limits: dict[str, int] = field(default_factory=dict)  # minute, hour, day: messages to one number
    day_limit: int = 0  # messages of the account a day; 0: none
    out_of_money: bool = False
    topped_up: float = 1000.0  # yuan of the cloud account, once
    price: float = 0.05  # a message
    credit: float = 0.0  # Aliyun lends so much
    # Of a key without the right bss:DescribeAcccount: the code it is answered, billing's own or the gateway's.
    hides_money: str = ""


@dataclass(slots=True)
class Message:
    """One number of a call that was taken."""

    biz_id: str
    number: str
    out_id: str
    template: str
    at: float
    told: bool = False


class Vendor(BaseVendor):
    name: ClassVar[str] = "aliyun_sms"
    port: ClassVar[int] = 18110
    Config: ClassVar[type[VendorConfig]] = AliyunConfig
    config: AliyunConfig

    def restore(self) -> None:
        self._messages: dict[str, list[Message]] = {}
        self._calls = 0
        self._nonces: dict[str, float] = {}
        known: dict[tuple[str, str], Message] = {}
        for line in self.lines():
            if line["event"] == "submit" and line["verdict"] == "accepted":
                message = Message(
                    line["biz_id"], line["number"], line["out_id"], line["template"], line["sent_at"]
                )
                known[message.biz_id, message.number] = message
                self._messages.setdefault(message.number, []).append(message)
                self._calls = max(self._calls, int(message.biz_id.partition("^")[0][-9:]))
            elif line["event"] == "receipt":
                known[line["biz_id"], line["number"]].told = True
        self._untold = [message for message in known.values() if not message.told]

    def start(self) -> None:
        for message in self._untold:
            self._report([message])

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1024 * 1024)
        app.router.add_post("/", self._serve)
        return app

    def doors(self) -> Mapping[str, Door]:
        return {"/aliyun_sms/reply": self._reply}

    # -- calls -------------------------------------------------------------------------------------------
    async def _serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.count("calls")
        self.write("call", action=request.headers.get("x-acs-action", ""), digest=digest(body))
        fault, status, answer = Fault.OK, 200, {}
        try:
            self._check_signature(request, body)
            action = request.headers["x-acs-action"]
            asked = dict(request.query) | dict(parse_qsl(body.decode(), keep_blank_values=True))
            handler = {
                "SendBatchSms": self._send, "QuerySendDetails": self._details, "QuerySmsSign": self._sign,
                "QueryAccountBalance": self._balance,
            }.get(action)  # fmt: skip
            version = BILLING_VERSION if action == "QueryAccountBalance" else VERSION
            if handler is None or request.headers.get("x-acs-version") != version:
                raise Refused("InvalidAction.NotFound", "Specified api is not found.", 404)
            if action == "SendBatchSms":
                fault = self.config.faults.decide(self.seed, asked.get("OutId") or digest(body))
            if fault is Fault.THROTTLE:
                self._note(asked, "throttled", "Throttling.User")
                raise Refused("Throttling.User", "Request was denied due to user flow control.", 400)
            if fault is Fault.REFUSE:
                self._note(asked, "refused", "isv.SMS_TEMPLATE_ILLEGAL")
                raise Refused("isv.SMS_TEMPLATE_ILLEGAL", "模版不合法(不存在或被拒绝)")
            if fault is not Fault.DROP_BEFORE:
                answer = handler(asked, fault not in {Fault.SILENT, Fault.DROP})
        except Refused as error:
            self.count(error.code)
            status, answer = error.status, {"Code": error.code, "Message": error.text}
        await self.log.flushed()
        if self.config.answer_seconds:
            await asyncio.sleep(self.config.answer_seconds)
        await after(request, fault, self.config.faults)
        answer = {"Code": "OK", "Message": "OK", "RequestId": digest(body, str(time.time())).upper()} | answer
        return web.json_response(answer, status=status)

    def _check_signature(self, request: web.Request, body: bytes) -> None:
        """Raises :class:`Refused` as the gateway does."""
        headers = request.headers
        found = _AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
        if found is None:
            raise Refused("IncompleteSignature", "The request signature is incomplete.", 400)
        key, signed, signature = found.groups()
        if key != self.config.access_key_id:
            raise Refused("InvalidAccessKeyId.NotFound", "Specified access key is not found.", 404)
        names = signed.split(";")
        needed = {
            name.lower()
            for name in headers
            if name.lower().startswith("x-acs-") or name.lower() in {"host", "content-type"}
        }
        if not needed <= set(names) or "x-acs-content-sha256" not in names:
            raise Refused("IncompleteSignature", "A header that must be signed is not.", 400)
        if headers.get("x-acs-content-sha256") != hashlib.sha256(body).hexdigest():
            raise Refused("SignatureDoesNotMatch", "x-acs-content-sha256 is not that of the body.", 400)
        query = "&".join(
            f"{quote(name, safe='~')}={quote(value, safe='~')}"
            for name, value in sorted(request.query.items())
        )
        lines = "".join(f"{name}:{headers.get(name, '').strip()}\n" for name in names)
        canonical = "\n".join(
            (request.method, request.path, query, lines, signed, headers["x-acs-content-sha256"])
        )
        text = f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        wanted = hmac.new(self.config.access_key_secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, signature):
            raise Refused("SignatureDoesNotMatch", "Specified signature is not matched.", 400)
        self._check_freshness(headers.get("x-acs-date", ""), headers.get("x-acs-signature-nonce", ""))

    def _check_freshness(self, date: str, nonce: str) -> None:
        now = time.time()
        try:
            at = dt.datetime.strptime(date, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC).timestamp()
        except ValueError:
            raise Refused("InvalidTimeStamp.Format", "x-acs-date cannot be read.", 400) from None
        if abs(now - at) > CLOCK_SECONDS:
            raise Refused("InvalidTimeStamp.Expired", "Specified time stamp is expired.", 400)
        if not nonce or nonce in self._nonces:
            raise Refused("SignatureNonceUsed", "Specified signature nonce was used already.", 400)
        self._nonces[nonce] = now
        if len(self._nonces) > 50_000:
            self._nonces = {known: seen for known, seen in self._nonces.items() if now - seen < CLOCK_SECONDS}

    # -- sending -----------------------------------------------------------------------------------------
    def _note(self, asked: Mapping[str, str], verdict: str, code: str) -> None:
        try:
            numbers = json.loads(asked.get("PhoneNumberJson", "[]"))
        except ValueError:
            numbers = []
        for number in numbers:
            self.write("submit", verdict=verdict, number=number, out_id=asked.get("OutId", ""), code=code)

    def _send(self, asked: dict[str, str], answered: bool) -> dict[str, Any]:
        try:
            numbers, template, words = self._judged(asked)
        except Refused as error:
            verdict = (
                "throttled" if "LIMIT_CONTROL" in error.code and "BLACK" not in error.code else "refused"
            )
            self._note(asked, verdict, error.code)
            raise
        self._calls += 1
        now = time.time()
        biz_id = f"{int(now * 1000)}{self._calls:09d}^0"
        out_id = asked.get("OutId", "")
        taken = []
        for number, said in zip(numbers, words, strict=True):
            message = Message(biz_id, number, out_id, template, now)
            taken.append(message)
            self._messages.setdefault(number, []).append(message)
            self.write(
                "submit", verdict="accepted", number=number, out_id=out_id, biz_id=biz_id, template=template,
                digest=digest(json.dumps(said, sort_keys=True)), sent_at=now, answered=answered,
            )  # fmt: skip
            self.count("accepted")
            if self._arrives(message):
                self.reached("sms", "phone", _e164(number), self._shown(template, said))
        self._report(taken)
        return {"BizId": biz_id}

    def _shown(self, template: str, said: Mapping[str, str]) -> str:
        """What the phone shows; of a template whose text is not known here, its variables."""
        text = self.config.templates.get(template)
        if text is None:
            return " ".join(said.values())
        return VARIABLE.sub(lambda found: said.get(found[1], ""), text)

    async def answers(self, person: Person, text: str) -> None:
        await self._reply({"phone": person.phone, "text": text})

    def _judged(self, asked: Mapping[str, str]) -> tuple[list[str], str, list[dict[str, str]]]:
        """(numbers, template, variables of each). Raises :class:`Refused`: then nothing of the call is taken."""
        if self.config.out_of_money:
            raise Refused("isv.AMOUNT_NOT_ENOUGH", "账户余额不足")
        given = [_array(asked, name) for name in ("PhoneNumberJson", "SignNameJson")]
        numbers, signatures = given
        words: list[Any] = (
            _array(asked, "TemplateParamJson") if asked.get("TemplateParamJson") else [{}] * len(numbers)
        )
        if not numbers or len(numbers) > MOST_NUMBERS:
            raise Refused("isv.MOBILE_COUNT_OVER_LIMIT", "手机号码数量超过限制")
        if not len(numbers) == len(signatures) == len(words):
            raise Refused("isv.INVALID_PARAMETERS", "数组长度不一致")
        if len(asked.get("OutId", "")) > LONGEST_OUT_ID:
            raise Refused("isv.EXTEND_CODE_ERROR", "OutId 过长")
        if not set(signatures) <= set(self.config.signatures):
            raise Refused("isv.SMS_SIGNATURE_ILLEGAL", "短信签名不合法(不存在或被拒绝)")
        template = asked.get("TemplateCode", "")
        text = self.config.templates.get(template)
        if text is None and (self.config.templates or not re.fullmatch(r"SMS_\d+", template)):
            raise Refused("isv.SMS_TEMPLATE_ILLEGAL", "短信模板不合法(不存在或被拒绝)")
        if text is not None and not _approved(text):
            raise Refused("isv.SMS_TEMPLATE_ILLEGAL", "短信模板不合法(不存在或被拒绝)")
        wanted = set(VARIABLE.findall(text or ""))
        for said in words:
            if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
                raise Refused("isv.INVALID_JSON_PARAM", "参数格式错误，请修改为字符串值")
            if not wanted <= set(said):
                raise Refused("isv.TEMPLATE_MISSING_PARAMETERS", "短信模板变量缺少参数")
            if any(ADDRESS.search(value) for value in said.values()):
                raise Refused("isv.PARAM_NOT_SUPPORT_URL", "变量不支持传入URL")
            if any(len(value) > LONGEST_VALUE for value in said.values()):
                raise Refused("isv.PARAM_LENGTH_LIMIT", "参数超过长度限制")
        plain = [_number(number) for number in numbers]
        if not all(plain):
            raise Refused("isv.MOBILE_NUMBER_ILLEGAL", f"号码格式错误 {numbers[plain.index('')]}")
        self._check_limits(plain)
        return plain, template, words

    def _check_limits(self, numbers: list[str]) -> None:
        now = time.time()
        if self.config.day_limit:
            today = dt.datetime.now(ZONE).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
            sent = sum(message.at >= today for known in self._messages.values() for message in known)
            if sent + len(numbers) > self.config.day_limit:
                raise Refused("isv.DAY_LIMIT_CONTROL", "触发日发送限额")
        for number in numbers:
            for name, seconds, word in LIMITS:
                most = self.config.number_limits.get(name)
                recent = sum(message.at > now - seconds for message in self._messages.get(number, ()))
                if most and recent >= most:
                    raise Refused("isv.BUSINESS_LIMIT_CONTROL", f"触发{word}级流控Permits:{most}")

    # -- what became of it -------------------------------------------------------------------------------
    def _arrives(self, message: Message) -> bool:
        return chance(self.seed, "unreachable", message.number) >= self.config.undeliverable_share

    def _report(self, messages: list[Message]) -> None:
        """Tell what became of these, in one push or several, as the faults want it."""
        faults = self.config.faults
        wait = self.config.receipt_seconds + faults.receipt_seconds
        for at in range(0, len(messages), MOST_REPORTS):
            some = messages[at : at + MOST_REPORTS]
            key = f"{some[0].biz_id}:{at}"
            if faults.receipt_shuffle:
                some = sorted(some, key=lambda message: chance(self.seed, "shuffle", message.number))
            when = 0.0 if chance(self.seed, "early", key) < faults.receipt_early else wait
            self._push(some, when)
            if chance(self.seed, "repeat", key) < faults.receipt_repeat:
                self._push(some, when + 0.05)

    def _push(self, messages: list[Message], wait: float) -> None:
        now = dt.datetime.now(ZONE).strftime("%Y-%m-%d %H:%M:%S")
        body = [
            {
                "phone_number": message.number, "send_time": now, "report_time": now, "success": self._arrives(message),
                "err_code": "DELIVERED" if self._arrives(message) else "UNDELIV", "err_msg": "用户接收成功"
                if self._arrives(message) else "无法送达", "sms_size": "1", "biz_id": message.biz_id,
                "out_id": message.out_id,
            }
            for message in messages
        ]  # fmt: skip

        def taken(status: int, answer: bytes) -> bool:
            if status != 200 or not _is_zero(answer):
                return False
            for message in messages:
                message.told = True
                self.write("receipt", biz_id=message.biz_id, number=message.number)
            return True

        self.tell(json.dumps(body).encode(), {"Content-Type": "application/json"}, after=wait, taken=taken)

    async def _reply(self, asked: dict[str, Any]) -> Any:
        now = dt.datetime.now(ZONE).strftime("%Y-%m-%d %H:%M:%S")
        body = [
            {
                "phone_number": _number(asked["phone"]) or asked["phone"], "send_time": now, "content": asked["text"],
                "sign_name": self.config.signatures[0], "dest_code": asked.get("to", "106900000000"),
                "sequence_id": int(time.time() * 1_000_000),
            }
        ]  # fmt: skip
        self.tell(
            json.dumps(body).encode(), {"Content-Type": "application/json"},
            taken=lambda status, answer: status == 200 and _is_zero(answer),
        )  # fmt: skip
        return {}

    def _details(self, asked: dict[str, str], answered: bool) -> dict[str, Any]:
        number, day = _number(asked.get("PhoneNumber", "")), asked.get("SendDate", "")
        if not number or not re.fullmatch(r"\d{8}", day):
            raise Refused("isv.INVALID_PARAMETERS", "PhoneNumber, SendDate")
        size, page = int(asked.get("PageSize") or 10), int(asked.get("CurrentPage") or 1)
        if not 1 <= size <= 50:
            raise Refused("isv.INVALID_PARAMETERS", "PageSize")
        found = [
            message for message in self._messages.get(number, ())
            if _local(message.at).strftime("%Y%m%d") == day and asked.get("BizId") in {None, "", message.biz_id}
        ]  # fmt: skip
        rows = []
        for message in found[(page - 1) * size : page * size]:
            row = {
                "PhoneNum": number, "TemplateCode": message.template, "OutId": message.out_id, "SendStatus": 1,
                "Content": "", "SendDate": _local(message.at).strftime("%Y-%m-%d %H:%M:%S"), "ErrCode": "",
            }  # fmt: skip
            arrived_at = message.at + self.config.receipt_seconds
            if time.time() >= arrived_at:
                arrives = self._arrives(message)
                row |= {
                    "SendStatus": 3 if arrives else 2, "ErrCode": "DELIVERED" if arrives else "UNDELIV",
                    "ReceiveDate": _local(arrived_at).strftime("%Y-%m-%d %H:%M:%S"),
                }  # fmt: skip
            rows.append(row)
        return {"TotalCount": len(found), "SmsSendDetailDTOs": {"SmsSendDetailDTO": rows}}

    def _sign(self, asked: dict[str, str], answered: bool) -> dict[str, Any]:
        name = asked.get("SignName", "")
        known = {
            **dict.fromkeys(self.config.waiting_signatures, 0),
            **dict.fromkeys(self.config.signatures, 1),
        }
        if name not in known:
            raise Refused("isv.SMS_SIGNATURE_ILLEGAL", "签名不存在")
        return {"SignName": name, "SignStatus": known[name]}

    def _balance(self, asked: dict[str, str], answered: bool) -> dict[str, Any]:
        if code := self.config.hides_money:
            status = 400 if code == "NotAuthorized" else 403
            raise Refused(code, "This API is not authorized for caller.", status)
        messages = sum(len(known) for known in self._messages.values())
        cash = self.config.topped_up - self.config.price * messages
        data = {
            "AvailableAmount": f"{cash + self.config.credit:,.2f}", "AvailableCashAmount": f"{cash:,.2f}",
            "CreditAmount": f"{self.config.credit:,.2f}", "MybankCreditAmount": "0.00", "Currency": "CNY",
        }  # fmt: skip
        return {"Code": "200", "Message": "success", "Success": True, "Data": data}


def _approved(text: str) -> bool:
    """Whether the review lets a template pass: each variable once, words between them, none in a domain."""
    names = VARIABLE.findall(text)
    if len(set(names)) < len(names) or (names and not VARIABLE.sub("", text).strip()):
        return False
    in_domain = re.search(r"(://|www\.)[^\s/]*\$\{|\$\{\w+\}\.[a-z]", text)
    return "}${" not in text and in_domain is None


def _array(asked: Mapping[str, str], name: str) -> list[Any]:
    try:
        told = json.loads(asked.get(name, ""))
    except ValueError:
        told = None
    if not isinstance(told, list):
        raise Refused("isv.INVALID_JSON_PARAM", f"{name} must be a JSON array")
    return told


def _number(told: str) -> str:
    """As receipts write it; "" for no number."""
    found = _HOME.fullmatch(str(told)) or _ABROAD.fullmatch(str(told))
    return found.group(1) if found else ""


def _e164(number: str) -> str:
    return f"+86{number}" if _HOME.fullmatch(number) else f"+{number}"


def _local(at: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(at, ZONE)


def _is_zero(answer: bytes) -> bool:
    try:
        return bool(json.loads(answer).get("code") == 0)
    except (ValueError, AttributeError):
        return False
