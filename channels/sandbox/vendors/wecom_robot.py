"""A WeCom group robot: the key in the address is all its proof; 20 messages a minute; markdown of 4096 bytes."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from channels.sandbox.robot_group import Window, Wrong, take
from channels.sandbox.vendors.base import BaseVendor, VendorConfig

LONGEST = {"markdown": 4096, "text": 2048}


@dataclass
class Config(VendorConfig):
    key: str = "00000000-1111-2222-3333-sandboxrobot"
    per_minute: int = 20


class Vendor(BaseVendor):
    name = "wecom_robot"
    port = 18161
    Config = Config

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post("/cgi-bin/webhook/send", self._send)
        self._window = Window(self.config.per_minute, 60.0)
        return app

    async def _send(self, request: web.Request) -> web.StreamResponse:
        def read(body: dict[str, Any], raw: bytes) -> tuple[str, str]:
            if request.query.get("key") != self.config.key:
                raise Wrong(93000, "invalid webhook url, hint: [sandbox]")
            kind = body.get("msgtype")
            if kind not in LONGEST:
                raise Wrong(40008, "invalid message type, hint: [sandbox]")
            content = (body.get(kind) or {}).get("content")
            if not isinstance(content, str) or not content:
                raise Wrong(44004, "empty content, hint: [sandbox]")
            if len(content.encode()) > LONGEST[kind]:
                raise Wrong(
                    40058, f"{kind}.content exceed max length {LONGEST[kind]}. invalid Request Parameter"
                )
            return content.splitlines()[0].lstrip("# "), content

        self._window.most = self.config.per_minute
        return await take(
            self, request, read, [self._window], lambda code, text: {"errcode": code, "errmsg": text},
            (45009, "api freq out of limit, hint: [sandbox]"), (93008, "not in group, hint: [sandbox]"),
        )  # fmt: skip
