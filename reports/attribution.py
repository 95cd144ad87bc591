"""Attribution: which contacts are credited with an order. A management estimate, never the ledger.

Touches within the window before an order share its revenue; touches of all campaigns are looked at, so
that credits over all campaigns never exceed the order. First, last, linear: methods in docs/reports.md.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from campaigns.models import Campaign
from reports.lift import window
from reports.models import AttributionRun
from reports.queries import outcomes
from reports.queries.coverage import rows

MODELS = (AttributionRun.Model.LAST, AttributionRun.Model.LINEAR, AttributionRun.Model.FIRST)


@dataclass(frozen=True, slots=True)
class ChannelCredit:
    channel_id: int
    orders: int
    conversions: float  # sum of shares
    revenue: Decimal


@transaction.atomic
def attribute(campaign: Campaign, model: str, now: dt.datetime) -> AttributionRun:
    """Compute one model for one campaign and keep it; the newest run is current."""
    start, end = window(campaign, now)
    run = AttributionRun(
        model=model,
        campaign_id=campaign.pk,
        starts_at=start,
        ends_at=end,
        window_days=campaign.attribution_days,
        basis=campaign.revenue_basis,
        currency=campaign.currency,
        computed_at=now,
    )
    parameters: dict[str, Any] = {
        "campaign": campaign.pk,
        "start": start,
        "end": end,
        "days": campaign.attribution_days,
        "basis": campaign.revenue_basis,
        "currency": campaign.currency,
        "model": model,
    }
    run.input_hash = hashlib.sha256(repr(sorted(parameters.items())).encode()).hexdigest()
    with connection.cursor() as cursor:
        cursor.execute(outcomes.ORDERS_IN_SCOPE, parameters)
        run.orders, run.revenue, _other_currency = cursor.fetchone()
        run.save()
        cursor.execute(outcomes.CREDIT, parameters | {"run": run.pk})
        cursor.execute(
            "SELECT count(DISTINCT order_id), coalesce(sum(amount), 0) FROM reports_attributioncredit WHERE run_id = %s",
            [run.pk],
        )
        run.attributed_orders, run.attributed_revenue = cursor.fetchone()
    run.channels = [
        {**row, "conversions": float(row["conversions"]), "revenue": str(row["revenue"])}
        for row in rows(outcomes.CREDIT_BY_CHANNEL, {"run": run.pk})
    ]
    run.save(update_fields=["attributed_orders", "attributed_revenue", "channels"])
    return run


def newest(campaign: Campaign) -> dict[str, AttributionRun]:
    """The current run of each model, by model."""
    runs = (
        AttributionRun.objects.filter(campaign_id=campaign.pk)
        .order_by("model", "-computed_at", "-id")
        .distinct("model")
    )
    return {run.model: run for run in runs}


def by_channel(run: AttributionRun) -> list[ChannelCredit]:
    """Credits of a run by channel, greatest first: as added up when it was computed."""
    return [
        ChannelCredit(row["channel_id"], row["orders"], row["conversions"], Decimal(row["revenue"]))
        for row in run.channels
    ]


def forget_old(campaign: Campaign, keep: int = 3) -> int:
    """Drop all but the newest runs of each model that no signed report rests on. Returns how many went."""
    gone = 0
    for model in AttributionRun.Model.values:
        kept = AttributionRun.objects.filter(campaign_id=campaign.pk, model=model).order_by(
            "-computed_at", "-id"
        )[:keep]
        old = AttributionRun.objects.filter(campaign_id=campaign.pk, model=model).exclude(
            pk__in=[run.pk for run in kept]
        )
        gone += old.count()
        old.delete()
    return gone
