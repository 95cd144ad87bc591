"""The Graph API of one ad account: audiences, ad sets, delivery, daily insights.

What a call changes is on the disk before it is answered. People are known by their SHA-256 only. Delivery tells
totals a day and ad set: impressions are dealt to the matched people of the audience in rounds, so nobody gets
more than the frequency cap, and no answer names a person.
"""

import asyncio
import datetime as dt
import hashlib
import hmac
import itertools
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from channels.sandbox.config import Meta
from channels.sandbox.faults import Fault, chance
from channels.sandbox.log import Log, digest, read_log
from channels.sandbox.people import Population
from channels.sandbox.web import after

KIND = "meta"
MOST_USERS = 10_000
HASH = re.compile(r"[0-9a-f]{64}")
KEYS = {"EMAIL": "email", "PHONE": "phone", "EMAIL_SHA256": "email", "PHONE_SHA256": "phone"}
ADSET_FIELDS = {
    "name", "campaign_id", "status", "daily_budget", "lifetime_budget", "start_time", "end_time", "targeting",
    "frequency_control_specs", "billing_event", "optimization_goal", "bid_strategy",
}  # fmt: skip


class GraphError(Exception):
    """An error envelope."""

    def __init__(
        self, code: int, text: str, *, status: int = 400, subcode: int = 0, kind: str = "OAuthException"
    ):
        super().__init__(text)
        self.status = status
        self.body = {"error": {"message": text, "type": kind, "code": code, "fbtrace_id": "Sandbox"}}
        if subcode:
            self.body["error"]["error_subcode"] = subcode


# people that see an ad: (population rows, exposures before of each)
Arrived = Callable[[list[int], str], None]


@dataclass
class Account:
    """The state of the ad account and the handlers of its API."""

    config: Meta
    log: Log
    seed: int
    people: Population | None = None
    arrived: Arrived | None = None
    speed: Callable[[], float] = lambda: 1.0
    counters: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}  # audiences, campaigns, ad sets by id
        self.members: dict[str, dict[str, None]] = {}  # audience → hashes, in order
        self.delivered: dict[tuple[str, str], dict[str, Any]] = {}  # (ad set, day) → figures
        self._ids = itertools.count(1)
        self._calls: list[float] = []
        self._rows: dict[str, int] | None = None  # hash → population row
        self._version: dict[str, int] = {}  # audience → changes so far
        self._matched: dict[tuple[tuple[str, int], ...], list[str]] = {}  # by audiences and versions
        self._ticking: asyncio.Task[None] | None = None

    def count(self, name: str, n: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + n

    # -- life --------------------------------------------------------------------------------------------
    def restore(self) -> None:
        n = 0
        for line in read_log(self.log.directory.parent, KIND):
            if line["event"] == "object":
                n += line["id"] not in self.objects
                self.objects.setdefault(line["id"], {}).update(line["fields"])
            elif line["event"] == "users":
                self._change(line["audience"], line["hashes"], add=line["verb"] == "add")
            elif line["event"] == "delivered":
                self.delivered[line["adset"], line["day"]] = line["figures"]
        self._ids = itertools.count(n + 1)

    def start(self) -> None:
        self._ticking = asyncio.ensure_future(self._tick())

    async def close(self) -> None:
        if self._ticking:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        account = r"/{version:v\d+\.\d+}/{account:act_\d+}"
        router = app.router
        router.add_get(account, self._guarded(self._about))
        router.add_get(account + "/customaudiences", self._guarded(self._list("audience")))
        router.add_post(account + "/customaudiences", self._guarded(self._create_audience))
        router.add_get(account + "/campaigns", self._guarded(self._list("campaign")))
        router.add_post(account + "/campaigns", self._guarded(self._create_campaign))
        router.add_get(account + "/adsets", self._guarded(self._list("adset")))
        router.add_post(account + "/adsets", self._guarded(self._create_adset))
        router.add_get(account + "/insights", self._guarded(self._insights))
        single = r"/{version:v\d+\.\d+}/{id:\d+}"
        router.add_post(single + "/users", self._guarded(self._add_users))
        router.add_delete(single + "/users", self._guarded(self._remove_users))
        router.add_get(single, self._guarded(self._read))
        router.add_post(single, self._guarded(self._update))
        return app

    def _guarded(
        self, handler: Callable[[web.Request, dict[str, str]], Awaitable[dict[str, Any]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """A call with token, proof, faults and errors handled once."""

        async def guarded(request: web.Request) -> web.Response:
            given = {**request.query, **{k: str(v) for k, v in (await request.post()).items()}}
            fault, status = Fault.OK, 200
            try:
                self._check(request, given)
                if request.method != "GET":
                    fault = self.config.faults.decide_call(
                        self.seed, digest(request.path, repr(sorted(given.items())))
                    )
                if fault is Fault.THROTTLE:
                    raise GraphError(80004, "There have been too many calls to this ad-account.")
                if fault is Fault.REFUSE:
                    raise GraphError(100, "Invalid parameter")
                answer = {} if fault is Fault.DROP_BEFORE else await handler(request, given)
            except GraphError as error:
                answer, status = error.body, error.status
                self.count(f"error {error.body['error']['code']}")
            await self.log.flushed()
            await after(request, fault, self.config.faults)
            return web.json_response(answer, status=status)

        return guarded

    def _check(self, request: web.Request, given: dict[str, str]) -> None:
        token = given.get("access_token") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            raise GraphError(104, "An access token is required to request this resource.", status=401)
        if self.config.faults.expired_token > 0:
            self.config.faults.expired_token -= 1
            raise GraphError(
                190, "Error validating access token: Session has expired", status=401, subcode=463
            )
        if token != self.config.token:
            raise GraphError(190, "Invalid OAuth access token.", status=401)
        proof = hmac.new(self.config.app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(given.get("appsecret_proof", ""), proof):
            raise GraphError(
                100, "Invalid appsecret_proof provided in the API argument", kind="GraphMethodException"
            )
        account = request.match_info.get("account")
        if account is not None and account != self.config.account_id:
            raise GraphError(
                100, f"Unsupported request: {account} does not exist or is not permitted", subcode=33
            )
        if self.config.per_hour:
            now = time.time()
            self._calls = [at for at in self._calls if at > now - 3600]
            if len(self._calls) >= self.config.per_hour:
                raise GraphError(17, "User request limit reached")
            self._calls.append(now)

    # -- objects -----------------------------------------------------------------------------------------
    def _object(self, request: web.Request, kind: str = "") -> tuple[str, dict[str, Any]]:
        key = request.match_info["id"]
        found = self.objects.get(key)
        if found is None or (kind and found["kind"] != kind):
            raise GraphError(100, f"Unsupported request: object {key} does not exist", subcode=33)
        return key, found

    def _store(self, key: str, fields: dict[str, Any]) -> dict[str, Any]:
        self.objects.setdefault(key, {}).update(fields)
        self.log.write(KIND, "object", id=key, fields=fields)
        return {"id": key}

    def _new(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        head = {"audience": 2385, "campaign": 2386, "adset": 2387}[kind]
        self.count(kind)
        return self._store(f"{head}{next(self._ids):011d}", {"kind": kind, **fields})

    async def _about(self, request: web.Request, given: dict[str, str]) -> dict[str, Any]:
        config = self.config
        spent = sum(round(figures["impressions"] * config.cpm / 10) for figures in self.delivered.values())
        return {
            "id": config.account_id, "name": "Evenreach sandbox", "currency": config.currency,
            "timezone_name": config.zone, "account_status": 1, "amount_spent": str(spent),
            "spend_cap": str(round(config.spend_cap * 100)), "balance": "0" if config.spend_cap else str(spent),
        }  # fmt: skip

    def _list(self, kind: str) -> Callable[[web.Request, dict[str, str]], Awaitable[dict[str, Any]]]:
        async def listed(request: web.Request, given: dict[str, str]) -> dict[str, Any]:
            found = [self._shown(key, value) for key, value in self.objects.items() if value["kind"] == kind]
            for rule in _json(given, "filtering", list) or ():
                field_name = str(rule["field"]).rsplit(".", 1)[-1]
                if rule["operator"] == "EQUAL":
                    found = [row for row in found if str(row.get(field_name)) == str(rule["value"])]
                elif rule["operator"] == "CONTAIN":
                    found = [row for row in found if str(rule["value"]) in str(row.get(field_name))]
                else:
                    raise GraphError(100, f"Filtering operator {rule['operator']} is not valid")
            return _paged(request, given, found)

        return listed

    def _shown(self, key: str, stored: dict[str, Any]) -> dict[str, Any]:
        shown = {"id": key, **{name: value for name, value in stored.items() if name != "kind"}}
        if stored["kind"] == "audience":
            size = len(self._people_in([key]))
            shown["approximate_count_lower_bound"] = max(0, size // 20 * 20)
            shown["approximate_count_upper_bound"] = size // 20 * 20 + 20
            shown["operation_status"] = {"code": 200, "description": "Normal"}
        if stored["kind"] == "adset":
            shown["effective_status"] = stored.get("status", "PAUSED")
        return shown

    async def _read(self, request: web.Request, given: dict[str, str]) -> dict[str, Any]:
        key, stored = self._object(request)
        shown = self._shown(key, stored)
        wanted = given.get("fields")
        return (
            {name: shown[name] for name in ["id", *wanted.split(",")] if name in shown}
            if wanted
            else {"id": key}
        )

    async def _create_audience(self, request: web.Request, given: dict[str, str]) -> dict[str, Any]:
        if not given.get("name"):
            raise GraphError(100, "(#100) Missing parameter: name")
        if given.get("subtype", "CUSTOM") != "CUSTOM":
            raise GraphError(100, "this sandbox has audiences of subtype CUSTOM only")
        if not given.get("customer_file_source"):
            raise GraphError(100, "(#100) customer_file_source is required for customer file audiences")
        return self._new("audience", {"name": given["name"], "description": given.get("description", "")})

    async def _create_campaign(self, request: web.Request, given: dict[str, str]) -> dict[str, Any]:
        for name in ("name", "objective", "special_ad_categories"):
            if name not in given:
                raise GraphError(100, f"(#100) Missing parameter: {name}")
        return self._new(
            "campaign", {"name": given["name"], "objective": given["objective"], "status": "ACTIVE"}
        )

    async def _create_adset(self, request: web.Request, given: dict[str, str]) -> dict[str, Any]:
        for name in ("name", "campaign_id", "billing_event", "optimization_goal", "targeting"):
            if name not in given:
                raise GraphError(100, f"(#100) Missing parameter: {name}")
        if self.objects.get(given["campaign_id"], {}).get("kind") != "campaign":
            raise GraphError(100, f"campaign {given['campaign_id']} does not exist")
        return self._new("adset", {"status": "PAUSED", "since": time.time(), **self._adset_fields(given, {})})

    async def _update(self, request: web.Request, given: dict[str, str]) -> dict[str, Any]:
        key, stored = self._object(request)
        if stored["kind"] == "adset":
            self._store(key, self._adset_fields(given, stored))
        elif "name" in given or "status" in given:
            self._store(key, {name: given[name] for name in ("name", "status") if name in given})
        return {"success": True}

    def _adset_fields(self, given: dict[str, str], stored: dict[str, Any]) -> dict[str, Any]:
        """What an ad set keeps. Money in minor units, as text. Raises :class:`GraphError`."""
        fields: dict[str, Any] = {name: value for name, value in given.items() if name in ADSET_FIELDS}
        merged = {**stored, **fields}
        for name in ("daily_budget", "lifetime_budget"):
            if name in fields and (
                not fields[name].isdigit() or (int(fields[name]) and int(fields[name]) < 100)
            ):
                raise GraphError(100, f"{name} must be whole minor units, at least 100", subcode=1885272)
        if int(merged.get("lifetime_budget") or 0) and not merged.get("end_time"):
            raise GraphError(100, "a lifetime budget needs an end_time", subcode=1487793)
        for name in ("start_time", "end_time"):
            if fields.get(name):
                _time(fields[name], self._zone)
        if "targeting" in fields:
            fields["targeting"] = _json(given, "targeting", dict)
            for one in fields["targeting"].get("custom_audiences", ()):
                if self.objects.get(str(one.get("id")), {}).get("kind") != "audience":
                    raise GraphError(100, f"custom audience {one.get('id')} does not exist", subcode=1487301)
        if "frequency_control_specs" in fields:
            fields["frequency_control_specs"] = _json(given, "frequency_control_specs", list)
            for spec in fields["frequency_control_specs"]:
                if spec.get("event") != "IMPRESSIONS":
                    raise GraphError(100, "frequency_control_specs: event must be IMPRESSIONS")
                for name in ("interval_days", "max_frequency"):
                    if not isinstance(spec.get(name), int) or not 1 <= spec[name] <= 90:
                        raise GraphError(100, f"frequency_control_specs: {name} must be 1 to 90")
            if merged.get("optimization_goal") not in {"REACH", "THRUPLAY"}:
                raise GraphError(100, "a frequency cap needs the optimization goal REACH", subcode=1815063)
        if fields.get("status") not in {None, "ACTIVE", "PAUSED"}:
            raise GraphError(100, "status must be ACTIVE or PAUSED")
        return fields

    # -- audiences ---------------------------------------------------------------------------------------
    async def _add_users(self, request: web.Request, given: dict[str, str]) -> dict[str, Any]:
        return self._users(request, given, add=True)

    async def _remove_users(self, request: web.Request, given: dict[str, str]) -> dict[str, Any]:
        if not given:
            raise GraphError(100, "(#100) Missing parameter: payload")
        return self._users(request, given, add=False)

    def _users(self, request: web.Request, given: dict[str, str], *, add: bool) -> dict[str, Any]:
        key, _ = self._object(request, "audience")
        payload = _json(given, "payload", dict)
        if not payload:
            raise GraphError(100, "(#100) Missing parameter: payload")
        schema = payload.get("schema")
        columns = [schema] if isinstance(schema, str) else list(schema or ())
        rows = payload.get("data")
        if not columns or not set(columns) <= set(KEYS):
            raise GraphError(100, f"schema {schema!r} is not valid; known here: {', '.join(KEYS)}")
        if not isinstance(rows, list) or not rows:
            raise GraphError(100, "payload.data is empty")
        if len(rows) > MOST_USERS:
            raise GraphError(100, f"payload.data has more than {MOST_USERS} records", subcode=1870065)
        hashes: list[str] = []
        invalid: list[Any] = []
        for row in rows:
            values = [row] if isinstance(row, str) else list(row)
            if len(values) != len(columns) or not all(v == "" or HASH.fullmatch(str(v)) for v in values):
                invalid.append(row)
            else:
                hashes.extend(value for value in values if value)
        self._change(key, hashes, add=add)
        self.log.write(
            KIND,
            "users",
            verdict="accepted",
            attempt="",
            verb="add" if add else "remove",
            audience=key,
            hashes=hashes,
        )
        self.count("added" if add else "removed", len(hashes))
        session = _json(given, "session", dict) or {}
        return {
            "audience_id": key, "session_id": str(session.get("session_id", "")), "num_received": len(rows),
            "num_invalid_entries": len(invalid), "invalid_entry_samples": invalid[:10],
        }  # fmt: skip

    def _change(self, audience: str, hashes: Iterable[str], *, add: bool) -> None:
        members = self.members.setdefault(audience, {})
        self._version[audience] = self._version.get(audience, 0) + 1
        for value in hashes:
            if add:
                members[value] = None
            else:
                members.pop(value, None)

    def _people_in(self, audiences: Iterable[str]) -> list[str]:
        """Matched people of these audiences, each once, in a fixed order: a key a person."""
        key = tuple(sorted((audience, self._version.get(audience, 0)) for audience in audiences))
        if key not in self._matched:
            found = {
                self._person(value)
                for audience, _ in key
                for value in self.members.get(audience, ())
                if chance(self.seed, "matched", value) < self.config.match_share
            }
            self._matched = {**dict(list(self._matched.items())[-20:]), key: sorted(found - {""})}
        return self._matched[key]

    def _person(self, value: str) -> str:
        """Who is behind a hash: a population row as text, the hash itself without a population, "" for nobody."""
        if self.people is None:
            return value
        if self._rows is None:
            self._rows = {}
            for row, person in enumerate(self.people.people):
                for plain in (person.email.strip().lower(), "".join(filter(str.isdigit, person.phone))):
                    if plain:
                        self._rows[hashlib.sha256(plain.encode()).hexdigest()] = row
        found = self._rows.get(value)
        return "" if found is None else f"{found:09d}"

    # -- delivery ----------------------------------------------------------------------------------------
    @property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.config.zone)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            now = dt.datetime.now(self._zone)
            midnight = now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
            for key, stored in list(self.objects.items()):
                if stored["kind"] == "adset" and stored.get("status") == "ACTIVE":
                    began = max(midnight, stored.get("since", 0.0))
                    share = min(1.0, (now.timestamp() - began) * self.speed() / 86400)
                    self.deliver(key, now.date(), share)

    def deliver(self, adset: str, day: dt.date, share: float = 1.0) -> dict[str, Any]:
        """Bring a day's delivery of an ad set to ``share`` of what its budget, cap and audience allow."""
        stored, key = self.objects[adset], (adset, day.isoformat())
        figures = self.delivered.get(key, {"impressions": 0, "reach": 0, "clicks": 0, "people": 0})
        starts = _time(stored["start_time"], self._zone).date() if stored.get("start_time") else day
        ends = day
        if stored.get("end_time"):  # the instant it ends: midnight belongs to the day before
            ends = (_time(stored["end_time"], self._zone) - dt.timedelta(microseconds=1)).date()
        targeting = stored.get("targeting") or {}
        people = self._people_in(str(one["id"]) for one in targeting.get("custom_audiences", ()))
        if (
            stored.get("status") != "ACTIVE"
            or not starts <= day <= ends
            or len(people) < self.config.minimum_audience
        ):
            return figures
        most = int(
            min(
                self._affordable(adset, stored, day, starts, ends),
                self._capped(adset, stored, day, len(people)),
            )
        )
        until = int(most * share)
        if until <= figures["impressions"]:
            return figures
        first = figures["impressions"]
        clicks = sum(
            chance(self.seed, "ad click", f"{adset} {day} {n}") < self.config.click_share
            for n in range(first, until)
        )
        figures = {
            "impressions": until, "people": len(people), "reach": max(figures["reach"], min(until, len(people))),
            "clicks": figures["clicks"] + clicks,
        }  # fmt: skip
        self.delivered[key] = figures
        self.log.write(KIND, "delivered", adset=adset, day=day.isoformat(), figures=figures)
        self.count("impressions", until - first)
        if self.people is not None and self.arrived:
            self.arrived([int(people[n % len(people)]) for n in range(first, until)], adset)
        return figures

    def _affordable(
        self, adset: str, stored: dict[str, Any], day: dt.date, starts: dt.date, ends: dt.date
    ) -> float:
        """Impressions that the day's budget buys; a lifetime budget is spread over the days left."""
        daily = int(stored.get("daily_budget") or 0) / 100
        lifetime = int(stored.get("lifetime_budget") or 0) / 100
        if lifetime:
            before = sum(
                figures["impressions"] for (key, of), figures in self.delivered.items()
                if key == adset and of != day.isoformat()
            ) * self.config.cpm / 1000  # fmt: skip
            daily = max(0.0, lifetime - before) / max(1, (ends - day).days + 1)
        return daily / self.config.cpm * 1000

    def _capped(self, adset: str, stored: dict[str, Any], day: dt.date, people: int) -> float:
        """Impressions left under the frequency cap: people × cap, less those of the interval's earlier days."""
        specs = stored.get("frequency_control_specs") or []
        most = people * self.config.default_frequency
        for spec in specs:
            earlier = sum(
                figures["impressions"] for (key, of), figures in self.delivered.items()
                if key == adset and 0 < (day - dt.date.fromisoformat(of)).days < spec["interval_days"]
            )  # fmt: skip
            most = min(most, people * spec["max_frequency"] - earlier)
        return max(0.0, most)

    async def _insights(self, request: web.Request, given: dict[str, str]) -> dict[str, Any]:
        span = _json(given, "time_range", dict) or {}
        try:
            since, until = dt.date.fromisoformat(span["since"]), dt.date.fromisoformat(span["until"])
        except (KeyError, ValueError, TypeError):
            raise GraphError(100, "time_range needs since and until as YYYY-MM-DD") from None
        if given.get("level") != "adset" or given.get("time_increment") != "1":
            raise GraphError(100, "this sandbox reports level=adset, time_increment=1")
        known = {
            "date_start", "date_stop", "adset_id", "adset_name", "account_currency", "spend", "impressions", "clicks",
            "reach", "frequency",
        }  # fmt: skip
        wanted = given.get("fields", "impressions,spend").split(",")
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise GraphError(100, f"{unknown[0]} is not valid for fields param")
        rows = []
        for (adset, day), figures in sorted(
            self.delivered.items(), key=lambda item: (item[0][1], item[0][0])
        ):
            if since <= dt.date.fromisoformat(day) <= until and figures["impressions"]:
                row = {
                    "date_start": day, "date_stop": day, "adset_id": adset,
                    "adset_name": self.objects[adset].get("name", ""), "account_currency": self.config.currency,
                    "spend": f"{figures['impressions'] * self.config.cpm / 1000:.2f}",
                    "impressions": str(figures["impressions"]), "clicks": str(figures["clicks"]),
                    "reach": str(figures["reach"]), "frequency": f"{figures['impressions'] / figures['reach']:.6f}",
                }  # fmt: skip
                rows.append({k: v for k, v in row.items() if k in wanted or k in {"date_start", "date_stop"}})
        return _paged(request, given, rows)


def _json(given: dict[str, str], name: str, kind: type) -> Any:
    """A JSON parameter, None when absent. Raises :class:`GraphError`."""
    if not given.get(name):
        return None
    try:
        value = json.loads(given[name])
    except ValueError:
        raise GraphError(100, f"(#100) param {name} must be JSON") from None
    if not isinstance(value, kind):
        raise GraphError(100, f"(#100) param {name} must be a JSON {kind.__name__}")
    return value


def _time(text: str, zone: ZoneInfo) -> dt.datetime:
    """ISO 8601 or seconds since 1970, in the account's zone."""
    try:
        if text.isdigit():
            return dt.datetime.fromtimestamp(int(text), zone)
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise GraphError(100, f"{text!r} is no time") from None
    return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(zone)


def _paged(request: web.Request, given: dict[str, str], rows: list[Any]) -> dict[str, Any]:
    """A page of rows with cursors; ``paging.next`` while there is more."""
    limit, start = int(given.get("limit") or 25), int(given.get("after") or 0)
    end = start + limit
    answer: dict[str, Any] = {"data": rows[start:end]}
    if rows[start:end]:
        answer["paging"] = {"cursors": {"before": str(start), "after": str(end)}}
        if end < len(rows):
            answer["paging"]["next"] = str(request.url.update_query({"after": str(end), "limit": str(limit)}))
    return answer
