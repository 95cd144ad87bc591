"""Responses through the webhook, one and many at a time, and clicks through the redirect, against bare writes."""

import contextlib
import hmac
import io
import json
import os
import pickle
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from django.utils import timezone

from config import web
from config.up import free_port

HOST = "127.0.0.1"
CONNECTIONS = 12  # as many as the web has threads: a provider posts in parallel
CLICK_CONNECTIONS = 32
ROWS = 10_000  # of one call of the batch endpoint


def run(
    *, events: int = 6000, rows: int = 100_000, clicks: int = 4000, click_rate: float = 500.0, rounds: int = 3
) -> dict[str, Any]:
    """Rates a second and milliseconds, medians of ``rounds``: ``events`` single posts, ``rows`` by the batch
    endpoint, ``clicks`` at ``click_rate`` a second; each beside the same on the floor. Commits are durable."""
    scene = _Scene()
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    with _serving("bench._floor:application") as floor, _serving("config.wsgi:application") as web:
        _load(web, scene.posts(200, "warm"), CONNECTIONS)
        _load(floor, scene.posts(200, "warm"), CONNECTIONS)
        for n in range(rounds):
            for port, name in ((web, "single"), (floor, "floor_single")):
                used = _cpu_of(port)
                note(f"{name}_rate", _rate(_load(port, scene.posts(events, f"p{n}"), CONNECTIONS), 200))
                note(f"{name}_web_cpu_ms", 1000 * (_cpu_of(port) - used) / events)
            for port, name in ((web, "click"), (floor, "floor_click")):
                told = _load(port, scene.follows(clicks), CLICK_CONNECTIONS, click_rate)
                times = sorted(told["latencies"])
                note(f"{name}_rate", _rate(told, 302))
                note(f"{name}_p50_ms", 1000 * times[len(times) // 2])
                note(f"{name}_p99_ms", 1000 * times[int(len(times) * 0.99)])
            note("batch_rate", _batch(web, scene, rows, n))
            note("webhook_batch_rate", _many(web, scene, rows, n))
            note("floor_batch_rate", _copy(rows, n))
    figures: dict[str, Any] = {name: round(statistics.median(values), 2) for name, values in found.items()}
    figures["drain_rate"] = round(_drained(), 2)
    for name in ("single_rate", "batch_rate", "webhook_batch_rate"):
        floor_name = "floor_single_rate" if name == "single_rate" else "floor_batch_rate"
        figures[f"{name}_of_floor"] = round(figures[name] / figures[floor_name], 3)
    figures["click_p99_of_floor"] = round(figures["click_p99_ms"] / figures["floor_click_p99_ms"], 3)
    return {"events": events, "rows": rows, "clicks": clicks, "rounds": rounds, **figures, **_kept(scene)}


class _Scene:
    """A channel that is told events, links to follow, people and a campaign, and a key for the API."""

    def __init__(self) -> None:
        from audiences.models import Brand
        from campaigns.models import Campaign
        from channels import links
        from channels.accounts import save_channel
        from channels.models import Channel
        from config.api_keys import issue
        from config.demo_logins import ensure_roles
        from config.models import User

        ensure_roles()
        brand = Brand.objects.get_or_create(code="main", defaults={"name": "Main"})[0]
        self.channel = save_channel(
            Channel(
                brand=brand, name="Letters", medium="email", adapter="email", credentials={"webhook_key": "bench"},
                settings={"host": HOST, "from_address": "a@shop.example"},
            )
        )  # fmt: skip
        self.campaign = Campaign.objects.create(
            brand=brand, name="Elsewhere", number="E1", kind="imported", state="finished"
        )
        owner = User.objects.create(username="bench", is_superuser=True)
        self.key = issue(owner, "bench", ["audiences:write", "campaigns:write"])[1]
        prepared = links.prepare(self.campaign.pk, self.channel.pk, "Look: https://shop.example/a")
        self.link_id = prepared.link_ids[0]
        self.links = links
        self.turn = 0
        self.told = self.followed = self.batched = 0
        with connection.cursor() as cursor:
            cursor.execute(PEOPLE, {"people": 20_000})
            cursor.execute("CREATE TABLE IF NOT EXISTS bench_floor (key text PRIMARY KEY, body text)")
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS bench_floor_batch (source text, key text, body text, UNIQUE (source, key))"
            )

    def posts(self, n: int, mark: str, each: int = 1) -> list[bytes]:
        """Signed posts of ``each`` events: opened letters of people we know."""
        at = timezone.now().isoformat()
        made = []
        for k in range(n):
            events = [
                {
                    "type": "open", "id": f"{mark}-{k}-{j}", "occurred_at": at, "message_id": f"<{mark}{k}.{j}@x>",
                    "recipient": f"p{(k * each + j) % 20_000}@shop.example",
                }
                for j in range(each)
            ]  # fmt: skip
            body = json.dumps({"events": events}).encode()
            proof = hmac.new(b"bench", body, sha256).hexdigest()
            path = f"/in/{self.channel.pk}/{self.channel.inbound_secret}/"
            made.append(_request("POST", path, body, f"X-Evenreach-Signature: sha256={proof}\r\n"))
        self.told += n * each
        return made

    def follows(self, n: int) -> list[bytes]:
        """People who follow a link; each another touch, so that each is a click of its own."""
        made = []
        for _k in range(n):
            self.turn += 1
            url = self.links.link_url(self.link_id, self.campaign.pk, self.channel.pk, self.turn, self.turn)
            agent = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148\r\n"
            made.append(_request("GET", url.removeprefix(settings.PUBLIC_URL), b"", agent))
        return made

    def batches(self, rows: int, mark: str) -> list[bytes]:
        """Calls of the batch endpoint with ``ROWS`` responses each."""
        made, at = [], timezone.now().isoformat()
        for first in range(0, rows, ROWS):
            told = [
                {
                    "campaign": "E1", "email": f"p{k % 20_000}@shop.example", "kind": "click", "occurred_at": at,
                    "key": f"{mark}-{k}",
                }
                for k in range(first, min(rows, first + ROWS))
            ]  # fmt: skip
            body = json.dumps({"rows": told}).encode()
            made.append(
                _request("POST", "/api/v1/responses/batch/", body, f"Authorization: Bearer {self.key}\r\n")
            )
        return made


PEOPLE = """
WITH people AS (
    INSERT INTO audiences_customer (name, name_sort, gender, birth_calendar, language, zone, country, province, city,
        stage, attributes, bucket, created_at, updated_at)
    SELECT 'p' || n, '', '', 'solar', '', 'Asia/Shanghai', '', '', '', 'member', '{}', 1, now(), now()
    FROM generate_series(0, %(people)s - 1) n RETURNING id, name
)
INSERT INTO audiences_identity (customer_id, kind, issuer, value, source, invalid_reason, created_at)
SELECT id, 'email', '', name || '@shop.example', '', '', now() FROM people
"""


def _request(method: str, path: str, body: bytes, headers: str) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@contextlib.contextmanager
def _serving(application: str) -> Iterator[int]:
    """The web as ``up`` runs it, on a port of its own."""
    port = free_port(HOST, 8600)
    environment = os.environ | {
        "EVENREACH_RATE_CALLER": "1000000/min",
        "EVENREACH_PUBLIC_URL": settings.PUBLIC_URL,
    }
    server = subprocess.Popen(  # noqa: S603
        web.command(f"{HOST}:{port}", application), env=environment, start_new_session=True
    )
    try:
        _wait(port, server)
        _group[port] = server.pid
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


_group: dict[int, int] = {}


def _cpu_of(port: int) -> float:
    """Seconds the web's processes have computed: what a call costs, however busy the machine is otherwise."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == _group[port]:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _wait(port: int, server: "subprocess.Popen[bytes]") -> None:
    for _try in range(300):
        if server.poll() is not None:
            raise RuntimeError("the web server did not start")
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            break
        time.sleep(0.1)
    with contextlib.suppress(urllib.error.URLError, OSError):
        urllib.request.urlopen(f"http://{HOST}:{port}/healthz", timeout=60).close()


def _load(port: int, requests: Sequence[bytes], connections: int, rate: float = 0.0) -> dict[str, Any]:
    """What a process of its own measured."""
    job = {"host": HOST, "port": port, "requests": list(requests), "connections": connections, "rate": rate}
    done = subprocess.run(  # noqa: S603
        [sys.executable, os.path.join(os.path.dirname(__file__), "_load.py")],
        input=pickle.dumps(job), capture_output=True, check=True,
    )  # fmt: skip
    told: dict[str, Any] = pickle.loads(done.stdout)  # noqa: S301  (our own child)
    return told


def _rate(told: dict[str, Any], status: int) -> float:
    """Answers a second; all of them must be right."""
    if set(told["statuses"]) != {status}:
        raise RuntimeError(f"answers were not all {status}: {told['statuses']}")
    return float(len(told["latencies"]) / told["seconds"])


def _batch(port: int, scene: _Scene, rows: int, n: int) -> float:
    told = _load(port, scene.batches(rows, f"b{n}"), 2)
    scene.batched += rows
    _rate(told, 200)
    return float(rows / told["seconds"])


def _many(port: int, scene: _Scene, rows: int, n: int) -> float:
    each = 1000
    told = _load(port, scene.posts(rows // each, f"m{n}", each), 2)
    _rate(told, 200)
    return float(rows // each * each / told["seconds"])


def _copy(rows: int, n: int) -> float:
    """A bare COPY of the same rows into a table that knows them by the same key."""
    at = timezone.now().isoformat()
    text = io.StringIO()
    for k in range(rows):
        text.write(f"import\tc{n}-{k}\t{{E1, p{k % 20_000}@shop.example, click, {at}}}\n")
    body = text.getvalue()
    with psycopg.connect(settings.DATABASE_URL) as bare:
        began = time.perf_counter()
        with bare.cursor().copy("COPY bench_floor_batch (source, key, body) FROM STDIN") as copy:
            copy.write(body)
        bare.commit()
        return rows / (time.perf_counter() - began)


def _drained() -> float:
    """Events a second turned into responses by one drainer, over all that came in."""
    from datetime import timedelta

    from campaigns import responses

    began = time.perf_counter()
    drained = responses.drain(limit=10_000_000, now=timezone.now() + timedelta(minutes=1))
    return drained / (time.perf_counter() - began)


def _kept(scene: _Scene) -> dict[str, int]:
    """Nothing told is missing, nothing is there twice: the figures are of work that was done."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(*) FILTER (WHERE state = 'new') FROM channels_inboxevent")
        events, new = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM campaigns_response WHERE source = 'import'")
        (responses,) = cursor.fetchone()
    # The warming posts went to the floor and to the web under the same keys, each round's likewise.
    return {
        "stored_events": events,
        "left_new": new,
        "stored_responses": responses,
        "lost": scene.batched - responses,
    }
