"""Who a triggered campaign's forecast is made for: nobody knows who will do what, but days are known.

- an occasion with days: those who have it within the flight;
- a behaviour: those who did it in as long a time, up to now (the past stands for the future);
- a stage, or entering the audience: the audience as it is now, an upper bound in words on the forecast's page.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from campaigns import cadence, definition, occasions
from campaigns.planner.spec import Spec
from campaigns.queries import occasions as queries

LONGEST = 366  # days that are looked at


def audience(spec: Spec, whole: str) -> str:
    """The part of the audience (SQL of ids) the forecast counts on."""
    document = spec.document
    first, last = definition.as_moment(document["starts_at"]), definition.as_moment(document["ends_at"])
    if first is None or last is None:
        return whole
    event = cadence.event_of(document)
    if event:
        length = min(last - first, dt.timedelta(days=LONGEST))
        return queries.doers(event, spec.now - length, whole)
    occasion = document.get("occasion")
    if document["cadence"].get("by") != "occasion" or not occasion:
        return whole
    begin = max(first, spec.now).date()
    lead = dt.timedelta(days=int(occasion.get("lead_days") or 0))
    end = min(last.date(), begin + dt.timedelta(days=LONGEST))
    days = occasions.days_between(begin + lead, max(begin, end) + lead)
    return queries.ids(occasions.having(occasion, days, [whole]))


def sentence(document: Mapping[str, Any]) -> str:
    """Whom a triggered campaign's forecast is about; '' of the others."""
    if not cadence.is_triggered(document):
        return ""
    own = document.get("cadence") or {}
    if cadence.event_of(document):
        return _("The forecast takes those who did it in as long a time before now; each opens it once.")
    if own.get("by") == "occasion":
        return _("The forecast takes those who have the occasion within the flight; each opens it once.")
    return _(
        "Nobody can know who will come: the forecast takes everybody in the audience now, which is the most."
    )
