"""Text messages through Aliyun (Alibaba Cloud), by its own client: one call for up to 60 numbers of one template.

A call is not idempotent. What was on its way when the line went is unknown; its ``OutId`` names each number's attempt,
and Aliyun repeats it with every receipt and when asked.
"""

import datetime as dt
import json
import logging
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import IdentityKind, Medium
from channels import sms_replies
from channels.adapters import _sms_calls, _sms_marks
from channels.adapters._sms_calls import DAY, HOUR, MINUTE
from channels.adapters._sms_marks import bare
from channels.adapters.base import (
    Account,
    AdapterError,
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
    each,
)
from channels.vocabulary import Domain, Guarantee, Observability

PROVIDER = "Aliyun"
LONGEST_OUT_ID = 255
MOST_NUMBERS = min(100, _sms_marks.most(LONGEST_OUT_ID))
MOST_ASKED = 500  # numbers asked about in one visit
LOST = "?"  # begins the reference of an unknown attempt: ?<attempt>.<day in Beijing>:<number>
SLOWER = re.compile(r"Throttling\b|isp\.SYSTEM_ERROR")
RESET = {"isv.DAY_LIMIT_CONTROL": 1, "isv.MONTH_LIMIT_CONTROL": 31}
# The account, its keys, its contract: a person must act.
STOPS = re.compile(
    r"InvalidAccessKeyId|SignatureDoesNotMatch|IncompleteSignature|InvalidTimeStamp|Forbidden|NoPermission|InvalidVersion"
    r"|isp\.RAM_PERMISSION_DENY|isv\.(OUT_OF_SERVICE|AMOUNT_NOT_ENOUGH|ACCOUNT_NOT_EXISTS|ACCOUNT_ABNORMAL"
    r"|PRODUCT_UN_SUBSCRIPT|PRODUCT_UNSUBSCRIBE)"
)
# The same, of a question about money: a key that may send texts need not be one that may see what is left.
BAD_KEYS = re.compile(r"InvalidAccessKeyId|SignatureDoesNotMatch|IncompleteSignature|InvalidTimeStamp")
API, BILLING, BILLING_VERSION = "https://dysmsapi.aliyuncs.com", "https://business.aliyuncs.com", "2017-12-14"
# What one number, or one person's words, may bring on the whole call.
OF_ONE = {
    "isv.MOBILE_NUMBER_ILLEGAL", "isv.BUSINESS_LIMIT_CONTROL", "isv.TEMPLATE_MISSING_PARAMETERS",
    "isv.TEMPLATE_PARAMS_ILLEGAL", "isv.PARAM_LENGTH_LIMIT", "isv.PARAM_NOT_SUPPORT_URL", "isv.BLACK_KEY_CONTROL_LIMIT",
    "isv.INVALID_PARAMETERS",
}  # fmt: skip
NUMBER_LIMITS = (
    ("天", DAY),
    ("小时", HOUR),
    ("分钟", MINUTE),
    ("day", DAY),
    ("hour", HOUR),
    ("minute", MINUTE),
)
STATES = {"1": Receipt.ACCEPTED, "2": Receipt.BOUNCED, "3": Receipt.DELIVERED}

logging.getLogger("alibabacloud_credentials").setLevel(logging.WARNING)


class Adapter(BaseAdapter):
    name = "aliyun_sms"
    label = gettext_lazy("SMS (Aliyun 阿里云短信)")
    media: ClassVar[tuple[str, ...]] = (Medium.SMS,)
    domain = Domain.PRIVATE
    guarantee = Guarantee.IMMEDIATE
    observability = Observability.PERSON_OBSERVED
    address_kinds: ClassVar[tuple[str, ...]] = (IdentityKind.PHONE,)
    batch_size = 5 * MOST_NUMBERS
    recipients_a_call = MOST_NUMBERS
    by_template = True
    needs_requirements = "requirements-aliyun.txt"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("access_key_id", gettext_lazy("AccessKey ID")),
        Setting("access_key_secret", gettext_lazy("AccessKey secret"), kind="password", secret=True),
        Setting(
            "signature",
            gettext_lazy("Signature"),
            gettext_lazy("The approved signature, without 【】; Aliyun puts it before every message."),
        ),
        _sms_calls.country("CN"),
        _sms_calls.CALLS,
        sms_replies.SETTING,
        Setting(
            "base_url",
            gettext_lazy("Address of the API"),
            kind="url",
            default=API,
            required=False,
        ),
        Setting(
            "billing_url",
            gettext_lazy("Address of the billing API"),
            gettext_lazy(
                "Asked for the balance of the cloud account. Empty: Aliyun's own, with its own API only."
            ),
            "url",
            required=False,
        ),
        _sms_calls.TIMEOUT,
    )

    @classmethod
    def template_variable(cls, name: str, number: int) -> str:
        return "${" + _variable(name) + "}"

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._calls = _sms_calls.Calls(account.settings)
        self._tag = _sms_marks.tag(account)
        self._signature = _sms_calls.signature(account.settings)
        self._opt_out_words = sms_replies.words_of(account.settings)
        self._base = str(account.settings.get("base_url") or API)
        self._made: Any = None

    # Sending --------------------------------------------------------------------------------------

    def send(self, batch: Sequence[Outgoing]) -> list[Sent]:
        """Calls of one template each. Raises :class:`AdapterError` only where nothing arrived at all."""
        taken, refused = _sms_calls.with_template(batch)
        if taken:
            self._client()
        return refused + self._calls.run(self._in_calls(taken), self._send)

    def calls(self, batch: Sequence[Outgoing]) -> int:
        return len(self._in_calls(batch))

    def _in_calls(self, batch: Sequence[Outgoing]) -> list[list[Outgoing]]:
        by_template: dict[str, list[Outgoing]] = defaultdict(list)
        for message in batch:
            by_template[message.template].append(message)
        return [call for group in by_template.values() for call in _sms_marks.fitting(group, self.at_once)]

    def _send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        """One call. Raises :class:`AdapterError` where nothing of it arrived and the channel must wait or stop."""
        client, models, options = self._client()
        asked = models.SendBatchSmsRequest(
            template_code=messages[0].template,
            phone_number_json=json.dumps([bare(message.address) for message in messages]),
            sign_name_json=json.dumps([self._signature] * len(messages), ensure_ascii=False),
            template_param_json=json.dumps([_params(message) for message in messages], ensure_ascii=False),
            out_id=_sms_marks.mark(self._tag, messages),
        )
        began = dt.datetime.now(dt.UTC)
        try:
            answer = client.send_batch_sms_with_options(asked, options).body
        except Exception as error:  # the client wraps whatever went wrong in types of its own
            code = str(getattr(error, "code", None) or "")
            if _sms_calls.never_left(error):
                raise _sms_calls.unreachable(PROVIDER, error) from None
            if 400 <= int(getattr(error, "status_code", None) or 0) < 500 or SLOWER.match(code):
                return self._refused(messages, code, str(getattr(error, "message", "")))
            return [self._unknown(message, began, code, error) for message in messages]
        if answer.code != "OK" or not answer.biz_id:
            if not answer.code or answer.code == "OK":
                return [self._unknown(message, began, "unreadable", None) for message in messages]
            return self._refused(messages, answer.code, answer.message or "")
        return [
            Sent(
                message.attempt_id, Outcome.ACCEPTED, _reference(answer.biz_id, message.address),
                parts=self._parts(message),
            )
            for message in messages
        ]  # fmt: skip

    def _refused(self, messages: Sequence[Outgoing], code: str, text: str) -> list[Sent]:
        """Aliyun took nothing of this call: why, and what follows. A call that one number may have spoilt is halved."""
        now = dt.datetime.now(dt.UTC)
        told = f"{PROVIDER}: {text or code}"[:300]
        if STOPS.match(code):
            raise AdapterError(told, code=code, stops_channel=True)
        if SLOWER.match(code):
            raise AdapterError(told, code=code, retryable=True, retry_after=_sms_calls.WAIT)
        if code in RESET:
            wait = (
                _sms_calls.until_midnight(now) if code.startswith("isv.DAY") else _sms_calls.until_next_month(now)
            )  # fmt: skip
            raise AdapterError(told, code=code, retryable=True, retry_after=wait)
        if code in OF_ONE and len(messages) > 1:
            middle = len(messages) // 2
            return self._calls.in_turn([messages[:middle], messages[middle:]], self._send)
        if code == "isv.BUSINESS_LIMIT_CONTROL":
            wait = next((seconds for word, seconds in NUMBER_LIMITS if word in text.lower()), HOUR)
            return [
                Sent(
                    message.attempt_id, Outcome.THROTTLED, code=code, text=text[:200], retry_after=wait,
                    address_only=True,
                )
                for message in messages
            ]  # fmt: skip
        return [
            Sent(
                message.attempt_id, Outcome.REFUSED, code=code, text=text[:200],
                invalid_address=code == "isv.MOBILE_NUMBER_ILLEGAL",
            )
            for message in messages
        ]  # fmt: skip

    def _unknown(self, message: Outgoing, began: dt.datetime, code: str, error: BaseException | None) -> Sent:
        day = began.astimezone(_sms_calls.BEIJING).strftime("%Y%m%d")
        return Sent(
            message.attempt_id,
            Outcome.UNKNOWN,
            f"{LOST}{message.attempt_id}.{day}:{bare(message.address)}",
            code=code or "lost",
            text=f"sent, but never answered ({type(error).__name__ if error else 'no BizId'})",
            parts=self._parts(message),
        )

    def _parts(self, message: Outgoing) -> int:
        text = _sms_calls.signed(self.account.settings, message.text)
        return _sms_calls.parts(text, message.address)

    # Receipts and replies -------------------------------------------------------------------------

    def parse_inbound(self, request: InboundRequest) -> InboundReply:
        """SmsReport and SmsUp, each an array. Aliyun signs neither: the secret path is the proof."""
        told = json.loads(request.body or b"[]")
        now = dt.datetime.now(dt.UTC)
        events, unread = each(
            told if isinstance(told, list) else [told],
            lambda one: self._said(one, now) if "content" in one else self._report(one, now),
        )
        answer = json.dumps({"code": 0, "msg": "OK"}).encode()
        return InboundReply(events, body=answer, content_type="application/json", unread=unread)

    def _report(self, told: Mapping[str, Any], now: dt.datetime) -> Inbound:
        number, biz_id = bare(str(told["phone_number"])), str(told["biz_id"])
        arrived = str(told["success"]).lower() == "true"
        receipt = Receipt.DELIVERED if arrived else Receipt.BOUNCED
        code = str(told.get("err_code") or "")
        detail: dict[str, Any] = {
            "parts": str(told.get("sms_size") or ""),
            "text": str(told.get("err_msg") or ""),
        }
        attempt = _sms_marks.attempt_of(self._tag, str(told.get("out_id") or ""), number)
        if attempt is not None:
            detail["attempt_id"] = attempt
        return Inbound(
            dedupe_key=f"receipt:{biz_id}:{number}:{code}",
            occurred_at=_sms_calls.beijing_time(str(told.get("report_time")), now),
            receipt=receipt,
            reference=_reference(biz_id, number),
            code=code,
            detail=detail,
        )

    def _said(self, told: Mapping[str, Any], now: dt.datetime) -> Inbound:
        return sms_replies.reply(
            _e164(str(told["phone_number"])), str(told["content"]), self._opt_out_words,
            _sms_calls.beijing_time(str(told.get("send_time")), now), to=str(told.get("dest_code") or ""),
            key=str(told.get("sequence_id") or ""),
        )  # fmt: skip

    def status(self, references: Sequence[str]) -> list[Inbound]:
        """What became of attempts whose answer was lost: Aliyun is asked for the number and the day. Of very many, some
        are asked about now. Nothing is told of what it does not know. Raises :class:`AdapterError`."""
        lost = [reference for reference in references if reference.startswith(LOST)]
        if len(lost) > MOST_ASKED:
            lost = random.sample(lost, MOST_ASKED)
        return [event for found in self._calls.each(lost, self._asked) for event in found]

    def _asked(self, reference: str) -> list[Inbound]:
        own, _sep, number = reference[len(LOST) :].partition(":")
        attempt, _sep, day = own.partition(".")
        client, models, options = self._client()
        request = models.QuerySendDetailsRequest(
            phone_number=number, send_date=day, page_size=50, current_page=1
        )
        try:
            body = client.query_send_details_with_options(request, options).body
        except Exception as error:
            raise self._error(error) from None
        if body.code != "OK":
            raise AdapterError(
                f"{PROVIDER}: {body.message or body.code}"[:300], code=body.code, retryable=True
            )
        now = dt.datetime.now(dt.UTC)
        rows = body.sms_send_detail_dtos.sms_send_detail_dto if body.sms_send_detail_dtos else []
        return [
            Inbound(
                dedupe_key=f"status:{attempt}:{row.send_status}",
                occurred_at=_sms_calls.beijing_time(row.receive_date or row.send_date, now),
                receipt=STATES[str(row.send_status)],
                reference=reference,
                code=str(row.err_code or ""),
                detail={"attempt_id": int(attempt)},
            )
            for row in rows
            if str(row.send_status) in STATES
            and _sms_marks.attempt_of(self._tag, str(row.out_id or ""), number) == int(attempt)
        ]

    # The account ----------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Ask for the signature: that shows that the keys are good, and whether it is approved."""
        try:
            client, models, options = self._client()
            request = models.QuerySmsSignRequest(sign_name=self._signature)
            body = client.query_sms_sign_with_options(request, options).body
        except AdapterError as error:
            return Checked(False, str(error))
        except Exception as error:
            return Checked(False, str(self._error(error)))
        if body.code != "OK":
            return Checked(False, f"{PROVIDER}: {body.message or body.code}"[:300])
        if body.sign_status != 1:
            return Checked(
                False, _("Aliyun knows the signature “%s”, but has not approved it.") % self._signature
            )
        return Checked(
            True,
            _("Aliyun lets us in, and the signature “%s” is approved.") % self._signature,
            {"signature": self._signature},
        )

    def fetch_balance(self) -> list[Balance]:
        """Cash of the whole cloud account; credit is not counted. Raises :class:`AdapterError`, which stops the channel
        for a bad key only."""
        where = str(self.account.settings.get("billing_url") or "")
        if not where:
            if self._base.rstrip("/") != API:
                return []  # keys of another address are not shown to Aliyun
            where = BILLING
        client, _models, options = self._client(where)
        utils = _sms_calls.client_module("alibabacloud_tea_openapi.utils_models", self.needs_requirements)
        asked = utils.Params(
            action="QueryAccountBalance", version=BILLING_VERSION, protocol="HTTPS", pathname="/", method="POST",
            auth_type="AK", style="RPC", req_body_type="formData", body_type="json",
        )  # fmt: skip
        try:
            body = client.call_api(asked, utils.OpenApiRequest(), options)["body"]
        except Exception as error:
            found = self._error(error)
            found.stops_channel = bool(BAD_KEYS.match(found.code))
            raise found from None
        data = body.get("Data") or {}
        if not body.get("Success") or not data.get("Currency"):
            code, text = str(body.get("Code") or "balance"), body.get("Message")
            raise AdapterError(f"{PROVIDER}: {text or code}"[:300], code=code)
        try:
            left = Decimal(str(data["AvailableCashAmount"]).replace(",", ""))
        except (KeyError, InvalidOperation):
            raise AdapterError(
                _("%(platform)s tells no balance that can be read.") % {"platform": PROVIDER}, code="balance"
            ) from None
        return [Balance(str(data["Currency"]), left)]

    def _error(self, error: BaseException) -> AdapterError:
        """The failure of a question, which may always be asked again."""
        if _sms_calls.never_left(error):
            return _sms_calls.unreachable(PROVIDER, error)
        code = str(getattr(error, "code", None) or type(error).__name__)
        told = str(getattr(error, "message", "") or code)
        stops = bool(STOPS.match(code))
        return AdapterError(f"{PROVIDER}: {told}"[:300], code=code, retryable=not stops, stops_channel=stops)

    def _client(self, address: str = "") -> tuple[Any, Any, Any]:
        """(client, request models, options of a call). Its retries are off unless asked for, and are not asked for.
        With an ``address``, the same account at another of Aliyun's services."""
        if address or self._made is None:
            load = _sms_calls.client_module
            models = load("alibabacloud_dysmsapi20170525.models", self.needs_requirements)
            where = urlsplit(address or self._base)
            config = load("alibabacloud_tea_openapi.utils_models", self.needs_requirements).Config(
                access_key_id=str(self.account.settings.get("access_key_id") or ""),
                access_key_secret=str(self.account.credentials.get("access_key_secret") or ""),
                endpoint=where.netloc,
                protocol=where.scheme.upper(),
                retry_options=None,
            )
            milliseconds = int(1000 * float(self.account.settings.get("timeout") or 15))
            options = load("darabonba.runtime", self.needs_requirements).RuntimeOptions(
                autoretry=False, max_attempts=1, connect_timeout=milliseconds, read_timeout=milliseconds,
                max_idle_conns=100,
            )  # fmt: skip
            client = load("alibabacloud_dysmsapi20170525.client", self.needs_requirements).Client(config)
            if address:
                return client, models, options
            self._made = client, models, options
        return self._made  # type: ignore[no-any-return]

    def close(self) -> None:
        self._calls.close()
        self._made = None


def _e164(told: str) -> str:
    """A number as Aliyun writes it, in our form where it is one."""
    number = bare(told)
    return number if len(number) == 11 and number.startswith("1") else f"+{number}"


def _reference(biz_id: str, address: str) -> str:
    """One BizId covers a whole call: the number belongs to the reference."""
    return f"{biz_id}:{bare(address)}"


def _params(message: Outgoing) -> dict[str, str]:
    """The template's variables by name."""
    return {_variable(name): value for name, value in message.variables.items()}


def _variable(name: str) -> str:
    """``{{attributes.colour}}`` of a text is ``${colour}`` of the template."""
    return re.sub(r"\W", "_", name.rpartition(".")[2])
