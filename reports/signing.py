"""Finance signs spend and revenue as they stand; attribution and lift go along as a management estimate."""

import datetime as dt
import hashlib
import json
from typing import Any

from django.utils.translation import gettext as _

from reports.models import SignedReport
from reports.roi import Estimate, Roi


def content_of(report: Roi) -> dict[str, Any]:
    """What is signed, as plain JSON values; money as strings."""
    return {
        "campaign": {
            "id": report.campaign.pk,
            "name": report.campaign.name,
            "currency": report.campaign.currency,
        },
        "basis": report.campaign.revenue_basis,
        "spend": [
            {
                "channel": line.channel.name if line.channel else None,
                "account": line.account,
                "amount": str(line.amount),
                "residual": str(line.residual),
                "entries": line.entries,
            }
            for line in report.spend
        ],
        "full_cost": str(report.full_cost),
        "budget": str(report.budget) if report.budget is not None else None,
        "attribution": {
            model: {
                "run": run.pk,
                "orders": run.orders,
                "revenue": str(run.revenue),
                "attributed_orders": run.attributed_orders,
                "attributed_revenue": str(run.attributed_revenue),
                "window_days": run.window_days,
                "note": "management estimate",
            }
            for model, run in report.runs.items()
        },
        "lift": {
            "treated": report.lift.treated.people,
            "held_out": report.lift.held_out.people,
            "incremental_revenue": report.lift.incremental_revenue,
            "reason": report.lift.reason,
            "note": "management estimate",
        },
        "ratios": {
            name: _ratio(getattr(report, name)) for name in ("roas", "linear_roas", "iroas", "roi", "cac")
        },
    }


def _ratio(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "basis": str(estimate.basis)}


def sign(report: Roi, *, user: Any, comment: str, now: dt.datetime) -> SignedReport:
    """Keep a snapshot that never changes."""
    content = content_of(report)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return SignedReport.objects.create(
        campaign_id=report.campaign.pk,
        kind="roi",
        content=content,
        sha256=digest,
        signed_by=user,
        signed_at=now,
        comment=comment,
        title=_("ROI of %(name)s")[:200] % {"name": report.campaign.name[:160]},
    )
