"""Budgets while a campaign runs: spent + leased ≤ amount, whatever dies.

A worker leases a chunk of every budget that binds a campaign's channel, in a short transaction of its own,
and claims touches out of it. Money goes from *leased* to *spent* in the statement that settles an attempt;
what a worker did not use returns when it is done, or when its lease expires.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from campaigns.models import Budget, BudgetLease
from campaigns.queries import spending as queries

LEASE_TIME = timedelta(minutes=10)
RENEWED_BEFORE = timedelta(minutes=4)  # a lease this near its end is given back and taken anew


@dataclass(slots=True)
class Purse:
    """What one worker holds of the budgets of one channel's campaigns."""

    worker: str
    channel_id: int
    budgets: dict[int, int] = field(default_factory=dict)  # campaign → how many budgets bind
    exhausted: set[int] = field(default_factory=set)  # campaigns whose budgets have no more to lease
    opened_at: datetime | None = None

    @property
    def name(self) -> str:
        return f"{self.worker}:{self.channel_id}"[-120:]

    def bind(self, campaign_ids: list[int]) -> None:
        """Learn how many budgets bind each campaign on this channel."""
        counted = dict.fromkeys(campaign_ids, 0)
        for campaign_id, channel_id in Budget.objects.filter(campaign_id__in=campaign_ids).values_list(
            "campaign_id", "channel_id"
        ):
            if channel_id in (None, self.channel_id):
                counted[campaign_id] += 1
        self.budgets = counted

    def fill(self, campaign_id: int, wanted: Decimal, now: datetime) -> Decimal:
        """Lease up to ``wanted`` more; less tells that the budgets are exhausted for now."""
        if not self.budgets.get(campaign_id) or wanted <= 0:
            return Decimal(0)
        got = lease(campaign_id, self.channel_id, self.name, wanted, now)
        self.opened_at = self.opened_at or now
        if got < wanted:
            self.exhausted.add(campaign_id)
        return got

    def renew(self, now: datetime) -> None:
        """Give a lease back before it can expire under our hands; the next claim leases again."""
        if self.opened_at and now - self.opened_at > LEASE_TIME - RENEWED_BEFORE:
            self.close()

    def close(self) -> None:
        if self.opened_at:
            with transaction.atomic():
                queries.close(self.name)
        self.exhausted.clear()
        self.opened_at = None


def lease(campaign_id: int, channel_id: int, purse: str, wanted: Decimal, now: datetime) -> Decimal:
    """Take up to ``wanted`` from every budget that binds, in a transaction of its own; what was taken.

    Raises :class:`RuntimeError` inside a transaction: the budget rows would stay locked with it.
    """
    with transaction.atomic(durable=True):
        got, _bound = queries.lease(campaign_id, channel_id, purse, wanted, now, now + LEASE_TIME)
    return got


def expire(now: datetime) -> int:
    """Leases of workers that died come back; returns how many."""
    with transaction.atomic():
        return queries.expire(now)


def unused(campaign_id: int) -> Decimal:
    """What workers hold of a campaign's budgets without having used it."""
    rows = BudgetLease.objects.filter(budget__campaign_id=campaign_id).values_list("amount", flat=True)
    return sum(rows, Decimal(0))
