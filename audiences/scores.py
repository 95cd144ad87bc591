"""Scores of customers. RFM: in which fifth of the buyers somebody stands by recency, frequency and amount."""

import datetime as dt
from typing import Any

from django.conf import settings
from django.db.models import Count, Max
from django.utils import timezone
from django.utils.translation import gettext as _

from audiences.jobs import report
from audiences.models import Job, Score
from audiences.queries import stages as queries
from audiences.segments.counting import generous

WINDOW = dt.timedelta(days=730)
"""Orders of the last two years count."""


def recompute_rfm(now: dt.datetime) -> int:
    """``rfm_recency``, ``rfm_frequency``, ``rfm_monetary`` from 1 to 5 (best), and ``rfm`` as 111 … 555.

    Over orders in the installation's currency. Returns how many scores were written.
    """
    with generous():
        return queries.rfm(now - WINDOW, now, settings.DEFAULT_CURRENCY)


def known() -> list[Any]:
    """The kinds of scores there are: kind, people, computed_at."""
    rows = Score.objects.values("kind").annotate(people=Count("pk"), computed_at=Max("computed_at"))
    return list(rows.order_by("kind"))


def run(job: Job) -> dict[str, int]:
    """The job: RFM anew."""
    report(job, 0, 1, _("Comparing what everybody bought"))
    return {"scores": recompute_rfm(timezone.now())}
