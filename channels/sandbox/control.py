"""The door for tests and demos: read counters, change the configuration, make things happen now.

GET  /                       counters, what waits, ports, configuration
POST /config                 {"smpp": {"faults": {"throttle": 0.5}}, "market": {"speed": 3600}}
POST /smpp/reply             {"phone": "+8613800138000", "to": "10690000", "text": "R"}
POST /wecom/confirm          {"msgid": "…", "userid": "…"}
POST /wecom/publish          {"moment_id": "…", "userid": "…"}
POST /wecom/leave            {"external_userid": "…", "userid": "…"}
POST /meta/deliver           {"adset": "…", "day": "2026-11-23"}
POST /<vendor>/<verb>        what a vendor's ``doors`` give
"""

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from channels.sandbox.config import BadConfig

if TYPE_CHECKING:
    from channels.sandbox.server import Sandbox


def app(sandbox: "Sandbox") -> web.Application:
    async def state(request: web.Request) -> web.Response:
        return web.json_response(sandbox.state())

    async def config(body: dict[str, Any]) -> Any:
        sandbox.apply(body)
        return {}

    async def reply(body: dict[str, Any]) -> Any:
        sandbox.center.reply(body["phone"], body["to"], body["text"])
        return {}

    async def confirm(body: dict[str, Any]) -> Any:
        return {"sent": await sandbox.corp.confirm(body["msgid"], body["userid"])}

    async def publish(body: dict[str, Any]) -> Any:
        return {"published": await sandbox.corp.moments.publish(body["moment_id"], body["userid"])}

    async def leave(body: dict[str, Any]) -> Any:
        await sandbox.corp.leave(body["external_userid"], body["userid"])
        return {}

    async def deliver(body: dict[str, Any]) -> Any:
        return sandbox.account.deliver(body["adset"], dt.date.fromisoformat(body["day"]))

    def opening(
        handler: Callable[[dict[str, Any]], Awaitable[Any]],
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def open_door(request: web.Request) -> web.Response:
            try:
                return web.json_response(await handler(await request.json()))
            except KeyError as error:
                return web.json_response({"error": f"{error} is missing or unknown"}, status=400)
            except (BadConfig, ValueError) as error:
                return web.json_response({"error": str(error)}, status=400)

        return open_door

    application = web.Application()
    application.router.add_get("/", state)
    for path, handler in {
        "/config": config, "/smpp/reply": reply, "/wecom/confirm": confirm, "/wecom/leave": leave,
        "/wecom/publish": publish,
        "/meta/deliver": deliver, **{path: door for one in sandbox.vendors.values() for path, door in one.doors().items()},
    }.items():  # fmt: skip
        application.router.add_post(path, opening(handler))
    return application
