"""What platforms say is left: fetched once a day, every version kept, held against our own count of that moment.

A message package that a platform tells is entered into the wallet once, with what was left of it then, unless
somebody loads packages of that channel by file: those would count twice.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

from django.db import transaction

from audiences.days import begins, day_of
from channels import calls, states
from channels.accounts import adapter_for
from channels.adapters import adapter_class
from channels.adapters.base import AdapterError, Balance
from channels.models import Channel, WalletEntry, WalletStatement
from channels.packages import BRINGING, UNIT
from channels.queries import money

API = "api"  # the source of statements and entries that were fetched


def told_by_platform(channel: Channel) -> bool:
    """Whether the channel's adapter can ask for what is left."""
    try:
        return "fetch_balance" in adapter_class(channel.adapter).verbs()
    except LookupError:
        return False


def fetch_all(now: dt.datetime) -> dict[int, int | str]:
    """Every active channel that can be asked and was not today: new versions, or what went wrong."""
    asked = set(
        WalletStatement.objects.filter(source=API, fetched_at__gte=begins(day_of(now))).values_list(
            "channel_id", flat=True
        )
    )
    done: dict[int, int | str] = {}
    for channel in Channel.objects.filter(state=Channel.State.ACTIVE).select_related("brand").order_by("pk"):
        if channel.pk in asked or not told_by_platform(channel):
            continue
        try:
            done[channel.pk] = fetch(channel, now)
        except AdapterError as error:
            done[channel.pk] = str(error)
            if error.stops_channel:
                states.stop(channel, str(error))
    return done


def fetch(channel: Channel, now: dt.datetime) -> int:
    """Ask once and keep the answer; returns new versions. Raises :class:`AdapterError`."""
    calls.spend(channel)
    return store(channel, adapter_for(channel).fetch_balance(), now)


def store(channel: Channel, told: Sequence[Balance], now: dt.datetime) -> int:
    """Keep what a platform says: another figure than before is a new version of the day, the same one was seen again."""
    today = day_of(now)
    with transaction.atomic():
        Channel.objects.select_for_update(no_key=True).get(pk=channel.pk)  # two at a time would number alike
        enter_packages(channel, told, today)
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


def enter_packages(channel: Channel, told: Sequence[Balance], today: dt.date) -> int:
    """Message packages that are new here, as purchases of what is left of them; returns how many."""
    packages = [one for one in told if one.unit == UNIT and one.package and one.left > 0]
    by_hand = WalletEntry.objects.filter(channel=channel, unit=UNIT, kind__in=BRINGING).exclude(source=API)
    if not packages or by_hand.exists():
        return 0
    keys = {f"package:{one.package}": one for one in packages}
    known = set(
        WalletEntry.objects.filter(channel=channel, source_key__in=keys).values_list("source_key", flat=True)
    )
    made = [
        WalletEntry(
            channel=channel, day=today, kind=WalletEntry.Kind.TOP_UP, unit=UNIT, amount=one.left,
            expires_on=one.expires_on, source=API, source_key=key,
        )
        for key, one in keys.items()
        if key not in known
    ]  # fmt: skip
    WalletEntry.objects.bulk_create(made, ignore_conflicts=True)
    return len(made)
