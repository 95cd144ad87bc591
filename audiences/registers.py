"""The one way back along the road: typed registers that later apps fill in ``AppConfig.ready``.

Entries are called in road order (audiences, channels, campaigns, reports: the order of registration),
in the caller's transaction.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db.models import Q, QuerySet
from django.http import HttpRequest

if TYPE_CHECKING:
    from audiences.imports.staging import Staged

T = TypeVar("T")


class Register(Generic[T]):
    """Named entries in the order they were added. A name can be taken once."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> T:
        """Raises :class:`ValueError` when the name is taken."""
        if name in self._entries:
            raise ValueError(f"{self.what} {name!r} is registered twice")
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> T:
        """Raises :class:`KeyError` with the known names."""
        try:
            return self._entries[name]
        except KeyError:
            raise KeyError(f"no {self.what} {name!r}; known: {', '.join(self._entries)}") from None

    def names(self) -> list[str]:
        return list(self._entries)

    def items(self) -> list[tuple[str, T]]:
        return list(self._entries.items())

    def __iter__(self) -> Iterator[T]:
        return iter(self._entries.values())

    def __contains__(self, name: str) -> bool:
        return name in self._entries


@dataclass(frozen=True, slots=True)
class RuleKind:
    """A kind of leaf in a segment's rule tree.

    ``schema`` is the JSON schema of the leaf, ``fields`` its inputs in the builder, ``sentence`` says it in
    words. Either ``condition`` gives a condition on columns of ``Customer`` itself (no joins), or ``matching``
    gives a queryset of one column of customer ids, never evaluated here; ids of absorbed customers in it
    count for their survivors. With ``complement(leaf)`` true, everybody *but* the matching ones is meant
    ("at most two orders" = not "more than two").
    """

    label: Any
    schema: Mapping[str, Any]
    sentence: Callable[[Mapping[str, Any]], str]
    matching: Callable[[Mapping[str, Any]], QuerySet[Any]] = lambda leaf: _no_set(leaf)
    condition: Callable[[Mapping[str, Any]], Q] | None = None
    complement: Callable[[Mapping[str, Any]], bool] | None = None
    fields: Sequence["RuleField"] = ()
    group: Any = ""  # a heading in the builder's menu


def _no_set(leaf: Mapping[str, Any]) -> QuerySet[Any]:
    raise NotImplementedError(f"the kind {leaf['kind']!r} has a condition, not a set")


@dataclass(frozen=True, slots=True)
class RuleField:
    """One input of a leaf's editor. ``choices`` is called at rendering."""

    name: str
    label: Any
    kind: str = "text"  # text, number, date, choice, multichoice
    choices: Callable[[], Iterable[tuple[Any, Any]]] | None = None
    required: bool = True
    help: Any = ""


@dataclass(frozen=True, slots=True)
class ImportColumn:
    """A column of an import kind: the same for file, API and screen."""

    name: str
    label: Any
    help: Any = ""
    required: bool = False
    kind: str = (
        "text"  # text, integer, decimal, datetime, date, boolean, json, identifier, phone, email, zone
    )
    choices: Sequence[str] = ()
    aliases: Sequence[str] = ()  # headers recognised without mapping, such as 手机号
    synonyms: Mapping[str, str] = field(default_factory=dict)  # cell in lower case → choice: {"男": "male"}
    longest: int = 254  # characters of a text


@dataclass(frozen=True, slots=True)
class ImportKind:
    """What can be loaded, by file, API and screen alike; the steps are told in :mod:`audiences.imports`.

    Values are cleaned and cast by the pipeline. ``check(staged)`` refuses further rows by SQL
    (``staged.refuse``); ``load(staged)`` moves the good ones by SQL, in one transaction, and returns
    ``{"new": …, "changed": …, "same": …}``. Loading the same rows again must change nothing.
    ``stored(staged)`` returns the totals of ``sums`` as they stand in our tables for the rows loaded.
    ``alone``: False where rows are only added, each once by its key, so that loads need not wait for each other.
    ``takes_other_columns``: a column of the file that is none of ours goes into ``extra`` (jsonb).
    """

    label: Any
    columns: Sequence[ImportColumn]
    load: Callable[["Staged"], Mapping[str, int]]
    check: Callable[["Staged"], None] | None = None
    stored: Callable[["Staged"], Mapping[str, Any]] | None = None
    help: Any = ""
    role: str = "marketer"
    sums: Sequence[str] = ()  # amount columns whose totals are completeness controls
    remove: Callable[[int], int] | None = None  # takes a batch back by its id; None: cannot be removed
    alone: bool = True
    takes_other_columns: bool = False
    url_name: str = ""  # the page that shows what was loaded


@dataclass(frozen=True, slots=True)
class ReachTarget:
    """A way to be reached that the segment builder counts, such as a channel."""

    key: str
    label: Any
    brand_id: int
    medium: str
    note: Any = ""
    purpose: str = "contact"  # upload: a list of people is given to a platform


@dataclass(frozen=True, slots=True)
class CustomerPanel:
    """A part of the customer page: a template and what it shows."""

    label: Any
    template: str
    context: Callable[[HttpRequest, int], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Follower:
    """What a later app does when customers merge, are erased, or ask for their data.

    ``merged(absorbed_id, survivor_id)`` and ``unmerged`` run while both contact states are locked;
    ``erased(customer_id)`` while its state is locked, ``erasing(customer_id)`` likewise but before anything is
    blanked; ``exported(customer_id)`` returns what is known.
    """

    merged: Callable[[int, int], None] | None = None
    unmerged: Callable[[int, int], None] | None = None
    erased: Callable[[int], None] | None = None
    erasing: Callable[[int], None] | None = None
    exported: Callable[[int], Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class HomeCard:
    """A card of the first page: what needs me, what runs, what is wrong."""

    column: str  # needs_me, runs, wrong
    template: str
    context: Callable[[HttpRequest], Mapping[str, Any] | None]  # None: nothing to show


@dataclass(frozen=True, slots=True)
class NavigationEntry:
    """A place in the side bar. ``roles`` empty: everybody who is logged in."""

    label: Any
    url_name: str
    icon: str  # a Tabler icon's name
    position: int
    roles: Sequence[str] = field(default_factory=tuple)
    group: Any = ""


rule_kinds: Register[RuleKind] = Register("segment rule kind")
import_kinds: Register[ImportKind] = Register("import kind")
reach_targets: Register[Callable[[], Sequence[ReachTarget]]] = Register("source of reach targets")
customer_panels: Register[CustomerPanel] = Register("customer panel")
followers: Register[Follower] = Register("follower")
home_cards: Register[HomeCard] = Register("home card")
navigation: Register[NavigationEntry] = Register("navigation entry")
