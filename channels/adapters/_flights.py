"""What ad platforms share about flights: which one is an audience's, its budget by days, its switch."""

from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal

from django.utils.translation import gettext as _

from channels.adapters.base import NOT_FOUND, AdapterError, Flight

BY_AUDIENCE = "audience:"  # a flight reference that names an audience instead of what is shown to it


def name_of(audience: str) -> str:
    """What we call the campaign, or ad set, that we make for an audience, so that it is found again."""
    return f"Evenreach {audience}"


def number_of(reference: str, named: Callable[[str], str]) -> str:
    """The platform's number of a flight. ``named`` finds that of the one we made, by its name; '' where there is none.

    Raises :class:`AdapterError` with :data:`NOT_FOUND` for an audience nothing was made for.
    """
    if not reference.startswith(BY_AUDIENCE):
        return reference
    audience = reference.removeprefix(BY_AUDIENCE)
    if found := named(name_of(audience)):
        return found
    raise AdapterError(_("Nothing was made for audience %s on the platform yet.") % audience, code=NOT_FOUND)


def switched(paused: bool | None, read: Callable[[], bool], change: Callable[[bool], object]) -> bool:
    """Whether a flight is paused (``read``), after it was changed if that is wanted and is news."""
    known = read()
    if paused is None or paused == known:
        return known
    change(paused)
    return read()


def days_of(flight: Flight) -> int:
    return (flight.ends_on - flight.starts_on).days + 1


def daily(flight: Flight) -> Decimal:
    """The budget of a day, in whole hundredths: never more than the flight's in all."""
    return (flight.budget / days_of(flight)).quantize(Decimal("0.01"), ROUND_DOWN)


def in_all(known: Decimal, flight: Flight) -> Decimal:
    """What a day's budget that the platform tells comes to: the wanted one, where it is the one we set."""
    return flight.budget if known == daily(flight) else known * days_of(flight)
