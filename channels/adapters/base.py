"""What an adapter is: one file in this folder with one class named ``Adapter``.

An adapter declares what it is (medium, guarantee, observability, settings, price model, error map) and
implements the verbs it is capable of. It never sees the database: it is given plain values and returns
plain values. Logging, retry, throttling and recording stay in the caller, once.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar

from audiences.vocabulary import ResponseKind
from channels.vocabulary import Domain, Guarantee, Observability, PriceModel


class Outcome(StrEnum):
    """How one handing-over to a provider ended, as far as we know."""

    ACCEPTED = "accepted"  # the provider took it
    REFUSED = "refused"  # final: it did not and will not arrive (bad number, template…)
    THROTTLED = "throttled"  # it did not arrive; may be tried again after ``retry_after``
    UNKNOWN = "unknown"  # it may have arrived: never retried, a late receipt may settle it
    HELD = "held"  # a task was made; a person must confirm it (confirmed later)


class Receipt(StrEnum):
    """What a later report says of an accepted, held or unknown attempt."""

    ACCEPTED = "accepted"
    HELD = "held"  # an unknown one is a task that waits for a person; ``detail["reference"]`` names it from now on
    SENT = "sent"  # a held one went out, at ``occurred_at``
    DELIVERED = "delivered"
    BOUNCED = "bounced"  # known not to have reached the person; ``permanent`` tells whether ever
    EXPIRED = "expired"  # a held one was not confirmed, or cancelled
    REJECTED = "rejected"


@dataclass(slots=True)  # not frozen, like Sent: made for every message, and three times as fast so
class Outgoing:
    """One message to hand over. ``attempt_id`` is our own, unique for ever: give it to the provider
    as its client reference where there is such a field; the sandbox's log is joined by it."""

    attempt_id: int
    address: str  # normalised identity value: E.164, e-mail, external id
    subject: str = ""
    text: str = ""
    html: str = ""
    sender: str = ""  # an employee or sender account, where the medium has one
    unsubscribe_url: str = ""  # RFC 8058 one-click address
    variables: Mapping[str, str] = field(default_factory=dict)
    template: str = ""  # the provider's template id
    expires_at: dt.datetime | None = None  # must not arrive later


@dataclass(slots=True)
class Sent:
    """What became of one :class:`Outgoing`. ``parts`` is how many the provider bills."""

    attempt_id: int
    outcome: Outcome
    reference: str = ""  # the provider's message id
    code: str = ""
    text: str = ""
    retry_after: float | None = None  # seconds
    address_only: bool = False  # ``retry_after`` concerns this address, not the channel
    parts: int = 1
    cost: Decimal | None = None  # where the provider tells it
    invalid_address: bool = False  # the address does not exist


@dataclass(slots=True)  # not frozen, as thousands may come in one call
class Inbound:
    """One event a provider tells, normalised. Exactly one of ``receipt`` and ``response`` is set.

    ``detail["attempt_id"]`` (an int) is our own id, where the provider repeats it: it settles attempts whose
    ``reference`` never reached us, because the answer was lost or the worker died.
    """

    dedupe_key: str  # unique in the channel: the same event told twice has the same key
    occurred_at: dt.datetime
    receipt: Receipt | None = None
    response: ResponseKind | None = None
    # The provider's message id; or ``attempt-<id>`` where the provider gives our own reference back,
    # which settles an unknown attempt whose answer was lost.
    reference: str = ""
    identity_kind: str = ""
    identity_issuer: str = ""
    identity_value: str = ""
    code: str = ""
    permanent: bool = False
    value: Decimal | None = None
    currency: str = ""
    machine: bool = False
    campaign_id: int | None = None  # from our own signed links only
    touch_id: int | None = None  # likewise
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InboundRequest:
    """An HTTP request to a channel's webhook, without Django."""

    method: str
    url: str  # absolute, as the provider called it
    headers: Mapping[str, str]  # lower-case names
    query: Mapping[str, str]
    body: bytes
    received_at: dt.datetime | None = None  # when it came, also where it is read again later


@dataclass(frozen=True, slots=True)
class InboundReply:
    """Events parsed, and what the provider wants to hear. ``unread``: why some of the request could not be read; it is
    then kept beside its events."""

    events: Sequence[Inbound] = ()
    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain"
    unread: Exception | None = None


def each(told: Iterable[Any], read: Callable[[Any], Inbound]) -> tuple[list[Inbound], Exception | None]:
    """The events of what a provider pushed at once, and why the first of those that cannot be read cannot: it holds no
    others."""
    events, failed = [], None
    for one in told:
        try:
            events.append(read(one))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            failed = failed or error
    return events, failed


class BadSignature(Exception):
    """A webhook that does not prove its sender: refused with 403 and counted."""


NOT_FOUND = "not_found"
"""Code of an :class:`AdapterError`: the platform has no campaign, ad group or ad of that name or number."""


class AdapterError(Exception):
    """A call that failed as a whole, before anything can have arrived.

    ``retryable`` tells whether the same call may go through later; ``stops_channel`` that a person must
    act first (credentials, contract). Never raise it when something may have been accepted: return
    :data:`Outcome.UNKNOWN` for those instead.
    """

    def __init__(
        self,
        text: str,
        *,
        code: str = "",
        retryable: bool = False,
        stops_channel: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.retryable = retryable
        self.stops_channel = stops_channel
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class AudienceChange:
    """One person to add to, or remove from, a platform's audience."""

    customer_id: int
    identity_kind: str
    value: str  # normalised, not hashed: the adapter hashes as its platform wants


@dataclass(frozen=True, slots=True)
class AudienceResult:
    external_id: str
    done: Sequence[int]  # customer ids the platform confirmed
    failed: Mapping[int, str] = field(default_factory=dict)  # customer id → code
    platform_size: int | None = None


@dataclass(frozen=True, slots=True)
class Flight:
    """What a platform is asked to keep to, or keeps to. Money in the channel's currency."""

    reference: str
    budget: Decimal
    starts_on: dt.date
    ends_on: dt.date
    cap_exposures: int | None = None
    cap_days: int | None = None
    # In an answer: dates the platform has nothing for. They are repeated as asked, and never count as agreed.
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One placement on one day, as the platform reports it."""

    day: dt.date
    placement: str
    currency: str
    spend: Decimal
    exposures: int | None = None
    clicks: int | None = None
    reach: int | None = None
    frequency: float | None = None
    conversions: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left of an account now, in a currency; or of one message package (``unit`` *messages*)."""

    unit: str
    left: Decimal
    package: str = ""  # the platform's number of the package
    expires_on: dt.date | None = None  # the last day a package may be used


@dataclass(frozen=True, slots=True)
class RosterContact:
    """That an employee has a customer as a contact, with the tags the employee's company gave."""

    employee: str
    address: str
    name: str
    added_at: dt.datetime
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RosterGroup:
    """A chat group with customers."""

    external_id: str
    name: str
    owner: str
    customers: int


@dataclass(frozen=True, slots=True)
class RosterDay:
    """An employee on a day."""

    employee: str
    day: dt.date
    customers_added: int
    deletions: int
    messages: int
    first_reply_minutes: float | None


class RosterReader:
    """Employees and their customers as a provider tells them, each read when asked for. Raises :class:`AdapterError`."""

    def employees(self, known: Mapping[str, str]) -> Mapping[str, str]:
        """Id → name of everybody who may have customers; ``known`` names are not asked for again."""
        raise NotImplementedError

    def departures(self) -> Mapping[str, dt.datetime]:
        """Employees who left with customers, and when."""
        raise NotImplementedError

    def contacts(self, employees: Sequence[str]) -> Iterator[RosterContact]:
        raise NotImplementedError

    def groups(self) -> Iterator[RosterGroup]:
        raise NotImplementedError

    def days(self, employees: Sequence[str], first: dt.date, last: dt.date) -> Iterator[RosterDay]:
        raise NotImplementedError

    def tag(self, employee: str, address: str, add: Sequence[str], remove: Sequence[str]) -> None:
        """Put tags on a contact and take them off; idempotent. A tag that does not exist there is made."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PostLimits:
    """What one kind of post to many may be."""

    characters: int
    octets: int  # of UTF-8
    groups: int = 0  # in one task at most; 0: the kind has no groups
    reminds: bool = False  # whether the provider reminds an employee


@dataclass(frozen=True, slots=True)
class PostAsked:
    """A task that was made, or may have been (``reference`` is "": keep the mark). ``refused``: groups and employees."""

    reference: str
    refused: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PostDone:
    """How far one employee came with a post. Nobody is known to have seen it, but who reacted."""

    employee: str
    confirmed: bool
    at: dt.datetime | None = None  # where the provider tells it
    groups: Mapping[str, str] = field(default_factory=dict)  # group → sent, or why not
    shown: int | None = None  # customers who can see it, where that is told
    reactions: Sequence[tuple[ResponseKind, str, dt.datetime]] = ()  # kind, address, when


@dataclass(frozen=True, slots=True)
class PostTold:
    """What became of a task. ``reference`` is how it is known from now on."""

    reference: str
    making: bool = False  # not ready yet: ask again
    missing: bool = False  # a call whose answer was lost made no task that can be found
    error: str = ""  # it was not made, for good
    refused: Sequence[str] = ()  # employees who were not taken
    done: Sequence[PostDone] = ()


class PostMaker:
    """Posts that many see at once, each a task for employees. All but :meth:`mark` raise :class:`AdapterError`."""

    def mark(self, text: str) -> str:
        """What a task is known by before the call, so that a lost answer, or a killed worker, can be looked for."""
        raise NotImplementedError

    def ask(self, kind: str, text: str, employees: Sequence[str], groups: Sequence[str]) -> PostAsked:
        """One task: of one employee for ``groups``, or of several employees. Must not retry by itself."""
        raise NotImplementedError

    def told(self, kind: str, reference: str, employees: Sequence[str]) -> PostTold:
        raise NotImplementedError

    def cancel(self, kind: str, reference: str) -> None:
        """What is not confirmed yet never will be. Idempotent."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of testing a connection, for the admin's eyes."""

    ok: bool
    text: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of the connect form that belongs to the adapter."""

    name: str
    label: Any  # lazily translated
    help: Any = ""
    kind: str = "text"  # text, textarea, password, number, url, choice, boolean
    secret: bool = False  # goes to the encrypted credentials; write-only
    required: bool = True
    default: Any = ""
    choices: Sequence[tuple[str, Any]] = ()


Credentials = Mapping[str, Any]
# (what no longer opens the door, how to exchange what is stored now) → what opens it now. The caller keeps what
# the exchange returns, and lets one worker at a time do it: whoever comes second is given what the first one got.
Renew = Callable[[Credentials, Callable[[Credentials], Credentials]], Credentials]


@dataclass(frozen=True, slots=True)
class Account:
    """The channel as an adapter sees it."""

    channel_id: int
    brand: str
    medium: str
    settings: Mapping[str, Any]
    credentials: Mapping[str, Any] = field(repr=False)  # never in a log line or a traceback
    callback_url: str = field(default="", repr=False)  # the channel's webhook; its path holds a secret
    renew: Renew | None = field(default=None, repr=False, compare=False)  # for tokens that run out


class BaseAdapter:
    """Inherit, declare, implement the verbs you can. A verb left out raises ``NotImplementedError``;
    :meth:`verbs` tells which ones a class has."""

    name: ClassVar[str]  # the module's name
    label: ClassVar[Any]
    media: ClassVar[tuple[str, ...]]
    domain: ClassVar[Domain]
    guarantee: ClassVar[Guarantee]
    observability: ClassVar[Observability]
    price_model: ClassVar[PriceModel] = PriceModel.PER_MESSAGE
    settings: ClassVar[tuple[Setting, ...]] = ()
    address_kinds: ClassVar[tuple[str, ...]] = ()  # identity kinds it can address, best first
    batch_size: ClassVar[int] = 100  # messages in one ``send``
    recipients_a_call: ClassVar[int] = 0  # of one call of the provider, at most; 0: a ``send`` is one call
    by_template: ClassVar[bool] = False  # sends only texts that the provider approved before
    needs_requirements: ClassVar[str] = ""  # an optional requirements file, if any
    # Kinds of posts to many (campaigns.models.Broadcast.Kind); each has a setting ``<kind>_weight``, from 0 to 1.
    post_limits: ClassVar[Mapping[str, PostLimits]] = {}

    most_recipients: int | None = None
    """The platform's rule of the day on recipients in one call; put there by the caller."""

    def __init__(self, account: Account) -> None:
        self.account = account

    @classmethod
    def traits(cls, medium: str) -> tuple[Domain, Guarantee, Observability]:
        """What a channel of this adapter on ``medium`` is. Override where it depends on the medium."""
        return cls.domain, cls.guarantee, cls.observability

    @classmethod
    def personal_links(cls, settings: Mapping[str, Any]) -> bool:
        """Whether each person gets links of their own. Not where equal messages share one call and so must stay
        equal: then a click is known by campaign, message and employee only."""
        return True

    @classmethod
    def template_variable(cls, name: str, number: int) -> str:
        """How a field of a text, its ``number``-th from 1, stands in the provider's template; '' without templates."""
        return ""

    @property
    def at_once(self) -> int:
        """Recipients in one call of the provider: what the adapter knows, or fewer where the platform's rule says so."""
        known = self.recipients_a_call or self.batch_size
        return max(1, known if self.most_recipients is None else min(known, self.most_recipients))

    def calls(self, batch: Sequence[Outgoing]) -> int:
        """How many calls of the provider a ``send`` of this batch makes, at most. They are counted where the platform
        limits calls. Override where messages of one batch cannot all share a call."""
        return -(-len(batch) // self.at_once)

    def send(self, batch: Sequence[Outgoing]) -> list[Sent]:
        """Hand over; one :class:`Sent` for each, in any order. Must not retry by itself."""
        raise NotImplementedError

    def status(self, references: Sequence[str]) -> list[Inbound]:
        """Ask what became of these references."""
        raise NotImplementedError

    def sync_audience(
        self, external_id: str, name: str, add: Sequence[AudienceChange], remove: Sequence[AudienceChange]
    ) -> AudienceResult:
        """Idempotent; creates the audience when ``external_id`` is ''."""
        raise NotImplementedError

    def publish_audience(self, external_id: str) -> float:
        """For platforms where what was pushed takes force only when published. Idempotent; called after a run of
        pushes, and again until it returns 0: everything pushed is in force. Otherwise seconds until the next call."""
        raise NotImplementedError

    def set_flight(self, flight: Flight) -> Flight:
        """Idempotent; returns what the platform now says. A platform without frequency caps returns none: the wanted
        cap is then kept by taking people out of the audience."""
        raise NotImplementedError

    def pause_flight(self, reference: str, paused: bool | None) -> bool:
        """Whether the ads of a flight are paused on the platform, which is brought about first unless ``paused`` is None.

        ``audience:<id>`` is the flight of an audience; none is made. Idempotent. Raises :class:`AdapterError`, with the
        code :data:`NOT_FOUND` where the platform has no such flight: then nothing of it is shown.
        """
        raise NotImplementedError

    def fetch_report(self, day: dt.date) -> list[ReportRow]:
        raise NotImplementedError

    def fetch_balance(self) -> list[Balance]:
        """What the platform says is left of the account, or of each message package. Raises :class:`AdapterError`."""
        raise NotImplementedError

    def parse_inbound(self, request: InboundRequest) -> InboundReply:
        """Verify and parse. Raises :class:`BadSignature`."""
        raise NotImplementedError

    def poll(self, references: Iterable[str]) -> list[Inbound]:
        """Events a provider only tells when asked (held tasks, mailboxes, SMPP sessions).

        Store them, commit, then call :meth:`acknowledge`; poll again until it returns nothing.
        """
        raise NotImplementedError

    def expire(self, references: Iterable[str]) -> list[Inbound]:
        """Cancel held tasks now; what went out before is told as sent, the rest as expired.

        A held reference is ``<task>:<rest>``; all references of a task are given, since it is cancelled as a whole.
        Idempotent. Raises :class:`AdapterError`.
        """
        raise NotImplementedError

    def remind(self, reference: str) -> None:
        """Remind whoever must confirm a held task (the head of a held reference will do)."""
        raise NotImplementedError

    def roster(self) -> RosterReader:
        """Employees and their customers, where the medium has them."""
        raise NotImplementedError

    def posts(self) -> PostMaker:
        """Posts to many, where the medium has them."""
        raise NotImplementedError

    def acknowledge(self) -> None:
        """What the last :meth:`poll` returned is committed: the provider may forget it. Without this call
        (an error, a killed worker) a provider that keeps events tells them again."""

    def check(self) -> Checked:
        raise NotImplementedError

    def close(self) -> None:
        """Release connections. Called when a worker is done with the adapter."""

    VERBS: ClassVar[tuple[str, ...]] = (
        "send",
        "status",
        "sync_audience",
        "publish_audience",
        "set_flight",
        "pause_flight",
        "fetch_report",
        "fetch_balance",
        "parse_inbound",
        "poll",
        "expire",
        "remind",
        "roster",
        "posts",
        "check",
    )

    @classmethod
    def verbs(cls) -> frozenset[str]:
        return frozenset(verb for verb in cls.VERBS if getattr(cls, verb) is not getattr(BaseAdapter, verb))
