"""A Feishu group robot: timestamp and signature in the body; 100 a minute and 5 a second; 20 KB."""

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from channels.sandbox.robot_group import Window, Wrong, take
from channels.sandbox.vendors.base import BaseVendor, VendorConfig

LONGEST = 20 * 1024
DRIFT = 3600.0


@dataclass
class Config(VendorConfig):
    hook: str = "aaaabbbb-cccc-dddd-eeee-sandboxhook"
    secret: str = "sandbox-feishu-secret"  # noqa: S105  (opens the sandbox only)
    keyword: str = ""
    per_minute: int = 100
    per_second: int = 5


class Vendor(BaseVendor):
    name = "feishu_robot"
    port = 18163
    Config = Config

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post("/open-apis/bot/v2/hook/{hook}", self._send)
        self._minute, self._second = Window(self.config.per_minute, 60.0), Window(self.config.per_second, 1.0)
        return app

    def _proved(self, body: dict[str, Any]) -> None:
        if not self.config.secret:
            return
        stamp = str(body.get("timestamp", ""))
        fresh = stamp.isdigit() and abs(int(stamp) - time.time()) <= DRIFT
        # The string is the key, and nothing is what is signed.
        key = f"{stamp}\n{self.config.secret}".encode()
        made = base64.b64encode(hmac.new(key, digestmod=hashlib.sha256).digest()).decode()
        if not fresh or not hmac.compare_digest(made, str(body.get("sign", ""))):
            raise Wrong(19021, "sign match fail or timestamp is not within one hour from current time")

    async def _send(self, request: web.Request) -> web.StreamResponse:
        def read(body: dict[str, Any], raw: bytes) -> tuple[str, str]:
            if request.match_info["hook"] != self.config.hook:
                raise Wrong(19001, "param invalid: incoming webhook access token invalid")
            if len(raw) > LONGEST:
                raise Wrong(9499, "Bad Request")
            self._proved(body)
            title, text = self._card(body)
            if self.config.keyword and self.config.keyword not in title + text:
                raise Wrong(19024, "Key Words Not Found")
            return title, text

        self._minute.most, self._second.most = self.config.per_minute, self.config.per_second
        return await take(
            self, request, read, [self._minute, self._second],
            lambda code, text: {"code": code, "msg": "success" if code == 0 else text, "data": {}},
            (11232, "frequency limited"), (19002, "params error, msg_type need"),
        )  # fmt: skip

    @staticmethod
    def _card(body: dict[str, Any]) -> tuple[str, str]:
        if body.get("msg_type") != "interactive" or not isinstance(body.get("card"), dict):
            raise Wrong(9499, "Bad Request")
        card = body["card"]
        try:
            title = card["header"]["title"]["content"]
            text = "\n".join(part["content"] for part in card["elements"] if part["tag"] == "markdown")
        except (KeyError, TypeError):
            raise Wrong(9499, "Bad Request") from None
        return str(title), text
