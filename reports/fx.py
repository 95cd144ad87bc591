"""Exchange rates, dated and with their source."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _

from reports.models import FxRate


class RateMissing(Exception):
    """No rate on or before the day; the text says which to enter."""


@dataclass(frozen=True, slots=True)
class Rate:
    value: Decimal
    day: dt.date | None
    source: str


def rate(base: str, quote: str, day: dt.date) -> Rate:
    """One unit of ``base`` in ``quote``: the newest on or before ``day``. Raises :class:`RateMissing`."""
    if base == quote:
        return Rate(Decimal(1), None, "")
    newest = FxRate.objects.filter(base=base, quote=quote, day__lte=day).order_by("-day").first()
    if newest is not None:
        return Rate(newest.rate, newest.day, newest.source)
    raise RateMissing(
        _("There is no rate %(base)s/%(quote)s on or before %(day)s. Enter one under Finance.")
        % {"base": base, "quote": quote, "day": day}
    )
