"""Microsoft Advertising's services through Microsoft's own client library, over SOAP.

The library is imported here, and only when a call is made. Its descriptions of the services are parsed once a process
(about a second each) and shared. A shared description takes the headers of a message, and so the account and its
token, from whoever used it last: so each call says first whose it is, and a service is called by one thread at a time.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from django.utils.translation import gettext as _

from channels.adapters.base import AdapterError

REQUIREMENTS = "requirements-microsoft-ads.txt"
VERSION = 13
# Where each service stands below the host, as in the library's own descriptions.
PATHS = {
    "CampaignManagementService": "/Api/Advertiser/CampaignManagement/v13/CampaignManagementService.svc",
    "ReportingService": "/Api/Advertiser/Reporting/v13/ReportingService.svc",
    "CustomerManagementService": "/Api/CustomerManagement/v13/CustomerManagementService.svc",
    "CustomerBillingService": "/Api/Billing/v13/CustomerBillingService.svc",
}
INVALID, EXPIRED = 105, 109  # the token: not (or no more) valid, which may be mended by a new one; over
STOPPING = {105, 106, 107, 108, 110, 112, 113, 114, 115}  # credentials, permission, the account itself
SLOWER = {117, 118, 207}  # too many calls, too many at once
WAIT_SLOWER, WAIT_PASSING = 60.0, 10.0
_descriptions: dict[str, Any] = {}
_turns: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)  # by service


def sdk(name: str) -> Any:
    """A module of the library. Raises :class:`AdapterError` that names the file to install."""
    try:
        found = import_module(name)
    except ModuleNotFoundError:
        text = _("Microsoft's client library is missing on this machine. Install %(file)s.") % {
            "file": REQUIREMENTS
        }
        raise AdapterError(text, code="requirements", stops_channel=True) from None
    logging.getLogger("suds").setLevel(logging.WARNING)  # below, it writes whole messages: tokens and people
    return found


class Soap:
    """One account's services. Safe to close and to use again."""

    def __init__(
        self,
        base_url: str,
        *,
        account_id: str,
        customer_id: str,
        developer_token: str,
        timeout: float,
        token: Callable[[], str],
        forget_token: Callable[[], None],
    ) -> None:
        self._base, self._timeout = base_url.rstrip("/"), timeout
        self._account, self._customer, self._developer_token = account_id, customer_id, developer_token
        self._token, self._forget = token, forget_token
        self._services: dict[str, Any] = {}

    def call(self, service: str, operation: str, **given: Any) -> Any:
        """One operation; the answer is the library's object, None where it is empty. Raises :class:`AdapterError`."""
        self._token()  # fetched before anybody has to wait for us
        with _turns[service]:
            return self._call(service, operation, given)

    def _call(self, service: str, operation: str, given: Mapping[str, Any]) -> Any:
        client = self._service(service)
        description = client.soap_client.wsdl
        for one in (description, *(entry.imported for entry in description.imports)):
            one.options = client.soap_client.options
        suds = sdk("suds")
        for again in (True, False):
            try:
                self._token()  # fetched before, so that its errors are told as they are
                return getattr(client, operation)(**given)
            except suds.WebFault as fault:
                errors = _errors(fault)
                code = int(errors[0].get("Code", 0)) if errors else 0
                if again and code in {INVALID, EXPIRED}:
                    self._forget()
                    continue
                raise _failed(errors, fault) from None
            except AdapterError:
                raise
            except Exception as error:  # the library's transports raise errors of many kinds
                text = _("Microsoft cannot be reached (%(reason)s).") % {"reason": type(error).__name__}
                raise AdapterError(text, code="connect", retryable=True, retry_after=WAIT_PASSING) from None
        raise AssertionError("unreachable")

    def make(self, service: str, name: str, **fields: Any) -> Any:
        """An object of the service with these fields; all others are left out of the message."""
        made = self._service(service).factory.create(name)
        for field_name in list(dict(made)):
            setattr(made, field_name, None)
        for field_name, value in fields.items():
            if field_name not in dict(made):
                raise AttributeError(f"{name} has no {field_name}")
            setattr(made, field_name, value)
        return made

    def many(self, service: str, name: str, values: list[Any]) -> Any:
        """An ``ArrayOf…`` with these values."""
        made = self._service(service).factory.create(name)
        (only,) = dict(made)
        setattr(made, only, values)
        return made

    def _service(self, name: str) -> Any:
        with _turns[name]:
            return self._services.get(name) or self._made(name)

    def _made(self, name: str) -> Any:
        client, authorization = sdk("bingads.service_client"), sdk("bingads.authorization")
        token = self._token
        base: Any = authorization.Authentication

        class Bearer(base):  # type: ignore[misc]
            def enrich_headers(self, headers: dict[str, str]) -> None:
                headers["AuthenticationToken"] = token()

        data = authorization.AuthorizationData(
            account_id=self._account, customer_id=self._customer, developer_token=self._developer_token,
            authentication=Bearer(),
        )  # fmt: skip
        cache = _descriptions.setdefault(name, sdk("bingads.util").DictCache())
        options: dict[str, Any] = {"timeout": self._timeout, "cache": cache}
        if self._base:
            options["location"] = self._base + PATHS[name]
        made = client.ServiceClient(
            service=name, version=VERSION, authorization_data=data, environment="production", **options
        )
        made.refresh_oauth_tokens_automatically = False  # the tokens are ours
        self._services[name] = made
        return self._services[name]

    def close(self) -> None:
        self._services.clear()  # each call has a connection of its own


def plain(value: Any) -> Any:
    """The library's objects as dictionaries, lists and values."""
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if hasattr(value, "__keylist__"):
        return {str(name): plain(getattr(value, name)) for name in value.__keylist__}
    return value


def listed(answer: Any, *path: str) -> list[Any]:
    """The entries at the end of a path, [] where anything on it is missing."""
    for name in path:
        answer = getattr(answer, name, None)
        if answer is None:
            return []
    return answer if isinstance(answer, list) else [answer]


def batch_errors(errors: list[Any]) -> list[tuple[int, str]]:
    """(index, code) of errors that concern single entries of a call."""
    return [
        (
            int(getattr(error, "Index", 0) or 0),
            str(getattr(error, "ErrorCode", "") or getattr(error, "Code", "")),
        )
        for error in errors
        if error is not None
    ]


def _errors(fault: Any) -> list[Mapping[str, Any]]:
    """What a fault tells, whichever of the services' shapes it has."""
    detail = getattr(fault.fault, "detail", None)
    found: list[Mapping[str, Any]] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "Code" in value:
                found.append(value)
            for entry in value.values():
                walk(entry)
        elif isinstance(value, list):
            for entry in value:
                walk(entry)

    walk(plain(detail))
    return found


def _failed(errors: list[Mapping[str, Any]], fault: Any) -> AdapterError:
    first = errors[0] if errors else {}
    code = int(first.get("Code") or 0)
    text = str(first.get("Message") or getattr(fault.fault, "faultstring", "") or code)[:300]
    slower, passing = code in SLOWER, code == 0
    return AdapterError(
        _("Microsoft says: %s") % text,
        code=str(first.get("ErrorCode") or code),
        retryable=slower or passing,
        stops_channel=code in STOPPING or code == EXPIRED,
        retry_after=WAIT_SLOWER if slower else WAIT_PASSING if passing else None,
    )
