"""Access tokens from a refresh token (RFC 6749 §6): fetched when needed, kept until they are about to end."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from django.utils.translation import gettext as _

from channels.adapters.base import AdapterError

EARLY = 60.0  # seconds before its end a token is renewed
WAIT = 10.0
PASSING = {"temporarily_unavailable", "server_error", "slow_down"}


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
        try:
            answer = self._ask(self._client(), self._url, self._form, self._refresh)
            told = self._read(answer.json())
        except httpx.HTTPError as error:
            text = _("The token address cannot be reached (%(reason)s).") % {"reason": type(error).__name__}
            raise AdapterError(text, code="connect", retryable=True, retry_after=WAIT) from None
        except (ValueError, AttributeError, TypeError):
            told = {}
        if not told.get("access_token"):
            raise _refused(told, answer.status_code)
        self._token = str(told["access_token"])
        self._until = time.monotonic() + max(0.0, float(told.get("expires_in") or 3600) - EARLY)
        # Some platforms give a new refresh token each time; the newest is used as long as this worker lives.
        self._refresh = str(told.get("refresh_token") or self._refresh)
        return self._token

    # Where a platform has words of its own, these two are overridden.

    def _ask(
        self, client: httpx.Client, url: str, form: Mapping[str, str], refresh_token: str
    ) -> httpx.Response:
        given = {**form, "grant_type": "refresh_token", "refresh_token": refresh_token}
        return client.post(url, data=given)

    def _read(self, told: Any) -> dict[str, Any]:
        """The answer with the names of RFC 6749; ``error`` where there is none."""
        return dict(told)

    def forget(self) -> None:
        """The platform took this token for expired: the next call fetches a new one."""
        self._token = ""


def _refused(told: Mapping[str, object], status: int) -> AdapterError:
    code = str(told.get("error") or f"http {status}")
    told_so = bool(told.get("error")) or status in {400, 401, 403}
    if told_so and code not in PASSING and status != 429 and status < 500:
        text = _("The platform gives no access token (%(code)s): connect the account again.") % {"code": code}
        return AdapterError(text, code=code, stops_channel=True)
    text = _("The platform gives no access token at present (%(code)s).") % {"code": code}
    return AdapterError(text, code=code, retryable=True, retry_after=WAIT)
