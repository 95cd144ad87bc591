"""What WeChat's APIs share: a token kept for the process and renewed, error codes in answers of status 200."""

import hashlib
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from django.utils.translation import gettext as _

from channels.adapters.base import AdapterError

EARLY = 120.0  # seconds before its end a token is not used any more

# (address, app, digest of the secret) → token, until
_tokens: dict[tuple[str, str, str], tuple[str, float]] = {}
_tokens_lock = threading.Lock()


def forget_tokens() -> None:
    """Ask for every token anew."""
    with _tokens_lock:
        _tokens.clear()


class MayHaveArrived(Exception):
    """The call was on its way when the line went."""


class Errcode(Exception):
    """WeChat refused the call for good; ``answer`` is what it said."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(f"{answer.get('errcode')} {answer.get('errmsg', '')}"[:200])
        self.code = int(answer.get("errcode") or 0)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Codes:
    """What error codes mean: the token is over, wait so many seconds, a person must act."""

    token_over: Collection[int]
    retry: Mapping[int, float]
    stops: Collection[int]


class Api:
    """Calls with a token. ``fetch`` asks for one: (renew) → the answer of the token address."""

    def __init__(self, base: str, app: str, secret: str, timeout: float, codes: Codes) -> None:
        self.base, self.app, self.secret, self.timeout, self.codes = base, app, secret, timeout, codes
        self.fetch: Callable[[bool], dict[str, Any]] = lambda renew: self.request(
            "POST",
            "/cgi-bin/stable_token",
            {},
            {"grant_type": "client_credential", "appid": app, "secret": secret, "force_refresh": renew},
        )
        self._http: httpx.Client | None = None
        self._lock = threading.Lock()

    def call(self, method: str, path: str, body: Any) -> dict[str, Any]:
        """One API call; a token that ran out is renewed once (such a call was not carried out).

        Raises :class:`AdapterError` when it cannot have arrived, :class:`MayHaveArrived` when it may,
        :class:`Errcode` when it was refused for good.
        """
        for renewed in (False, True):
            token = self._token(renewed)
            answer = self.request(method, f"/cgi-bin/{path}", {"access_token": token}, body)
            code = int(answer.get("errcode") or 0)
            if code == 0:
                return answer
            if code in self.codes.token_over and not renewed:
                continue
            error = Errcode(answer)
            if code in self.codes.retry or code in self.codes.stops or code in self.codes.token_over:
                raise self.as_adapter_error(error)
            raise error
        raise AssertionError("unreachable")

    def as_adapter_error(self, error: Exception) -> AdapterError:
        if isinstance(error, AdapterError):
            return error
        if isinstance(error, Errcode):
            codes = self.codes
            return AdapterError(
                _("WeChat says: %s") % error,
                code=str(error.code),
                retryable=error.code in codes.retry,
                stops_channel=error.code in codes.stops or error.code in codes.token_over,
                retry_after=codes.retry.get(error.code),
            )
        return AdapterError(str(error), code="lost", retryable=True, retry_after=5.0)

    def _token(self, renew: bool) -> str:
        key = (self.base, self.app, hashlib.sha256(self.secret.encode()).hexdigest())
        with _tokens_lock:
            token, until = _tokens.get(key, ("", 0.0))
        if token and not renew and time.monotonic() < until:
            return token
        try:
            answer = self.fetch(renew)
        except MayHaveArrived as error:  # asking for a token changes nothing
            raise self.as_adapter_error(error) from error
        if answer.get("errcode"):
            raise self.as_adapter_error(Errcode(answer))
        token = str(answer["access_token"])
        with _tokens_lock:
            _tokens[key] = (token, time.monotonic() + float(answer.get("expires_in") or 7200) - EARLY)
        return token

    def request(self, method: str, path: str, query: Mapping[str, str], body: Any) -> dict[str, Any]:
        with self._lock:
            if self._http is None:
                self._http = httpx.Client(base_url=self.base, timeout=self.timeout)
        try:
            answer = self._http.request(method, path, params=query, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            text = _("WeChat cannot be reached (%(reason)s).") % {"reason": type(error).__name__}
            raise AdapterError(text, code="connect", retryable=True, retry_after=5.0) from None
        except httpx.HTTPError as error:
            raise MayHaveArrived(type(error).__name__) from None
        try:
            told = answer.json()
        except ValueError:
            told = None
        if answer.status_code >= 400 or not isinstance(told, dict):
            raise MayHaveArrived(f"HTTP {answer.status_code}")
        return told

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None
