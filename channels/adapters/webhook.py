"""A webhook to one's own app: batches of messages posted as signed JSON, events of the app taken back, signed alike.

The app decides how a message reaches the person (push, in-app message, another system). Each message carries our
attempt's id, under which the app takes it once. Only public addresses are called (see :mod:`channels.outward`).
"""

import datetime as dt
import hmac
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from hashlib import sha256
from typing import Any, ClassVar

import httpx
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import REACHED_BY, IdentityKind, Medium, ResponseKind
from channels import outward
from channels.adapters.base import (
    Account,
    AdapterError,
    BadSignature,
    BaseAdapter,
    Checked,
    Inbound,
    InboundReply,
    InboundRequest,
    Outcome,
    Outgoing,
    Receipt,
    Sent,
    Setting,
)
from channels.vocabulary import Domain, Guarantee, Observability

SIGNATURE = "x-evenreach-signature"
TOLERANCE = 300.0  # seconds between the app's clock and ours
LARGEST_BODY = 4 * 1024 * 1024
LONGEST_WAIT = 3600.0
STOPS = {401, 403, 404, 405, 410}
OUTCOMES = {
    "accepted": Outcome.ACCEPTED,
    "refused": Outcome.REFUSED,
    "throttled": Outcome.THROTTLED,
    "unknown": Outcome.UNKNOWN,
}
RECEIPTS = {
    "accepted": Receipt.ACCEPTED,
    "delivered": Receipt.DELIVERED,
    "bounced": Receipt.BOUNCED,
    "rejected": Receipt.REJECTED,
}


class Adapter(BaseAdapter):
    name = "webhook"
    label = gettext_lazy("Webhook to an app of one's own")
    media: ClassVar[tuple[str, ...]] = (Medium.APP_PUSH, Medium.WEBHOOK)
    domain = Domain.PRIVATE
    guarantee = Guarantee.IMMEDIATE
    observability = Observability.PERSON_OBSERVED
    batch_size = 1000
    recipients_a_call = 1000
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting(
            "url",
            gettext_lazy("Address of the app"),
            gettext_lazy(
                "Messages are posted here. It must be on the public Internet, unless the operator permits it."
            ),
            "url",
        ),
        Setting(
            "secret",
            gettext_lazy("Signing secret"),
            gettext_lazy(
                "At least 16 characters, known to the app: it signs what we send and what we are sent."
            ),
            "password",
            secret=True,
        ),
        Setting(
            "former_secret",
            gettext_lazy("Former signing secret"),
            gettext_lazy("While the app changes over, events signed with it are still taken."),
            "password",
            secret=True,
            required=False,
        ),
        Setting(
            "batch",
            gettext_lazy("Messages in one call"),
            gettext_lazy("At most 1,000."),
            "number",
            default=100,
            required=False,
        ),
        Setting(
            "connections",
            gettext_lazy("Calls at the same time"),
            gettext_lazy(
                "Of one worker, at most 16. An app that takes a while for each call is asked several at once."
            ),
            "number",
            default=4,
            required=False,
        ),
        Setting(
            "timeout", gettext_lazy("Seconds to wait for the app"), kind="number", default=15, required=False
        ),
    )

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._url = str(account.settings.get("url") or "")
        self._secret = str(account.credentials.get("secret") or "").encode()
        self._timeout = float(account.settings.get("timeout") or 15)
        self._batch = max(1, min(self.batch_size, int(account.settings.get("batch") or 100)))
        self._connections = max(1, min(16, int(account.settings.get("connections") or 4)))
        self._http: httpx.Client | None = None
        self._pool: ThreadPoolExecutor | None = None

    # Sending --------------------------------------------------------------------------------------

    def send(self, batch: Sequence[Outgoing]) -> list[Sent]:
        """Post it in as few calls as size permits, several at once. Raises :class:`AdapterError` only
        before anything was taken: the first call is made alone."""
        calls = list(self._calls(batch))
        if not calls:
            return []
        first = self._try(*calls[0])
        if isinstance(first, AdapterError) and (len(calls) == 1 or first.retryable or first.stops_channel):
            raise first
        told = [first]
        if len(calls) > 1:
            told += self._threads().map(self._try, *zip(*calls[1:], strict=True))
        results: list[Sent] = []
        for (messages, _body), one in zip(calls, told, strict=True):
            results += one if isinstance(one, list) else [_failed(message, one) for message in messages]
        return results

    def calls(self, batch: Sequence[Outgoing]) -> int:
        return sum(1 for _call in self._calls(batch))

    def _try(self, messages: Sequence[Outgoing], body: bytes) -> list[Sent] | AdapterError:
        try:
            return self._hand_over(messages, body)
        except AdapterError as error:
            return error

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._connections, thread_name_prefix="webhook")
        return self._pool

    def _calls(self, batch: Sequence[Outgoing]) -> Iterator[tuple[Sequence[Outgoing], bytes]]:
        most = min(self._batch, self.at_once)
        for first in range(0, len(batch), most):
            yield from self._bodies(batch[first : first + most])

    def _bodies(self, messages: Sequence[Outgoing]) -> Iterator[tuple[Sequence[Outgoing], bytes]]:
        """One call, or several where they would be too large for one."""
        about = {"type": "messages", "channel": self.account.channel_id, "medium": str(self.account.medium)}
        body = _ENCODE(about | {"messages": [_message(message) for message in messages]}).encode()
        if len(messages) == 1 or len(body) <= LARGEST_BODY:
            yield messages, body
            return
        half = len(messages) // 2
        yield from self._bodies(messages[:half])
        yield from self._bodies(messages[half:])

    def _hand_over(self, messages: Sequence[Outgoing], body: bytes) -> list[Sent]:
        try:
            answer = self._post(body)
        except httpx.HTTPError as error:
            return [_unknown(message, "lost", type(error).__name__) for message in messages]
        code, told = str(answer.status_code), _json(answer)
        if answer.status_code < 300 and isinstance(told, Mapping) and isinstance(told.get("results"), list):
            said = {str(row.get("id")): row for row in told["results"] if isinstance(row, Mapping)}
            return [_sent(message, said.get(str(message.attempt_id))) for message in messages]
        if answer.status_code < 300 or answer.status_code >= 500:  # it may have taken them, or some
            return [_unknown(message, code, _shown(answer)) for message in messages]
        raise self._error(answer)

    def _error(self, answer: httpx.Response) -> AdapterError:
        """By the protocol, 3xx and 4xx say that nothing was taken."""
        code = str(answer.status_code)
        if answer.is_redirect or answer.status_code < 400:
            text = _("The app redirects, which is not followed. Give the address it redirects to.")
            return AdapterError(text, code=code, stops_channel=True)
        if answer.status_code in STOPS:
            text = _("The app refuses us (HTTP %(code)s): look at address and secret.") % {"code": code}
            return AdapterError(text, code=code, stops_channel=True)
        if answer.status_code == 429:
            wait = _seconds(answer.headers.get("retry-after"))
            return AdapterError(_("The app asks to wait."), code=code, retryable=True, retry_after=wait)
        return AdapterError(
            _("The app refuses the messages (HTTP %(code)s).") % {"code": code} + " " + _shown(answer),
            code=code,
        )

    def _post(self, body: bytes) -> httpx.Response:
        """Raises :class:`AdapterError` when nothing can have arrived, :class:`httpx.HTTPError` when it may have."""
        if self._http is None:
            self._http = outward.client(self._timeout, self._connections)
        headers = {
            "Content-Type": "application/json",
            SIGNATURE: signed(self._secret, body, int(time.time())),
        }
        try:
            return self._http.post(self._url, content=body, headers=headers)
        except outward.NotAllowed as error:
            raise AdapterError(str(error), code="not_public", stops_channel=True) from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            text = _("The app cannot be reached (%(reason)s).") % {"reason": type(error).__name__}
            raise AdapterError(text, code="connect", retryable=True, retry_after=10.0) from None
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise AdapterError(str(error)[:200], code="url", stops_channel=True) from None

    # What comes back ------------------------------------------------------------------------------

    def parse_inbound(self, request: InboundRequest) -> InboundReply:
        """``{"events": [{"id", "type", "at", "message" or "address", …}]}``, signed as our own calls are.

        Raises :class:`BadSignature`; :class:`ValueError` that names what cannot be read, then nothing is taken.
        """
        now = request.received_at or dt.datetime.now(dt.UTC)
        header = request.headers.get(SIGNATURE, "")
        secrets = [self._secret, str(self.account.credentials.get("former_secret") or "").encode()]
        if not any(secret and is_signed(secret, request.body, header, now.timestamp()) for secret in secrets):
            raise BadSignature("X-Evenreach-Signature")
        told = json.loads(request.body)
        events = told.get("events") if isinstance(told, Mapping) else None
        if not isinstance(events, list):
            raise ValueError('the body must be {"events": […]}')
        found = [self._event(event, now) for event in events]
        answer = _ENCODE({"taken": len(found)}).encode()
        return InboundReply(found, 200, answer, "application/json")

    def _event(self, event: Any, now: dt.datetime) -> Inbound:
        if not isinstance(event, Mapping) or not event.get("id"):
            raise ValueError("an event must be an object with an id")
        kind, message = str(event.get("type") or ""), str(event.get("message") or "")
        address = str(event.get("address") or "")
        if kind not in RECEIPTS and kind not in ResponseKind.values:
            known = ", ".join(dict.fromkeys([*RECEIPTS, *ResponseKind.values]))
            raise ValueError(f"event {event['id']}: no type {kind!r}; known: {known}")
        if message and not message.isascii() or (message and not message.isdigit()):
            raise ValueError(f"event {event['id']}: message must be the id of a message of ours")
        if not message and (kind in RECEIPTS or not address):
            raise ValueError(
                f"event {event['id']} needs a message" + ("" if kind in RECEIPTS else " or an address")
            )
        identity_kind = (
            str(event.get("address_kind") or REACHED_BY[self.account.medium][0]) if address else ""
        )
        if identity_kind and identity_kind not in IdentityKind.values:
            raise ValueError(f"event {event['id']}: no address_kind {identity_kind!r}")
        issuer = self.account.brand if identity_kind == IdentityKind.MEMBER_NUMBER else ""
        detail: dict[str, Any] = {"attempt_id": int(message)} if message else {}
        if event.get("text"):
            detail["text"] = str(event["text"])[:1000]
        return Inbound(
            dedupe_key=f"webhook:{event['id']}",
            occurred_at=min(_moment(event, now), now),
            receipt=RECEIPTS.get(kind),
            response=None if kind in RECEIPTS else ResponseKind(kind),
            reference=f"attempt-{message}" if message else "",
            identity_kind=identity_kind,
            identity_issuer=str(event.get("issuer") or issuer) if address else "",
            identity_value=address,
            code=str(event.get("code") or "")[:80],
            permanent=bool(event.get("permanent")) and kind in ("bounced", "rejected"),
            value=_amount(event),
            currency=str(event.get("currency") or "")[:3].upper(),
            machine=bool(event.get("machine")),
            detail=detail,
        )

    # Testing --------------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Post ``{"type": "check"}``; the app must answer 2xx to our signature, and 401 to a wrong one."""
        body = _ENCODE({"type": "check", "channel": self.account.channel_id}).encode()
        if len(self._secret) < 16:
            return Checked(False, _("The signing secret is too short: give at least 16 characters."))
        try:
            answer = self._post(body)
        except AdapterError as error:
            return Checked(False, str(error), {"code": error.code})
        except httpx.HTTPError as error:
            return Checked(
                False, _("The app did not answer (%(reason)s).") % {"reason": type(error).__name__}
            )
        if answer.status_code >= 300:
            return Checked(False, str(self._error(answer)), {"code": str(answer.status_code)})
        return Checked(
            True, _("The app answers and knows our signature."), {"server": httpx.URL(self._url).host}
        )

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def signed(secret: bytes, body: bytes, at: int) -> str:
    """The header's value: HMAC-SHA256 over ``<seconds>.<body>``."""
    total = hmac.new(secret, f"{at}.".encode() + body, sha256).hexdigest()
    return f"t={at},v1={total}"


def is_signed(secret: bytes, body: bytes, header: str, now: float) -> bool:
    """Whether a header signs this body, and did so within :data:`TOLERANCE` of now."""
    fields = dict(part.partition("=")[::2] for part in header.split(","))
    at = fields.get("t", "")
    if not (at.isascii() and at.isdigit() and len(at) < 12) or abs(now - int(at)) > TOLERANCE:
        return False
    return hmac.compare_digest(signed(secret, body, int(at)).encode(), header.encode("utf-8", "replace"))


def _message(message: Outgoing) -> dict[str, Any]:
    """What the app is told of one message; what is empty is left out. Ids are texts: they may pass 2^53."""
    told: dict[str, Any] = {"id": str(message.attempt_id), "address": message.address}
    if message.subject:
        told["subject"] = message.subject
    if message.text:
        told["text"] = message.text
    if message.html:
        told["html"] = message.html
    if message.template:
        told["template"] = message.template
    if message.variables:
        told["variables"] = dict(message.variables)
    if message.unsubscribe_url:
        told["unsubscribe_url"] = message.unsubscribe_url
    if message.expires_at:
        told["expires_at"] = _moment_text(message.expires_at)
    return told


_moment_text = lru_cache(maxsize=1024)(dt.datetime.isoformat)


def _sent(message: Outgoing, row: Mapping[str, Any] | None) -> Sent:
    outcome = OUTCOMES.get(str(row.get("status"))) if row is not None else None
    if row is None or outcome is None:
        return _unknown(message, "unsaid", "the answer does not tell of this message")
    if outcome is Outcome.ACCEPTED:
        reference = row.get("reference")
        own = f"attempt-{message.attempt_id}"
        return Sent(message.attempt_id, outcome, str(reference)[:160] if reference else own)
    return Sent(
        message.attempt_id,
        outcome,
        code=str(row.get("code") or "")[:80],
        text=str(row.get("text") or "")[:200],
        retry_after=_seconds(row.get("retry_after")) if outcome is Outcome.THROTTLED else None,
        invalid_address=outcome is Outcome.REFUSED and row.get("invalid_address") is True,
    )


def _failed(message: Outgoing, error: AdapterError) -> Sent:
    """Of a call that failed before anything arrived, beside others that were taken."""
    final = not error.retryable and not error.stops_channel
    return Sent(
        message.attempt_id, Outcome.REFUSED if final else Outcome.THROTTLED, code=error.code, text=str(error)[:200],
        retry_after=error.retry_after,
    )  # fmt: skip


def _unknown(message: Outgoing, code: str, text: str) -> Sent:
    return Sent(message.attempt_id, Outcome.UNKNOWN, code=code, text=text[:200])


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _shown(answer: httpx.Response) -> str:
    return " ".join(answer.text[:400].split())[:160]


def _seconds(told: Any) -> float | None:
    try:
        return max(0.0, min(LONGEST_WAIT, float(told)))
    except (TypeError, ValueError):
        return None


def _moment(event: Mapping[str, Any], now: dt.datetime) -> dt.datetime:
    told = event.get("at")
    if told is None:
        return now
    try:
        moment = dt.datetime.fromisoformat(str(told))
    except ValueError:
        raise ValueError(
            f"event {event['id']}: at must be a time such as 2026-11-11T08:00:00+08:00"
        ) from None
    if moment.tzinfo is None:
        raise ValueError(f"event {event['id']}: at needs an offset, such as +08:00")
    return moment


def _amount(event: Mapping[str, Any]) -> Decimal | None:
    told = event.get("value")
    if told is None:
        return None
    try:
        amount = Decimal(str(told))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not event.get("currency"):
        raise ValueError(f"event {event['id']}: value must be a number beside a currency")
    return amount
