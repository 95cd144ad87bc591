"""What adapters of text message APIs share: several calls at the same time, and what their ends mean."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from channels import sms_text
from channels.adapters.base import AdapterError, Outcome, Outgoing, Sent, Setting

BEIJING = ZoneInfo("Asia/Shanghai")
MAINLAND = "+86"
WAIT, LOST_WAIT = 1.0, 5.0  # seconds to the next try: after "slower", after nobody answered
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

CALLS = Setting(
    "calls",
    gettext_lazy("Calls at the same time"),
    gettext_lazy("Of each worker; as the provider permits."),
    "number",
    default=8,
    required=False,
)
TIMEOUT = Setting(
    "timeout", gettext_lazy("Seconds to wait for the provider"), kind="number", default=15, required=False
)

Work = Callable[[Sequence[Outgoing]], list[Sent]]


class Calls:
    """A few threads that call a provider. ``close`` ends them; they come back when they are needed."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._most = max(1, int(settings.get(CALLS.name) or 1))
        self._pool: ThreadPoolExecutor | None = None

    def in_turn(self, calls: Sequence[Sequence[Outgoing]], work: Work) -> list[Sent]:
        """As :meth:`run`, one call after the other: for work that is itself part of a call."""
        return self._together(calls, work, map)

    def run(self, calls: Sequence[Sequence[Outgoing]], work: Work) -> list[Sent]:
        """The results of all calls. Once the provider says "slower" or "stop" no further call begins.

        ``work`` raises :class:`AdapterError` where nothing of its call arrived. That is passed on only where nothing is
        known to have arrived at all; else those messages are throttled, and their next try tells the reason again.
        """
        return self._together(calls, work, self._map)

    def _together(self, calls: Sequence[Sequence[Outgoing]], work: Work, over: Any) -> list[Sent]:
        results: list[Sent] = []
        errors: list[AdapterError] = []
        unsent: list[Outgoing] = []

        def one(messages: Sequence[Outgoing]) -> tuple[list[Sent], AdapterError | None]:
            if errors:
                return [], errors[0]
            try:
                return work(messages), None
            except AdapterError as error:
                errors.append(error)
                return [], error

        for messages, (sent, error) in zip(calls, over(one, calls), strict=True):
            results += sent
            if error is not None:
                unsent += messages
        if errors and not results:
            raise errors[0]
        return results + [
            Sent(
                message.attempt_id, Outcome.THROTTLED, code=errors[0].code or "not_begun", text=str(errors[0])[:200],
                retry_after=errors[0].retry_after or WAIT,
            )
            for message in unsent
        ]  # fmt: skip

    def each(self, questions: Sequence[Any], ask: Callable[[Any], Any]) -> list[Any]:
        """Answers to independent questions, in their order. Raises what the first failing one raises."""
        return list(self._map(ask, questions))

    def _map(self, work: Callable[[Any], Any], given: Sequence[Any]) -> Iterator[Any]:
        if len(given) < 2 or self._most == 1:
            return map(work, given)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="sms")
        return self._pool.map(work, given)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def never_left(error: BaseException) -> bool:
    """Whether a client's exception says that no connection was made, so that nothing can have arrived.

    The clients use requests over urllib3, and wrap its exceptions in their own.
    """
    from requests import exceptions as of_requests
    from urllib3 import exceptions as of_urllib3

    before = (
        of_requests.ConnectTimeout, of_requests.InvalidURL,
        of_requests.MissingSchema, of_urllib3.NewConnectionError, of_urllib3.ConnectTimeoutError,
    )  # fmt: skip
    seen: set[int] = set()
    left: list[Any] = [error]
    while left:
        found = left.pop()
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, before):
            return True
        left += [found.__cause__, found.__context__, getattr(found, "inner_exception", None), *found.args]
        left.append(getattr(found, "reason", None))
    return False


def unreachable(provider: str, error: BaseException) -> AdapterError:
    """No connection: nothing arrived, and it may be tried again."""
    text = _("%(provider)s cannot be reached (%(reason)s).") % {
        "provider": provider,
        "reason": type(error).__name__,
    }
    return AdapterError(text, code="connect", retryable=True, retry_after=LOST_WAIT)


def client_module(name: str, requirements: str) -> Any:
    """A vendor's client. Raises :class:`AdapterError` that names the file to install where it is missing."""
    try:
        return import_module(name)
    except ImportError:
        raise AdapterError(
            _("This channel needs packages that are not installed: pip install -r %s") % requirements,
            code="not_installed",
            stops_channel=True,
        ) from None


def is_number(address: str) -> bool:
    """Whether an address is an E.164 number."""
    digits = address.removeprefix("+")
    return digits.isascii() and digits.isdigit() and 6 <= len(digits) <= 15


def country(default: str = "") -> Setting:
    """Where the channel's recipients are: platform rules are looked up by it."""
    return Setting(
        "country",
        gettext_lazy("Country of the recipients"),
        gettext_lazy("Two letters, such as CN; empty: several."),
        required=False,
        default=default,
    )


def with_template(batch: Sequence[Outgoing]) -> tuple[list[Outgoing], list[Sent]]:
    """What may be handed to a vendor that sends by templates, and what is refused before any call."""
    taken: list[Outgoing] = []
    refused: list[Sent] = []
    for message in batch:
        if not is_number(message.address):
            refused.append(no_number(message))
        elif not message.template:
            text = "the message names no template"
            refused.append(Sent(message.attempt_id, Outcome.REFUSED, code="no_template", text=text))
        else:
            taken.append(message)
    return taken, refused


def no_number(message: Outgoing) -> Sent:
    return Sent(
        message.attempt_id, Outcome.REFUSED, code="address", text="the address is no phone number", invalid_address=True
    )  # fmt: skip


def signature(settings: Mapping[str, Any]) -> str:
    """The signature without its brackets."""
    return str(settings.get("signature") or "").strip().strip("【】")


def signed(settings: Mapping[str, Any], text: str) -> str:
    """A text with the channel's signature before it, once."""
    name = signature(settings)
    head = f"【{name}】" if name and text else ""
    return text if not head or text.startswith(head) else head + text


def parts(text: str, address: str) -> int:
    """How many parts a text is billed as: in mainland China by the character, elsewhere in GSM 03.38 where possible."""
    mainland = address.startswith(MAINLAND)
    counting = sms_text.Counting.MAINLAND if mainland else sms_text.Counting.INTERNATIONAL
    return len(sms_text.cut(text, counting).parts)


def until_midnight(now: dt.datetime, days: int = 1) -> float:
    """Seconds to a coming midnight in Beijing, where the vendors of the mainland count their days."""
    return until(now, dt.time(), days)


def until(now: dt.datetime, at: dt.time, days: int = 0) -> float:
    """Seconds to a time of a day in Beijing; of the next day where it is over today."""
    here = now.astimezone(BEIJING)
    then = dt.datetime.combine(here.date() + dt.timedelta(days=days), at, BEIJING)
    return ((then if then > here else then + dt.timedelta(days=1)) - here).total_seconds()


def until_next_month(now: dt.datetime) -> float:
    here = now.astimezone(BEIJING)
    first = (here.date().replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    return (dt.datetime.combine(first, dt.time(), BEIJING) - here).total_seconds()


def beijing_time(text: str, now: dt.datetime) -> dt.datetime:
    """A vendor's ``YYYY-MM-DD hh:mm:ss`` of Beijing, never after now; now where it cannot be read."""
    try:
        return min(now, dt.datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=BEIJING))
    except (ValueError, TypeError):
        return now
