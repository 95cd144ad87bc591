"""A flight's budget where a platform only knows budgets of a day."""

from decimal import ROUND_DOWN, Decimal

from channels.adapters.base import Flight

CENT = Decimal("0.01")


def days_of(flight: Flight) -> int:
    return max(1, (flight.ends_on - flight.starts_on).days + 1)


def daily(flight: Flight, smallest: Decimal = CENT) -> Decimal:
    """The budget of a day, rounded down to ``smallest``: the days together never exceed the flight's budget."""
    steps = (flight.budget / days_of(flight) / smallest).to_integral_value(ROUND_DOWN)
    return steps * smallest


def whole(flight: Flight, told: Decimal, smallest: Decimal = CENT) -> Decimal:
    """What a day's budget means for the flight: its budget when it is the day's share, else the days together."""
    return flight.budget if told == daily(flight, smallest) else told * days_of(flight)
