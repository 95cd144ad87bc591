"""The Google Ads API through Google's own client library: queries and changes over one TLS channel.

The library is imported here, and only when a call is made. The access token is ours (the audiences need it as well),
so the channel carries the library's own headers but not its credentials.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from django.utils.translation import gettext as _

from channels.adapters.base import AdapterError

T = TypeVar("T")
REQUIREMENTS = "requirements-google-ads.txt"
WAIT_SLOWER, WAIT_PASSING = 60.0, 10.0
# Kinds of errors of google.ads.googleads.*.errors.ErrorCode
STOPPING = {"authentication_error", "authorization_error"}
SLOWER = {"quota_error"}
PASSING = {"internal_error", "database_error"}
OPTIONS = (("grpc.max_receive_message_length", 64 * 1024 * 1024),)


def sdk(name: str) -> Any:
    """A module of the library. Raises :class:`AdapterError` that names the file to install."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        text = _("Google's client library is missing on this machine. Install %(file)s.") % {
            "file": REQUIREMENTS
        }
        raise AdapterError(text, code="requirements", stops_channel=True) from None


class Api:
    """One account's door. Safe to close and to use again."""

    def __init__(
        self,
        endpoint: str,
        version: str,
        *,
        developer_token: str,
        login_customer_id: str,
        ca_file: str,
        timeout: float,
        token: Callable[[], str],
        forget_token: Callable[[], None],
    ) -> None:
        self._endpoint, self._version, self._timeout = endpoint, version, timeout
        self._developer_token, self._login = developer_token, login_customer_id
        self._ca_file, self._token, self._forget = ca_file, token, forget_token
        self._channel: Any = None
        self._service: Any = None

    def rows(self, customer_id: str, query: str) -> list[Any]:
        """All rows (``GoogleAdsRow``) of a query. Raises :class:`AdapterError`."""

        def ask(service: Any, metadata: Sequence[tuple[str, str]]) -> list[Any]:
            stream = service.search_stream(
                customer_id=customer_id, query=query, metadata=metadata, timeout=self._timeout, retry=None
            )
            return [row for part in stream for row in part.results]

        return self._call(ask)

    def mutate(self, customer_id: str, operations: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Several changes, all or none (``MutateOperationResponse`` of each). Raises :class:`AdapterError`."""

        def change(service: Any, metadata: Sequence[tuple[str, str]]) -> list[Any]:
            request = {"customer_id": customer_id, "mutate_operations": list(operations)}
            answer = service.mutate(request=request, metadata=metadata, timeout=self._timeout, retry=None)
            return list(answer.mutate_operation_responses)

        return self._call(change)

    def _call(self, work: Callable[[Any, Sequence[tuple[str, str]]], T]) -> T:
        service = self._ready()
        failed = (sdk("google.api_core.exceptions").GoogleAPICallError, sdk("grpc").RpcError)
        for again in (True, False):
            try:
                return work(service, [("authorization", f"Bearer {self._token()}")])
            except failed as error:
                call = getattr(error, "response", None) or error
                told = self._explained(call)
                if again and told is not None and _kind(told) == "authentication_error":
                    self._forget()  # expired on its way: once more with a fresh one
                    continue
                raise (_failed(told) if told is not None else _broken(call, sdk("grpc"))) from None
        raise AssertionError("unreachable")

    def _explained(self, call: Any) -> Any:
        """The first ``GoogleAdsError`` that came behind an answer, where there is one."""
        key = f"google.ads.googleads.{self._version}.errors.googleadsfailure-bin"
        failure = sdk(f"google.ads.googleads.{self._version}.errors.types.errors").GoogleAdsFailure
        for name, value in call.trailing_metadata() or ():
            if name == key and (errors := failure.deserialize(value).errors):
                return errors[0]
        return None

    def _ready(self) -> Any:
        if self._service is None:
            grpc = sdk("grpc")
            interceptors = sdk("google.ads.googleads.interceptors")
            found = sdk(f"google.ads.googleads.{self._version}.services.services.google_ads_service")
            try:
                roots = Path(self._ca_file).read_bytes() if self._ca_file else None
            except OSError as error:
                text = _("The file of certificates cannot be read (%(reason)s).") % {
                    "reason": type(error).__name__
                }
                raise AdapterError(text, code="ca_file", stops_channel=True) from None
            self._channel = grpc.secure_channel(
                self._endpoint, grpc.ssl_channel_credentials(roots), options=OPTIONS
            )
            channel = grpc.intercept_channel(
                self._channel,
                interceptors.MetadataInterceptor(self._developer_token, self._login or None, None),
            )
            client = found.GoogleAdsServiceClient
            self._service = client(transport=client.get_transport_class("grpc")(channel=channel))
        return self._service

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = self._service = None


def _kind(error: Any) -> str:
    """Which of the many kinds an error is, such as ``quota_error``."""
    return str(type(error).pb(error).error_code.WhichOneof("error_code") or "unknown")


def _failed(first: Any) -> AdapterError:
    """An error Google explained."""
    kind = _kind(first)
    code = getattr(getattr(first.error_code, kind, None), "name", kind)
    slower, passing = kind in SLOWER, kind in PASSING
    wait = first.details.quota_error_details.retry_delay.total_seconds() if slower else 0.0
    return AdapterError(
        _("Google says: %s") % str(first.message)[:300],
        code=str(code),
        retryable=slower or passing,
        stops_channel=kind in STOPPING,
        retry_after=(wait or WAIT_SLOWER) if slower else WAIT_PASSING if passing else None,
    )


def _broken(call: Any, grpc: Any) -> AdapterError:
    """A call that ended without an explanation: queries and changes may be repeated."""
    code = call.code()
    if code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
        return AdapterError(
            _("Google does not let us in (%s).") % code.name, code=code.name, stops_channel=True
        )
    slower = code is grpc.StatusCode.RESOURCE_EXHAUSTED
    final = code in {
        grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED,
    }  # fmt: skip
    return AdapterError(
        _("Google Ads cannot be reached (%(reason)s).") % {"reason": code.name},
        code=code.name,
        retryable=not final,
        retry_after=None if final else WAIT_SLOWER if slower else WAIT_PASSING,
    )
