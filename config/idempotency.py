"""`Idempotency-Key` on API writes: the same call sent twice is carried out once and answered twice.

The call, its effects and its recorded answer are one transaction: a process killed in the middle leaves
neither. A second call with the same key that arrives while the first runs is told 409; one with another
body 422; one that comes later gets the recorded answer, marked `Idempotency-Replayed: true`.
"""

import hashlib
from collections.abc import Callable
from datetime import timedelta

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext as _

from config.api_keys import of_request
from config.models import IdempotentCall, User

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEPT = timedelta(days=7)
LONGEST_KEY = 200
WRITES = {"POST", "PUT", "PATCH", "DELETE"}


class IdempotencyMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        key = request.headers.get(HEADER, "").strip()
        if not key or request.method not in WRITES or not request.path.startswith("/api/"):
            return self.get_response(request)
        owner = _owner(request)
        if owner is None:
            return self.get_response(request)  # nobody is logged in; the view will say so
        if len(key) > LONGEST_KEY:
            return _problem(400, _("Idempotency-Key is longer than 200 characters."))
        with transaction.atomic():
            if not _alone(owner, key):
                return _problem(409, _("A call with this Idempotency-Key is running; ask again in a moment."))
            return self._once(request, owner, key)

    def _once(self, request: HttpRequest, owner: User, key: str) -> HttpResponseBase:
        asked = _hash(request)
        earlier = IdempotentCall.objects.filter(owner=owner, key=key).first()
        if earlier is not None:
            if earlier.request_hash != asked:
                return _problem(422, _("This Idempotency-Key was used for another call."))
            answer = HttpResponse(
                bytes(earlier.body), status=earlier.status, content_type=earlier.content_type
            )
            answer[REPLAYED] = "true"
            return answer
        mark = transaction.savepoint()
        response = self.get_response(request)
        if response.status_code >= 400:
            # Whatever a refused call wrote before it was refused is undone; only the refusal is kept.
            transaction.savepoint_rollback(mark)
        if response.status_code < 500 and isinstance(response, HttpResponse):
            IdempotentCall.objects.create(
                owner=owner,
                key=key,
                request_hash=asked,
                status=response.status_code,
                content_type=response.headers.get("Content-Type", "application/json"),
                body=response.content,
            )
        return response


def forget_old() -> int:
    """Delete calls past their time; returns how many."""
    return IdempotentCall.objects.filter(made_at__lt=timezone.now() - KEPT).delete()[0]


def _owner(request: HttpRequest) -> User | None:
    key = of_request(request)
    if key is not None:
        return key.owner
    user = request.user
    return user if isinstance(user, User) and user.is_active else None


def _alone(owner: User, key: str) -> bool:
    """Hold this owner's key until the transaction ends; False if another call holds it."""
    number = int.from_bytes(hashlib.sha256(f"{owner.pk}\0{key}".encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        return bool(cursor.fetchone()[0])


def _hash(request: HttpRequest) -> str:
    whole = hashlib.sha256(f"{request.method}\0{request.get_full_path()}\0".encode())
    whole.update(request.body)
    return whole.hexdigest()


def _problem(status: int, text: str) -> JsonResponse:
    return JsonResponse({"detail": text}, status=status)
