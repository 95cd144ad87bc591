"""What the far sides of group robots share: how many messages a robot takes, its group's memory, its faults.

Each vendor's file says how its address, signature, message and errors look.
"""

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from channels.sandbox.faults import Fault
from channels.sandbox.log import digest
from channels.sandbox.vendors.base import BaseVendor
from channels.sandbox.web import after


class Wrong(Exception):
    """A call the robot does not take: the vendor's code and words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


@dataclass
class Window:
    """At most ``most`` calls in ``seconds``; beyond it shut for ``penalty`` seconds."""

    most: int
    seconds: float
    penalty: float = 0.0
    calls: deque[float] = field(default_factory=deque)
    shut_until: float = 0.0

    def passes(self, now: float) -> bool:
        if now < self.shut_until:
            return False
        while self.calls and self.calls[0] <= now - self.seconds:
            self.calls.popleft()
        if len(self.calls) >= self.most:
            self.shut_until = now + self.penalty
            return False
        self.calls.append(now)
        return True


async def take(
    vendor: BaseVendor,
    request: web.Request,
    read: Callable[[dict[str, Any], bytes], tuple[str, str]],
    windows: list[Window],
    answer: Callable[[int, str], dict[str, Any]],
    throttle: tuple[int, str],
    refuse: tuple[int, str],
) -> web.StreamResponse:
    """One call: ``read`` verifies it and gives title and text, or raises :class:`Wrong`."""
    raw = await request.read()
    fault = Fault.OK
    try:
        try:
            body = json.loads(raw)
        except ValueError:
            raise Wrong(40035 if answer(0, "").get("errcode") == 0 else 9499, "Bad Request") from None
        title, text = read(body, raw)
        fault = vendor.config.faults.decide(vendor.seed, digest(raw))
        if fault is Fault.DROP_BEFORE:
            await after(request, fault, vendor.config.faults)
        if fault is Fault.THROTTLE or not all(window.passes(time.time()) for window in windows):
            raise Wrong(*throttle)
        if fault is Fault.REFUSE:
            raise Wrong(*refuse)
        vendor.count("taken")
        vendor.write("message", title=title, text=text, digest=digest(raw), answered=fault is Fault.OK)
        told = answer(0, "ok")
    except Wrong as wrong:
        vendor.count(f"code {wrong.code}")
        vendor.write("refused", code=wrong.code, text=wrong.text)
        told = answer(wrong.code, wrong.text)
    await vendor.log.flushed()
    await after(request, fault, vendor.config.faults)
    return web.json_response(told)
