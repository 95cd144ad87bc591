"""Access tokens from a refresh token (RFC 6749 §6): fetched when needed, kept until they are about to end."""

import time
from collections.abc import Callable, Mapping

import httpx
from django.utils.translation import gettext as _

from channels.adapters.base import AdapterError

EARLY = 60.0  # seconds before its end a token is renewed
WAIT = 10.0
REFUSED = {"invalid_grant", "invalid_client", "unauthorized_client", "invalid_scope", "access_denied"}


class RefreshTokens:
    """The token of one account. ``form`` is what the platform wants beside the refresh token."""

    def __init__(
        self, url: str, form: Mapping[str, str], refresh_token: str, client: Callable[[], httpx.Client]
    ) -> None:
        self._url, self._form, self._refresh, self._client = url, dict(form), refresh_token, client
        self._token, self._until = "", 0.0

    def token(self) -> str:
        """A token that still holds. Raises :class:`AdapterError`: retryable, or one that stops the channel."""
        if self._token and time.monotonic() < self._until:
            return self._token
        given = {**self._form, "grant_type": "refresh_token", "refresh_token": self._refresh}
        try:
            answer = self._client().post(self._url, data=given)
            told = answer.json()
        except httpx.HTTPError as error:
            text = _("The token address cannot be reached (%(reason)s).") % {"reason": type(error).__name__}
            raise AdapterError(text, code="connect", retryable=True, retry_after=WAIT) from None
        except ValueError:
            told = {}
        if not isinstance(told, dict) or not told.get("access_token"):
            raise _refused(told if isinstance(told, dict) else {}, answer.status_code)
        self._token = str(told["access_token"])
        self._until = time.monotonic() + max(0.0, float(told.get("expires_in") or 3600) - EARLY)
        # Some platforms give a new refresh token each time; the newest is used as long as this worker lives.
        self._refresh = str(told.get("refresh_token") or self._refresh)
        return self._token

    def forget(self) -> None:
        """The platform took this token for expired: the next call fetches a new one."""
        self._token = ""


def _refused(told: Mapping[str, object], status: int) -> AdapterError:
    code = str(told.get("error") or f"http {status}")
    if code in REFUSED or status in {400, 401, 403}:
        text = _("The platform gives no access token (%(code)s): connect the account again.") % {"code": code}
        return AdapterError(text, code=code, stops_channel=True)
    text = _("The platform gives no access token at present (%(code)s).") % {"code": code}
    return AdapterError(text, code=code, retryable=True, retry_after=WAIT)
