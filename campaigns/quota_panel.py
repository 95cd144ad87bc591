"""What a channel's page shows of quotas: how much of each limit is used, of today, of budgets and of employees."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from audiences.days import day_of
from campaigns import quotas
from campaigns.models import Budget, ChannelPlan, PeopleTask
from campaigns.queries import employee_tasks
from campaigns.queries import quotas as queries
from campaigns.vocabulary import CampaignState
from channels import calls
from channels.models import Channel, Employee
from channels.registers import HealthPanel, health_panels


@dataclass(frozen=True, slots=True)
class Quota:
    """One limit. ``most`` None: there is none; ``unit`` a currency, or empty for a count."""

    what: str
    used: Decimal
    most: Decimal | None
    unit: str = ""

    @property
    def share(self) -> Decimal | None:
        return self.used / self.most if self.most else None

    @property
    def full(self) -> bool:
        return self.most is not None and self.used >= self.most


def used(request: HttpRequest, channel_id: int) -> Mapping[str, Any]:
    """Messages of today against the channel's and the campaigns' limits, budgets, tasks of employees."""
    channel, now = Channel.objects.get(pk=channel_id), timezone.now()
    plans = list(
        ChannelPlan.objects.filter(
            channel=channel, campaign__state__in=(CampaignState.RUNNING, CampaignState.PAUSED)
        ).select_related("campaign")
    )
    limits = quotas.limits(channel, plans, now)
    begin = limits.next_day - timedelta(days=1)
    taken = queries.taken(channel_id, limits.day)
    sent = queries.started(channel_id, begin, limits.next_day)
    today = [
        Quota(
            str(_("The whole channel")),
            Decimal(taken.get(quotas.ALL, sent)),
            _most(limits.most.get(quotas.ALL)),
        )
    ]
    today += [
        Quota(plan.campaign.name, Decimal(taken.get(plan.campaign_id, 0)), Decimal(plan.daily_limit))
        for plan in plans
        if plan.daily_limit is not None
    ]
    budgets = [
        Quota(one.campaign.name, one.spent + one.leased, one.amount, one.currency)
        for one in Budget.objects.filter(
            channel=channel, campaign__in=[plan.campaign_id for plan in plans]
        ).select_related("campaign")
    ]
    return {
        "today": today,
        "calls": _calls(channel, now),
        "day": limits.day,
        "budgets": budgets,
        "employees": _employees(channel, begin, limits.next_day),
    }


def _calls(channel: Channel, now: datetime) -> list[Quota]:
    """Calls of the provider against the platform's limits of them, where it has some."""
    limits, used = calls.limits(channel, now), calls.used(channel.pk, now)
    told = (
        (_("Calls in the last minute"), used.minute, limits.a_minute),
        (_("Calls today"), used.day, limits.a_day),
    )
    return [Quota(str(what), Decimal(n), Decimal(most)) for what, n, most in told if most is not None]


def _most(limit: int | None) -> Decimal | None:
    return None if limit is None else Decimal(limit)


def _employees(channel: Channel, begin: Any, end: Any) -> list[Quota]:
    found = Employee.objects.filter(channel=channel, left_at=None).order_by("name")[:50]
    due = PeopleTask.objects.filter(channel=channel, due_at__range=(begin, end))
    counts = Counter(due.values_list("employee_id", flat=True))
    # An employee who works by a provider's tasks has those of the day, made and reserved.
    counts.update(employee_tasks.taken([one.pk for one in found], day_of(begin)))
    return [Quota(one.name, Decimal(counts[one.pk]), Decimal(one.daily_tasks)) for one in found]


def register() -> None:
    """Called once, from ``CampaignsConfig.ready``."""
    health_panels.add("campaigns.quotas", HealthPanel(_("Quotas used"), "campaigns/_panel_quotas.html", used))
