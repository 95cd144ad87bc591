"""What the far sides of ad platforms share: tokens that run out, calls a minute, faults, placements that deliver.

What a call changes is on the disk before it is answered, and read back after a kill. Nothing names a person: people
are hashes, reports are totals a placement and day.
"""

import asyncio
import datetime as dt
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from aiohttp import web

from channels.sandbox.faults import Fault, chance
from channels.sandbox.log import digest
from channels.sandbox.vendors._delivery import Matching, Plain
from channels.sandbox.vendors.base import BaseVendor, Door, VendorConfig
from channels.sandbox.web import after

ZONE = ZoneInfo("Asia/Shanghai")
Answer = dict[str, Any]
Handler = Callable[[web.Request, dict[str, Any]], Awaitable[Any]]


class Refused(Exception):
    """An error envelope of the platform."""

    def __init__(self, code: int, text: str, status: int = 200) -> None:
        super().__init__(text)
        self.code, self.status = code, status


@dataclass
class AdConfig(VendorConfig):
    """One advertiser and one app. What stands here opens the sandbox only."""

    account_id: str = "10000001"
    app_id: str = "1100001"
    app_secret: str = "sandbox-app-secret"  # noqa: S105
    access_token: str = "sandbox-access-0"  # noqa: S105
    refresh_token: str = "sandbox-refresh-0"  # noqa: S105
    token_seconds: float = 86_400.0
    refresh_seconds: float = 30 * 86_400.0
    per_minute: int = 0  # calls of one address; 0: no limit
    process_seconds: float = 0.1  # until what was uploaded is worked off
    match_share: float = 0.8  # of pushed people whom the platform knows
    cpm: float = 30.0  # yuan
    topped_up: float = 10_000.0  # yuan, once, and a gift
    gift: float = 0.0
    click_share: float = 0.012
    default_frequency: float = 3.0  # a day and person, where people live behind
    placements: dict[str, Any] = field(default_factory=dict)  # id → fields, as somebody made them by hand


@dataclass
class Figures:
    spend_fen: int = 0
    exposures: int = 0
    clicks: int = 0


class AdPlatform(BaseVendor):
    """Inherit and give ``envelope``, ``codes`` and the routes."""

    Config = AdConfig
    # Codes of the platform: token over, wrong token, refresh token over, too many calls, bad parameter, own trouble.
    codes: ClassVar[dict[str, int]]
    medium: ClassVar[str] = "social"
    hashed: ClassVar[Mapping[str, Plain]] = {}  # field of a person → its form before it is hashed
    rotates: ClassVar[bool] = True  # a refresh token is taken once, and a new one comes with each answer
    token_paths: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        now = time.time()
        self.access: dict[str, float] = {self.config.access_token: now + self.config.token_seconds}
        self.refresh: dict[str, float] = {self.config.refresh_token: now + self.config.refresh_seconds}
        self.placements: dict[str, dict[str, Any]] = {
            key: dict(fields) for key, fields in self.config.placements.items()
        }
        self.delivered: dict[tuple[str, str], Figures] = {}
        self._calls: dict[str, list[float]] = {}
        self._ticking: asyncio.Task[None] | None = None
        self.matching = Matching(self.seed, self.config.match_share, self.people, self.hashed, "sha256")

    # -- to give -----------------------------------------------------------------------------------------
    def envelope(self, code: int, text: str, data: Any) -> Answer:
        return {"code": code, "message": text, "data": data, "request_id": secrets.token_hex(8)}

    def token_of(self, request: web.Request) -> str:
        return request.headers.get("Access-Token", "")

    def check_call(self, request: web.Request, given: dict[str, Any]) -> None:
        """What else a call must have. Raises :class:`Refused`."""

    def restore_line(self, line: dict[str, Any]) -> None:
        """One line of the log that is not of this class's own."""

    def day_budget_fen(self, placement: dict[str, Any], day: dt.date) -> int:
        """What a placement may spend on a day; 0 when it does not run."""
        raise NotImplementedError

    def audience(self, placement: dict[str, Any]) -> Iterable[str] | None:
        """The hashes a placement is shown to; None for everybody on the platform."""
        return None

    def cap(self, placement: dict[str, Any]) -> tuple[int, int] | None:
        """(exposures, days) a person may see of a placement at most, where the platform keeps to such a thing."""
        return None

    # -- life --------------------------------------------------------------------------------------------
    def restore(self) -> None:
        for line in self.lines():
            event = line["event"]
            if event == "token":
                self._take_token(line)
            elif event == "placement":
                self.placements.setdefault(line["id"], {}).update(line["fields"])
            elif event == "delivered":
                self.delivered[line["placement"], line["day"]] = Figures(**line["figures"])
            else:
                self.restore_line(line)

    def start(self) -> None:
        self._ticking = asyncio.ensure_future(self._tick())

    async def close(self) -> None:
        if self._ticking:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        await super().close()

    def doors(self) -> dict[str, Door]:
        async def placement(body: dict[str, Any]) -> Any:
            return self.place(str(body["id"]), **body.get("fields", {}))

        async def deliver(body: dict[str, Any]) -> Any:
            day = dt.date.fromisoformat(body["day"])
            return vars(self.deliver(str(body["id"]), day, float(body.get("share", 1.0))))

        return {f"/{self.name}/placement": placement, f"/{self.name}/deliver": deliver}

    # -- calls -------------------------------------------------------------------------------------------
    def left_fen(self) -> int:
        """Cash of the account after all that was delivered."""
        return round(self.config.topped_up * 100) - sum(one.spend_fen for one in self.delivered.values())

    def guarded(self, handler: Handler, bucket: str = "") -> Callable[[web.Request], Awaitable[web.Response]]:
        """Token, limits, faults and errors handled once. ``bucket``: what counts as one address for the limit."""

        async def answered(request: web.Request) -> web.Response:
            fault, status = Fault.OK, 200
            try:
                given = await self._given(request)
                of_tokens = request.path in self.token_paths
                if not of_tokens:
                    self._check_token(self.token_of(request))
                    self.check_call(request, given)
                    self._check_limit(bucket or request.path)
                    if request.method != "GET":
                        fault = self.config.faults.decide_call(
                            self.seed, digest(request.path, repr(sorted(given.items(), key=str)))
                        )
                if fault is Fault.THROTTLE:
                    raise Refused(self.codes["limit"], "too many requests, slow down")
                data = (
                    {} if fault is Fault.DROP_BEFORE else await self._handled(handler, request, given, fault)
                )
                answer = self.envelope(0, "OK", data)
            except Refused as error:
                answer, status = self.envelope(error.code, str(error), {}), error.status
                self.count(f"error {error.code}")
            await self.log.flushed()
            await after(request, fault, self.config.faults)
            return web.json_response(answer, status=status)

        return answered

    async def _handled(
        self, handler: Handler, request: web.Request, given: dict[str, Any], fault: Fault
    ) -> Any:
        if fault is Fault.REFUSE:
            return await self.refused(handler, request, given)
        return await handler(request, given)

    async def refused(self, handler: Handler, request: web.Request, given: dict[str, Any]) -> Any:
        """What a refusal looks like; override where the platform takes a batch and refuses its members."""
        raise Refused(self.codes["parameter"], "parameter error")

    async def _given(self, request: web.Request) -> dict[str, Any]:
        given: dict[str, Any] = dict(request.query)
        if request.method == "GET":
            return given
        if request.content_type == "application/json":
            try:
                body = await request.json()
            except ValueError:
                raise Refused(self.codes["parameter"], "the body is not JSON") from None
            return {**given, **body}
        for name, value in (await request.post()).items():
            given[name] = value if isinstance(value, str) else (value.filename, value.file.read())  # type: ignore[union-attr]
        return given

    def _check_token(self, token: str) -> None:
        if self.config.faults.expired_token > 0:
            self.config.faults.expired_token -= 1
            self.access.pop(token, None)
            raise Refused(self.codes["over"], "access_token is expired")
        if token not in self.access:
            raise Refused(self.codes["over"], "access_token is not valid")
        if self.access[token] <= time.time():
            raise Refused(self.codes["over"], "access_token is expired")

    def _check_limit(self, bucket: str) -> None:
        most = self.most_a_minute(bucket)
        if most:
            now = time.time()
            calls = self._calls[bucket] = [at for at in self._calls.get(bucket, ()) if at > now - 60]
            if len(calls) >= most:
                raise Refused(self.codes["limit"], "too many requests, slow down")
            calls.append(now)

    def most_a_minute(self, bucket: str) -> int:
        return int(self.config.per_minute)

    # -- tokens ------------------------------------------------------------------------------------------
    def renew(self, app: Any, secret: Any, refresh_token: Any) -> dict[str, Any]:
        """A new access token for a refresh token. Raises :class:`Refused`."""
        if str(app) != self.config.app_id or (secret is not None and secret != self.config.app_secret):
            raise Refused(self.codes["parameter"], "app id or secret is not valid")
        if self.refresh.get(str(refresh_token), 0) <= time.time():
            raise Refused(self.codes["refresh_over"], "refresh_token is expired or was used before")
        now = time.time()
        line = {
            "access": f"sandbox-access-{secrets.token_hex(12)}", "until": now + self.config.token_seconds,
            "refresh": f"sandbox-refresh-{secrets.token_hex(12)}" if self.rotates else str(refresh_token),
            "refresh_until": now + self.config.refresh_seconds, "instead_of": str(refresh_token),
        }  # fmt: skip
        self._take_token(line)
        self.write("token", **line)
        self.count("renewed")
        return line

    def _take_token(self, line: dict[str, Any]) -> None:
        """Only the newest access token opens the door: whoever renewed twice has shut somebody out."""
        self.refresh.pop(line["instead_of"], None)
        self.access = {line["access"]: line["until"]}
        self.refresh[line["refresh"]] = line["refresh_until"]

    # -- placements --------------------------------------------------------------------------------------
    def place(self, key: str, **fields: Any) -> dict[str, Any]:
        """A placement made, or changed, on the platform's own screens or by a call."""
        self.placements.setdefault(key, {}).update(fields)
        self.write("placement", id=key, fields=fields)
        return {"id": key, **self.placements[key]}

    def placement(self, key: Any) -> dict[str, Any]:
        found = self.placements.get(str(key))
        if found is None:
            raise Refused(self.codes["parameter"], f"{key} does not exist")
        return found

    def deliver(self, key: str, day: dt.date, share: float = 1.0) -> Figures:
        """Bring a day's delivery of a placement to ``share`` of what its budget allows."""
        budget = int(self.day_budget_fen(self.placements[key], day) * min(1.0, share))
        known = self.delivered.get((key, day.isoformat()), Figures())
        rows = self._public(self.placements[key])
        most = int(budget * 10 / self.config.cpm)
        if rows is not None:  # no more than the people behind look at
            most = min(most, int(self._room(key, day, len(rows)) * min(1.0, share)))
        exposures = max(known.exposures, most)
        if exposures == known.exposures:
            return known
        figures = Figures(
            round(exposures * self.config.cpm / 10), exposures, int(exposures * self.config.click_share)
        )
        self.delivered[key, day.isoformat()] = figures
        self.write("delivered", placement=key, day=day.isoformat(), figures=vars(figures))
        if rows:
            self.seen_by(self.medium, (rows[n % len(rows)] for n in range(known.exposures, exposures)))
        return figures

    def _public(self, placement: dict[str, Any]) -> list[int] | None:
        """Rows of the people a placement can be shown to; None where nobody lives behind."""
        if self.people is None:
            return None
        hashes = self.audience(placement)
        if hashes is not None:
            return [int(row) for row in self.matching.people_in(hashes)]
        share = self.config.match_share
        return [
            row for row, one in enumerate(self.people.people) if chance(self.seed, self.name, one.key) < share
        ]

    def _room(self, key: str, day: dt.date, people: int) -> int:
        """Exposures of a day that so many people look at, less what a cap leaves no room for."""
        most = int(people * self.config.default_frequency)
        cap = self.cap(self.placements[key])
        if cap is None:
            return most
        earlier = sum(
            figures.exposures for (other, of), figures in self.delivered.items()
            if other == key and 0 < (day - dt.date.fromisoformat(of)).days < cap[1]
        )  # fmt: skip
        return max(0, min(most, cap[0] * people - earlier))

    def figures(self, start: str, end: str) -> list[tuple[str, str, Figures]]:
        """(placement, day, figures) of these days, in a fixed order."""
        return sorted(
            (key, day, figures) for (key, day), figures in self.delivered.items() if start <= day <= end
        )

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = dt.datetime.now(ZONE)
            midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
            for key in list(self.placements):
                self.deliver(key, now.date(), (now - midnight).total_seconds() / 86_400)


def paged(rows: Iterable[Any], page: Any, size: Any, most: int) -> tuple[list[Any], dict[str, int]]:
    """A page of rows, and what platforms tell of pages. Raises :class:`ValueError` for a size they do not take."""
    found, number, wanted = list(rows), int(page or 1), int(size or 10)
    if not 1 <= wanted <= most or number < 1:
        raise ValueError(f"page_size must be 1 to {most}")
    pages = -(-len(found) // wanted)
    start = (number - 1) * wanted
    info = {"page": number, "page_size": wanted, "total_number": len(found), "total_page": pages}
    return found[start : start + wanted], info


def within(day: dt.date, starts: Any, ends: Any) -> bool:
    """Whether a day lies in a flight of texts, empty for open ends."""
    return (not starts or str(starts)[:10] <= day.isoformat()) and (
        not ends or day.isoformat() <= str(ends)[:10]
    )
