"""Access tokens from a refresh token (RFC 6749 §6): fetched when needed, kept until they are about to end."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from django.utils.translation import gettext as _

from channels.adapters.base import Account, AdapterError, Credentials

EARLY = 60.0  # seconds before its end a token is renewed
WAIT = 10.0
PASSING = {"temporarily_unavailable", "server_error", "slow_down"}


class RefreshTokens:
    """The tokens of one account. ``form`` is what the platform wants beside the refresh token.

    Where the account lets us (``renew``), one worker exchanges and all of them use what it got: platforms that give a
    new refresh token with each access token take the old one no more.
    """

    def __init__(
        self, account: Account, url: str, form: Mapping[str, str], client: Callable[[], httpx.Client]
    ) -> None:
        self._account, self._url, self._form, self._client = account, url, dict(form), client
        self._credentials: Credentials = dict(account.credentials)
        self._until = math.inf  # of a token we were given with its account we do not know
        self._over = False

    def token(self) -> str:
        """A token that still holds. Raises :class:`AdapterError`: retryable, or one that stops the channel."""
        known = str(self._credentials.get("access_token") or "")
        if known and not self._over and time.monotonic() < self._until:
            return known
        stale, self._until = self._credentials, math.inf
        renew = self._account.renew
        fresh = renew(stale, self._exchange) if renew else {**stale, **self._exchange(stale)}
        self._credentials, self._over = dict(fresh), False
        return str(self._credentials["access_token"])

    def forget(self) -> None:
        """The platform took this token for expired: the next call fetches a new one."""
        self._over = True

    def _exchange(self, credentials: Credentials) -> Credentials:
        try:
            refresh_token = str(credentials.get("refresh_token") or "")
            answer = self._ask(self._client(), self._url, self._form, refresh_token)
            told = self._read(answer.json())
        except httpx.HTTPError as error:
            text = _("The token address cannot be reached (%(reason)s).") % {"reason": type(error).__name__}
            raise AdapterError(text, code="connect", retryable=True, retry_after=WAIT) from None
        except (ValueError, AttributeError, TypeError):
            told = {}
        if not told.get("access_token"):
            raise _refused(told, answer.status_code)
        self._until = time.monotonic() + max(0.0, float(told.get("expires_in") or 3600) - EARLY)
        found = {name: str(told.get(name) or "") for name in ("access_token", "refresh_token")}
        return {name: value for name, value in found.items() if value}

    # Where a platform has words of its own, these two are overridden.

    def _ask(
        self, client: httpx.Client, url: str, form: Mapping[str, str], refresh_token: str
    ) -> httpx.Response:
        given = {**form, "grant_type": "refresh_token", "refresh_token": refresh_token}
        return client.post(url, data=given)

    def _read(self, told: Any) -> dict[str, Any]:
        """The answer with the names of RFC 6749; ``error`` where there is none."""
        return dict(told)


def _refused(told: Mapping[str, object], status: int) -> AdapterError:
    code = str(told.get("error") or f"http {status}")
    told_so = bool(told.get("error")) or status in {400, 401, 403}
    if told_so and code not in PASSING and status != 429 and status < 500:
        text = _("The platform gives no access token (%(code)s): connect the account again.") % {"code": code}
        return AdapterError(text, code=code, stops_channel=True)
    text = _("The platform gives no access token at present (%(code)s).") % {"code": code}
    return AdapterError(text, code=code, retryable=True, retry_after=WAIT)
