"""Is it alive, is it ready, what does it count: three addresses for machines that watch."""

import hmac
import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from config import heartbeat, queue
from config.collect import modules


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. It asks nothing of the database, so a slow database restarts no process."""
    return HttpResponse("ok\n", content_type="text/plain")


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return ""


def _migrations() -> str:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return f"{len(missing)} migrations are missing; run: manage.py migrate" if missing else ""


def _queue() -> str:
    if settings.BROKER_URL or queue.installed():
        return ""
    return "the queue is not installed; run: manage.py install_queue"


def _part(name: str) -> Callable[[], str]:
    def look() -> str:
        sign = heartbeat.signs().get(name)
        if sign is None:
            return f"{name} was never seen"
        return f"{name} was last seen {sign.age:.0f} s ago" if sign.late else ""

    return look


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "migrations": _migrations,
    "queue": _queue,
    heartbeat.WORKER: _part(heartbeat.WORKER),
    heartbeat.BEAT: _part(heartbeat.BEAT),
}


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """Every part in order, or 503 and what is wrong."""
    found: dict[str, str] = {}
    for name, look in CHECKS.items():
        try:
            found[name] = look() or "ok"
        except Exception as error:  # noqa: BLE001  (whatever is wrong, that is the answer)
            # The message may name hosts and users; those who watch get the kind only.
            found[name] = type(error).__name__
    ready = all(text == "ok" for text in found.values())
    return JsonResponse({"ready": ready, "checks": found}, status=200 if ready else 503)


class _Samples:
    def collect(self) -> Iterable[Metric]:
        ages = GaugeMetricFamily(
            "evenreach_heartbeat_age_seconds", "Seconds since a part was last seen.", labels=["part"]
        )
        for sign in heartbeat.signs().values():
            if sign.name not in {heartbeat.BEAT, heartbeat.WORKER, heartbeat.ROUND_TRIP}:
                continue
            ages.add_metric([sign.name], sign.age)
        yield ages
        for module in modules("metrics"):
            yield from module.samples()


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Counts for Prometheus. Each app's `metrics.py` may add its own by `samples()`."""
    if not _may_watch(request):
        return HttpResponseForbidden("Set EVENREACH_METRICS_TOKEN and send it as a bearer token.\n")
    registry = CollectorRegistry(auto_describe=False)
    samples: Any = _Samples()
    registry.register(samples)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _may_watch(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        return hmac.compare_digest(given.encode(), settings.METRICS_TOKEN.encode())
    try:
        near = ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
    # Behind a proxy on the same machine everybody looks near.
    return near and "X-Forwarded-For" not in request.headers
