"""What platforms say is left: fetched once a day, every version kept, held against our own count of that moment.

A message package that a platform tells is entered into the wallet once, with what was left of it then and what had
been used of it that day, unless somebody loads packages of that channel by file: those would count twice.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

from django.db import transaction

from audiences.days import day_of
from channels import calls, consumption, fetching
from channels.accounts import adapter_for
from channels.adapters.base import Balance
from channels.fetching import Kind
from channels.models import Channel, ChannelFetch, WalletEntry, WalletStatement
from channels.packages import BRINGING, UNIT
from channels.queries import money

API = "api"  # the source of statements and entries that were fetched


def told_by_platform(channel: Channel) -> bool:
    """Whether the channel's adapter can ask for what is left."""
    return Kind.BALANCES in fetching.kinds(channel)


def fetch_all(now: dt.datetime) -> dict[int, int | str]:
    """Every active channel that can be asked and gave no answer today: new versions, or what went wrong.

    That an account has no balance is an answer, and so is a refusal that would be the same an hour later.
    """
    asked = Channel.objects.filter(state=Channel.State.ACTIVE).exclude(
        pk__in=fetching.answered_today(Kind.BALANCES, now)
    )
    return fetching.each(Kind.BALANCES, asked.select_related("brand").order_by("pk"), _fetch, now)


def fetch(channel: Channel, now: dt.datetime) -> int:
    """Ask once and keep the answer, and how it went; returns new versions. Raises :class:`AdapterError`."""
    return fetching.once(Kind.BALANCES, channel, _fetch, now)


def _fetch(channel: Channel, now: dt.datetime) -> int:
    calls.spend(channel)
    told = adapter_for(channel).fetch_balance()
    ChannelFetch.objects.filter(pk=fetching.of(Kind.BALANCES, channel).pk).update(nothing=not told)
    return store(channel, told, now)


def store(channel: Channel, told: Sequence[Balance], now: dt.datetime) -> int:
    """Keep what a platform says: another figure than before is a new version of the day, the same one was seen again."""
    today = day_of(now)
    with transaction.atomic():
        Channel.objects.select_for_update(no_key=True).get(pk=channel.pk)  # two at a time would number alike
        if enter_packages(
            channel, told, now
        ):  # what was used of them today is counted before they are held to it
            consumption.accrue(now)
        totals: dict[str, Decimal] = defaultdict(Decimal)
        for one in told:
            totals[one.unit] += one.left
        counted = {
            unit: closing
            for pk, unit, *_kinds, closing in money.wallets(today, channel.pk)
            if pk == channel.pk
        }
        return sum(_keep(channel, today, unit, left, counted.get(unit), now) for unit, left in totals.items())


def _keep(
    channel: Channel, day: dt.date, unit: str, left: Decimal, counted: Decimal | None, now: dt.datetime
) -> bool:
    known = (
        WalletStatement.objects.filter(channel=channel, day=day, unit=unit, source=API)
        .order_by("-version")
        .first()
    )
    left = left.quantize(Decimal("0.0001"))
    if known is not None and (known.balance, known.counted) == (left, counted):
        WalletStatement.objects.filter(pk=known.pk).update(fetched_at=now)
        return False
    WalletStatement.objects.create(
        channel=channel, day=day, unit=unit, balance=left, counted=counted, source=API,
        version=known.version + 1 if known else 1, fetched_at=now,
    )  # fmt: skip
    return True


def enter_packages(channel: Channel, told: Sequence[Balance], now: dt.datetime) -> int:
    """Message packages that are new here, as purchases of what is left of them; returns how many.

    What the wallet counts as used beyond its purchases, today's messages until now among it, was taken from packages
    that are told only now, and is gone from what is left: it is part of the purchase, so that it is not counted twice.
    """
    packages = [one for one in told if one.unit == UNIT and one.package and one.left > 0]
    by_hand = WalletEntry.objects.filter(channel=channel, unit=UNIT, kind__in=BRINGING).exclude(source=API)
    if not packages or by_hand.exists():
        return 0
    keys = {f"package:{one.package}": one for one in sorted(packages, key=_first_used)}
    known = set(
        WalletEntry.objects.filter(channel=channel, source_key__in=keys).values_list("source_key", flat=True)
    )
    new = [(key, one) for key, one in keys.items() if key not in known]
    used = _beyond(channel, now) if new else Decimal(0)
    made = [
        WalletEntry(
            channel=channel, day=day_of(now), kind=WalletEntry.Kind.TOP_UP, unit=UNIT,
            amount=one.left + (used if n == 0 else 0), expires_on=one.expires_on, source=API, source_key=key,
        )
        for n, (key, one) in enumerate(new)
    ]  # fmt: skip
    WalletEntry.objects.bulk_create(made, ignore_conflicts=True)
    return len(made)


def _first_used(package: Balance) -> tuple[bool, dt.date]:
    return package.expires_on is None, package.expires_on or dt.date.max


def _beyond(channel: Channel, now: dt.datetime) -> Decimal:
    """Messages used until now that no purchase in the wallet covers; without a wallet, those of today."""
    consumption.accrue(now)
    today = day_of(now)
    for pk, unit, *_kinds, closing in money.wallets(today, channel.pk):
        if (pk, unit) == (channel.pk, UNIT):
            return max(Decimal(0), -closing)
    return consumption.messages_on(channel, today)
