"""What JSON platforms with OAuth tokens share: one client, a token that is renewed once, errors read in one place.

Every verb of such an adapter says what should be so, so a call whose answer was lost is a call to repeat.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import httpx
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from channels.adapters._flights import BY_AUDIENCE
from channels.adapters.base import (
    Account,
    AdapterError,
    BaseAdapter,
    Credentials,
    Flight,
    Setting,
)

WAIT_PASSING, WAIT_MINUTES = 10.0, 120.0

SECRETS = (
    Setting("app_secret", gettext_lazy("App secret"), kind="password", secret=True),
    Setting(
        "refresh_token",
        gettext_lazy("Refresh token"),
        gettext_lazy("Of the authorisation. It is renewed and kept by itself while the channel is used."),
        "password",
        secret=True,
    ),
    Setting(
        "access_token",
        gettext_lazy("Access token"),
        gettext_lazy("May be left empty: it is fetched with the refresh token."),
        "password",
        secret=True,
        required=False,
    ),
)


def reaching(address: str) -> tuple[Setting, Setting]:
    """Where the API is, and how long we wait for it."""
    return (
        Setting("base_url", gettext_lazy("Address of the API"), kind="url", default=address, required=False),
        Setting(
            "timeout",
            gettext_lazy("Seconds to wait for an answer"),
            kind="number",
            default=60,
            required=False,
        ),
    )


class TokenOver(AdapterError):
    """The access token is not taken any more; another one may be."""


class OAuthAdapter(BaseAdapter):
    """Inherit and give :meth:`exchange`, :meth:`authorise` and :meth:`understand`."""

    platform: ClassVar[str]  # its name in messages
    address: ClassVar[str]  # of its API

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._credentials: dict[str, Any] = dict(account.credentials)
        self._base = str(account.settings.get("base_url") or self.address).rstrip("/")
        self._account_id = str(account.settings.get("account_id") or "").strip()
        self._http: httpx.Client | None = None

    # -- to give -----------------------------------------------------------------------------------

    def exchange(self, credentials: Credentials) -> Credentials:
        """New ``access_token`` (and ``refresh_token``, where the platform gives one). Raises :class:`AdapterError`."""
        raise NotImplementedError

    def authorise(self, token: str, request: dict[str, Any]) -> None:
        """Put the token into a request (keyword arguments of ``httpx.Client.request``)."""
        request["headers"] = {**request.get("headers", {}), "Access-Token": token}

    def understand(self, told: Mapping[str, Any], status: int) -> Any:
        """What an answer brings. Raises :class:`AdapterError`; :class:`TokenOver` where a new token would help."""
        raise NotImplementedError

    # -- calls -------------------------------------------------------------------------------------

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def call(self, method: str, path: str, **request: Any) -> Any:
        """One call; once more with a new token where the old one is over. Raises :class:`AdapterError`."""
        renewed = False
        while True:
            token = str(self._credentials.get("access_token") or "")
            if not token:
                self._renew()
                renewed = True
                token = str(self._credentials["access_token"])
            given = dict(request)
            self.authorise(token, given)
            try:
                return self.understand(*self.ask(method, path, **given))
            except TokenOver as over:
                if renewed:
                    raise AdapterError(str(over), code=over.code, stops_channel=True) from None
                self._renew()
                renewed = True

    def ask(self, method: str, path: str, **request: Any) -> tuple[Mapping[str, Any], int]:
        """The JSON and HTTP status of one request. Raises :class:`AdapterError` where there is none."""
        if self._http is None:
            self._http = httpx.Client(
                base_url=self._base, timeout=float(self.account.settings.get("timeout") or 60)
            )
        try:
            answer = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            text = _("%(platform)s cannot be reached (%(reason)s).") % {
                "platform": self.platform, "reason": type(error).__name__,
            }  # fmt: skip
            raise AdapterError(text, code="connect", retryable=True, retry_after=WAIT_PASSING) from None
        try:
            told = answer.json()
        except ValueError:
            told = None
        if not isinstance(told, dict):
            text = _("%(platform)s answered HTTP %(status)s without a text we can read.") % {
                "platform": self.platform, "status": answer.status_code,
            }  # fmt: skip
            raise AdapterError(
                text, code=f"http {answer.status_code}", retryable=True,
                retry_after=WAIT_MINUTES if answer.status_code == 429 else WAIT_PASSING,
            )  # fmt: skip
        return told, answer.status_code

    def error(
        self, code: object, text: object, *, retry: Mapping[int, float], stops: Sequence[int] = ()
    ) -> AdapterError:
        """The platform's own words, with what follows from its code."""
        number = int(str(code)) if str(code).lstrip("-").isdigit() else -1
        said = _("%(platform)s says: %(text)s") % {"platform": self.platform, "text": str(text or code)[:300]}
        return AdapterError(
            said, code=str(code), retryable=number in retry, stops_channel=number in stops,
            retry_after=retry.get(number),
        )  # fmt: skip

    def over(self, code: object, text: object) -> TokenOver:
        said = _("%(platform)s says: %(text)s") % {"platform": self.platform, "text": str(text or code)[:300]}
        return TokenOver(said, code=str(code))

    def _renew(self) -> None:
        stale = self._credentials
        renew = self.account.renew
        self._credentials = dict(
            renew(stale, self._exchange) if renew else {**stale, **self._exchange(stale)}
        )

    def _exchange(self, credentials: Credentials) -> Credentials:
        if not credentials.get("refresh_token"):
            raise AdapterError(
                _("The access token is over and there is no refresh token: authorise the app again."),
                code="refresh_token", stops_channel=True,
            )  # fmt: skip
        try:
            fresh = self.exchange(credentials)
        except TokenOver as error:
            raise AdapterError(
                _("%(text)s Authorise the app again and put the new refresh token here.") % {"text": error},
                code=error.code, stops_channel=True,
            ) from None  # fmt: skip
        return {name: value for name, value in fresh.items() if value}

    # -- flights -----------------------------------------------------------------------------------

    def wanted_reference(self, flight: Flight, what: str) -> str:
        """The id a flight names. Raises :class:`AdapterError` that says what to do."""
        if flight.reference and not flight.reference.startswith(BY_AUDIENCE):
            return flight.reference
        raise AdapterError(
            _("Make the %(what)s on the platform, and write its id on the page of the audience.")
            % {"what": what},
            code="reference",
        )


def sha256(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def money(value: Any) -> Decimal:
    """An amount as platforms write it: a number, or text with commas."""
    return Decimal(str(value or "0").replace(",", ""))


def whole(value: Any) -> int | None:
    return None if value in {None, ""} else int(money(value))


def day_text(day: dt.date) -> str:
    return day.isoformat()
