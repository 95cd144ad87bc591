"""Merge, erasure and export of a customer, as far as campaigns know the person."""

from typing import Any

from django.utils import timezone

from audiences.registers import Follower
from audiences.registers import followers as register_of_followers
from campaigns.models import Attempt, Campaign, Member, OfferGrant, Response, Touch
from campaigns.queries import followers as queries


def merged(absorbed_id: int, survivor_id: int) -> None:
    """Unsent touches of the absorbed are cancelled; the survivor's own stay."""
    queries.cancel(absorbed_id, timezone.now())


def unmerged(absorbed_id: int, survivor_id: int) -> None:
    queries.restore(absorbed_id, timezone.now())


def erased(customer_id: int) -> None:
    queries.erase(customer_id, timezone.now())


def exported(customer_id: int) -> dict[str, Any]:
    """Campaigns the person was in, touches, attempts, responses and offers."""
    members = list(
        Member.objects.filter(customer_id=customer_id)
        .order_by("campaign_id")
        .values("campaign_id", "stage", "held_out", "arm", "state", "reason", "entered_at")
    )
    names = dict(
        Campaign.objects.filter(pk__in=[row["campaign_id"] for row in members]).values_list("pk", "name")
    )
    found = {
        "campaigns": [{"campaign": names.get(row["campaign_id"], ""), **row} for row in members],
        "touches": list(
            Touch.objects.filter(customer_id=customer_id)
            .order_by("campaign_id", "id")
            .values(
                "id", "campaign_id", "channel_id", "round", "ordinal", "due_at", "state", "reason", "state_at"
            )
        ),
        "attempts": list(
            Attempt.objects.filter(customer_id=customer_id)
            .order_by("campaign_id", "touch_id", "n")
            .values("id", "campaign_id", "touch_id", "n", "channel_id", "state", "started_at", "sent_at")
        ),
        "responses": list(
            Response.objects.filter(customer_id=customer_id)
            .order_by("id")
            .values(
                "kind", "campaign_id", "touch_id", "occurred_at", "value", "currency", "machine", "detail"
            )
        ),
        "offers": list(
            OfferGrant.objects.filter(customer_id=customer_id)
            .order_by("id")
            .values("offer__name", "code", "granted_at", "redeemed_at")
        ),
    }
    return {name: rows for name, rows in found.items() if rows}


def register() -> None:
    """Called once, from ``CampaignsConfig.ready``."""
    register_of_followers.add(
        "campaigns", Follower(merged=merged, unmerged=unmerged, erased=erased, exported=exported)
    )
