"""The API of one WeChat official account: followers, template messages, mass messages, results by callback.

Mass messages keep the platform's quotas: one successful call a day for a subscription account, four messages a
calendar month and follower for a service account. Who was left out of a mass message is told to nobody.
"""

import asyncio
import base64
import datetime as dt
import hashlib
import itertools
import json
import os
import secrets
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from aiohttp import web
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from channels.sandbox.faults import Fault, chance
from channels.sandbox.log import digest
from channels.sandbox.people import Person
from channels.sandbox.vendors.base import BaseVendor, Door, VendorConfig
from channels.sandbox.web import after

ZONE = ZoneInfo("Asia/Shanghai")
MOST_OPENIDS, FEWEST_OPENIDS, LONGEST_ID, CALLS_A_MINUTE = 10_000, 2, 64, 60


@dataclass
class OfficialAccountConfig(VendorConfig):
    app_id: str = "wx0123456789abcdef"
    secret: str = "sandbox-app-secret"  # noqa: S105  (it opens the sandbox only)
    account: str = "service"  # or subscription
    token_seconds: int = 7200
    callback_token: str = "sandboxtoken"  # noqa: S105
    callback_aes_key: str = ""  # 43 characters: events are encrypted
    templates: list[str] = field(default_factory=lambda: ["OPENTM200000001"])
    job_seconds: float = 0.05  # until the result of a job is told
    strangers: float = 0.0  # share of openids that do not follow
    block_share: float = 0.0  # share of followers who block template messages
    mass_status: str = "SEND_SUCCESS"  # SEND_FAIL: the content is found unfit
    per_minute: int = CALLS_A_MINUTE  # mass messages
    per_month: int = 4  # to a follower, of a service account


class _Refused(Exception):
    def __init__(self, code: int, text: str, **fields: Any) -> None:
        super().__init__(text)
        self.answer = {"errcode": code, "errmsg": text, **fields}


class Vendor(BaseVendor):
    name: ClassVar[str] = "official_account"
    port: ClassVar[int] = 18141
    Config = OfficialAccountConfig

    def restore(self) -> None:
        self._token, self._token_until = "", 0.0
        self._jobs: dict[int, dict[str, Any]] = {}  # msg_id → what is known of the mass message
        self._by_client: dict[str, int] = {}
        self._templates: dict[tuple[str, str], int] = {}  # (openid, client_msg_id) → msgid
        self._received: dict[tuple[str, str], int] = {}  # (openid, month) → mass messages
        self._mass_calls: list[float] = []
        self._running: set[asyncio.Task[None]] = set()
        last = 0
        for line in self.lines():
            last = max(last, int(line.get("msgid", 0)))
            if line["event"] == "mass":
                self._note(line)
            elif line["event"] == "template":
                self._templates[line["address"], line["client"]] = int(line["msgid"])
        self._ids = itertools.count(last + 1)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_get("/cgi-bin/token", self._gettoken)
        app.router.add_post("/cgi-bin/stable_token", self._stable_token)
        for path, handler in {
            "message/template/send": self._template,
            "message/mass/send": self._mass,
            "message/mass/get": self._mass_get,
        }.items():
            app.router.add_post(f"/cgi-bin/{path}", self._guarded(handler))
        app.router.add_get("/cgi-bin/template/get_all_private_template", self._guarded(self._list_templates))
        app.router.add_get("/cgi-bin/get_api_domain_ip", self._guarded(self._addresses))
        return app

    def waiting(self) -> int:
        return super().waiting() + len(self._running)

    def doors(self) -> Mapping[str, Door]:
        return {"/official_account/event": self._event_now, "/official_account/message": self._message_now}

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await super().close()

    # -- token -------------------------------------------------------------------------------------------
    async def _gettoken(self, request: web.Request) -> web.Response:
        return self._fresh(request.query.get("appid", ""), request.query.get("secret", ""), True)

    async def _stable_token(self, request: web.Request) -> web.Response:
        body = await request.json()
        return self._fresh(body.get("appid", ""), body.get("secret", ""), bool(body.get("force_refresh")))

    def _fresh(self, app_id: str, secret: str, anew: bool) -> web.Response:
        if app_id != self.config.app_id:
            return web.json_response({"errcode": 40013, "errmsg": "invalid appid"})
        if secret != self.config.secret:
            return web.json_response({"errcode": 40125, "errmsg": "invalid appsecret"})
        if anew or not self._token or time.time() > self._token_until:
            self._token, self._token_until = (
                secrets.token_urlsafe(60),
                time.time() + self.config.token_seconds,
            )
        self.count("tokens")
        return web.json_response({"access_token": self._token, "expires_in": self.config.token_seconds})

    def _guarded(
        self, handler: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def guarded(request: web.Request) -> web.Response:
            fault = Fault.OK
            try:
                self._check_token(request.query.get("access_token", ""))
                raw = await request.read()
                try:
                    body = json.loads(raw) if raw else {}
                except ValueError:
                    raise _Refused(47001, "data format error") from None
                if request.path.endswith("/send"):
                    fault = self.config.faults.decide_call(self.seed, digest(raw))
                if fault is Fault.THROTTLE:
                    raise _Refused(45011, "api minute-quota reach limit, must slower, retry next minute")
                if fault is Fault.REFUSE:
                    raise _Refused(43004, "require subscribe")
                answer = {"errcode": 0, "errmsg": "ok"} if fault is Fault.DROP_BEFORE else await handler(body)
            except _Refused as error:
                answer = error.answer
                self.count(f"errcode {answer['errcode']}")
            await self.log.flushed()
            await after(request, fault, self.config.faults)
            return web.json_response(answer)

        return guarded

    def _check_token(self, token: str) -> None:
        faults = self.config.faults
        if faults.expired_token > 0:
            faults.expired_token -= 1
            self._token = ""
            raise _Refused(42001, "access_token expired")
        if not token or token != self._token:
            raise _Refused(40001, "invalid credential, access_token is invalid or not latest")
        if time.time() > self._token_until:
            raise _Refused(42001, "access_token expired")

    def _follows(self, openid: str) -> bool:
        return not self.config.strangers or chance(self.seed, "follows", openid) >= self.config.strangers

    # -- template messages -------------------------------------------------------------------------------
    async def _template(self, body: dict[str, Any]) -> dict[str, Any]:
        openid, template, data = body.get("touser") or "", body.get("template_id"), body.get("data")
        client = str(body.get("client_msg_id") or "")
        if not isinstance(openid, str) or not openid.startswith("o"):
            raise _Refused(40003, "invalid openid")
        if template not in self.config.templates:
            raise _Refused(40037, "invalid template_id")
        if not isinstance(data, dict) or not data or not all("value" in row for row in data.values()):
            raise _Refused(47003, "argument invalid! data is empty")
        if not self._follows(openid):
            raise _Refused(43004, "require subscribe")
        known = self._templates.get((openid, client)) if client else None
        if known is not None:
            self.count("repeated")
            return {"errcode": 0, "errmsg": "ok", "msgid": known}
        msgid = next(self._ids)
        self._templates[openid, client] = msgid
        attempt = client.removeprefix("evenreach-")
        self.write(
            "template", verdict="accepted", attempt=attempt, msgid=msgid, address=openid, client=client,
            digest=digest(json.dumps(data, sort_keys=True)), url=body.get("url", ""),
        )  # fmt: skip
        self.count("templates")
        blocked = chance(self.seed, "blocks", openid) < self.config.block_share
        status = "failed:user block" if blocked else "success"
        if not blocked:
            self.reached(self.name, "openid", openid, body.get("url", ""))
        self.event(openid, "TEMPLATESENDJOBFINISH", after=self.config.job_seconds, MsgID=msgid, Status=status)
        return {"errcode": 0, "errmsg": "ok", "msgid": msgid}

    async def _list_templates(self, body: dict[str, Any]) -> dict[str, Any]:
        return {
            "template_list": [
                {"template_id": template, "title": "通知"} for template in self.config.templates
            ]
        }

    async def _addresses(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"ip_list": ["127.0.0.1"]}

    # -- mass messages -----------------------------------------------------------------------------------
    async def _mass(self, body: dict[str, Any]) -> dict[str, Any]:
        openids, kind, client = body.get("touser"), body.get("msgtype"), str(body.get("clientmsgid") or "")
        if not isinstance(openids, list) or not all(isinstance(one, str) for one in openids):
            raise _Refused(40003, "invalid openid list")
        if not FEWEST_OPENIDS <= len(openids) <= MOST_OPENIDS or len(set(openids)) != len(openids):
            raise _Refused(40130, "invalid openid list size, at least two openid")
        if kind not in {"text", "mpnews"} or not body.get(kind):
            raise _Refused(40008, "invalid message type")
        if kind == "text" and not body["text"].get("content"):
            raise _Refused(44004, "empty content")
        if len(client) > LONGEST_ID:
            raise _Refused(45067, "clientmsgid size out of limit")
        if client in self._by_client:
            self.count("repeated")
            raise _Refused(45065, "clientmsgid exist", msg_id=self._by_client[client])
        now = time.time()
        self._mass_calls = [at for at in self._mass_calls if at > now - 60]
        if len(self._mass_calls) >= self.config.per_minute:
            raise _Refused(45011, "api minute-quota reach limit, must slower, retry next minute")
        today = dt.datetime.now(ZONE).date().isoformat()
        if self.config.account == "subscription" and any(job["day"] == today for job in self._jobs.values()):
            raise _Refused(45028, "has no masssend quota")
        self._mass_calls.append(now)
        text = (body.get("text") or {}).get("content", "")
        return self._create(openids, digest(json.dumps(body[kind], sort_keys=True)), client, today, text)

    def _create(
        self, openids: list[str], shown: str, client: str, today: str, text: str = ""
    ) -> dict[str, Any]:
        month = today[:7]
        followers = [one for one in openids if one.startswith("o") and self._follows(one)]
        reached = [
            one for one in followers
            if self.config.account != "service" or self._received.get((one, month), 0) < self.config.per_month
        ]  # fmt: skip
        fails = self.config.mass_status != "SEND_SUCCESS"
        msgid = next(self._ids)
        line = {
            "msgid": msgid, "client": client, "day": today, "digest": shown, "total": len(openids),
            "followers": len(followers), "status": self.config.mass_status, "ends": time.time() + self.config.job_seconds,
            "reached": [] if fails else reached,
        }  # fmt: skip
        self.write("mass", **line)
        for openid in line["reached"]:
            self.write("sent", verdict="sent", msgid=msgid, address=openid, digest=shown)
            self.reached(self.name, "openid", openid, text)
        self._note(line)
        self.count("mass")
        sent = len(line["reached"])
        self.event(
            "o-editor", "MASSSENDJOBFINISH", after=self.config.job_seconds, MsgID=msgid,
            Status="err(20013)" if fails else "send success", TotalCount=len(openids), FilterCount=len(followers),
            SentCount=sent, ErrorCount=len(followers) - sent,
        )  # fmt: skip
        return {
            "errcode": 0,
            "errmsg": "send job submission success",
            "msg_id": msgid,
            "msg_data_id": msgid + 10**9,
        }

    def _note(self, line: dict[str, Any]) -> None:
        self._jobs[int(line["msgid"])] = {"day": line["day"], "status": line["status"], "ends": line["ends"]}
        if line["client"]:
            self._by_client[line["client"]] = int(line["msgid"])
        for openid in line["reached"]:
            key = (openid, line["day"][:7])
            self._received[key] = self._received.get(key, 0) + 1

    async def _mass_get(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            job = self._jobs[int(body.get("msg_id") or 0)]
        except (KeyError, ValueError, TypeError):
            raise _Refused(40059, "invalid msg id") from None
        over = time.time() >= job["ends"]
        return {"msg_id": body["msg_id"], "msg_status": job["status"] if over else "SENDING"}

    # -- the callback ------------------------------------------------------------------------------------
    async def _event_now(self, given: dict[str, Any]) -> dict[str, Any]:
        """``POST /official_account/event {"openid", "event"}``: somebody follows or leaves."""
        self.event(given["openid"], given["event"])
        return {}

    async def _message_now(self, given: dict[str, Any]) -> dict[str, Any]:
        """``POST /official_account/message {"openid", "text"}``: somebody writes."""
        self._post(
            given["openid"], {"MsgType": "text", "Content": given["text"], "MsgId": next(self._ids)}, 0.0
        )
        return {}

    async def answers(self, person: Person, text: str) -> None:
        await self._message_now({"openid": person.openid, "text": text})

    async def leaves(self, person: Person, about: str) -> None:
        self.event(person.openid, "unsubscribe")

    def event(self, openid: str, event: str, after: float = 0.0, **fields: Any) -> None:
        self._post(openid, {"MsgType": "event", "Event": event, **fields}, after)

    def _post(self, openid: str, fields: Mapping[str, Any], after: float) -> None:
        if not self.config.callback:
            return
        told = {"ToUserName": "gh_sandbox", "FromUserName": openid, "CreateTime": int(time.time()), **fields}
        xml = "<xml>" + "".join(f"<{k}>{escape(str(v))}</{k}>" for k, v in told.items()) + "</xml>"
        body, query = self.envelope(xml)
        separator = "&" if "?" in self.config.callback else "?"
        address = self.config.callback + separator + "&".join(f"{k}={v}" for k, v in query.items())
        headers = {"Content-Type": "text/xml"}
        self.tell(body, headers, url=address, after=after, taken=lambda status, answer: answer == b"success")
        if self.config.faults.receipt_repeat > chance(self.seed, "twice", xml):
            self.tell(
                body, headers, url=address, after=2 * after, taken=lambda status, answer: answer == b"success"
            )

    def envelope(self, xml: str) -> tuple[bytes, dict[str, str]]:
        """The body and the query of a callback: plain, or sealed where there is a key."""
        config, stamp, nonce = self.config, str(int(time.time())), secrets.token_hex(5)
        query = {"timestamp": stamp, "nonce": nonce, "signature": _sha1(config.callback_token, stamp, nonce)}
        if not config.callback_aes_key:
            return xml.encode(), query
        sealed = _seal(config.callback_aes_key, xml.encode(), config.app_id.encode())
        query |= {"encrypt_type": "aes", "msg_signature": _sha1(config.callback_token, stamp, nonce, sealed)}
        return (
            f"<xml><ToUserName>gh_sandbox</ToUserName><Encrypt><![CDATA[{sealed}]]></Encrypt></xml>".encode(),
            query,
        )


def _sha1(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324  (the platform's choice)


def _seal(key: str, content: bytes, receiver: bytes) -> str:
    raw = base64.b64decode(key + "=")
    plain = os.urandom(16) + struct.pack("!I", len(content)) + content + receiver
    missing = 32 - len(plain) % 32
    worker = Cipher(algorithms.AES(raw), modes.CBC(raw[:16])).encryptor()
    return base64.b64encode(worker.update(plain + bytes([missing]) * missing) + worker.finalize()).decode()
