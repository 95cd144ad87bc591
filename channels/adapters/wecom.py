"""WeCom mass messages: we make a task, an employee confirms it, and the result is asked for.

Nothing goes out before the confirmation, so a message is *held*, known as ``msgid:external_userid`` (and, where it
has a deadline, ``:seconds since 1970``). A task that is not confirmed in time is cancelled first, then told as
expired, so it cannot go out behind our back.
"""

import datetime as dt
import hashlib
import logging
import math
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import httpx
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import IdentityKind, Medium, ResponseKind
from channels import wecom_crypto
from channels.adapters._wecom_posts import LIMITS, Posts
from channels.adapters._wecom_roster import Roster
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
    PostAsked,
    PostLimits,
    Receipt,
    Sent,
    Setting,
)
from channels.vocabulary import Domain, Guarantee, Observability

logger = logging.getLogger(__name__)

MOST_RECIPIENTS, LONGEST_TEXT, PAGE = 10_000, 4000, 1000
TOKEN_OVER = {40014, 42001, 41001}
RETRY = {-1: 5.0, 45009: 60.0, 45033: 5.0}  # busy, too often, too many at once: seconds to wait
STOPS = {40001, 40013, 40056, 48002, 60020, 301002}  # secret, corp, agent, permission, IP address
UNSENT, SENT, NOT_A_FRIEND, LIMIT_REACHED = 0, 1, 2, 3
MAYBE = "~"  # begins the reference of a task that may have been made: ~<digest>.<seconds>:external_userid
LOOK_AROUND = 300  # seconds between our clock and WeCom's, and for a call on its way
EVENTS = {"add_external_contact": ResponseKind.FOLLOW, "del_follow_user": ResponseKind.OPT_OUT}
_ENCRYPTED = re.compile(rb"<Encrypt>(?:<!\[CDATA\[)?([A-Za-z0-9+/=]+)(?:\]\]>)?</Encrypt>")
_FIELD = re.compile(r"<(\w+)>(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))</\1>", re.DOTALL)

_tokens: dict[
    tuple[str, str, str], tuple[str, float]
] = {}  # (address, corp, digest of the secret) → token, until
_tokens_lock = threading.Lock()


class _MayHaveArrived(Exception):
    """The call was on its way when the line went."""


class _Errcode(Exception):
    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(f"{answer.get('errcode')} {answer.get('errmsg', '')}"[:200])
        self.code = int(answer.get("errcode", 0))
        self.answer = answer


class Adapter(BaseAdapter):
    name = "wecom"
    label = gettext_lazy("WeCom (企业微信)")
    media: ClassVar[tuple[str, ...]] = (Medium.WECOM,)
    domain = Domain.PRIVATE
    guarantee = Guarantee.CONFIRMED_LATER
    observability = Observability.PERSON_OBSERVED
    address_kinds: ClassVar[tuple[str, ...]] = (IdentityKind.WECOM_EXTERNAL_ID,)
    post_limits: ClassVar[Mapping[str, PostLimits]] = LIMITS
    recipients_a_call = MOST_RECIPIENTS
    batch_size = MOST_RECIPIENTS  # each call is one task an employee must confirm: the fewer the better
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("corp_id", gettext_lazy("Corp id"), gettext_lazy("Begins with ww.")),
        Setting(
            "secret",
            gettext_lazy("Secret"),
            gettext_lazy("Of the customer contact app."),
            "password",
            secret=True,
        ),
        Setting(
            "confirm_hours",
            gettext_lazy("Hours an employee has to confirm"),
            gettext_lazy("After them the task is cancelled, and its touches are free again."),
            "number",
            default=24,
        ),
        Setting(
            "links",
            gettext_lazy("Links in messages"),
            gettext_lazy(
                "Equal texts share one task an employee confirms; links of each customer's own make a task for each."
            ),
            "choice",
            default="shared",
            choices=(
                (
                    "shared",
                    gettext_lazy("One for all customers of an employee; clicks are not known by person"),
                ),
                ("personal", gettext_lazy("One for each customer; each message is a task of its own")),
            ),
        ),
        Setting(
            "remind_hours",
            gettext_lazy("Hours until an employee is reminded"),
            gettext_lazy("Again after as many hours, at most three times in 24 hours; 0: never."),
            "number",
            default=4,
            required=False,
        ),
        Setting(
            "group_weight",
            gettext_lazy("Weight of a message in a chat group"),
            gettext_lazy(
                "From 0 to 1: what one customer it is shown to counts for. A message to one customer is 1."
            ),
            "number",
            default=0.5,
            required=False,
        ),
        Setting(
            "moments_weight",
            gettext_lazy("Weight of a Moments post"),
            gettext_lazy(
                "From 0 to 1: what one customer it is shown to counts for. A message to one customer is 1."
            ),
            "number",
            default=0.2,
            required=False,
        ),
        Setting(
            "tags_out",
            gettext_lazy("Our tags that WeCom gets"),
            gettext_lazy("Separated by commas. All other tags come from WeCom to us."),
            required=False,
        ),
        Setting(
            "callback_token", gettext_lazy("Callback token"), kind="password", secret=True, required=False
        ),
        Setting(
            "callback_aes_key",
            gettext_lazy("Callback EncodingAESKey"),
            kind="password",
            secret=True,
            required=False,
        ),
        Setting(
            "base_url",
            gettext_lazy("Address of the API"),
            kind="url",
            default="https://qyapi.weixin.qq.com",
            required=False,
        ),
        Setting(
            "timeout", gettext_lazy("Seconds to wait for WeCom"), kind="number", default=15, required=False
        ),
    )

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._corp = str(account.settings.get("corp_id") or "")
        self._secret = str(account.credentials.get("secret") or "")
        self._base = str(account.settings.get("base_url") or "https://qyapi.weixin.qq.com").rstrip("/")
        self._timeout = float(account.settings.get("timeout") or 15)
        self._http: httpx.Client | None = None

    @classmethod
    def personal_links(cls, settings: Mapping[str, Any]) -> bool:
        return settings.get("links") == "personal"

    # Sending --------------------------------------------------------------------------------------

    def send(self, batch: Sequence[Outgoing]) -> list[Sent]:
        """One task for all messages of equal text and employee. Raises :class:`AdapterError` only before the first
        task may have been made."""
        results: list[Sent] = []
        groups = list(_groups(batch, self.at_once))
        for position, group in enumerate(groups):
            try:
                results += self._task(group)
            except AdapterError as error:
                if not results:
                    raise
                wait = error.retry_after or RETRY[-1]
                results += [
                    Sent(
                        message.attempt_id,
                        Outcome.THROTTLED,
                        code=error.code,
                        text=str(error)[:200],
                        retry_after=wait,
                    )
                    for left in groups[position:]
                    for message in left
                ]
                break
        return results

    def calls(self, batch: Sequence[Outgoing]) -> int:
        return sum(1 for _group in _groups(batch, self.at_once))

    def _task(self, group: Sequence[Outgoing]) -> list[Sent]:
        """Make one task; what became of each message of it."""
        first = group[0]
        if not first.text or len(first.text.encode()) > LONGEST_TEXT:
            code = "too_long" if first.text else "empty"
            return [Sent(message.attempt_id, Outcome.REFUSED, code=code) for message in group]
        body: dict[str, Any] = {
            "chat_type": "single",
            "external_userid": [message.address for message in group],
            "text": {"content": first.text},
        }
        if first.sender:
            body["sender"] = first.sender
        began = int(time.time())
        try:
            answer = self._call("POST", "externalcontact/add_msg_template", body)
        except _MayHaveArrived as error:
            mark, text = f"{MAYBE}{_digest(first.text)}.{began}", str(error)[:200]
            return [
                Sent(message.attempt_id, Outcome.UNKNOWN, _reference(mark, message), code="lost", text=text)
                for message in group
            ]
        except _Errcode as error:
            return [_refused(message, error) for message in group]
        failed = set(answer.get("fail_list") or ())
        return [
            Sent(message.attempt_id, Outcome.REFUSED, code="not_a_contact", text="in WeCom's fail_list")
            if message.address in failed
            else Sent(message.attempt_id, Outcome.HELD, _reference(str(answer["msgid"]), message))
            for message in group
        ]

    # What became of tasks -------------------------------------------------------------------------

    def poll(self, references: Iterable[str]) -> list[Inbound]:
        """What employees have confirmed by now, and what ran out of time: nothing for what still waits, but that a call
        whose answer was lost made a task.

        What is known is told even when WeCom asks to wait in between; raises :class:`AdapterError` when nothing is.
        A task that WeCom does not know does not hold the others.
        """
        events: list[Inbound] = []
        try:
            waiting: dict[str, dict[str, str]] = {}
            for msgid, wanted in self._by_task(references, events).items():
                with self._alone(msgid):
                    told = self._settled(msgid, wanted)
                    events += told
                    known = {event.identity_value for event in told}
                    left = {ext: reference for ext, reference in wanted.items() if ext not in known}
                    if left:
                        waiting[msgid] = left
                    events += self._found(msgid, left)
            for msgid in self._overdue(waiting):
                with self._alone(msgid):
                    events += self._expire(msgid, waiting[msgid])
        except (AdapterError, _Errcode, _MayHaveArrived) as error:
            if not events:
                raise _as_adapter_error(error) from error
        return events

    @contextmanager
    def _alone(self, msgid: str) -> Iterator[None]:
        """What WeCom refuses of one task concerns this task."""
        try:
            yield
        except _Errcode as error:
            logger.warning("channel %s: task %s: %s", self.account.channel_id, msgid, error)

    def expire(self, references: Iterable[str]) -> list[Inbound]:
        """Cancel the tasks of these references now, whatever their age; what went out before is told as sent.

        A task is cancelled as a whole: give all its references. What was cancelled is told even when a later one
        fails; raises :class:`AdapterError` when nothing was.
        """
        events: list[Inbound] = []
        try:
            for msgid, wanted in self._by_task(references, events).items():
                with self._alone(msgid):
                    events += self._expire(msgid, wanted)
        except (AdapterError, _Errcode, _MayHaveArrived) as error:
            if not events:
                raise _as_adapter_error(error) from error
        return events

    def remind(self, reference: str) -> None:
        """Remind the employees of a task (at most three times in 24 hours). Raises :class:`AdapterError`."""
        try:
            self._call("POST", "externalcontact/remind_groupmsg_send", {"msgid": reference.split(":", 1)[0]})
        except (_Errcode, _MayHaveArrived) as error:
            raise _as_adapter_error(error) from error

    def _by_task(self, references: Iterable[str], events: list[Inbound]) -> dict[str, dict[str, str]]:
        """msgid → external id → reference. Lost calls are looked for; those that made no task are added to events."""
        tasks: dict[str, dict[str, str]] = defaultdict(dict)
        lost: dict[str, dict[str, str]] = defaultdict(dict)
        for reference in references:
            msgid, _sep, rest = reference.partition(":")
            if rest:
                (lost if msgid.startswith(MAYBE) else tasks)[msgid][rest.partition(":")[0]] = reference
        for mark, wanted in lost.items():
            self._look_for(mark, wanted, tasks, events)
        return tasks

    def _look_for(
        self, mark: str, wanted: dict[str, str], tasks: dict[str, dict[str, str]], events: list[Inbound]
    ) -> None:
        """A call whose answer was lost: the task has its text and its time, if it was made."""
        digest, _sep, seconds = mark[len(MAYBE) :].partition(".")
        began = int(seconds)
        left = dict(wanted)
        for task in self._tasks_between(began - LOOK_AROUND, began + LOOK_AROUND):
            if _digest((task.get("text") or {}).get("content", "")) != digest:
                continue
            known = tasks.get(task["msgid"], {})
            for ext, _status, _at in self._results(task["msgid"]):
                if ext in left and ext not in known:
                    tasks[task["msgid"]][ext] = left.pop(ext)
        if left and time.time() > began + 2 * LOOK_AROUND:
            now = dt.datetime.now(dt.UTC)
            events += [
                self._event(reference, ext, Receipt.REJECTED, "not_created", now)
                for ext, reference in left.items()
            ]

    def _found(self, msgid: str, waiting: Mapping[str, str]) -> list[Inbound]:
        """Of those who wait for a task: whose call was lost, and what it is called by from now on. Told once."""
        now = dt.datetime.now(dt.UTC)
        return [
            replace(
                self._event(reference, ext, Receipt.HELD, "found", now),
                detail={"reference": f"{msgid}:{reference.partition(':')[2]}"},
            )
            for ext, reference in waiting.items()
            if reference.startswith(MAYBE)
        ]

    def _settled(self, msgid: str, wanted: Mapping[str, str]) -> list[Inbound]:
        """Those of a task's customers whose fate is known."""
        events = []
        for ext, status, at in self._results(msgid, only_confirmed=True):
            if ext not in wanted or status == UNSENT:
                continue
            when = dt.datetime.fromtimestamp(at, dt.UTC) if at else dt.datetime.now(dt.UTC)
            if status == SENT:
                events.append(self._event(wanted[ext], ext, Receipt.SENT, "1", when))
            else:
                code = {NOT_A_FRIEND: "not_a_friend", LIMIT_REACHED: "limit_reached"}.get(status, str(status))
                events.append(
                    self._event(
                        wanted[ext], ext, Receipt.BOUNCED, code, when, permanent=status == NOT_A_FRIEND
                    )
                )
        return events

    def _results(self, msgid: str, only_confirmed: bool = False) -> Iterator[tuple[str, int, int]]:
        """(external id, status, send time or 0) of a task, page by page."""
        for member in self._pages("externalcontact/get_groupmsg_task", {"msgid": msgid}, "task_list"):
            if only_confirmed and not member.get("status"):
                continue
            body = {"msgid": msgid, "userid": member["userid"]}
            for row in self._pages("externalcontact/get_groupmsg_send_result", body, "send_list"):
                yield row["external_userid"], int(row["status"]), int(row.get("send_time") or 0)

    def _overdue(self, waiting: Mapping[str, Mapping[str, str]]) -> list[str]:
        """Tasks whose employees had their time: by the messages' deadline, or by the age of the task."""
        now = int(time.time())
        late = [msgid for msgid, wanted in waiting.items() if max(map(_deadline, wanted.values())) <= now]
        wanted = set(waiting) - set(late)
        if not wanted:
            return late
        hours = float(self.account.settings.get("confirm_hours") or 24)
        until = now - hours * 3600
        # WeCom lists a month at most; a task that is older than the list goes back is overdue all the more.
        recent = {
            task["msgid"]: task["create_time"]
            for task in self._tasks_between(now - 30 * 86400, now + LOOK_AROUND)
        }
        return late + [msgid for msgid in wanted if recent.get(msgid, 0) <= until]

    def _expire(self, msgid: str, wanted: Mapping[str, str]) -> list[Inbound]:
        """Cancel first, then read what had gone out by then: the rest never will."""
        self._call("POST", "externalcontact/cancel_groupmsg_send", {"msgid": msgid})
        events = self._settled(msgid, wanted)
        gone = {event.identity_value for event in events}
        now = dt.datetime.now(dt.UTC)
        return events + [
            self._event(reference, ext, Receipt.EXPIRED, "unconfirmed", now)
            for ext, reference in wanted.items()
            if ext not in gone
        ]

    def _tasks_between(self, start: int, end: int) -> Iterator[dict[str, Any]]:
        body = {"chat_type": "single", "start_time": start, "end_time": end}
        return self._pages("externalcontact/get_groupmsg_list_v2", body, "group_msg_list", 100)

    def _event(
        self, reference: str, ext: str, receipt: Receipt, code: str, at: dt.datetime, permanent: bool = False
    ) -> Inbound:
        return Inbound(
            dedupe_key=f"{reference}:{code}", occurred_at=at, receipt=receipt, reference=reference, code=code,
            permanent=permanent, identity_kind=IdentityKind.WECOM_EXTERNAL_ID, identity_issuer=self._corp,
            identity_value=ext,
        )  # fmt: skip

    # Posts to many ---------------------------------------------------------------------------------

    def posts(self) -> Posts:
        return Posts(self._asked, self._pages_asked, self._make)

    def _make(self, path: str, body: dict[str, Any], name: str) -> PostAsked:
        """A call that must not be repeated. ``name``: where its answer has what the task is known by."""
        try:
            answer = self._call("POST", path, body)
        except _MayHaveArrived:
            return PostAsked("")
        except _Errcode as error:
            raise _as_adapter_error(error) from error
        return PostAsked(str(answer[name]), tuple(answer.get("fail_list") or ()))

    # Employees and customers ----------------------------------------------------------------------

    def roster(self) -> Roster:
        return Roster(self._asked, self._pages_asked)

    def _asked(self, method: str, path: str, body: Any) -> dict[str, Any]:
        """A call that changes nothing, or may be repeated. Raises :class:`AdapterError`."""
        try:
            return self._call(method, path, body)
        except (_Errcode, _MayHaveArrived) as error:
            raise _as_adapter_error(error) from error

    def _pages_asked(
        self, path: str, body: dict[str, Any], rows: str, limit: int
    ) -> Iterator[dict[str, Any]]:
        try:
            yield from self._pages(path, body, rows, limit)
        except (_Errcode, _MayHaveArrived) as error:
            raise _as_adapter_error(error) from error

    # Callback -------------------------------------------------------------------------------------

    def parse_inbound(self, request: InboundRequest) -> InboundReply:
        """The callback's address check (GET) and its events (POST). Raises :class:`BadSignature`."""
        if request.method == "GET":
            return InboundReply(body=self._opened(request, request.query.get("echostr", "")).encode())
        found = _ENCRYPTED.search(request.body)
        if not found:
            raise BadSignature("no Encrypt element")
        told = {
            name: cdata or plain
            for name, cdata, plain in _FIELD.findall(self._opened(request, found[1].decode()))
        }
        kind = told.get("ChangeType", "")
        response = EVENTS.get(kind) if told.get("Event") == "change_external_contact" else None
        if response is None:
            return InboundReply()
        ext, userid, at = told.get("ExternalUserID", ""), told.get("UserID", ""), told.get("CreateTime", "0")
        event = Inbound(
            dedupe_key=f"{kind}:{userid}:{ext}:{at}",
            occurred_at=dt.datetime.fromtimestamp(int(at), dt.UTC),
            response=response,
            identity_kind=IdentityKind.WECOM_EXTERNAL_ID,
            identity_issuer=self._corp,
            identity_value=ext,
            detail={"employee": userid},
        )
        return InboundReply([event])

    def _opened(self, request: InboundRequest, encrypted: str) -> str:
        """The text of an envelope that proves its sender. Raises :class:`BadSignature`."""
        token = str(self.account.credentials.get("callback_token") or "")
        key = str(self.account.credentials.get("callback_aes_key") or "")
        if not token or not key:
            raise BadSignature("the channel has no callback token or EncodingAESKey")
        query = request.query
        given = query.get("msg_signature", "")
        if not wecom_crypto.signed_by(
            token, query.get("timestamp", ""), query.get("nonce", ""), encrypted, given
        ):
            raise BadSignature("msg_signature does not match")
        try:
            return wecom_crypto.unseal(key, encrypted, self._corp)
        except wecom_crypto.BadEnvelope as error:
            raise BadSignature(str(error)) from error

    # Calls ----------------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Get a token and count the employees who have customers."""
        try:
            employees = (
                self._call("GET", "externalcontact/get_follow_user_list", None).get("follow_user") or []
            )
        except (AdapterError, _Errcode, _MayHaveArrived) as error:
            return Checked(False, str(error))
        text = _("WeCom lets us in; %(n)d employees have customers.") % {"n": len(employees)}
        return Checked(True, text, {"corp_id": self._corp})

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def _pages(
        self, path: str, body: dict[str, Any], rows: str, limit: int = PAGE
    ) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            answer = self._call("POST", path, {**body, "limit": limit, "cursor": cursor})
            yield from answer.get(rows) or ()
            cursor = answer.get("next_cursor") or ""
            if not cursor:
                return

    def _call(self, method: str, path: str, body: Any) -> dict[str, Any]:
        """One API call; a token that ran out is renewed once (such a call was not carried out).

        Raises :class:`AdapterError` when it cannot have arrived, :class:`_MayHaveArrived` when it may,
        :class:`_Errcode` when WeCom refused it for good.
        """
        for renewed in (False, True):
            token = self._token(renew=renewed)
            query = {"access_token": token, **(body or {} if method == "GET" else {})}
            answer = self._request(method, f"/cgi-bin/{path}", query, None if method == "GET" else body)
            code = int(answer.get("errcode", 0))
            if code == 0:
                return answer
            if code in TOKEN_OVER and not renewed:
                continue
            error = _Errcode(answer)
            if code in RETRY or code in STOPS or code in TOKEN_OVER:
                raise _as_adapter_error(error)
            raise error
        raise AssertionError("unreachable")

    def _token(self, renew: bool = False) -> str:
        key = (self._base, self._corp, hashlib.sha256(self._secret.encode()).hexdigest())
        with _tokens_lock:
            token, until = _tokens.get(key, ("", 0.0))
        if token and not renew and time.monotonic() < until:
            return token
        try:
            answer = self._request(
                "GET", "/cgi-bin/gettoken", {"corpid": self._corp, "corpsecret": self._secret}, None
            )
        except _MayHaveArrived as error:  # asking for a token changes nothing
            raise AdapterError(str(error), code="lost", retryable=True, retry_after=RETRY[-1]) from error
        if answer.get("errcode"):
            raise _as_adapter_error(_Errcode(answer))
        token = str(answer["access_token"])
        with _tokens_lock:
            _tokens[key] = (token, time.monotonic() + float(answer.get("expires_in") or 7200) - 120)
        return token

    def _request(self, method: str, path: str, query: Mapping[str, str], body: Any) -> dict[str, Any]:
        if self._http is None:
            self._http = httpx.Client(base_url=self._base, timeout=self._timeout)
        try:
            answer = self._http.request(method, path, params=query, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            text = _("WeCom cannot be reached (%(reason)s).") % {"reason": type(error).__name__}
            raise AdapterError(text, code="connect", retryable=True, retry_after=RETRY[-1]) from None
        except httpx.HTTPError as error:
            raise _MayHaveArrived(type(error).__name__) from None
        try:
            told = answer.json()
        except ValueError:
            told = None
        if answer.status_code >= 400 or not isinstance(told, dict):
            raise _MayHaveArrived(f"HTTP {answer.status_code}")
        return told


def _groups(batch: Sequence[Outgoing], most: int) -> Iterator[list[Outgoing]]:
    """Messages that one task can carry: equal text, employee and deadline, nobody twice, at most so many.

    The text decides, not only the key: with links of their own no two people get the same one.
    """
    groups: dict[tuple[str, str, dt.datetime | None], list[Outgoing]] = defaultdict(list)
    for message in batch:
        groups[message.sender, message.text, message.expires_at].append(message)
    for messages in groups.values():
        while messages:
            chosen: dict[str, Outgoing] = {}
            left = []
            for message in messages:
                if message.address in chosen or len(chosen) == most:
                    left.append(message)
                else:
                    chosen[message.address] = message
            yield list(chosen.values())
            messages = left


def _refused(message: Outgoing, error: _Errcode) -> Sent:
    known = {40096: "not_a_customer", 84061: "not_a_contact"}
    return Sent(
        message.attempt_id, Outcome.REFUSED, code=known.get(error.code, str(error.code)), text=str(error),
        invalid_address=error.code == 40096,
    )  # fmt: skip


def _as_adapter_error(error: Exception) -> AdapterError:
    if isinstance(error, AdapterError):
        return error
    if isinstance(error, _Errcode):
        stops = error.code in STOPS or error.code in TOKEN_OVER
        return AdapterError(
            _("WeCom says: %s") % error, code=str(error.code), retryable=error.code in RETRY, stops_channel=stops,
            retry_after=RETRY.get(error.code),
        )  # fmt: skip
    return AdapterError(str(error), code="lost", retryable=True, retry_after=RETRY[-1])


def _reference(msgid: str, message: Outgoing) -> str:
    deadline = f":{int(message.expires_at.timestamp())}" if message.expires_at else ""
    return f"{msgid}:{message.address}{deadline}"


def _deadline(reference: str) -> float:
    """Seconds since 1970; infinity without one."""
    told = reference.split(":")[2:]
    return float(told[0]) if told and told[0].isdigit() else math.inf


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]
