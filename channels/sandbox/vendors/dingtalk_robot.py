"""A DingTalk group robot: token, timestamp and signature in the address; 20 a minute, then shut for ten minutes."""

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from channels.sandbox.robot_group import Window, Wrong, take
from channels.sandbox.vendors.base import BaseVendor, VendorConfig

LONGEST = 20_000
DRIFT = 3600.0  # seconds the timestamp may differ


@dataclass
class Config(VendorConfig):
    token: str = "sandbox-dingtalk-token"  # noqa: S105  (opens the sandbox only)
    secret: str = "SECsandboxdingtalk"  # noqa: S105  (opens the sandbox only)
    keyword: str = ""  # messages must hold it when set
    per_minute: int = 20
    shut_seconds: float = 600.0


class Vendor(BaseVendor):
    name = "dingtalk_robot"
    port = 18162
    Config = Config

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post("/robot/send", self._send)
        self._window = Window(self.config.per_minute, 60.0, self.config.shut_seconds)
        return app

    def _proved(self, query: Any) -> None:
        if not self.config.secret:
            return
        stamp = query.get("timestamp", "")
        if not stamp.isdigit() or abs(int(stamp) / 1000 - time.time()) > DRIFT:
            raise Wrong(310000, "invalid timestamp, more: [sandbox]")
        made = hmac.new(
            self.config.secret.encode("utf-8"),
            (stamp + "\n" + self.config.secret).encode("utf-8"),
            hashlib.sha256,
        )
        if not hmac.compare_digest(base64.b64encode(made.digest()).decode(), query.get("sign", "")):
            raise Wrong(310000, "sign not match, more: [sandbox]")

    async def _send(self, request: web.Request) -> web.StreamResponse:
        def read(body: dict[str, Any], raw: bytes) -> tuple[str, str]:
            if request.query.get("access_token") != self.config.token:
                raise Wrong(300005, "token is not exist")
            if not request.content_type.startswith("application/json"):
                raise Wrong(43004, "invalid http header Content-Type")
            self._proved(request.query)
            told = body.get("markdown") or {}
            if body.get("msgtype") != "markdown" or not told.get("title") or not told.get("text"):
                raise Wrong(40035, "缺少参数 markdown")
            if len(raw) > LONGEST:
                raise Wrong(460101, "message too long, exceed 20000 bytes")
            if self.config.keyword and self.config.keyword not in told["title"] + told["text"]:
                raise Wrong(310000, "keywords not in content, more: [sandbox]")
            return told["title"], told["text"]

        self._window.most, self._window.penalty = self.config.per_minute, self.config.shut_seconds
        return await take(
            self, request, read, [self._window], lambda code, text: {"errcode": code, "errmsg": text},
            (130101, "send too fast, exceed 20 times per minute"), (400013, "group is dismissed"),
        )  # fmt: skip
