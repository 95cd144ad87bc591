"""Consumption 消耗 that nobody has to load: what platforms report and what we hand over, entered into wallets.

Only channels that have a wallet are accrued, from its first day on. Reports count for channels paid by what the
platform shows; our own sending for channels paid by the message: in parts where the wallet counts messages,
else in money. A day whose consumption a file brought counts as the file says. How a platform took it from cash
or bonus is known from its file only: accrued consumption counts as cash.
"""

import datetime as dt
from decimal import Decimal

from django.db import transaction

from audiences.days import day_of
from channels import packages
from channels.models import Channel
from channels.queries import consumption as queries
from channels.registers import own_use
from channels.vocabulary import PriceModel

LOOK_BACK = dt.timedelta(days=40)
"""Late figures restate this many days; a wallet that was never accrued is done from its first day."""
MESSAGES = "messages"


def accrue(now: dt.datetime) -> int:
    """Bring all wallets up to today; returns how many entries were written. Again at once it writes none.

    Two at a time would count the same difference twice, so that they wait for each other.
    """
    today = day_of(now)
    with transaction.atomic():
        _alone()
        wallets = queries.wallets()
        if not wallets:
            return 0
        since = {
            (channel, unit): first if not accrued else max(first, today - LOOK_BACK)
            for channel, unit, first, accrued, _model, _currency in wallets
        }
        rows = _reported(wallets, since, today) + _sent(wallets, since, today)
        written = queries.accrue(rows, now) if rows else 0
        return written + packages.lapse(today, now)


Wallets = list[tuple[int, str, dt.date, bool, str, str]]
Since = dict[tuple[int, str], dt.date]
Rows = list[tuple[int, str, dt.date, Decimal]]


def _reported(wallets: Wallets, since: Since, today: dt.date) -> Rows:
    own = {(channel, unit) for channel, unit, _f, _a, model, _c in wallets if model != PriceModel.PER_MESSAGE}
    if not own:
        return []
    found = queries.reported([channel for channel, _unit in own], min(since[key] for key in own))
    return [row for row in found if (row[0], row[1]) in own and since[row[0], row[1]] <= row[2] <= today]


def _sent(wallets: Wallets, since: Since, today: dt.date) -> Rows:
    by_message = [row for row in wallets if row[4] == PriceModel.PER_MESSAGE]
    counted = {channel for channel, unit, *_rest in by_message if unit == MESSAGES}
    units = {
        channel: unit
        for channel, unit, _f, _a, _m, currency in by_message
        if unit == MESSAGES or (unit == currency and channel not in counted)
    }
    wanted = {channel: since[channel, unit] for channel, unit in units.items()}
    rows: Rows = []
    for source in own_use if wanted else ():
        for use in source(wanted):
            if wanted[use.channel_id] <= use.day <= today:
                unit = units[use.channel_id]
                amount = Decimal(use.messages) if unit == MESSAGES else use.cost
                rows.append((use.channel_id, unit, use.day, amount))
    return rows


def messages_on(channel: Channel, day: dt.date) -> Decimal:
    """Messages we handed over on a day, as a wallet in messages would count them."""
    if channel.price_model != PriceModel.PER_MESSAGE:
        return Decimal(0)
    told = (use for source in own_use for use in source({channel.pk: day}))
    return Decimal(sum(use.messages for use in told if (use.channel_id, use.day) == (channel.pk, day)))


def _alone() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('channels.consumption'))")
