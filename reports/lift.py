"""Lift against the holdout, by intention to treat. What a targeted group spent more is selection, not lift.

Rates: Newcombe's hybrid score interval for a difference (Newcombe 1998, method 10). Means: Welch.
"""

import datetime as dt
import math
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _

from campaigns.models import Campaign
from reports.models import LiftMeasure
from reports.queries import outcomes

MIN_PEOPLE_A_SIDE = 30  # below this no interval is worth showing
SAMPLE_RATIO_ALPHA = 0.001  # a split so unlikely means the groups are not comparable


@dataclass(frozen=True, slots=True)
class Difference:
    """Treated minus held out, with an interval."""

    treated: float
    held_out: float
    difference: float
    low: float
    high: float


def _stats() -> ModuleType:
    """SciPy's, loaded when a lift is first reckoned: it takes longer to load than Django."""
    from scipy import stats

    return stats


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate; ``n`` ≥ 1."""
    z = float(_stats().norm.ppf(0.5 + confidence / 2))
    rate = successes / n
    centre = rate + z * z / (2 * n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def newcombe(successes_a: int, a: int, successes_b: int, b: int, confidence: float = 0.95) -> Difference:
    """Difference of two independent rates. Raises :class:`ValueError` when a side is empty."""
    if a < 1 or b < 1:
        raise ValueError("both sides need people")
    rate_a, rate_b = successes_a / a, successes_b / b
    low_a, high_a = wilson(successes_a, a, confidence)
    low_b, high_b = wilson(successes_b, b, confidence)
    difference = rate_a - rate_b
    low = difference - math.sqrt((rate_a - low_a) ** 2 + (high_b - rate_b) ** 2)
    high = difference + math.sqrt((high_a - rate_a) ** 2 + (rate_b - low_b) ** 2)
    return Difference(rate_a, rate_b, difference, low, high)


def welch(
    sum_a: float, squares_a: float, a: int, sum_b: float, squares_b: float, b: int, confidence: float = 0.95
) -> Difference:
    """Difference of two means from sums and sums of squares. Raises :class:`ValueError` below two a side."""
    if a < 2 or b < 2:
        raise ValueError("both sides need two people")
    mean_a, mean_b = sum_a / a, sum_b / b
    variance_a = max(squares_a - a * mean_a**2, 0.0) / (a - 1) / a
    variance_b = max(squares_b - b * mean_b**2, 0.0) / (b - 1) / b
    difference = mean_a - mean_b
    error = math.sqrt(variance_a + variance_b)
    if error == 0:
        return Difference(mean_a, mean_b, difference, difference, difference)
    freedom = (variance_a + variance_b) ** 2 / (variance_a**2 / (a - 1) + variance_b**2 / (b - 1))
    half = float(_stats().t.ppf(0.5 + confidence / 2, freedom)) * error
    return Difference(mean_a, mean_b, difference, difference - half, difference + half)


def sample_ratio_p(treated: int, held_out: int, share: float) -> float:
    """How likely a split at least this uneven is when each person is held out with probability ``share``."""
    return float(_stats().binomtest(held_out, treated + held_out, share).pvalue)


@dataclass(frozen=True, slots=True)
class Side:
    people: int = 0
    buyers: int = 0
    orders: int = 0
    revenue: float = 0.0
    squares: float = 0.0


@dataclass(frozen=True, slots=True)
class Lift:
    """What was measured. ``rate`` and ``revenue`` are None when it is not usable; ``reason`` says why."""

    treated: Side
    held_out: Side
    crossed: int  # people merged over both sides, left out
    rate: Difference | None
    revenue: Difference | None
    sample_ratio_p: float | None
    reason: str
    starts_at: dt.datetime
    ends_at: dt.datetime
    computed_at: dt.datetime

    @property
    def usable(self) -> bool:
        return self.revenue is not None

    @property
    def incremental_revenue(self) -> tuple[float, float, float] | None:
        """(estimate, low, high) for all treated people, in the campaign's currency."""
        if self.revenue is None:
            return None
        n = self.treated.people
        return self.revenue.difference * n, self.revenue.low * n, self.revenue.high * n

    @property
    def incremental_buyers(self) -> tuple[float, float, float] | None:
        if self.rate is None:
            return None
        n = self.treated.people
        return self.rate.difference * n, self.rate.low * n, self.rate.high * n


def window(campaign: Campaign, now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """From release or start to the end of the flight and its attribution window, but not beyond now."""
    start = campaign.starts_at or campaign.released_at or campaign.created_at
    end = (campaign.ends_at or now) + dt.timedelta(days=campaign.attribution_days)
    return start, max(min(end, now), start)


def measure(campaign: Campaign, now: dt.datetime) -> Lift:
    """Compute lift from the rows as they are. Nothing is stored."""
    start, end = window(campaign, now)
    parameters: dict[str, Any] = {
        "campaign": campaign.pk,
        "start": start,
        "end": end,
        "basis": campaign.revenue_basis,
        "currency": campaign.currency,
    }
    sides = {True: Side(), False: Side()}
    with connection.cursor() as cursor:
        cursor.execute(outcomes.LIFT, parameters)
        for held_out, people, buyers, revenue, squares, orders in cursor.fetchall():
            sides[held_out] = Side(int(people), int(buyers), int(orders), float(revenue), float(squares))
        cursor.execute(outcomes.CROSSED, parameters)
        crossed = int(cursor.fetchone()[0])
    return _judged(campaign, sides[False], sides[True], crossed, start, end, now)


def _judged(
    campaign: Campaign,
    treated: Side,
    held: Side,
    crossed: int,
    start: dt.datetime,
    end: dt.datetime,
    at: dt.datetime,
) -> Lift:
    """What can be claimed from the sums of both sides."""
    ratio_p: float | None = None
    reason = ""
    if treated.people + held.people == 0:
        reason = _("Nobody is in the campaign yet: it was not released.")
    elif held.people == 0:
        reason = _("No holdout was kept, so nothing can be said about lift.")
    elif min(treated.people, held.people) < MIN_PEOPLE_A_SIDE:
        reason = _("Fewer than %(n)s people on one side: too few to tell.") % {"n": MIN_PEOPLE_A_SIDE}
    else:
        ratio_p = sample_ratio_p(treated.people, held.people, _holdout_share(campaign))
        if ratio_p < SAMPLE_RATIO_ALPHA:
            reason = _(
                "The split differs from the planned holdout more than chance allows, so the two groups are not "
                "comparable. Find out who is missing before reading any lift."
            )
    rate = revenue_difference = None
    if not reason:
        rate = newcombe(treated.buyers, treated.people, held.buyers, held.people)
        revenue_difference = welch(
            treated.revenue, treated.squares, treated.people, held.revenue, held.squares, held.people
        )
    return Lift(treated, held, crossed, rate, revenue_difference, ratio_p, reason, start, end, at)


def _holdout_share(campaign: Campaign) -> float:
    """Kept out of everything, or else of this campaign."""
    universal = settings.UNIVERSAL_HOLDOUT
    return universal + (1 - universal) * float(campaign.holdout_share)


def store(campaign: Campaign, lift: Lift, now: dt.datetime) -> list[LiftMeasure]:
    """Keep a measurement as two versioned rows."""
    shared: dict[str, Any] = {
        "campaign_id": campaign.pk,
        "treated": lift.treated.people,
        "held_out": lift.held_out.people,
        "sample_ratio_p": lift.sample_ratio_p,
        "usable": lift.usable,
        "reason": lift.reason[:254],
        "starts_at": lift.starts_at,
        "ends_at": lift.ends_at,
        "computed_at": now,
        "detail": {
            "crossed": lift.crossed,
            "basis": campaign.revenue_basis,
            "currency": campaign.currency,
            "sides": {"treated": asdict(lift.treated), "held_out": asdict(lift.held_out)},
        },
    }
    measures = []
    for name, method, difference in (
        ("conversion_rate", "Newcombe", lift.rate),
        ("revenue_per_person", "Welch", lift.revenue),
    ):
        figures = {}
        if difference is not None:
            figures = {
                "treated_mean": difference.treated,
                "held_out_mean": difference.held_out,
                "difference": difference.difference,
                "low": difference.low,
                "high": difference.high,
            }
        measures.append(LiftMeasure(measure=name, method=method, **figures, **shared))
    return LiftMeasure.objects.bulk_create(measures)


def newest(campaign: Campaign) -> Lift | None:
    """The lift last stored, on the basis and in the currency the campaign has now; None if there is none."""
    stored = (
        LiftMeasure.objects.filter(
            campaign_id=campaign.pk,
            measure="revenue_per_person",
            detail__basis=campaign.revenue_basis,
            detail__currency=campaign.currency,
            detail__has_key="sides",
        )
        .order_by("-computed_at", "-id")
        .first()
    )
    if stored is None:
        return None
    sides = {side: Side(**figures) for side, figures in stored.detail["sides"].items()}
    return _judged(
        campaign,
        sides["treated"],
        sides["held_out"],
        stored.detail["crossed"],
        stored.starts_at,
        stored.ends_at,
        stored.computed_at,
    )
