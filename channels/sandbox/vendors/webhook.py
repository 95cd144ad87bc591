"""An app of one's own: takes signed batches once each by message id, and tells receipts and responses, signed."""

import datetime as dt
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from aiohttp import web

from channels.sandbox.faults import Fault
from channels.sandbox.log import digest
from channels.sandbox.people import Person
from channels.sandbox.vendors.base import BaseVendor, Door, VendorConfig
from channels.sandbox.web import after

MOST_MESSAGES = 1000
CLOCKS = 300  # seconds a signature may be old, or ahead


@dataclass
class WebhookConfig(VendorConfig):
    secret: str = "sandbox-signing-secret"  # noqa: S105  (it opens the sandbox only)
    unknown_share: float = 0.0  # of addresses that do not exist
    receipts: bool = True  # delivered or bounced, told to the callback
    receipt_seconds: float = 0.05
    per_minute: int = 0  # calls; 0: no limit; above it 429
    redirect: str = ""  # every call is answered with 307 to this address


class Vendor(BaseVendor):
    name: ClassVar[str] = "webhook"
    port: ClassVar[int] = 18140
    Config = WebhookConfig

    def restore(self) -> None:
        self._taken: dict[str, dict[str, Any]] = {}  # message id → what was answered
        self._calls: list[float] = []
        self._events = 0
        for line in self.lines():
            if line["event"] == "message":
                self._taken[line["attempt"]] = line["result"]
            elif line["event"] == "told":
                self._events = max(self._events, line["n"])

    def app(self) -> web.Application:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/hook", self._hook)
        return app

    def doors(self) -> Mapping[str, Door]:
        return {"/webhook/tell": self._tell_now}

    # -- what comes in -----------------------------------------------------------------------------------
    async def _hook(self, request: web.Request) -> web.Response:
        raw = await request.read()
        config = self.config
        if config.redirect:
            return web.json_response({"error": "moved"}, status=307, headers={"Location": config.redirect})
        wrong = self._wrong(request.headers.get("X-Evenreach-Signature", ""), raw)
        if wrong:
            self.count("bad signature")
            return web.json_response({"error": wrong}, status=401)
        now = time.time()
        if config.per_minute:
            self._calls = [at for at in self._calls if at > now - 60]
            if len(self._calls) >= config.per_minute:
                return web.json_response({"error": "slower"}, status=429, headers={"Retry-After": "7"})
            self._calls.append(now)
        try:
            body = json.loads(raw)
            kind, messages = body["type"], body.get("messages", [])
            assert kind in {"check", "messages"}  # noqa: S101
            assert isinstance(messages, list)  # noqa: S101
            assert all(message["id"].isdigit() and message["address"] for message in messages)  # noqa: S101
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError):
            return web.json_response({"error": "not a body of this protocol"}, status=400)
        if kind == "check":
            return web.json_response({"ok": True})
        if len(messages) > MOST_MESSAGES:
            return web.json_response({"error": "too many messages"}, status=413)
        return await self._take(request, messages, str(body.get("medium") or "webhook"))

    def _wrong(self, header: str, raw: bytes) -> str:
        fields = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
        try:
            at = int(fields.get("t", ""))
        except ValueError:
            return "no timestamp"
        if abs(time.time() - at) > CLOCKS:
            return "the signature is too old"
        wanted = hmac.new(self.config.secret.encode(), str(at).encode() + b"." + raw, hashlib.sha256)
        return "" if hmac.compare_digest(wanted.hexdigest(), fields.get("v1", "")) else "wrong signature"

    async def _take(self, request: web.Request, messages: list[dict[str, Any]], medium: str) -> web.Response:
        """Each message once by its id: given again it gets the answer it got."""
        faults = self.config.faults
        results, whole = [], Fault.OK
        for message in messages:
            fault = faults.decide(self.seed, message["id"])
            if fault in {Fault.DROP_BEFORE, Fault.SILENT, Fault.DROP}:
                whole = fault
            if whole is Fault.DROP_BEFORE:
                break
            results.append(self._one(message, fault, medium))
        if self.config.receipts and self.config.callback:
            told = [row["id"] for row in results if row["status"] == "accepted"]
            self.events(
                [{"type": "delivered", "message": ident} for ident in told], self.config.receipt_seconds
            )
        await self.log.flushed()
        await after(request, whole, faults)
        return web.json_response({"results": results})

    def _one(self, message: dict[str, Any], fault: Fault, medium: str) -> dict[str, Any]:
        ident, address = message["id"], message["address"]
        known = self._taken.get(ident)
        if known is not None:
            self.count("repeated")
            return known
        if fault is Fault.THROTTLE:
            self.count("throttled")
            return {"id": ident, "status": "throttled", "code": "busy", "retry_after": 3}
        missing = self.config.unknown_share and self._draw("missing", address) < self.config.unknown_share
        result: dict[str, Any] = {"id": ident, "status": "accepted"}
        if fault is Fault.REFUSE:
            result = {"id": ident, "status": "refused", "code": "policy", "text": "not wanted"}
        elif missing:
            result = {"id": ident, "status": "refused", "code": "no_device", "invalid_address": True}
        self._taken[ident] = result
        shown = digest(message.get("subject", ""), message.get("text", ""), message.get("html", ""))
        verdict = result["status"]
        self.write("message", verdict=verdict, attempt=ident, address=address, digest=shown, result=result)
        self.count(verdict)
        if verdict == "accepted":
            self.reached(medium, "member_number", address, message.get("text", ""), ident)
        return result

    async def leaves(self, person: Person, about: str) -> None:
        self.events([{"type": "opt_out", "message": about}])

    def _draw(self, purpose: str, key: str) -> float:
        raw = hashlib.sha256(f"{self.seed}/{purpose}/{key}".encode()).digest()
        return int.from_bytes(raw[:8]) / 2**64

    # -- what goes back ----------------------------------------------------------------------------------
    async def _tell_now(self, given: dict[str, Any]) -> dict[str, Any]:
        """``POST /webhook/tell`` with an event's fields: it is told as the app would tell it."""
        return {"id": self.events([given])[0]}

    def events(self, given: list[dict[str, Any]], after: float = 0.0) -> list[str]:
        """Tell events to the callback in one signed call; their ids."""
        at = dt.datetime.now(dt.UTC).isoformat()
        told = [{"id": f"app-{self._events + n}", "at": at, **fields} for n, fields in enumerate(given, 1)]
        if told and self.config.callback:
            self._events += len(told)
            self.write("told", n=self._events, types=sorted({event.get("type", "") for event in told}))
            body = json.dumps({"events": told}, ensure_ascii=False).encode()
            self.tell(body, self.signature(body), after=after)
            if self.config.faults.receipt_repeat > self._draw("twice", told[0]["id"]):
                self.tell(body, self.signature(body), after=2 * after)
        return [event["id"] for event in told]

    def signature(self, body: bytes) -> dict[str, str]:
        at = int(time.time())
        total = hmac.new(self.config.secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        return {"X-Evenreach-Signature": f"t={at},v1={total}", "Content-Type": "application/json"}
