"""WeChat official account: template messages one by one, or one text to many followers (mass messages).

Both are *jobs*: WeChat takes them and tells later what became of them. So a message is *held* until the result is
known: a template message's by callback, as ``msgid``; a mass message's by asking, as ``msg_id:openid``.
"""

import datetime as dt
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import IdentityKind, Medium, ResponseKind
from channels import wecom_crypto
from channels.adapters._weixin import Api, Codes, Errcode, MayHaveArrived
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

FEWEST, MOST = 2, 10_000  # openids of one mass message
TEMPLATES_AT_ONCE, THREADS = 200, 8
ZONE = ZoneInfo("Asia/Shanghai")  # WeChat's days and months
NO_QUOTA, SAME_CLIENTMSGID = 45028, 45065
ALONE = 600.0  # seconds a single follower waits for others with the same text
CODES = Codes(
    token_over={40001, 40014, 42001},
    retry={-1: 5.0, 45009: 3600.0, 45011: 60.0, 45066: 60.0},
    stops={40013, 40125, 40164, 41002, 41004, 48001, 48004, 50001, 50002},
)
REFUSED = {40003: "invalid_openid", 43004: "not_following", 43019: "blocked_by_us", 40037: "unknown_template"}
FINISHED = {"SEND_SUCCESS": Receipt.SENT, "SEND_FAIL": Receipt.REJECTED, "DELETE": Receipt.REJECTED}
RESULTS = {"success": Receipt.DELIVERED, "failed:user block": Receipt.BOUNCED}
EVENTS = {"subscribe": ResponseKind.FOLLOW, "unsubscribe": ResponseKind.OPT_OUT, "SCAN": ResponseKind.SCAN}
_FIELD = re.compile(r"<(\w+)>(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))</\1>", re.DOTALL)
_LINE = re.compile(r"^\s*([A-Za-z][A-Za-z0-9_]*)\s*[:：]\s*(.*?)\s*$")


class Adapter(BaseAdapter):
    name = "official_account"
    label = gettext_lazy("WeChat official account (公众号)")
    media: ClassVar[tuple[str, ...]] = (Medium.OFFICIAL_ACCOUNT,)
    domain = Domain.PRIVATE
    guarantee = Guarantee.CONFIRMED_LATER
    observability = Observability.PERSON_OBSERVED
    address_kinds: ClassVar[tuple[str, ...]] = (IdentityKind.OPENID,)
    batch_size = MOST
    recipients_a_call = MOST
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("app_id", gettext_lazy("AppID"), gettext_lazy("Begins with wx.")),
        Setting("secret", gettext_lazy("AppSecret"), kind="password", secret=True),
        Setting(
            "kind",
            gettext_lazy("Kind of message"),
            gettext_lazy(
                "Template messages are notices of a service and may not carry marketing; mass messages may."
            ),
            "choice",
            default="mass",
            choices=(
                ("mass", gettext_lazy("Mass messages (群发)")),
                ("template", gettext_lazy("Template messages (模板消息)")),
            ),
        ),
        Setting(
            "callback_token",
            gettext_lazy("Callback token"),
            gettext_lazy("As entered in WeChat's console; results and followers are told by callback."),
            "password",
            secret=True,
        ),
        Setting(
            "callback_aes_key",
            gettext_lazy("Callback EncodingAESKey"),
            gettext_lazy("Of the safe mode. With it, events that are not encrypted are refused."),
            "password",
            secret=True,
            required=False,
        ),
        Setting(
            "opt_out_words",
            gettext_lazy("Opt-out words"),
            gettext_lazy("Separated by spaces."),
            default="退订 TD",
            required=False,
        ),
        Setting(
            "base_url",
            gettext_lazy("Address of the API"),
            kind="url",
            default="https://api.weixin.qq.com",
            required=False,
        ),
        Setting(
            "timeout", gettext_lazy("Seconds to wait for WeChat"), kind="number", default=15, required=False
        ),
    )

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        told = account.settings
        self._app = str(told.get("app_id") or "")
        base = str(told.get("base_url") or "https://api.weixin.qq.com").rstrip("/")
        secret = str(account.credentials.get("secret") or "")
        self._api = Api(base, self._app, secret, float(told.get("timeout") or 15), CODES)
        self._by_template = told.get("kind") == "template"
        self._threads: ThreadPoolExecutor | None = None
        if self._by_template:  # each is a call of its own: a batch must not take longer than a worker may
            self.batch_size = TEMPLATES_AT_ONCE  # type: ignore[misc]

    @classmethod
    def personal_links(cls, settings: Mapping[str, Any]) -> bool:
        return settings.get("kind") == "template"

    # Sending --------------------------------------------------------------------------------------

    def send(self, batch: Sequence[Outgoing]) -> list[Sent]:
        """Template messages one by one, or one mass message for all of equal content. Raises :class:`AdapterError`
        only when nothing was taken."""
        calls = self._in_calls(batch)
        if not calls:
            return []
        first = self._try(calls[0])  # alone: when it fails, nothing was taken
        if isinstance(first, AdapterError):
            raise first
        told = [first, *self._others(calls[1:])]
        results: list[Sent] = []
        for group, one in zip(calls, told, strict=True):
            results += one if isinstance(one, list) else [_throttled(message, one) for message in group]
        return results

    @property
    def at_once(self) -> int:
        return 1 if self._by_template else max(FEWEST, super().at_once)

    def calls(self, batch: Sequence[Outgoing]) -> int:
        return sum(1 for call in self._in_calls(batch) if self._by_template or len(call) >= FEWEST)

    def _in_calls(self, batch: Sequence[Outgoing]) -> list[list[Outgoing]]:
        if self._by_template:
            return [[message] for message in batch]
        return list(_groups(batch, self.at_once))

    def _others(self, calls: Sequence[Sequence[Outgoing]]) -> Iterator[list[Sent] | AdapterError]:
        if not self._by_template:
            return map(self._try, calls)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="official-account")
        return self._threads.map(self._try, calls)

    def _try(self, group: Sequence[Outgoing]) -> list[Sent] | AdapterError:
        try:
            return [self._template(group[0])] if self._by_template else self._mass(group)
        except AdapterError as error:
            return error

    def _template(self, message: Outgoing) -> Sent:
        if not message.template:
            return Sent(message.attempt_id, Outcome.REFUSED, code="no_template")
        data, url = template_data(message.text)
        body = {"touser": message.address, "template_id": message.template, "data": data}
        # Given again within ten minutes, WeChat takes it once.
        body["client_msg_id"] = f"evenreach-{message.attempt_id}"
        if url:
            body["url"] = url
        try:
            answer = self._api.call("POST", "message/template/send", body)
        except MayHaveArrived as error:
            return Sent(message.attempt_id, Outcome.UNKNOWN, code="lost", text=str(error)[:200])
        except Errcode as error:
            return _refused(message, error)
        return Sent(message.attempt_id, Outcome.HELD, str(answer["msgid"]))

    def _mass(self, group: Sequence[Outgoing]) -> list[Sent]:
        if len(group) < FEWEST:
            text = "a mass message needs two followers at least"
            return [
                Sent(message.attempt_id, Outcome.THROTTLED, code="too_few", text=text, retry_after=ALONE)
                for message in group
            ]
        first = group[0]
        body: dict[str, Any] = {
            "touser": [message.address for message in group],
            "clientmsgid": client_id(group),
        }
        if first.template:  # an article that was uploaded before
            body |= {"msgtype": "mpnews", "mpnews": {"media_id": first.template}, "send_ignore_reprint": 0}
        else:
            body |= {"msgtype": "text", "text": {"content": first.text}}
        try:
            answer = self._api.call("POST", "message/mass/send", body)
        except MayHaveArrived as error:
            return [
                Sent(message.attempt_id, Outcome.UNKNOWN, code="lost", text=str(error)[:200])
                for message in group
            ]
        except Errcode as error:
            if error.code == SAME_CLIENTMSGID and error.answer.get("msg_id"):  # it was taken before
                answer = dict(error.answer)
            elif error.code == NO_QUOTA:
                raise AdapterError(
                    _("The account may send no more mass messages today."), code=str(NO_QUOTA), retryable=True,
                    retry_after=_until_tomorrow(),
                ) from error  # fmt: skip
            else:
                return [_refused(message, error) for message in group]
        job = str(answer["msg_id"])
        return [Sent(message.attempt_id, Outcome.HELD, f"{job}:{message.address}") for message in group]

    # What became of jobs --------------------------------------------------------------------------

    def poll(self, references: Iterable[str]) -> list[Inbound]:
        """Mass messages whose job has ended: sent to those it was made for, or to nobody. WeChat names no person
        whom it left out. What is known is told even when WeChat asks to wait in between."""
        jobs: dict[str, list[str]] = defaultdict(list)
        for reference in references:
            job, _sep, openid = reference.partition(":")
            if openid:
                jobs[job].append(reference)
        events: list[Inbound] = []
        try:
            for job, of_job in jobs.items():
                try:
                    answer = self._api.call("POST", "message/mass/get", {"msg_id": int(job)})
                except Errcode:
                    continue  # an id that WeChat does not know any more
                status = str(answer.get("msg_status") or "")
                if status in FINISHED:
                    events += [self._ended(reference, status) for reference in of_job]
        except (AdapterError, MayHaveArrived) as error:
            if not events:
                raise self._api.as_adapter_error(error) from error
        return events

    def _ended(self, reference: str, status: str) -> Inbound:
        return Inbound(
            dedupe_key=f"{reference}:{status}", occurred_at=dt.datetime.now(dt.UTC), receipt=FINISHED[status],
            reference=reference, code=status.lower(), identity_kind=IdentityKind.OPENID, identity_issuer=self._app,
            identity_value=reference.partition(":")[2],
        )  # fmt: skip

    # Callback -------------------------------------------------------------------------------------

    def parse_inbound(self, request: InboundRequest) -> InboundReply:
        """The address check (GET), events and messages (POST), plain or encrypted. Raises :class:`BadSignature`."""
        if request.method == "GET":
            self._prove(request, "")
            return InboundReply(body=request.query.get("echostr", "").encode())
        told = _fields(request.body.decode("utf-8", "replace"))
        key = str(self.account.credentials.get("callback_aes_key") or "")
        if key:
            told = _fields(self._opened(request, key, told.get("Encrypt", "")))
        else:
            self._prove(request, "")
        event = self._inbound(told)
        return InboundReply([event] if event else [], body=b"success")

    def _prove(self, request: InboundRequest, encrypted: str) -> None:
        token, query = str(self.account.credentials.get("callback_token") or ""), request.query
        given = query.get("msg_signature" if encrypted else "signature", "")
        parts = (query.get("timestamp", ""), query.get("nonce", ""))
        if not token or not wecom_crypto.signed_by(token, *parts, encrypted, given):
            raise BadSignature("the signature does not match")

    def _opened(self, request: InboundRequest, key: str, encrypted: str) -> str:
        if not encrypted:
            raise BadSignature("the channel has an EncodingAESKey, and the event is not encrypted")
        self._prove(request, encrypted)
        try:
            return wecom_crypto.unseal(key, encrypted, self._app)
        except wecom_crypto.BadEnvelope as error:
            raise BadSignature(str(error)) from error

    def _inbound(self, told: dict[str, str]) -> Inbound | None:
        openid, kind = told.get("FromUserName", ""), told.get("MsgType", "")
        at = dt.datetime.fromtimestamp(int(told.get("CreateTime") or 0), dt.UTC)
        who: dict[str, Any] = {
            "identity_kind": IdentityKind.OPENID, "identity_issuer": self._app, "identity_value": openid,
        }  # fmt: skip
        if kind == "text":
            words = {word.upper() for word in str(self.account.settings.get("opt_out_words") or "").split()}
            text = told.get("Content", "").strip()
            response = ResponseKind.OPT_OUT if text.upper() in words else ResponseKind.REPLY
            return Inbound(
                f"message:{told.get('MsgId') or f'{openid}:{at}'}", at, response=response,
                detail={"text": text[:1000]}, **who,
            )  # fmt: skip
        if kind != "event":
            return None
        event = told.get("Event", "")
        if event == "TEMPLATESENDJOBFINISH":
            status = told.get("Status", "")
            receipt = RESULTS.get(status, Receipt.BOUNCED)
            code = (
                ""
                if receipt is Receipt.DELIVERED
                else re.sub(r"\W+", "_", status.removeprefix("failed").strip(": "))
            )
            msgid = told.get("MsgID", "")
            return Inbound(
                f"template:{msgid}:{status}", at, receipt=receipt, reference=msgid, code=code, **who
            )
        if event in EVENTS:
            detail = {"key": told["EventKey"]} if told.get("EventKey") else {}
            return Inbound(
                f"{event}:{openid}:{told.get('CreateTime')}", at, response=EVENTS[event], detail=detail, **who
            )
        return None  # MASSSENDJOBFINISH tells totals of a job; poll reads whose job it was

    # Testing --------------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Get a token, and list the account's templates where it sends by them."""
        facts = {"app_id": self._app}
        if not self.account.credentials.get("callback_token"):
            return Checked(
                False, _("Enter the callback token: WeChat tells results by callback only."), facts
            )
        try:
            if self._by_template:
                answer = self._api.call("GET", "template/get_all_private_template", None)
                facts["templates"] = str(len(answer.get("template_list") or ()))
            else:
                self._api.call("GET", "get_api_domain_ip", None)
        except (AdapterError, Errcode, MayHaveArrived) as error:
            return Checked(False, str(error), facts)
        return Checked(True, _("WeChat lets us in."), facts)

    def close(self) -> None:
        self._api.close()
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None


def template_data(text: str) -> tuple[dict[str, dict[str, str]], str]:
    """A template's values from lines such as ``thing1: Your order has shipped``; and the address of ``url:``.

    A line that names no value goes on with the one before.
    """
    data: dict[str, dict[str, str]] = {}
    url, name = "", ""
    for line in text.splitlines():
        found = _LINE.match(line)
        if found and found[1].lower() in {"http", "https"}:
            found = None
        if found and found[1] == "url":
            url, name = found[2], ""
        elif found:
            name = found[1]
            data[name] = {"value": found[2]}
        elif name and line.strip():
            data[name]["value"] += "\n" + line.strip()
    return data, url


def client_id(group: Sequence[Outgoing]) -> str:
    """The same for the same attempts and content: a call repeated with it is taken once."""
    total = hashlib.sha256(f"{group[0].template}\0{group[0].text}\0".encode())
    for message in group:
        total.update(f"{message.attempt_id} ".encode())
    return f"evenreach-{total.hexdigest()[:40]}"


def _groups(batch: Sequence[Outgoing], most: int) -> Iterator[list[Outgoing]]:
    """Messages that one mass message can carry: equal content, nobody twice, at most so many, none left alone."""
    groups: dict[tuple[str, str], list[Outgoing]] = defaultdict(list)
    for message in batch:
        groups[message.template, message.text].append(message)
    for messages in groups.values():
        first: dict[str, Outgoing] = {}
        repeated = []
        for message in messages:
            if message.address in first:
                repeated.append(message)
            else:
                first[message.address] = message
        left = list(first.values())
        while left:
            size = most - 1 if len(left) == most + 1 and most > FEWEST else most
            yield left[:size]
            left = left[size:]
        for message in repeated:
            yield [message]


def _refused(message: Outgoing, error: Errcode) -> Sent:
    return Sent(
        message.attempt_id, Outcome.REFUSED, code=REFUSED.get(error.code, str(error.code)), text=str(error),
        invalid_address=error.code == 40003,
    )  # fmt: skip


def _throttled(message: Outgoing, error: AdapterError) -> Sent:
    wait = error.retry_after or CODES.retry[-1]
    return Sent(
        message.attempt_id, Outcome.THROTTLED, code=error.code, text=str(error)[:200], retry_after=wait
    )


def _until_tomorrow() -> float:
    now = dt.datetime.now(ZONE)
    tomorrow = dt.datetime.combine(now.date() + dt.timedelta(days=1), dt.time(0, 1), tzinfo=ZONE)
    return (tomorrow - now).total_seconds()


def _fields(xml: str) -> dict[str, str]:
    inner = re.sub(r"^\s*<xml>|</xml>\s*$", "", xml)
    return {name: cdata or plain for name, cdata, plain in _FIELD.findall(inner)}
