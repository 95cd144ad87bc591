"""Text messages through Tencent Cloud, by its own client: one call for numbers that get the very same words.

A call is not idempotent, and an answer of HTTP 200 may be a partial failure: each number has a code of its own. What was
on its way when the line went is unknown; ``SessionContext`` names each number's attempt.
"""

import datetime as dt
import json
import logging
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import IdentityKind, Medium
from channels import sms_replies
from channels.adapters import _sms_calls, _sms_marks
from channels.adapters._sms_calls import HOUR, MAINLAND, MINUTE, until, until_midnight
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

PROVIDER = "Tencent Cloud"
LONGEST_CONTEXT = 511
MOST_NUMBERS = min(200, _sms_marks.most(LONGEST_CONTEXT))
MOST_ASKED = 500  # numbers asked about in one visit
PAGE = 100
PACKAGES, PACKAGES_SINCE = 500, dt.timedelta(days=3 * 366)  # in one answer; how far back they are asked for
LOST = "?"  # begins the reference of an unknown attempt: ?<attempt>.<seconds since 1970>:<number>
MARKETING_BEGINS = dt.time(8)  # Tencent takes marketing from 8 to 22 in Beijing
SLOWER = re.compile(r"InternalError\.Timeout|RequestLimitExceeded")
STOPS = re.compile(
    r"AuthFailure|UnauthorizedOperation|FailedOperation\.InsufficientBalanceInSmsPackage"
    r"|InvalidParameterValue\.SdkAppIdNotExist|InvalidParameter\.AppidAndBizId|ResourceInsufficient"
)
NO_SUCH_NUMBER = {"InvalidParameterValue.IncorrectPhoneNumber", "FailedOperation.PhoneNumberParseFail"}
STATES = {"SUCCESS": Receipt.DELIVERED, "FAIL": Receipt.BOUNCED}
NEVER = {"LimitExceeded.PhoneNumberCountLimit", "LimitExceeded.AppCountryOrRegionInBlacklist"}

logging.getLogger("tencentcloud_sdk_common").setLevel(logging.WARNING)  # at DEBUG it prints every message


class Adapter(BaseAdapter):
    name = "tencent_sms"
    label = gettext_lazy("SMS (Tencent Cloud 腾讯云短信)")
    media: ClassVar[tuple[str, ...]] = (Medium.SMS,)
    domain = Domain.PRIVATE
    guarantee = Guarantee.IMMEDIATE
    observability = Observability.PERSON_OBSERVED
    address_kinds: ClassVar[tuple[str, ...]] = (IdentityKind.PHONE,)
    batch_size = 2 * MOST_NUMBERS
    recipients_a_call = MOST_NUMBERS
    by_template = True
    needs_requirements = "requirements-tencent.txt"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("secret_id", gettext_lazy("SecretId")),
        Setting("secret_key", gettext_lazy("SecretKey"), kind="password", secret=True),
        Setting("app_id", gettext_lazy("SdkAppId"), gettext_lazy("Such as 1400006666.")),
        Setting("region", gettext_lazy("Region"), default="ap-guangzhou"),
        Setting(
            "signature",
            gettext_lazy("Signature"),
            gettext_lazy("The approved signature, without 【】; Tencent puts it before every message."),
        ),
        Setting(
            "sender_id",
            gettext_lazy("Sender abroad"),
            gettext_lazy("For numbers outside mainland China, where a country asks for one."),
            required=False,
        ),
        _sms_calls.country("CN"),
        Setting(
            "pull",
            gettext_lazy("Fetch receipts and replies"),
            gettext_lazy("Only where Tencent cannot call us; Tencent must allow it for the application."),
            kind="boolean",
            default=False,
            required=False,
        ),
        _sms_calls.CALLS,
        sms_replies.SETTING,
        Setting(
            "base_url",
            gettext_lazy("Address of the API"),
            kind="url",
            default="https://sms.tencentcloudapi.com",
            required=False,
        ),
        _sms_calls.TIMEOUT,
    )

    @classmethod
    def template_variable(cls, name: str, number: int) -> str:
        return f"{{{number}}}"

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._calls = _sms_calls.Calls(account.settings)
        self._tag = _sms_marks.tag(account)
        self._signature = _sms_calls.signature(account.settings)
        self._app_id = str(account.settings.get("app_id") or "")
        self._opt_out_words = sms_replies.words_of(account.settings)
        self._made: Any = None

    # Sending --------------------------------------------------------------------------------------

    def send(self, batch: Sequence[Outgoing]) -> list[Sent]:
        """Calls of one template and one set of words each, all at home or all abroad. Raises :class:`AdapterError` only
        where nothing arrived at all."""
        taken, refused = _sms_calls.with_template(batch)
        if taken:
            self._client()
        return refused + self._calls.run(self._in_calls(taken), self._send)

    def calls(self, batch: Sequence[Outgoing]) -> int:
        return len(self._in_calls(batch))

    def _in_calls(self, batch: Sequence[Outgoing]) -> list[list[Outgoing]]:
        alike: dict[Any, list[Outgoing]] = defaultdict(list)
        for message in batch:
            home = message.address.startswith(MAINLAND)
            alike[home, message.template, tuple(message.variables.values())].append(message)
        return [call for group in alike.values() for call in _sms_marks.fitting(group, self.at_once)]

    def _send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        """One call. Raises :class:`AdapterError` where nothing of it arrived and the channel must wait or stop."""
        client, models = self._client()
        first = messages[0]
        asked = models.SendSmsRequest()
        asked.PhoneNumberSet = [message.address for message in messages]
        asked.SmsSdkAppId = self._app_id
        asked.TemplateId = first.template
        asked.TemplateParamSet = list(first.variables.values())
        asked.SessionContext = _sms_marks.mark(self._tag, messages)
        if first.address.startswith(MAINLAND):
            asked.SignName = self._signature
        elif self.account.settings.get("sender_id"):
            asked.SenderId = str(self.account.settings["sender_id"])
        began = dt.datetime.now(dt.UTC)
        try:
            answer = client.SendSms(asked)
        except Exception as error:  # TencentCloudSDKException, for the API's errors and for the network's
            code = str(getattr(error, "code", None) or "")
            if _sms_calls.never_left(error):
                raise _sms_calls.unreachable(PROVIDER, error) from None
            if not getattr(error, "requestId", None):
                return [self._unknown(message, began, type(error).__name__) for message in messages]
            return [
                self._judged(message, code, str(getattr(error, "message", "")), whole=True) for message in messages
            ]  # fmt: skip
        told = {
            _sms_marks.bare(str(status.PhoneNumber or "")): status for status in answer.SendStatusSet or ()
        }
        # Where no number of the call was taken, the reason may concern the channel.
        whole = bool(told) and all(status.Code != "Ok" for status in told.values())
        results = []
        for message in messages:
            status = told.get(_sms_marks.bare(message.address))
            if status is None:
                results.append(self._unknown(message, began, "unsaid"))
            elif status.Code == "Ok":
                results.append(
                    Sent(
                        message.attempt_id, Outcome.ACCEPTED, str(status.SerialNo),
                        parts=int(status.Fee or 0) or self._parts(message),
                    )
                )  # fmt: skip
            else:
                results.append(
                    self._judged(message, str(status.Code), str(status.Message or ""), whole=whole)
                )
        return results

    def _judged(self, message: Outgoing, code: str, text: str, whole: bool) -> Sent:
        """What Tencent's code for one number means; of a ``whole`` call nothing arrived. Raises :class:`AdapterError`
        there, where it concerns the channel."""
        wait, own = self._wait(code)
        stops = bool(STOPS.match(code))
        if whole and (stops or (wait is not None and not own)):
            raise AdapterError(
                f"{PROVIDER}: {text or code}"[:300], code=code, retryable=not stops, stops_channel=stops, retry_after=wait
            )  # fmt: skip
        if stops:  # some of the call may have gone: the next call is told the same, and stops the channel
            wait, own = _sms_calls.WAIT, False
        if wait is None:
            return Sent(
                message.attempt_id, Outcome.REFUSED, code=code, text=text[:200],
                invalid_address=code in NO_SUCH_NUMBER,
            )  # fmt: skip
        return Sent(
            message.attempt_id, Outcome.THROTTLED, code=code, text=text[:200], retry_after=wait, address_only=own
        )  # fmt: skip

    def _wait(self, code: str) -> tuple[float | None, bool]:
        """(seconds until it may go, whether it concerns this number only); None where it never will."""
        now = dt.datetime.now(dt.UTC)
        if SLOWER.match(code):
            return _sms_calls.WAIT, False
        if code == "FailedOperation.MarketingSendTimeConstraint":
            return until(now, MARKETING_BEGINS), False
        if not code.startswith("LimitExceeded.") or code in NEVER:
            return None, False
        own = "PhoneNumber" in code or code.endswith("DeliveryFrequencyLimit")
        if "ThirtySecond" in code:
            return 30.0, own
        if "OneHour" in code:
            return HOUR, own
        if "Daily" in code:
            return until_midnight(now), own
        return (HOUR if own else MINUTE), own

    def _unknown(self, message: Outgoing, began: dt.datetime, why: str) -> Sent:
        return Sent(
            message.attempt_id,
            Outcome.UNKNOWN,
            f"{LOST}{message.attempt_id}.{int(began.timestamp())}:{message.address}",
            code="lost",
            text=f"sent, but never answered ({why})",
            parts=self._parts(message),
        )

    def _parts(self, message: Outgoing) -> int:
        text = _sms_calls.signed(self.account.settings, message.text)
        return _sms_calls.parts(text, message.address)

    # Receipts and replies -------------------------------------------------------------------------

    def parse_inbound(self, request: InboundRequest) -> InboundReply:
        """Receipts are an array, a reply is an object. Tencent signs neither: the secret path is the proof."""
        told = json.loads(request.body or b"[]")
        now = dt.datetime.now(dt.UTC)
        events, unread = each(
            told if isinstance(told, list) else [told],
            lambda one: self._said(one, now) if "text" in one else self._report(one, now),
        )
        answer = json.dumps({"result": 0, "errmsg": "OK"}).encode()
        return InboundReply(events, body=answer, content_type="application/json", unread=unread)

    def _report(self, told: Mapping[str, Any], now: dt.datetime) -> Inbound:
        return self._became(
            str(told["sid"]), str(told["report_status"]), f"+{told.get('nationcode', 86)}{told['mobile']}",
            str(told.get("ext") or ""), _sms_calls.beijing_time(str(told.get("user_receive_time")), now),
            str(told.get("errmsg") or ""), str(told.get("description") or ""),
        )  # fmt: skip

    def _became(
        self, serial: str, status: str, phone: str, context: str, at: dt.datetime, code: str, text: str
    ) -> Inbound:
        detail: dict[str, Any] = {"text": text}
        attempt = _sms_marks.attempt_of(self._tag, context, phone)
        if attempt is not None:
            detail["attempt_id"] = attempt
        return Inbound(
            dedupe_key=f"receipt:{serial}:{status}",
            occurred_at=at,
            receipt=STATES[status],
            reference=serial,
            code=code,
            detail=detail,
        )

    def _said(self, told: Mapping[str, Any], now: dt.datetime) -> Inbound:
        at = _moment(told.get("time"), now)
        phone = f"+{told.get('nationcode', 86)}{told['mobile']}"
        return sms_replies.reply(
            phone, str(told["text"]), self._opt_out_words, at, to=str(told.get("extend") or ""),
            key=f"{phone}:{told['time']}:{told['text']}" if told.get("time") else "",
        )  # fmt: skip

    def poll(self, references: Iterable[str] = ()) -> list[Inbound]:
        """Receipts and replies that Tencent keeps for us, where the channel fetches them; each is told once, and what a
        killed worker had fetched is gone. Raises :class:`AdapterError`."""
        if not self.account.settings.get("pull"):
            return []
        client, models = self._client()
        now = dt.datetime.now(dt.UTC)
        try:
            statuses, replies = models.PullSmsSendStatusRequest(), models.PullSmsReplyStatusRequest()
            for asked in (statuses, replies):
                asked.SmsSdkAppId, asked.Limit = self._app_id, PAGE
            rows = client.PullSmsSendStatus(statuses).PullSmsSendStatusSet or ()
            events = [self._pulled(row, now) for row in rows if row.ReportStatus in STATES]
        except Exception as error:
            raise self._error(error) from None
        try:
            events += [
                self._pulled_reply(row, now)
                for row in client.PullSmsReplyStatus(replies).PullSmsReplyStatusSet or ()
            ]
        except Exception as error:
            if not events:  # else what is fetched must not be lost
                raise self._error(error) from None
        return events

    def _pulled(self, row: Any, now: dt.datetime) -> Inbound:
        return self._became(
            str(row.SerialNo), str(row.ReportStatus), str(row.PhoneNumber), str(row.SessionContext or ""),
            _moment(row.UserReceiveTime, now), "", str(row.Description or ""),
        )  # fmt: skip

    def _pulled_reply(self, row: Any, now: dt.datetime) -> Inbound:
        return sms_replies.reply(
            str(row.PhoneNumber), str(row.ReplyContent), self._opt_out_words, _moment(row.ReplyTime, now),
            to=str(row.ExtendCode or ""), key=f"{row.PhoneNumber}:{row.ReplyTime}:{row.ReplyContent}",
        )  # fmt: skip

    def status(self, references: Sequence[str]) -> list[Inbound]:
        """What became of attempts whose answer was lost: Tencent is asked by number. Of very many, some are asked about
        now. Nothing is told of what it does not know. Raises :class:`AdapterError`."""
        lost = [reference for reference in references if reference.startswith(LOST)]
        if len(lost) > MOST_ASKED:
            lost = random.sample(lost, MOST_ASKED)
        if lost:
            self._client()
        return [event for found in self._calls.each(lost, self._asked) for event in found]

    def _asked(self, reference: str) -> list[Inbound]:
        own, _sep, phone = reference[len(LOST) :].partition(":")
        attempt, _sep, began = own.partition(".")
        client, models = self._client()
        asked = models.PullSmsSendStatusByPhoneNumberRequest()
        asked.PhoneNumber, asked.SmsSdkAppId, asked.Offset, asked.Limit = phone, self._app_id, 0, PAGE
        asked.BeginTime = int(began) - 60
        try:
            rows = client.PullSmsSendStatusByPhoneNumber(asked).PullSmsSendStatusSet or ()
        except Exception as error:
            raise self._error(error) from None
        now = dt.datetime.now(dt.UTC)
        found = [self._pulled(row, now) for row in rows if row.ReportStatus in STATES]
        return [event for event in found if event.detail.get("attempt_id") == int(attempt)]

    # The account ----------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Ask for the figures of the last hour: that shows that the keys and the application are good."""
        try:
            client, models = self._client()
            asked = models.SendStatusStatisticsRequest()
            now = dt.datetime.now(_sms_calls.BEIJING)
            asked.BeginTime, asked.EndTime = (
                (now - dt.timedelta(hours=1)).strftime("%Y%m%d%H"),
                now.strftime("%Y%m%d%H"),
            )
            asked.SmsSdkAppId, asked.Limit, asked.Offset = self._app_id, 0, 0
            told = client.SendStatusStatistics(asked).SendStatusStatistics
        except AdapterError as error:
            return Checked(False, str(error))
        except Exception as error:
            return Checked(False, str(self._error(error)))
        return Checked(
            True,
            _("Tencent Cloud lets us in; %s messages in the last hour.") % (told.RequestCount if told else 0),
            {"app_id": self._app_id},
        )

    def fetch_balance(self) -> list[Balance]:
        """What is left of each message package bought lately and still good. Raises :class:`AdapterError`."""
        client, models = self._client()
        now = dt.datetime.now(_sms_calls.BEIJING)
        asked = models.SmsPackagesStatisticsRequest()
        asked.SmsSdkAppId, asked.Limit, asked.Offset = self._app_id, PACKAGES, 0
        asked.BeginTime = (now - PACKAGES_SINCE).strftime("%Y%m%d%H")
        asked.EndTime = (now - dt.timedelta(hours=1)).strftime("%Y%m%d%H")  # it must lie before now
        found: list[Balance] = []
        seen = 0
        while True:
            try:
                rows = client.SmsPackagesStatistics(asked).SmsPackagesStatisticsSet or ()
            except Exception as error:
                raise self._error(error) from None
            found += [_package(row) for row in rows if _good(row, now)]
            seen += len(rows)
            if len(rows) < PACKAGES:
                return found or ([Balance("messages", Decimal(0))] if seen else [])
            asked.Offset += PACKAGES

    def _error(self, error: BaseException) -> AdapterError:
        """The failure of a question, which may always be asked again."""
        if _sms_calls.never_left(error):
            return _sms_calls.unreachable(PROVIDER, error)
        code = str(getattr(error, "code", None) or type(error).__name__)
        stops = bool(STOPS.match(code))
        told = str(getattr(error, "message", "") or code)
        return AdapterError(f"{PROVIDER}: {told}"[:300], code=code, retryable=not stops, stops_channel=stops)

    def _client(self) -> tuple[Any, Any]:
        """(client, request models). The client retries nothing: its retryer is the one that does not."""
        if self._made is None:
            load = _sms_calls.client_module
            where = urlsplit(str(self.account.settings.get("base_url") or "https://sms.tencentcloudapi.com"))
            http = load("tencentcloud.common.profile.http_profile", self.needs_requirements).HttpProfile(
                protocol=where.scheme, endpoint=where.netloc, reqMethod="POST", keepAlive=True,
                reqTimeout=float(self.account.settings.get("timeout") or 15),
            )  # fmt: skip
            profile = load("tencentcloud.common.profile.client_profile", self.needs_requirements).ClientProfile(
                signMethod="TC3-HMAC-SHA256", httpProfile=http, language="en-US", disable_region_breaker=True,
                retryer=load("tencentcloud.common.retry", self.needs_requirements).NoopRetryer(),
            )  # fmt: skip
            keys = load("tencentcloud.common.credential", self.needs_requirements).Credential(
                str(self.account.settings.get("secret_id") or ""),
                str(self.account.credentials.get("secret_key") or ""),
            )
            region = str(self.account.settings.get("region") or "ap-guangzhou")
            client = load("tencentcloud.sms.v20210111.sms_client", self.needs_requirements).SmsClient(
                keys, region, profile
            )
            self._made = client, load("tencentcloud.sms.v20210111.models", self.needs_requirements)
        return self._made  # type: ignore[no-any-return]

    def close(self) -> None:
        self._calls.close()
        self._made = None


def _good(row: Any, now: dt.datetime) -> bool:
    return int(row.PackageEffectiveTime or 0) <= now.timestamp() < int(row.PackageExpiredTime or 0)


def _package(row: Any) -> Balance:
    left = Decimal(int(row.PackageAmount or 0) - int(row.CurrentUsage or 0))
    expires = dt.datetime.fromtimestamp(int(row.PackageExpiredTime), _sms_calls.BEIJING)
    return Balance("messages", max(left, Decimal(0)), str(row.PackageId), expires.date())


def _moment(seconds: Any, now: dt.datetime) -> dt.datetime:
    """Seconds since 1970 as a time, never after now; now where there are none."""
    try:
        return min(now, dt.datetime.fromtimestamp(int(seconds), dt.UTC))
    except (TypeError, ValueError, OverflowError, OSError):
        return now
