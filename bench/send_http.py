"""Sending over HTTP: claimed, posted by the webhook adapter to a far side in another process, recorded.

Beside a bare httpx client that posts as many messages of the same form, in as large calls, to the same far side
by as many processes, and keeps nothing. The far side checks each signature and has every message on its disk
before it answers.
"""

import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.dispatch import CAMPAIGNS, _checked, _scene, _timed

SECRET = "bench-signing-secret"  # noqa: S105
ALLOWED = "EVENREACH_PRIVATE_HOSTS"
FLOOR = (
    "EVENREACH_BENCH_FLOOR"  # what the bare client is told: messages of each process, size of a call, address
)

IDENTITIES = """
INSERT INTO audiences_identity (customer_id, kind, issuer, value, source, invalid_reason, created_at)
SELECT id, 'member_number', 'main', 'M' || id, '', '', now() FROM audiences_customer
"""


def run(
    *, messages: int = 100_000, workers: int = 2, batch: int = 100, answer_ms: int = 10
) -> dict[str, Any]:
    """``messages`` go out with all checks and records, then as many by a bare client. ``answer_ms``: the far side's
    delay before each answer, as in ``send_sms``; ``batch``: messages in one HTTP call."""
    people = max(1, messages // CAMPAIGNS)
    n = people * CAMPAIGNS
    with _far_side(answer_ms) as (url, taken):
        os.environ[ALLOWED] = "127.0.0.1"
        scene = _sending(people, url, batch)
        seconds, _cpu, sent, decisions = _timed(_checked, workers, scene)
        if not sent == taken() == n:
            raise RuntimeError(f"{n} were due, {sent} sent, {taken()} on the far side's disk: {decisions}")
        os.environ[FLOOR] = json.dumps([n // workers, batch, url])
        floor_seconds, _cpu, floor_sent, _none = _timed(_bare, workers, scene)
        if taken() != n + floor_sent:
            raise RuntimeError(f"the bare client sent {floor_sent}, {taken() - n} arrived")
    return {
        "n": sent,
        "workers": workers,
        "batch": batch,
        "answer_ms": answer_ms,
        "seconds": round(seconds, 2),
        "rate": round(sent / seconds),
        "floor_seconds": round(floor_seconds, 2),
        "floor_rate": round(floor_sent / floor_seconds),
        "ratio": round((sent / seconds) / (floor_sent / floor_seconds), 3),
    }


@contextmanager
def _far_side(answer_ms: int) -> Iterator[tuple[str, Any]]:
    """The sandbox in a process of its own: the app's address, and how many messages its log has."""
    with tempfile.TemporaryDirectory(prefix="evenreach-far-") as folder:
        told = {"secret": SECRET, "receipts": False, "faults": {"seconds": answer_ms / 1000}}
        Path(folder, "config.json").write_text(json.dumps({"vendors": {"webhook": told}}))
        command = [sys.executable, "-m", "channels.sandbox", "--dir", folder, "--ports", "0"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            ports = Path(folder, "ports.json")
            until = time.monotonic() + 60
            while not ports.exists():
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("the sandbox did not start")
                time.sleep(0.05)
            log = Path(folder, "log", "webhook.jsonl")

            def taken() -> int:
                with log.open("rb") as lines:
                    return sum(b'"verdict":"accepted"' in line for line in lines)

            yield f"http://127.0.0.1:{json.loads(ports.read_text())['webhook']}/hook", taken
        finally:
            process.terminate()
            process.wait(20)


def _sending(people: int, url: str, batch: int) -> tuple[int, list[int]]:
    """Due touches of a webhook channel, as a large release leaves them."""
    from django.db import connection

    from audiences.models import Brand
    from channels.models import Channel

    brand = Brand.objects.get_or_create(code="main", defaults={"name": "Main"})[0]
    channel = Channel(
        brand=brand, name="app", medium="webhook", adapter="webhook", unit_price=Decimal("0.01"),
        settings={"url": url, "batch": batch, "timeout": 60}, credentials={"secret": SECRET},
    )  # fmt: skip
    scene = _scene(people, channel=channel)
    with connection.cursor() as cursor:
        cursor.execute(IDENTITIES)
        cursor.execute("VACUUM ANALYZE audiences_identity")
        cursor.execute("CHECKPOINT")
    return scene


def _bare(_channel: int, _campaigns: Sequence[int]) -> tuple[int, dict[str, int]]:
    """A client loop that only sends: the same messages, the same signature, answers read and forgotten."""
    import httpx

    n, batch, url = json.loads(os.environ[FLOOR])
    first = os.getpid() * 10_000_000_000
    sent = 0
    with httpx.Client(timeout=60, trust_env=False) as client:
        while sent < n:
            numbers = range(first + sent, first + min(n, sent + batch))
            body = json.dumps(
                {
                    "type": "messages",
                    "channel": 1,
                    "medium": "webhook",
                    "messages": [
                        {"id": str(k), "address": f"M{k}", "subject": "News", "text": f"Hello Customer {k}",
                         "unsubscribe_url": f"http://localhost:8000/u/{k:060d}", "expires_at": "2026-12-31T00:00:00+00:00"}
                        for k in numbers
                    ],
                },
                ensure_ascii=False,
                separators=(",", ":"),
            ).encode()  # fmt: skip
            at = int(time.time())
            total = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
            headers = {"Content-Type": "application/json", "X-Evenreach-Signature": f"t={at},v1={total}"}
            answer = client.post(url, content=body, headers=headers)
            sent += sum(row["status"] == "accepted" for row in answer.json()["results"])
    return sent, {}
