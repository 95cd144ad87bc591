"""One claim: its transaction, and what it tells."""

import itertools
import os
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import connection, transaction

from campaigns import person_quotas, pressure
from campaigns.dispatch import sending as reading
from campaigns.dispatch.sending import Sending
from campaigns.queries import claim as queries
from campaigns.queries.claim import Decided
from campaigns.spending import Purse

START = timedelta(seconds=5)
"""A claimed touch is handed over within this time, or given back. Its place is taken from the end of it, so
that a place never frees before its window has passed since the person was really contacted."""

_numbers = itertools.count(1)
_process = f"{socket.gethostname()[:24]}-{os.getpid()}-{secrets.token_hex(3)}"


def lease_time() -> timedelta:
    """After this time without a record the worker counts as dead: what it was calling about is unknown."""
    return max(2 * START, timedelta(seconds=settings.DISPATCH_LEASE))


def worker_name() -> str:
    """This thread of this process, unlike any other that ever was."""
    pid = os.getpid()
    process = _process if _process.split("-")[-2] == str(pid) else f"{_process}-{pid}"
    return f"{process}-{threading.get_ident() % 100_000}"


@dataclass(slots=True)
class Claim:
    """What one claim took and what else it decided."""

    token: str
    now: datetime
    touches: list[Decided] = field(default_factory=list)
    decisions: Counter[str] = field(default_factory=Counter)
    short: dict[int, Decimal] = field(
        default_factory=dict
    )  # campaign → money that was wanted and not at hand
    used: dict[int, Decimal] = field(default_factory=dict)  # campaign → money that was taken out of the purse
    new_zones: bool = False
    silent: list[Decided] = field(default_factory=list)
    withdrawn: set[int] = field(default_factory=set)  # campaigns whose change has touches left to let go of
    unknown_contacts: bool = False  # a quota counts contacts that were not kept so far: nothing was claimed

    @property
    def seen(self) -> int:
        return sum(self.decisions.values())

    @property
    def moved(self) -> int:
        """Touches that stand otherwise than before."""
        return self.seen - sum(self.decisions[left] for left in ("later", "short", "new_zone"))


def claim(
    sending: Sending, purse: Purse, *, most: int, scan: int, worker: str, now: datetime | None
) -> Claim:
    """Claim up to ``most`` of the next ``scan`` due touches. Without ``now`` the database's clock is used."""
    token = f"{worker}.{next(_numbers)}"[-80:]
    with transaction.atomic(durable=True):
        at = _begin(now)
        pressure.hold_policy()
        left = sending.limits.hold()
        rules = pressure.applying(pressure.rules_in_force(at), sending.channel.pk)
        told = person_quotas.rules(at)
        quotas = person_quotas.of_channel(sending.channel, at, told)
        if quotas.hours > pressure.SHORTEST_KEPT and quotas.hours > pressure.known_hours():
            return Claim(token, at, unknown_contacts=True)
        rows = queries.claim(
            rules,
            sending.addresses,
            {
                **sending.params(at, purse, left),
                "token": token,
                "most": most,
                "scan": scan,
                "lease_until": at + lease_time(),
                "place_at": at + START,
                "horizon": at - timedelta(hours=pressure.kept_hours(at, told)),
                "longest": max((rule.hours for rule in rules), default=0),
                "rival_priority": max((priority for _c, priority, _ch in sending.rivals), default=0),
                "rivals": sorted({campaign for campaign, _p, _ch in sending.rivals}),
                "rival_channels": sorted({channel for _c, _p, channel in sending.rivals}),
            },
            sending.rivalled(rules),
            quotas.frees_sql(),
        )
        if left:
            sending.limits.take(row.campaign_id for row in rows if row.decision == "claimed")
    return _told(token, at, rows)


def _begin(now: datetime | None) -> datetime:
    """Attempts must be on the disk before anybody is called, whatever the server's default is."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit TO on")
        if now is not None:
            return now
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
        return at


def _told(token: str, at: datetime, rows: Sequence[Decided]) -> Claim:
    zones = {row.zone for row in rows if row.decision == "new_zone"}
    reading.learn_zones(zones)
    touches = [row for row in rows if row.decision == "claimed"]
    return Claim(
        token,
        at,
        touches=touches,
        decisions=Counter(row.decision for row in rows),
        short=_reserved(row for row in rows if row.decision == "short"),
        used=_reserved(touches),
        new_zones=bool(zones),
        silent=[row for row in rows if row.decision == "silent"],
        withdrawn={row.campaign_id for row in rows if row.decision == "withdrawn"},
    )


def _reserved(rows: Iterable[Decided]) -> dict[int, Decimal]:
    """Campaign → what is reserved for these touches."""
    sums: dict[int, Decimal] = {}
    for (campaign_id, reserved), n in Counter((row.campaign_id, row.reserved) for row in rows).items():
        sums[campaign_id] = sums.get(campaign_id, Decimal(0)) + n * reserved
    return sums
