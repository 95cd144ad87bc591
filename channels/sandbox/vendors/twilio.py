"""Twilio's messages: create, list and fetch behind Basic auth; statuses and replies signed by X-Twilio-Signature."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import aiohttp
from aiohttp import web

from channels import sms_text
from channels.sandbox.faults import Fault, chance
from channels.sandbox.log import digest
from channels.sandbox.people import Person
from channels.sandbox.vendors.base import BaseVendor, Door, VendorConfig
from channels.sandbox.web import after

STOPS = {"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"}
LONGEST_BODY, LONGEST_VALIDITY = 1600, 36_000
ROOT = "/2010-04-01/Accounts/{account}"
TEXTS = {
    20003: "Authenticate", 20404: "The requested resource was not found", 20429: "Too Many Requests",
    21211: "The 'To' number is not a valid phone number.", 21212: "The 'From' number is not a valid phone number.",
    21408: "Permission to send an SMS has not been enabled for the region", 21602: "Message body is required.",
    21603: "A 'From' phone number is required.", 21604: "A 'To' phone number is required.",
    21606: "The 'From' phone number is not valid for this account.", 21609: "The 'StatusCallback' URL is not valid.",
    21610: "Attempt to send to unsubscribed recipient", 21611: "This 'From' number has exceeded the maximum queued",
    21614: "'To' number is not a valid mobile number", 21617: "The concatenated message body exceeds 1600 characters.",
    21705: "The Messaging Service is not valid.", 30610: "Message scheduled in quiet hours",
}  # fmt: skip


class Refused(Exception):
    def __init__(self, code: int, status: int = 400) -> None:
        super().__init__(TEXTS.get(code, str(code)))
        self.code, self.status = code, status


@dataclass
class TwilioConfig(VendorConfig):
    account_sid: str = "AC" + "0123456789abcdef" * 2
    auth_token: str = "sandbox-twilio-token"  # noqa: S105
    account_status: str = "active"
    senders: list[str] = field(default_factory=lambda: ["+14155550100"])
    services: list[str] = field(default_factory=lambda: ["MG" + "0123456789abcdef" * 2])
    numbers: dict[str, int] = field(default_factory=dict)  # E.164 → the error it is answered with
    answer_seconds: float = 0.0
    receipt_seconds: float = 0.2
    undeliverable_share: float = 0.0
    error_code: int = 30003  # of those that are undeliverable
    topped_up: float = 100.0  # USD, once; below 0: a subaccount, which has no balance
    price: float = 0.0079  # USD a message


@dataclass(slots=True)
class Message:
    sid: str
    to: str
    sender: str
    service: str
    body: str
    callback: str
    at: float
    status: str = "queued"
    error: int | None = None

    @property
    def is_over(self) -> bool:
        return self.status in {"delivered", "undelivered"}


class Vendor(BaseVendor):
    name: ClassVar[str] = "twilio"
    port: ClassVar[int] = 18112
    Config: ClassVar[type[VendorConfig]] = TwilioConfig
    config: TwilioConfig

    def restore(self) -> None:
        self._messages: dict[str, Message] = {}
        self._running: set[asyncio.Task[None]] = set()
        for line in self.lines():
            if line["event"] == "submit" and line["verdict"] == "accepted":
                self._messages[line["sid"]] = Message(
                    line["sid"], line["address"], line["sender"], line["service"], line["body"], line["callback"],
                    line["sent_at"],
                )  # fmt: skip
            elif line["event"] == "receipt":
                self._messages[line["sid"]].status = line["status"]

    def start(self) -> None:
        for message in self._messages.values():
            if not message.is_over:
                self._go_on(message)

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await super().close()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=256 * 1024)
        app.router.add_post(ROOT + "/Messages.json", self._guarded(self._create))
        app.router.add_get(ROOT + "/Messages.json", self._guarded(self._list))
        app.router.add_get(ROOT + "/Messages/{sid}.json", self._guarded(self._fetch))
        app.router.add_get(ROOT + ".json", self._guarded(self._account))
        app.router.add_get(ROOT + "/Balance.json", self._guarded(self._balance))
        return app

    def doors(self) -> Mapping[str, Door]:
        return {"/twilio/reply": self._reply}

    # -- calls -------------------------------------------------------------------------------------------
    def _guarded(self, handler: Any) -> Any:
        async def guarded(request: web.Request) -> web.Response:
            body = await request.read()
            self.count("calls")
            self.write(
                "call", action=f"{request.method} {request.path.rpartition('/')[2]}", digest=digest(body)
            )
            asked = dict(parse_qsl(body.decode(), keep_blank_values=True)) or dict(request.query)
            fault, status = Fault.OK, 200
            try:
                self._check(request)
                if request.method == "POST":
                    fault = self.config.faults.decide_call(
                        self.seed, f"{asked.get('To')}:{digest(asked.get('Body', ''))}"
                    )
                    status = 201
                if fault in {Fault.THROTTLE, Fault.REFUSE}:
                    throttled = fault is Fault.THROTTLE
                    self._note(asked, "throttled" if throttled else "refused", 20429 if throttled else 21408)
                    raise Refused(20429, 429) if throttled else Refused(21408)
                answer = {}
                if fault is not Fault.DROP_BEFORE:
                    answer = handler(request, asked, fault not in {Fault.SILENT, Fault.DROP})
            except Refused as error:
                self.count(str(error.code))
                status = error.status
                answer = {
                    "code": error.code, "message": str(error), "status": status,
                    "more_info": f"https://www.twilio.com/docs/errors/{error.code}",
                }  # fmt: skip
            await self.log.flushed()
            if self.config.answer_seconds:
                await asyncio.sleep(self.config.answer_seconds)
            await after(request, fault, self.config.faults)
            return web.json_response(answer, status=status)

        return guarded

    def _check(self, request: web.Request) -> None:
        """Basic auth, and the account of the path. Raises :class:`Refused`."""
        try:
            given = aiohttp.BasicAuth.decode(request.headers.get("Authorization", ""))
        except ValueError:
            raise Refused(20003, 401) from None
        right = hmac.compare_digest(given.password.encode(), self.config.auth_token.encode())
        if given.login != self.config.account_sid or not right:
            raise Refused(20003, 401)
        if request.match_info["account"] != self.config.account_sid:
            raise Refused(20404, 404)

    def _note(self, asked: Mapping[str, str], verdict: str, code: int) -> None:
        self.write(
            "submit",
            verdict=verdict,
            address=asked.get("To", ""),
            code=code,
            callback=asked.get("StatusCallback", ""),
        )

    def _create(self, request: web.Request, asked: dict[str, str], answered: bool) -> dict[str, Any]:
        try:
            self._check_message(asked)
        except Refused as error:
            self._note(asked, "throttled" if error.code in {21611, 30610} else "refused", error.code)
            raise
        n = len(self._messages) + 1
        sid = "SM" + hashlib.sha256(f"{self.seed}:{n}".encode()).hexdigest()[:32]
        message = self._messages[sid] = Message(
            sid, asked["To"], asked.get("From", ""), asked.get("MessagingServiceSid", ""), asked["Body"],
            asked.get("StatusCallback", ""), time.time(),
        )  # fmt: skip
        self.write(
            "submit", verdict="accepted", sid=sid, address=message.to, sender=message.sender, service=message.service,
            body=message.body, callback=message.callback, sent_at=message.at, answered=answered,
            validity=asked.get("ValidityPeriod", ""),
        )  # fmt: skip
        self.count("accepted")
        self._go_on(message)
        return self._resource(message)

    def _balance(self, request: web.Request, asked: dict[str, str], answered: bool) -> dict[str, Any]:
        """Subaccounts are told no balance."""
        left = self.config.topped_up - self.config.price * len(self._messages)
        return {
            "account_sid": self.config.account_sid, "currency": "USD",
            "balance": f"{left:.4f}" if self.config.topped_up >= 0 else None,
        }  # fmt: skip

    def _check_message(self, asked: Mapping[str, str]) -> None:
        """As documented for the Messages resource. Raises :class:`Refused`."""
        to, body, callback = asked.get("To", ""), asked.get("Body", ""), asked.get("StatusCallback", "")
        if not to:
            raise Refused(21604)
        if not body:
            raise Refused(21602)
        if len(body) > LONGEST_BODY:
            raise Refused(21617)
        if asked.get("MessagingServiceSid"):
            if asked["MessagingServiceSid"] not in self.config.services:
                raise Refused(21705)
        elif not asked.get("From"):
            raise Refused(21603)
        elif asked["From"] not in self.config.senders:
            raise Refused(21606)
        if not to.startswith("+") or not to[1:].isdigit() or not 8 <= len(to) <= 16 or to.startswith("+0"):
            raise Refused(21211)
        if callback and urlsplit(callback).scheme not in {"http", "https"}:
            raise Refused(21609)
        validity = asked.get("ValidityPeriod")
        if validity and not (validity.isdigit() and 1 <= int(validity) <= LONGEST_VALIDITY):
            raise Refused(21621)
        if to in self.config.numbers:
            raise Refused(self.config.numbers[to])

    # -- what became of it -------------------------------------------------------------------------------
    def _go_on(self, message: Message) -> None:
        task = asyncio.ensure_future(self._deliver(message))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _deliver(self, message: Message) -> None:
        faults = self.config.faults
        wait = self.config.receipt_seconds + faults.receipt_seconds
        if chance(self.seed, "early", message.sid) < faults.receipt_early:
            wait = 0.0
        elif faults.receipt_shuffle:
            wait *= 2 * chance(self.seed, "shuffle", message.sid)
        await asyncio.sleep(wait)
        lost = chance(self.seed, "unreachable", message.to) < self.config.undeliverable_share
        message.status = "sent"
        self._tell_status(message)
        message.status = "undelivered" if lost else "delivered"
        message.error = self.config.error_code if lost else None
        self._tell_status(message)
        if not lost:
            self.reached("sms", "phone", message.to, message.body)
        if chance(self.seed, "repeat", message.sid) < faults.receipt_repeat:
            self._tell_status(message)

    def _tell_status(self, message: Message) -> None:
        fields = {
            "SmsSid": message.sid, "SmsStatus": message.status, "MessageStatus": message.status, "To": message.to,
            "MessageSid": message.sid, "AccountSid": self.config.account_sid, "From": message.sender or message.service,
            "ApiVersion": "2010-04-01",
        }  # fmt: skip
        if message.error:
            fields["ErrorCode"] = str(message.error)
        sid, status, over = message.sid, message.status, message.is_over

        def taken(code: int, answer: bytes) -> bool:
            if code >= 300:
                return False
            if over:
                self.write("receipt", sid=sid, status=status)
            return True

        if message.callback:
            self._post(message.callback, fields, taken)

    def _post(self, url: str, fields: dict[str, str], taken: Any) -> None:
        address = self.ours(url)
        signed = address + "".join(name + fields[name] for name in sorted(fields))
        key = self.config.auth_token.encode()
        signature = base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha1).digest()).decode()
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Twilio-Signature": signature,
        }
        self.tell(urlencode(fields).encode(), headers, url=address, taken=taken)

    async def _reply(self, asked: dict[str, Any]) -> Any:
        sid = "SM" + digest(asked["phone"], asked["text"], str(time.time())) * 2
        fields = {
            "ToCountry": "US", "SmsMessageSid": sid, "NumMedia": "0", "SmsSid": sid, "SmsStatus": "received",
            "Body": asked["text"], "To": self.config.senders[0], "NumSegments": "1", "MessageSid": sid,
            "AccountSid": self.config.account_sid, "From": asked["phone"], "ApiVersion": "2010-04-01",
        }  # fmt: skip
        if asked.get("opt_out_type"):
            fields["OptOutType"] = str(asked["opt_out_type"])
        self._post(self.config.callback, fields, lambda code, answer: code == 200 and b"<Response>" in answer)
        return {}

    async def answers(self, person: Person, text: str) -> None:
        stops = {"opt_out_type": "STOP"} if text.upper() in STOPS else {}
        await self._reply({"phone": person.phone, "text": text, **stops})

    def _resource(self, message: Message) -> dict[str, Any]:
        base = ROOT.format(account=self.config.account_sid)
        return {
            "sid": message.sid, "account_sid": self.config.account_sid, "to": message.to,
            "from": message.sender or None, "messaging_service_sid": message.service or None, "body": message.body,
            "status": "accepted" if message.service and message.status == "queued" else message.status,
            "num_segments": "0" if message.service else str(len(sms_text.cut(message.body).parts)), "num_media": "0",
            "direction": "outbound-api", "api_version": "2010-04-01", "price": None, "price_unit": "USD",
            "error_code": message.error, "error_message": None, "date_created": formatdate(message.at),
            "date_updated": formatdate(message.at), "date_sent": formatdate(message.at),
            "uri": f"{base}/Messages/{message.sid}.json", "subresource_uris": {},
        }  # fmt: skip

    def _list(self, request: web.Request, asked: dict[str, str], answered: bool) -> dict[str, Any]:
        found = [message for message in self._messages.values() if asked.get("To") in {None, "", message.to}]
        size = min(1000, int(asked.get("PageSize") or 50))
        rows = [self._resource(message) for message in reversed(found)][:size]
        return {
            "messages": rows,
            "page": 0,
            "page_size": size,
            "next_page_uri": None,
            "start": 0,
            "end": len(rows),
        }

    def _fetch(self, request: web.Request, asked: dict[str, str], answered: bool) -> dict[str, Any]:
        message = self._messages.get(request.match_info["sid"])
        if message is None:
            raise Refused(20404, 404)
        return self._resource(message)

    def _account(self, request: web.Request, asked: dict[str, str], answered: bool) -> dict[str, Any]:
        return {
            "sid": self.config.account_sid, "friendly_name": "Sandbox", "status": self.config.account_status,
            "type": "Full", "owner_account_sid": self.config.account_sid, "auth_token": "",
        }  # fmt: skip
