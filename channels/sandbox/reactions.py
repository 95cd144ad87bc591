"""The people behind, live: they open, click, answer, leave and buy, each when their time has come.

Reactions are drawn by :mod:`channels.sandbox.market`, wait in simulated time, and then reach our side as any
stranger's would: a GET of a pixel or link, an RFC 8058 POST, a message to our number or account, an order of the shop.
Only addresses below ``market.app_url`` are ever called. What a touch led to is written down (``market.jsonl``), so
that a killed sandbox goes on where it was.
"""

import asyncio
import datetime as dt
import hashlib
import heapq
import hmac
import itertools
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
import numpy as np

from channels.sandbox.config import Market
from channels.sandbox.faults import chance
from channels.sandbox.log import Log, read_log
from channels.sandbox.market import Truth, base_orders, draw, react
from channels.sandbox.people import Person, Population, Touch

KIND = "market"
DAY = 86400.0
PHONE_BROWSER = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
SCANNER = "Mozilla/5.0 (compatible; Sandbox URL scanner)"
TRIES, PATIENCE = 8, 2.0
AGAIN = {409, 429}  # the same call still runs; too many calls
LONGEST_TICK = 0.05


class Side(Protocol):
    """What a vendor's side does when one of the people turns to us over it."""

    async def answers(self, person: Person, text: str) -> None: ...

    async def leaves(self, person: Person, about: str) -> None: ...


@dataclass(slots=True)
class Memory:
    """What a person remembers of a medium."""

    ordinal: int = 0
    last: float = 0.0  # simulated days
    occasion: int = 0
    left: bool = False


@dataclass
class Crowd:
    """All people, their clock and what they are about to do."""

    config: Market
    truth: Truth
    people: Population
    log: Log
    reply: Callable[[str, str, str], None]  # (phone, our number, text)
    leave: Callable[[str, str], Awaitable[None]]  # (external id, employee)
    sides: Mapping[str, Side] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._anchor = (time.monotonic(), 0.0)
        self._memory: dict[tuple[int, str], Memory] = {}
        self._arrived: list[Touch] = []
        self._due: list[tuple[float, int, dict[str, Any]]] = []
        self._order = itertools.count()
        self._day = -1
        self._running: list[asyncio.Task[None]] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._client: aiohttp.ClientSession | None = None

    def count(self, name: str, n: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + n

    # -- life --------------------------------------------------------------------------------------------
    def restore(self) -> None:
        """Read what was planned and done: memory, the clock, and the reactions still to come."""
        waiting: dict[str, tuple[float, dict[str, Any]]] = {}
        now = 0.0
        for line in read_log(self.log.directory.parent, KIND):
            now = max(now, line.get("day", 0.0))
            if line["event"] == "touch":
                self._memory[line["row"], line["medium"]] = Memory(
                    line["ordinal"], line["day"], line["occasion"]
                )
                waiting |= {action["id"]: (due, action) for due, action in line["actions"]}
            elif line["event"] == "left":
                self._memory.setdefault((line["row"], line["medium"]), Memory()).left = True
            elif line["event"] == "done":
                for name in line["ids"]:
                    waiting.pop(name, None)
        self._anchor = (time.monotonic(), now)
        for due, action in waiting.values():
            self._schedule(due, action)

    def start(self) -> None:
        timeout = aiohttp.ClientTimeout(total=15)
        self._client = aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": PHONE_BROWSER})
        self._running = [asyncio.ensure_future(self._live())]

    async def close(self) -> None:
        for task in (*self._running, *self._calls):
            task.cancel()
        await asyncio.gather(*self._running, *self._calls, return_exceptions=True)
        if self._client:
            await self._client.close()

    # -- time --------------------------------------------------------------------------------------------
    def now(self) -> float:
        """Simulated days since the sandbox first ran."""
        real, days = self._anchor
        return days + (time.monotonic() - real) * self.config.speed / DAY

    def set_speed(self, speed: float) -> None:
        self._anchor = (time.monotonic(), self.now())
        self.config.speed = speed

    def waiting(self) -> int:
        return len(self._due) + len(self._arrived) + len(self._calls)

    # -- touches -----------------------------------------------------------------------------------------
    def touch(self, touch: Touch) -> None:
        """The person has it before them. Judged with others, a moment later."""
        self._arrived.append(touch)

    async def _live(self) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(LONGEST_TICK)
            if self._arrived and self.config.enabled:
                self._judge()
            self._buy_anyway()
            elapsed, began = time.monotonic() - began, time.monotonic()
            self._act(max(1, math.ceil(self.config.per_second * elapsed)))

    def _judge(self) -> None:
        """Draw what the touches that arrived lead to, and plan it."""
        arrived, self._arrived = self._arrived, []
        now, truth = self.now(), self.truth
        touches, memories = [], []
        for touch in arrived:
            memory = self._memory.setdefault((touch.row, touch.medium), Memory())
            if memory.left or touch.medium not in truth.curves:
                self.count(f"{touch.medium} ignored")
                continue
            if memory.ordinal and now - memory.last > truth.memory_days:
                memory.ordinal, memory.occasion = 0, memory.occasion + 1
            memory.ordinal, memory.last = memory.ordinal + 1, now
            touches.append(touch)
            memories.append((memory.ordinal, memory.occasion))
        if not touches:
            return
        ordinals, occasions = (np.array(column, dtype=np.int64) for column in zip(*memories, strict=True))
        people = self.people.hashes[[touch.row for touch in touches]]
        media = np.array([truth.code(touch.medium) for touch in touches])
        found = react(truth, people, media, ordinals, occasions)
        waits = {
            name: getattr(found, name).tolist()
            for name in ("open", "click", "reply", "opt_out", "order", "amount")
        }
        scanned = (draw(truth.seed, "scanner", people) < truth.scanner_share).tolist()
        for n, touch in enumerate(touches):
            ordinal, occasion = memories[n]
            name = f"{touch.row}:{touch.medium}:{occasion}:{ordinal}"
            mine = {kind: column[n] for kind, column in waits.items()}
            actions = [
                (now + wait, {**action, "id": f"{name}:{i}"})
                for i, (wait, action) in enumerate(self._actions(touch, name, mine, scanned[n]))
            ]
            self.count(f"{touch.medium} touches")
            self.log.write(
                KIND, "touch", row=touch.row, medium=touch.medium, ordinal=ordinal, occasion=occasion, day=now,
                actions=actions,
            )  # fmt: skip
            for due, action in actions:
                self._schedule(due, action)

    def _actions(
        self, touch: Touch, name: str, waits: dict[str, float], scanned: bool
    ) -> Iterator[tuple[float, dict[str, Any]]]:
        """(wait in days, what to do) of one touch."""
        person = self.people.people[touch.row]
        links = [link for link in touch.links if self._ours(link) and link != touch.unsubscribe]
        pixels = [pixel for pixel in touch.pixels if self._ours(pixel)]
        if scanned and touch.medium == "email":
            for link in (*links, *([touch.unsubscribe] if self._ours(touch.unsubscribe) else ())):
                yield 0.0, {"do": "get", "url": link, "as": "scanner"}
        if not math.isnan(waits["open"]) and pixels:
            yield waits["open"], {"do": "get", "url": pixels[0], "as": "open"}
        if not math.isnan(waits["click"]) and links:
            chosen = links[int(chance(self.truth.seed, "link", name) * len(links))]
            yield waits["click"], {"do": "get", "url": chosen, "as": "click"}
        back = {"to": touch.number, "via": touch.via}
        if not math.isnan(waits["reply"]) and (touch.number or touch.via):
            yield waits["reply"], {"do": "reply", "row": touch.row, "text": "请问还有货吗？", **back}
        if not math.isnan(waits["opt_out"]):
            leaving = {"row": touch.row, "medium": touch.medium}
            if touch.medium == "sms" and (touch.number or touch.via):
                words = ("R", "退订", "T") if person.phone.startswith("+86") else ("STOP", "Stop")
                word = words[int(chance(self.truth.seed, "word", name) * len(words))]
                yield waits["opt_out"], {"do": "reply", "text": word, **back, **leaving}
            elif touch.medium == "email" and self._ours(touch.unsubscribe):
                yield waits["opt_out"], {"do": "unsubscribe", "url": touch.unsubscribe, **leaving}
            elif touch.medium == "wecom" and touch.employee:
                yield waits["opt_out"], {"do": "leave", "employee": touch.employee, **leaving}
            elif touch.via:
                yield waits["opt_out"], {"do": "leave", "via": touch.via, "about": touch.about, **leaving}
        if not math.isnan(waits["order"]):
            yield (
                waits["order"],
                {"do": "order", "row": touch.row, "number": f"SBX-{name}", "paid": waits["amount"]},
            )

    def _ours(self, url: str) -> bool:
        app = self.config.app_url.rstrip("/")
        return bool(app) and url.startswith(f"{app}/")

    def _buy_anyway(self) -> None:
        """Plan the orders of the simulated day that nobody asked for; after a restart only what is still to come."""
        if not (self.config.enabled and self.config.orders and self.config.base_orders):
            return
        now = self.now()
        if int(now) <= self._day:
            return
        began_within = self._day < 0  # just started, or started again: the day's earlier orders were told
        self._day = int(now)
        rows, times, amounts = base_orders(self.truth, self.people.hashes, self._day)
        for row, at, amount in zip(rows.tolist(), times.tolist(), amounts.tolist(), strict=True):
            if self._day + at >= now or not began_within:
                number = f"SBX-base-{row}-{self._day}"
                self._schedule(
                    self._day + at, {"do": "order", "row": row, "number": number, "paid": amount, "id": ""}
                )

    # -- doing -------------------------------------------------------------------------------------------
    def _schedule(self, due: float, action: dict[str, Any]) -> None:
        if len(self._due) >= self.config.pending:
            self.count("dropped")
            return
        heapq.heappush(self._due, (due, next(self._order), action))

    def _act(self, most: int) -> None:
        """Start what is due, at most so many calls."""
        now, orders = self.now(), []
        while self._due and self._due[0][0] <= now and most > 0 and len(self._calls) < 64:
            action = heapq.heappop(self._due)[2]
            if action["do"] == "order":
                orders.append(action)
                most -= len(orders) % self.config.order_batch == 1
            else:
                most -= 1
                self._spawn(self._do(action))
        for n in range(0, len(orders), self.config.order_batch):
            self._spawn(self._buy(orders[n : n + self.config.order_batch]))

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _do(self, action: dict[str, Any]) -> None:
        what = action["do"]
        if what == "get":
            agent = {"User-Agent": SCANNER} if action["as"] == "scanner" else None
            done = await self._call("GET", action["url"], headers=agent)
            self.count(action["as"] if done else f"{action['as']} failed")
        elif what == "unsubscribe":
            done = await self._call("POST", action["url"], data={"List-Unsubscribe": "One-Click"})
            self.count("unsubscribe" if done else "unsubscribe failed")
        elif what == "reply":
            person = self.people.people[action["row"]]
            if action.get("via"):
                await self.sides[action["via"]].answers(person, action["text"])
            else:
                self.reply(person.phone, action["to"], action["text"])
            self.count("reply")
        elif what == "leave":
            person = self.people.people[action["row"]]
            if action.get("via"):
                await self.sides[action["via"]].leaves(person, action["about"])
            else:
                await self.leave(person.wecom_external_id, action["employee"])
            self.count("leave")
        if "medium" in action:
            self._memory.setdefault((action["row"], action["medium"]), Memory()).left = True
            self.log.write(KIND, "left", row=action["row"], medium=action["medium"])
        self.log.write(KIND, "done", ids=[action["id"]], day=self.now())

    async def _buy(self, orders: list[dict[str, Any]]) -> None:
        """Tell the shop's orders to the REST API, as the shop's own system would."""
        config = self.config
        if config.orders and config.api_url:
            body = {"rows": [self._order_row(order) for order in orders]}
            headers = {"Authorization": f"Bearer {config.api_key}", "Idempotency-Key": _key(body)}
            url = f"{config.api_url.rstrip('/')}/{config.orders_path.lstrip('/')}"
            done = await self._call("POST", url, json=body, headers=headers)
            self.count("orders" if done else "orders failed", len(orders))
        else:
            self.count("orders untold", len(orders))
        ids = [order["id"] for order in orders if order["id"]]
        self.log.write(KIND, "done", ids=ids, day=self.now(), numbers=[order["number"] for order in orders])

    def _order_row(self, order: dict[str, Any]) -> dict[str, str]:
        person = self.people.people[order["row"]]
        row = {
            "number": order["number"], "source": "sandbox", "placed_at": dt.datetime.now(dt.UTC).isoformat(),
            "paid": f"{order['paid']:.2f}", "member_number": person.member_number, "phone": person.phone,
            "email": person.email,
        }  # fmt: skip
        return {name: value for name, value in row.items() if value}

    async def _call(self, method: str, url: str, **options: Any) -> bool:
        """One call to our side, tried again while it is down. False when it refused or stayed down."""
        assert self._client is not None  # noqa: S101
        for attempt in range(TRIES):
            try:
                async with self._client.request(method, url, allow_redirects=False, **options) as answer:
                    await answer.read()
                    # A link may lead elsewhere; what is posted must be taken here.
                    if answer.status < (400 if method == "GET" else 300):
                        return True
                    if answer.status < 500 and answer.status not in AGAIN:
                        self.count(f"answer {answer.status}")
                        return False
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(min(30.0, PATIENCE * 2**attempt) * chance(self.truth.seed, url, str(attempt)))
        return False


def _key(body: Any) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]


@dataclass
class Postman:
    """Posts delivery events of the mail server to our webhook, in batches, until they are taken."""

    url: Callable[[], str]
    key: Callable[[], str]
    told: Callable[[list[str]], None]  # ids of events that were taken
    counters: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._waiting: list[dict[str, Any]] = []
        self._running: asyncio.Task[None] | None = None

    def report(self, event: dict[str, Any]) -> None:
        if self.url():
            self._waiting.append(event)

    def waiting(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        self._running = asyncio.ensure_future(self._work())

    async def close(self) -> None:
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _work(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as client:
            while True:
                await asyncio.sleep(0.1)
                while self._waiting:
                    batch = self._waiting[:200]
                    body = json.dumps({"events": batch}).encode()
                    headers = {"Content-Type": "application/json"}
                    if self.key():
                        proof = hmac.new(self.key().encode(), body, hashlib.sha256).hexdigest()
                        headers["X-Evenreach-Signature"] = f"sha256={proof}"
                    if not await self._post(client, body, headers):
                        break
                    del self._waiting[: len(batch)]
                    self.told([event["id"] for event in batch])

    async def _post(self, client: aiohttp.ClientSession, body: bytes, headers: dict[str, str]) -> bool:
        name = "webhook down"
        try:
            async with client.post(self.url(), data=body, headers=headers) as answer:
                name = f"webhook {answer.status}"
                return answer.status < 500
        except (aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(1)
            return False
        finally:
            self.counters[name] = self.counters.get(name, 0) + 1
