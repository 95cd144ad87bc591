"""What campaigns tell the daily spend sheet: own use by day, and how far budgets in flight are."""

import datetime as dt
from collections.abc import Mapping, Sequence

from django.conf import settings

from audiences.days import ONE, begins
from campaigns.queries import spend_facts as queries
from channels.registers import FlightBudget, OwnUse, flight_budgets
from channels.registers import own_use as own_use_sources


def own_use(since: Mapping[int, dt.date]) -> Sequence[OwnUse]:
    """Parts and cost of what was handed over, by channel and day of the installation's zone."""
    moments = [begins(day) for day in since.values()]
    return (
        [OwnUse(*row) for row in queries.own_use(list(since), moments, settings.TIME_ZONE)] if since else []
    )


def flights(day: dt.date) -> Sequence[FlightBudget]:
    """Budgets by channel of the campaigns that fly at the end of a day."""
    return [FlightBudget(*row) for row in queries.flights(day, begins(day + ONE))]


def register() -> None:
    """Called once, from ``CampaignsConfig.ready``."""
    own_use_sources.add("campaigns", own_use)
    flight_budgets.add("campaigns", flights)
