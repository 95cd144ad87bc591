"""What the HTTP far sides share: a site on a port, and the faults that concern connections."""

import asyncio

from aiohttp import web

from channels.sandbox.faults import Fault, Faults


async def serve(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Run a site. Returns its runner (to clean up) and the port it has."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, host, port, reuse_address=True)
    await site.start()
    return runner, runner.addresses[0][1]


async def after(request: web.Request, fault: Fault, faults: Faults) -> None:
    """Treat the answer as told, once the work is done and logged: late, never, or by a closed connection."""
    if faults.seconds:
        await asyncio.sleep(faults.seconds)
    if fault is Fault.SILENT:
        await asyncio.sleep(3600)
    if fault in {Fault.DROP, Fault.DROP_BEFORE} and request.transport is not None:
        request.transport.abort()
        raise asyncio.CancelledError
