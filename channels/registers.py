"""Registers that later apps fill for channels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.http import HttpRequest

from audiences.registers import Register


@dataclass(frozen=True, slots=True)
class HealthPanel:
    """A part of a channel's health page."""

    label: Any
    template: str
    context: Callable[[HttpRequest, int], Mapping[str, Any]]


health_panels: Register[HealthPanel] = Register("channel health panel")


@dataclass(frozen=True, slots=True)
class OwnUse:
    """What we ourselves handed over on a channel on a day of the installation's zone, as it is billed.

    ``messages`` counts parts; ``cost`` is in the channel's currency, unrounded.
    """

    channel_id: int
    day: date
    messages: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class FlightBudget:
    """Money of running campaigns on one channel: in all, spent up to a day, and what the calendar would have."""

    channel_id: int
    currency: str
    amount: Decimal
    spent: Decimal
    expected: Decimal


@dataclass(frozen=True, slots=True)
class DueMessages:
    """Messages of a channel that are due and were not handed over yet, and since when the oldest is due."""

    channel_id: int
    messages: int
    since: datetime | None


own_use: Register[Callable[[Mapping[int, date]], Sequence[OwnUse]]] = Register("source of own use")
"""Called with channel → first day wanted."""
flight_budgets: Register[Callable[[date], Sequence[FlightBudget]]] = Register("source of flight budgets")
"""Called with the day at whose end the budgets are looked at."""
due_messages: Register[Callable[[Sequence[int], datetime], Sequence[DueMessages]]] = Register(
    "source of due messages"
)
"""Called with channels and the present; names only channels where something waits."""
rule_changes: Register[Callable[[datetime], Sequence[str]]] = Register("follower of changed platform rules")
"""Called with the present after a platform's rule was saved, in the same transaction; says what that did, in words."""
