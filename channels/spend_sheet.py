"""The daily spend sheet: every account with its balance, what came in and went out on a day, budget and pace."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from channels import packages, wallets
from channels.models import Channel
from channels.packages import Package
from channels.queries import money
from channels.registers import FlightBudget, flight_budgets, own_use
from channels.vocabulary import PriceModel

LATELY = 7  # days over which consumption is averaged
LOW_DAYS = 3  # an account that lasts no longer is told first
OVER_PACE, UNDER_PACE = Decimal("1.2"), Decimal("0.5")


@dataclass(slots=True)
class Line:
    """One account in one unit at the end of a day. ``balance`` None: the account has no wallet.

    ``pace`` is what was spent of the budgets in flight, over what an even flight would have spent by then.
    """

    channel: Channel
    unit: str
    balance: Decimal | None = None
    told: Decimal | None = None
    told_on: dt.date | None = None
    difference: Decimal | None = None
    top_up: Decimal = Decimal(0)
    bonus: Decimal = Decimal(0)
    cash: Decimal = Decimal(0)
    from_bonus: Decimal = Decimal(0)
    lately: Decimal = Decimal(0)  # consumed in the last LATELY days
    budget: FlightBudget | None = None
    expiring: Sequence[Package] = field(default=())

    @property
    def consumed(self) -> Decimal:
        return self.cash + self.from_bonus

    @property
    def days_left(self) -> int | None:
        """Whole days the balance lasts if consumption goes on as lately."""
        if self.balance is None or self.lately <= 0:
            return None
        return max(0, int(self.balance / (self.lately / LATELY)))

    @property
    def pace(self) -> Decimal | None:
        if self.budget is None or self.budget.expected <= 0:
            return None
        return self.budget.spent / self.budget.expected

    @property
    def warnings(self) -> list[str]:
        """In words, the worst first."""
        told = []
        if self.balance is not None and self.balance < 0:
            told.append(_("Overdrawn."))
        elif self.days_left is not None and self.days_left <= LOW_DAYS:
            told.append(
                ngettext("Lasts %(n)d more day.", "Lasts %(n)d more days.", self.days_left)
                % {"n": self.days_left}
            )
        if self.difference:
            told.append(_("The platform's statement differs."))
        told += [
            _("%(n)s messages expire on %(day)s.") % {"n": f"{package.left:,.0f}", "day": package.expires_on}
            for package in self.expiring
        ]
        if self.pace is not None and self.pace > OVER_PACE:
            told.append(_("Spends faster than planned."))
        elif self.pace is not None and self.pace < UNDER_PACE:
            told.append(_("Spends slower than planned."))
        return told


@dataclass(frozen=True, slots=True)
class Total:
    """Accounts of one unit added up."""

    unit: str
    balance: Decimal
    top_up: Decimal
    bonus: Decimal
    cash: Decimal
    from_bonus: Decimal


@dataclass(frozen=True, slots=True)
class Sheet:
    day: dt.date
    lines: Sequence[Line]
    totals: Sequence[Total]


def sheet(day: dt.date) -> Sheet:
    """Every account in use that has a wallet, spent something lately, or has a budget in flight."""
    first = day - dt.timedelta(days=LATELY - 1)
    channels = {one.pk: one for one in Channel.objects.exclude(state=Channel.State.ARCHIVED)}
    lines: dict[tuple[int, str], Line] = {}
    for wallet in wallets.of_channels(day):
        if wallet.channel.pk in channels:
            lines[wallet.channel.pk, wallet.unit] = Line(
                wallet.channel, wallet.unit, wallet.closing, wallet.told, wallet.told_on, wallet.difference
            )
    for pk, unit, *amounts in money.day(day, first):
        if line := lines.get((pk, unit)):
            line.top_up, line.bonus, line.cash, line.from_bonus, line.lately = amounts
    _without_wallet(channels, lines, day, first)
    for pk, found in packages.of_channels(day).items():
        if line := lines.get((pk, packages.UNIT)):
            line.expiring = found.expiring()
    _budgets(channels, lines, day)
    chosen = sorted(lines.values(), key=lambda one: (not one.warnings, one.channel.name, one.unit))
    return Sheet(day, chosen, _totals(chosen))


def _without_wallet(
    channels: dict[int, Channel], lines: dict[tuple[int, str], Line], day: dt.date, first: dt.date
) -> None:
    """Accounts nobody loaded a wallet for: what they spent is known all the same."""
    spent: dict[tuple[int, str], dict[dt.date, Decimal]] = {}
    for one_day, pk, currency, amount, *_rest in money.sheet(first, day, None):
        if pk in channels and channels[pk].price_model != PriceModel.PER_MESSAGE:
            spent.setdefault((pk, currency), {})[one_day] = amount
    known = {pk for pk, _unit in lines}
    since = {
        pk: first
        for pk, one in channels.items()
        if one.price_model == PriceModel.PER_MESSAGE and pk not in known
    }
    for source in own_use if since else ():
        for use in source(since):
            if use.cost and use.day <= day:
                spent.setdefault((use.channel_id, channels[use.channel_id].currency), {})[use.day] = use.cost
    for (pk, unit), days in spent.items():
        if (pk, unit) not in lines:
            lines[pk, unit] = Line(
                channels[pk], unit, cash=days.get(day, Decimal(0)), lately=sum(days.values(), Decimal(0))
            )


def _budgets(channels: dict[int, Channel], lines: dict[tuple[int, str], Line], day: dt.date) -> None:
    for source in flight_budgets:
        for budget in source(day):
            if budget.channel_id not in channels:
                continue
            own = [key for key in lines if key[0] == budget.channel_id]
            key = (budget.channel_id, budget.currency)
            if key not in lines and own:
                key = own[0]  # a package of messages is spent from a budget in money
            lines.setdefault(key, Line(channels[budget.channel_id], budget.currency)).budget = budget


def _totals(lines: Sequence[Line]) -> list[Total]:
    units = sorted({line.unit for line in lines}, key=lambda unit: (unit != settings.DEFAULT_CURRENCY, unit))
    found = []
    for unit in units:
        own = [line for line in lines if line.unit == unit]
        found.append(
            Total(
                unit,
                sum((line.balance or Decimal(0) for line in own), Decimal(0)),
                sum((line.top_up for line in own), Decimal(0)),
                sum((line.bonus for line in own), Decimal(0)),
                sum((line.cash for line in own), Decimal(0)),
                sum((line.from_bonus for line in own), Decimal(0)),
            )
        )
    return found
