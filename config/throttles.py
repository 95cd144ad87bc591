"""How often one caller may use the API: counted in the database, so the limit holds over all processes."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.db import connection
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle

from config.api_keys import ApiKey
from config.models import ThrottleWindow

if TYPE_CHECKING:  # REST framework loads this module while it loads its own views
    from rest_framework.views import APIView

PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse(rate: str) -> tuple[int, int]:
    """`60/min` as (60 calls, 60 seconds)."""
    calls, _, period = rate.partition("/")
    return int(calls), PERIODS[period[0].lower()]


def count(key: str, seconds: int, now: datetime) -> int:
    """Count one call in the window of `seconds` that `now` falls into; returns the calls so far."""
    start = datetime.fromtimestamp(now.timestamp() // seconds * seconds, tz=UTC)
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO config_throttlewindow (key, starts_at, calls) VALUES (%s, %s, 1)
               ON CONFLICT (key, starts_at) DO UPDATE SET calls = config_throttlewindow.calls + 1
               RETURNING calls""",
            [key, start],
        )
        return int(cursor.fetchone()[0])


def forget_old() -> int:
    return ThrottleWindow.objects.filter(starts_at__lt=timezone.now() - timedelta(days=1)).delete()[0]


class CallerThrottle(BaseThrottle):
    _wait: float | None = None

    def allow_request(self, request: Request, view: "APIView") -> bool:
        user = request.user
        known = bool(user and user.is_authenticated)
        rate = api_settings.DEFAULT_THROTTLE_RATES["caller" if known else "anonymous"]
        if not rate:
            return True
        if isinstance(request.auth, ApiKey):
            key = f"key:{request.auth.pk}"
        elif known:
            key = f"user:{user.pk}"
        else:
            key = f"from:{self.get_ident(request)}"
        limit, seconds = parse(str(rate))
        now = timezone.now()
        if count(key[:120], seconds, now) <= limit:
            return True
        self._wait = seconds - now.timestamp() % seconds
        return False

    def wait(self) -> float | None:
        return self._wait
