"""Text messages through Twilio, by its own client: one call a message, some at the same time.

A call is not idempotent. What was on its way when the line went is unknown; the address for its status names the
attempt, so that Twilio's report settles it. Twilio signs what it tells us.
"""

import base64
import datetime as dt
import hashlib
import hmac
import logging
import random
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import IdentityKind, Medium, ResponseKind
from channels import sms_replies
from channels.adapters import _sms_calls
from channels.adapters.base import (
    Account,
    AdapterError,
    BadSignature,
    Balance,
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

PROVIDER = "Twilio"
LONGEST_BODY, LONGEST_VALIDITY = 1600, 36_000  # characters; seconds
MOST_ASKED = 200  # numbers asked about in one visit
LOST = "?"  # begins the reference of an unknown attempt: ?<attempt>.<seconds since 1970>.<digest>:<number>
ATTEMPT = "attempt"  # the parameter of the status address that holds our id
QUEUE_FULL, QUIET_HOURS, OPTED_OUT = 21611, 30610, 21610
NO_SUCH_NUMBER = {21211, 21214, 21217, 21401, 21614}
# The account, its keys, its senders: a person must act.
STOPS = {20003, 20005, 20008, 20404, 21212, 21603, 21606, 21659, 21701, 21702, 21703, 21705}
GONE = {"30005", "30006"}  # unknown handset, landline
STATES = {
    "accepted": Receipt.ACCEPTED, "scheduled": Receipt.ACCEPTED, "queued": Receipt.ACCEPTED,
    "sending": Receipt.ACCEPTED, "sent": Receipt.ACCEPTED, "delivered": Receipt.DELIVERED, "read": Receipt.DELIVERED,
    "undelivered": Receipt.BOUNCED, "failed": Receipt.BOUNCED, "canceled": Receipt.BOUNCED,
}  # fmt: skip

logging.getLogger("twilio.http_client").setLevel(logging.WARNING)  # at INFO it prints every call


class Adapter(BaseAdapter):
    name = "twilio"
    label = gettext_lazy("SMS (Twilio)")
    media: ClassVar[tuple[str, ...]] = (Medium.SMS,)
    domain = Domain.PRIVATE
    guarantee = Guarantee.IMMEDIATE
    observability = Observability.PERSON_OBSERVED
    address_kinds: ClassVar[tuple[str, ...]] = (IdentityKind.PHONE,)
    batch_size = 200
    recipients_a_call = 1
    needs_requirements = "requirements-twilio.txt"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("account_sid", gettext_lazy("Account SID"), gettext_lazy("Begins with AC.")),
        Setting("auth_token", gettext_lazy("Auth token"), kind="password", secret=True),
        Setting(
            "source",
            gettext_lazy("Sender"),
            gettext_lazy("A number with its country, a short code or a name; or a messaging service below."),
            required=False,
        ),
        Setting(
            "messaging_service_sid",
            gettext_lazy("Messaging service"),
            gettext_lazy("Begins with MG; it chooses the sender."),
            required=False,
        ),
        Setting(
            "signature",
            gettext_lazy("Signature"),
            gettext_lazy("For mainland China: the approved signature, put in 【】 before every message."),
            required=False,
        ),
        _sms_calls.country("US"),
        _sms_calls.CALLS,
        sms_replies.SETTING,
        Setting(
            "base_url",
            gettext_lazy("Address of the API"),
            kind="url",
            default="https://api.twilio.com",
            required=False,
        ),
        _sms_calls.TIMEOUT,
    )

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._calls = _sms_calls.Calls(account.settings)
        self._opt_out_words = sms_replies.words_of(account.settings)
        self._token = str(account.credentials.get("auth_token") or "")
        self._made: Any = None

    # Sending --------------------------------------------------------------------------------------

    def send(self, batch: Sequence[Outgoing]) -> list[Sent]:
        """One call a message. Raises :class:`AdapterError` only where nothing arrived at all."""
        refused: list[Sent] = []
        calls: list[list[Outgoing]] = []
        for message in batch:
            text = self._text(message)
            if not _sms_calls.is_number(message.address):
                refused.append(_sms_calls.no_number(message))
            elif not text or len(text) > LONGEST_BODY:
                code = "too_long" if text else "empty"
                refused.append(Sent(message.attempt_id, Outcome.REFUSED, code=code))
            else:
                calls.append([message])
        if calls:
            self._client()
        return refused + self._calls.run(calls, self._send)

    def _send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        """One call. Raises :class:`AdapterError` where nothing arrived and the channel must wait or stop."""
        (message,) = messages
        began = dt.datetime.now(dt.UTC)
        try:
            made = self._client().messages.create(to=message.address, **self._fields(message, began))
        except Exception as error:  # the client's own, or of requests below it
            if _sms_calls.never_left(error):
                raise _sms_calls.unreachable(PROVIDER, error) from None
            status = int(getattr(error, "status", None) or 0)
            if 400 <= status < 500:
                return [self._refused(message, status, error)]
            return [self._unknown(message, began, f"HTTP {status}" if status else type(error).__name__)]
        if STATES.get(str(made.status)) is Receipt.BOUNCED:
            return [
                Sent(
                    message.attempt_id, Outcome.REFUSED, str(made.sid), code=str(made.error_code or made.status),
                    text=str(made.error_message or "")[:200],
                )
            ]  # fmt: skip
        # A messaging service says 0 segments until it has chosen the sender.
        return [
            Sent(
                message.attempt_id, Outcome.ACCEPTED, str(made.sid),
                parts=int(made.num_segments or 0) or self._parts(message),
            )
        ]  # fmt: skip

    def _fields(self, message: Outgoing, now: dt.datetime) -> dict[str, Any]:
        told = self.account.settings
        fields: dict[str, Any] = {"body": self._text(message)}
        if told.get("messaging_service_sid"):
            fields["messaging_service_sid"] = str(told["messaging_service_sid"])
        else:
            fields["from_"] = str(told.get("source") or "")
        if self.account.callback_url.startswith("http"):
            fields["status_callback"] = f"{self.account.callback_url}?{ATTEMPT}={message.attempt_id}"
        if message.expires_at is not None:
            left = int((message.expires_at - now).total_seconds())
            if left < LONGEST_VALIDITY:
                fields["validity_period"] = max(1, left)
        return fields

    def _refused(self, message: Outgoing, status: int, error: BaseException) -> Sent:
        """Twilio took nothing. Raises :class:`AdapterError` where that concerns the whole channel."""
        code = int(getattr(error, "code", None) or 0)
        text = str(getattr(error, "msg", None) or getattr(error, "title", None) or code)[:200]
        if status == 429 or code == QUEUE_FULL:
            wait = _sms_calls.MINUTE if code == QUEUE_FULL else _sms_calls.WAIT
            raise AdapterError(
                f"{PROVIDER}: {text}", code=str(code or status), retryable=True, retry_after=wait
            )
        if code == QUIET_HOURS:
            return Sent(
                message.attempt_id, Outcome.THROTTLED, code=str(code), text=text, retry_after=_sms_calls.HOUR,
                address_only=True,
            )  # fmt: skip
        if code in STOPS or status in {401, 403} and not code:
            raise AdapterError(f"{PROVIDER}: {text}", code=str(code or status), stops_channel=True)
        return Sent(
            message.attempt_id, Outcome.REFUSED, code=str(code or status), text=text,
            invalid_address=code in NO_SUCH_NUMBER,
        )  # fmt: skip

    def _unknown(self, message: Outgoing, began: dt.datetime, why: str) -> Sent:
        seconds, digest = int(began.timestamp()), _digest(self._text(message))
        return Sent(
            message.attempt_id,
            Outcome.UNKNOWN,
            f"{LOST}{message.attempt_id}.{seconds}.{digest}:{message.address}",
            code="lost",
            text=f"sent, but never answered ({why})",
            parts=self._parts(message),
        )

    def _text(self, message: Outgoing) -> str:
        return _sms_calls.signed(self.account.settings, message.text)

    def _parts(self, message: Outgoing) -> int:
        """Twilio bills every country by segments of GSM-7 or UCS-2."""
        return _sms_calls.parts(self._text(message), "")

    # Receipts and replies -------------------------------------------------------------------------

    def parse_inbound(self, request: InboundRequest) -> InboundReply:
        """A status, or a message of a person. Raises :class:`BadSignature`."""
        pairs = parse_qsl(request.body.decode(), keep_blank_values=True)
        if not self._is_signed(request, pairs):
            raise BadSignature
        told = dict(pairs)
        now = dt.datetime.now(dt.UTC)
        if "MessageStatus" in told:
            events = self._became(told, request.query.get(ATTEMPT, ""), now)
            return InboundReply(events, status=204)
        answer = b'<?xml version="1.0" encoding="UTF-8"?><Response></Response>'
        return InboundReply([self._said(told, now)], body=answer, content_type="text/xml")

    def _is_signed(self, request: InboundRequest, pairs: Iterable[tuple[str, str]]) -> bool:
        signed = request.url + "".join(name + value for name, value in sorted(set(pairs)))
        wanted = base64.b64encode(hmac.new(self._token.encode(), signed.encode(), hashlib.sha1).digest())
        return hmac.compare_digest(wanted, request.headers.get("x-twilio-signature", "").encode())

    def _became(self, told: dict[str, str], attempt: str, now: dt.datetime) -> list[Inbound]:
        sid, status, code = told["MessageSid"], told["MessageStatus"], told.get("ErrorCode", "")
        receipt = STATES.get(status)
        if receipt is None:
            return []
        events = [
            Inbound(
                dedupe_key=f"receipt:{sid}:{status}",
                occurred_at=now,
                receipt=receipt,
                reference=sid,
                code=code or status,
                permanent=code in GONE,
                detail={"attempt_id": int(attempt)} if attempt.isdigit() else {},
            )
        ]
        if code == str(OPTED_OUT):  # Twilio knows of a STOP that never reached us
            events.append(
                Inbound(
                    dedupe_key=f"opt_out:{sid}",
                    occurred_at=now,
                    response=ResponseKind.OPT_OUT,
                    identity_kind=IdentityKind.PHONE,
                    identity_value=sms_replies.phone(told.get("To", "")),
                    code=code,
                )
            )
        return events

    def _said(self, told: dict[str, str], now: dt.datetime) -> Inbound:
        text = told.get("Body", "")
        words = self._opt_out_words
        if told.get("OptOutType") == "STOP":  # by Twilio's own words, whatever ours are
            words = words | {sms_replies.plain(text)}
        return sms_replies.reply(
            told["From"], text, words, now, to=told.get("To", ""), key=told.get("MessageSid", "")
        )

    def status(self, references: Sequence[str]) -> list[Inbound]:
        """What became of attempts whose answer was lost: Twilio's messages to the number are looked through for the one of
        the same words and the same moment. Nothing is told where there is none, or more than one. Of very many, some are
        asked about now. Raises :class:`AdapterError`."""
        lost = [reference for reference in references if reference.startswith(LOST)]
        if len(lost) > MOST_ASKED:
            lost = random.sample(lost, MOST_ASKED)
        if lost:
            self._client()
        return [event for found in self._calls.each(lost, self._asked) for event in found]

    def _asked(self, reference: str) -> list[Inbound]:
        own, _sep, phone = reference[len(LOST) :].partition(":")
        attempt, seconds, digest = own.split(".")
        began = dt.datetime.fromtimestamp(int(seconds), dt.UTC)
        ends = began + dt.timedelta(seconds=float(self.account.settings.get("timeout") or 15) + 5)
        try:
            known = self._client().messages.list(to=phone, limit=50, page_size=50)
        except Exception as error:
            raise self._error(error) from None
        found = [
            one for one in known
            if str(one.direction).startswith("outbound") and one.date_created
            and began - dt.timedelta(seconds=2) <= one.date_created <= ends and _digest(str(one.body or "")) == digest
        ]  # fmt: skip
        if len(found) != 1 or str(found[0].status) not in STATES:
            return []
        (one,) = found
        return [
            Inbound(
                dedupe_key=f"status:{attempt}:{one.status}",
                occurred_at=min(one.date_updated or one.date_created, dt.datetime.now(dt.UTC)),
                receipt=STATES[str(one.status)],
                reference=reference,
                code=str(one.error_code or one.status),
                permanent=str(one.error_code) in GONE,
                detail={"attempt_id": int(attempt), "sid": str(one.sid)},
            )
        ]

    # The account ----------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Read the account."""
        try:
            client = self._client()
            about = client.api.v2010.accounts(client.account_sid).fetch()
        except AdapterError as error:
            return Checked(False, str(error))
        except Exception as error:
            return Checked(False, str(self._error(error)))
        if str(about.status) != "active":
            return Checked(False, _("Twilio has closed or suspended this account (%s).") % about.status)
        name = str(about.friendly_name or "")
        return Checked(True, _("Twilio lets us into “%s”.") % name, {"name": name})

    def fetch_balance(self) -> list[Balance]:
        """Of the account; a subaccount has no balance of its own. Raises :class:`AdapterError`."""
        try:
            told = self._client().api.v2010.account.balance.fetch()
        except AdapterError:
            raise
        except Exception as error:
            raise self._error(error) from None
        if not told.balance:
            return []
        return [Balance(str(told.currency).upper(), Decimal(str(told.balance)))]

    def _error(self, error: BaseException) -> AdapterError:
        """The failure of a question, which may always be asked again."""
        if _sms_calls.never_left(error):
            return _sms_calls.unreachable(PROVIDER, error)
        status, code = int(getattr(error, "status", None) or 0), int(getattr(error, "code", None) or 0)
        stops = code in STOPS or status in {401, 403}
        told = str(getattr(error, "msg", None) or type(error).__name__)
        return AdapterError(
            f"{PROVIDER}: {told}"[:300], code=str(code or status), retryable=not stops, stops_channel=stops
        )

    def _client(self) -> Any:
        """The client, at the channel's address, with its retries off. Raises :class:`AdapterError`."""
        told = self.account.settings
        if not told.get("source") and not told.get("messaging_service_sid"):
            raise AdapterError(
                _("Give the channel a sender, or a messaging service."), code="settings", stops_channel=True
            )
        if self._made is None:
            load = _sms_calls.client_module
            base = load("twilio.http.http_client", self.needs_requirements).TwilioHttpClient
            client = load("twilio.rest", self.needs_requirements).Client
            where = urlsplit(str(told.get("base_url") or "https://api.twilio.com"))

            class Http(base):  # type: ignore[misc, valid-type]
                """Twilio's own, at our address: the client knows only its own hosts."""

                def request(self, method: str, url: str, *rest: Any, **more: Any) -> Any:
                    url = urlunsplit((where.scheme, where.netloc, *urlsplit(url)[2:]))
                    return super().request(method, url, *rest, **more)

            http = Http(timeout=float(told.get("timeout") or 15), max_retries=0)
            sid = str(told.get("account_sid") or "")
            # An environment of its own: the client would take TWILIO_… of ours.
            self._made = client(sid, self._token, http_client=http, environment={"TWILIO_EDGE": ""})
        return self._made

    def close(self) -> None:
        self._calls.close()
        if self._made is not None:
            self._made.http_client.session.close()
        self._made = None


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:12]
