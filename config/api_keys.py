"""Keys by which other systems use the API: how they look, who they are, what they may do."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from config.models import ApiKey, User

if TYPE_CHECKING:  # REST framework loads this module while it loads its own views
    from rest_framework.views import APIView

HEAD = "er"
DOMAINS = ("audiences", "channels", "campaigns", "reports")
SCOPES = tuple(f"{domain}:{what}" for domain in DOMAINS for what in ("read", "write"))
TOUCHED_EVERY = timedelta(minutes=1)  # `last_used_at` is written at most this often


def issue(
    owner: User, name: str, scopes: Iterable[str], expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """A new key and its text, which is never seen again."""
    wanted = list(dict.fromkeys(scopes))
    if unknown := set(wanted) - set(SCOPES):
        raise ValueError(f"Unknown scopes: {', '.join(sorted(unknown))}")
    prefix, secret = secrets.token_hex(5), secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        owner=owner, name=name, prefix=prefix, digest=_digest(secret), scopes=wanted, expires_at=expires_at
    )
    return key, f"{HEAD}_{prefix}_{secret}"


def revoke(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())


def find(text: str) -> ApiKey | None:
    """The valid key that `text` is, if it is one."""
    head, _sep, rest = text.partition("_")
    prefix, _sep, secret = rest.partition("_")
    if head != HEAD or not prefix or not secret:
        return None
    now = timezone.now()
    key = (
        ApiKey.objects.select_related("owner")
        .filter(
            Q(expires_at=None) | Q(expires_at__gt=now), prefix=prefix, revoked_at=None, owner__is_active=True
        )
        .first()
    )
    if key is None or not hmac.compare_digest(key.digest, _digest(secret)):
        return None
    if key.last_used_at is None or now - key.last_used_at > TOUCHED_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    return key


def presented(request: HttpRequest) -> str:
    """The text of a key in `Authorization: Bearer …` or `X-Api-Key: …`; empty if there is none."""
    scheme, _sep, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return text.strip()
    return request.headers.get("X-Api-Key", "").strip()


def of_request(request: HttpRequest) -> ApiKey | None:
    """The valid key a request carries; looked up once per request."""
    if not hasattr(request, "_api_key"):
        text = presented(request)
        request._api_key = find(text) if text else None  # type: ignore[attr-defined]
    found: ApiKey | None = request._api_key  # type: ignore[attr-defined]
    return found


def _digest(secret: str) -> str:
    # The secret has 256 random bits: a plain hash cannot be guessed back, a slow one would cost each call.
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiKeyAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        if not presented(request._request):
            return None
        key = of_request(request._request)
        if key is None:
            raise AuthenticationFailed(_("This API key is not valid, has expired or was withdrawn."))
        return key.owner, key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasScope(BasePermission):
    """A key reads and writes only where its scopes say so. People who logged in are bound by their roles.

    The scope follows from the app the view is in, or from `scope_domain` on the view.
    """

    @property
    def message(self) -> str:
        return str(_("This API key has not the scope for this."))

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not isinstance(request.auth, ApiKey):
            return True
        domain = getattr(view, "scope_domain", "") or type(view).__module__.partition(".")[0]
        what = "read" if request.method in SAFE_METHODS else "write"
        return f"{domain}:{what}" in request.auth.scopes
