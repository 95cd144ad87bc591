"""One number, three witnesses: attribution, lift and ledger, side by side (facts: methods, finance).

ROAS = attributed revenue ÷ media cost. iROAS = incremental revenue ÷ full cost.
ROI = (incremental contribution margin − full cost) ÷ full cost. Each with its basis; what cannot be
known is None with a reason, never a guess.
"""

import datetime as dt
import time
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from campaigns.models import Budget, Campaign
from channels.models import Channel
from reports import attribution, coverage_days, lift, selection
from reports.fx import RateMissing, rate
from reports.models import AttributionRun, LedgerEntry
from reports.queries import spend

MEDIA = (LedgerEntry.Account.MEDIA_COST, LedgerEntry.Account.MESSAGE_FEES)


@dataclass(frozen=True, slots=True)
class SpendLine:
    """Cost of one channel (None: of the campaign as a whole) in the campaign's currency."""

    channel: Channel | None
    account: str
    account_label: Any
    stage_label: Any
    amount: Decimal
    residual: Decimal
    entries: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval and basis; ``value`` None when it cannot be known."""

    value: float | None
    low: float | None
    high: float | None
    basis: str

    @property
    def undecided(self) -> bool:
        """Whether the interval includes zero: nobody can tell gain from loss yet."""
        return self.low is not None and self.high is not None and self.low <= 0 <= self.high


@dataclass(slots=True)
class ChannelReturn:
    channel: Channel
    spend: Decimal
    last: Decimal
    linear: Decimal
    orders: int

    @property
    def roas(self) -> float | None:
        return float(self.last / self.spend) if self.spend else None


@dataclass(slots=True)
class Roi:
    campaign: Campaign
    spend: list[SpendLine]
    full_cost: Decimal
    media_cost: Decimal
    residual: Decimal
    budget: Decimal | None
    runs: dict[str, AttributionRun]
    channels: list[ChannelReturn]
    lift: lift.Lift
    selection: selection.Selection
    roas: Estimate
    linear_roas: Estimate
    iroas: Estimate
    roi: Estimate
    cac: Estimate
    problems: list[str]

    @property
    def overspend(self) -> Decimal | None:
        return (
            self.full_cost - self.budget if self.budget is not None and self.full_cost > self.budget else None
        )


def roi(campaign: Campaign, now: dt.datetime) -> Roi:
    """The whole report from the newest measurements and the ledger as it is now."""
    problems: list[str] = []
    lines = _spend_lines(campaign, problems)
    full_cost = sum((line.amount for line in lines), Decimal(0))
    media_cost = sum((line.amount for line in lines if line.account in MEDIA), Decimal(0))
    runs = attribution.newest(campaign)
    measured, chosen = measured_of(campaign, now)
    budget = Budget.objects.filter(campaign=campaign, channel=None).values_list("amount", flat=True).first()
    return Roi(
        campaign=campaign,
        spend=lines,
        full_cost=full_cost,
        media_cost=media_cost,
        residual=sum((line.residual for line in lines), Decimal(0)),
        budget=budget if budget is not None else campaign.budget,
        runs=runs,
        channels=_channel_returns(lines, runs),
        lift=measured,
        selection=chosen,
        roas=_attributed(runs.get("last"), media_cost),
        linear_roas=_attributed(runs.get("linear"), media_cost),
        iroas=_incremental(measured, full_cost),
        roi=_return(measured, full_cost, float(campaign.margin_rate)),
        cac=_acquisition(measured, full_cost),
        problems=problems,
    )


def measured_of(campaign: Campaign, now: dt.datetime) -> tuple[lift.Lift, selection.Selection]:
    """Lift and selection: now where the campaign is small, else as last measured (and the first time, at once)."""
    if coverage_days.is_small(campaign.pk):
        return lift.measure(campaign, now), selection.selection(campaign, now)
    measured, chosen = lift.newest(campaign), selection.newest(campaign)
    if measured is None:
        measured = lift.measure(campaign, now)
        lift.store(campaign, measured, now)
    if chosen is None:
        began = time.monotonic()
        chosen = selection.selection(campaign, now)
        selection.store(campaign, chosen, time.monotonic() - began)
    return measured, chosen


def _spend_lines(campaign: Campaign, problems: list[str]) -> list[SpendLine]:
    found = spend.spend_of_campaign(campaign.pk)
    channels = Channel.objects.in_bulk({row[0] for row in found if row[0]})
    day = (campaign.ends_at or campaign.created_at).date()
    totals: dict[tuple[int | None, str, str], list[Any]] = defaultdict(lambda: [Decimal(0), Decimal(0), 0])
    for channel_id, account, stage, currency, amount, _functional, residual, entries in found:
        try:
            factor = rate(currency, campaign.currency, day).value
        except RateMissing as missing:
            problems.append(str(missing))
            continue
        total = totals[channel_id, account, stage]
        total[0] += amount * factor
        total[1] += residual * factor
        total[2] += entries
    return [
        SpendLine(
            channels.get(channel_id) if channel_id else None,
            account,
            LedgerEntry.Account(account).label,
            LedgerEntry.Stage(stage).label,
            amount,
            residual,
            entries,
        )
        for (channel_id, account, stage), (amount, residual, entries) in totals.items()
    ]


def _channel_returns(lines: list[SpendLine], runs: dict[str, AttributionRun]) -> list[ChannelReturn]:
    cost: dict[int, Decimal] = defaultdict(Decimal)
    for line in lines:
        if line.channel is not None and line.account in MEDIA:
            cost[line.channel.pk] += line.amount
    last = (
        {credit.channel_id: credit for credit in attribution.by_channel(runs["last"])}
        if "last" in runs
        else {}
    )
    linear = (
        {credit.channel_id: credit for credit in attribution.by_channel(runs["linear"])}
        if "linear" in runs
        else {}
    )
    channels = Channel.objects.in_bulk(set(cost) | set(last) | set(linear))
    return [
        ChannelReturn(
            channel,
            cost.get(pk, Decimal(0)),
            last[pk].revenue if pk in last else Decimal(0),
            linear[pk].revenue if pk in linear else Decimal(0),
            last[pk].orders if pk in last else 0,
        )
        for pk, channel in sorted(channels.items(), key=lambda item: item[1].name)
    ]


def _attributed(run: AttributionRun | None, media_cost: Decimal) -> Estimate:
    if run is None:
        return Estimate(None, None, None, _("Not computed yet."))
    if not media_cost:
        return Estimate(None, None, None, _("No media cost is in the ledger yet."))
    basis = _("%(model)s, %(days)s days before the order; management estimate") % {
        "model": AttributionRun.Model(run.model).label,
        "days": run.window_days,
    }
    return Estimate(float(run.attributed_revenue / media_cost), None, None, basis)


def _no_lift(measured: lift.Lift, full_cost: Decimal) -> str:
    if measured.reason:
        return measured.reason
    return "" if full_cost else _("No cost is in the ledger yet.")


def _incremental(measured: lift.Lift, full_cost: Decimal) -> Estimate:
    reason, revenue = _no_lift(measured, full_cost), measured.incremental_revenue
    if reason or revenue is None:
        return Estimate(None, None, None, reason)
    value, low, high = (figure / float(full_cost) for figure in revenue)
    return Estimate(value, low, high, _("Lift against the holdout ÷ full cost; interval of 95 % (Welch)"))


def _return(measured: lift.Lift, full_cost: Decimal, margin: float) -> Estimate:
    reason, revenue = _no_lift(measured, full_cost), measured.incremental_revenue
    if reason or revenue is None:
        return Estimate(None, None, None, reason)
    cost = float(full_cost)
    value, low, high = ((figure * margin - cost) / cost for figure in revenue)
    basis = _(
        "Incremental revenue × %(margin)s margin − full cost, ÷ full cost; interval of 95 %% (Welch)"
    ) % {"margin": f"{margin:.0%}"}
    return Estimate(value, low, high, basis)


def _acquisition(measured: lift.Lift, full_cost: Decimal) -> Estimate:
    reason, buyers = _no_lift(measured, full_cost), measured.incremental_buyers
    if reason or buyers is None:
        return Estimate(None, None, None, reason)
    value, low, high = buyers
    if value <= 0:
        return Estimate(None, None, None, _("The campaign brought no buyers beyond the holdout's."))
    cost = float(full_cost)
    # The fewest buyers make the greatest cost; without a positive low end it has no upper limit.
    return Estimate(
        cost / value,
        cost / high,
        cost / low if low > 0 else None,
        _("Full cost ÷ buyers beyond the holdout's; interval of 95 % (Newcombe)"),
    )
