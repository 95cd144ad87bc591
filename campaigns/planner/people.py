"""The people of an audience as arrays: whom to plan for, and why not by a channel."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.conf import settings
from django.core.exceptions import EmptyResultSet
from numpy.typing import NDArray

from audiences import contact_state, segments
from audiences.models import Segment
from audiences.vocabulary import permission_key
from campaigns.addressing import addressed_by
from campaigns.planner.causes import CODE
from campaigns.planner.shares import groups, share
from campaigns.planner.spec import STAGES, PlannedChannel, Spec
from campaigns.queries import plan as queries
from campaigns.queries.plan import Asked, Codes
from campaigns.vocabulary import Cause

ORDERS_DAYS = 365  # orders of so many days tell what a person's order is worth
PRIOR_ORDERS = 3.0  # usual orders that count beside a person's own
STEPS = 4  # steps of the factor's scale for each doubling
LEVELS = 8  # at most so many steps up or down: a quarter to four times the usual order


@dataclass(frozen=True, slots=True)
class People:
    """N people in id order.

    ``factor`` is what an order of theirs is worth against the usual one, in steps of a log₂ scale; ``arm`` an
    index into the spec's arms or −1; ``rank`` a stable hash in [0, 1); ``cause`` N × channels (0: can be
    planned). ``contacts`` belongs to :mod:`campaigns.planner.contacts`.
    """

    ids: NDArray[np.int64]
    stage: NDArray[np.int8]
    zone: NDArray[np.int16]
    zones: tuple[str, ...]
    factor: NDArray[np.int8]
    held_out: NDArray[np.bool_]
    arm: NDArray[np.int8]
    rank: NDArray[np.float64] = field(repr=False)
    cause: NDArray[np.uint8] = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def worth(self) -> NDArray[np.float32]:
        return np.exp2(self.factor.astype(np.float32) / STEPS)

    def take(self, chosen: NDArray[Any]) -> "People":
        """Those at these places (indexes or a mask)."""
        return People(
            self.ids[chosen], self.stage[chosen], self.zone[chosen], self.zones, self.factor[chosen],
            self.held_out[chosen], self.arm[chosen], self.rank[chosen], self.cause[chosen],
        )  # fmt: skip


def audience_sql(segment: Segment) -> str:
    """The segment's customers, as the text of a query of one column."""
    try:
        return queries.literal(*segments.customer_ids(segment).query.sql_with_params())
    except EmptyResultSet:
        return queries.NOBODY


def fetch(spec: Spec, audience: str, only: Sequence[int] | None = None) -> People:
    """The people of ``audience`` (SQL of ids), narrowed to ``only`` where given."""
    rows = queries.fetch_people(
        audience,
        [_asked(channel) for channel in spec.channels],
        Codes(CODE[Cause.OPTED_OUT], CODE[Cause.NO_IDENTITY], CODE[Cause.NO_CONSENT]),
        stages=STAGES,
        since=spec.now - dt.timedelta(days=ORDERS_DAYS),
        now=spec.now,
        currency=spec.currency,
        prior=PRIOR_ORDERS,
        steps=STEPS,
        levels=LEVELS,
        only=only,
    )
    zone, zones = _zones(rows["zone"], rows["id"])
    cause = np.empty((len(rows), len(spec.channels)), dtype=np.uint8)
    for n, channel in enumerate(spec.channels):
        cause[:, n] = _stopped(channel) or rows[f"cause{n}"]
    ids = np.ascontiguousarray(rows["id"])
    return People(
        ids=ids,
        stage=rows["stage"].astype(np.int8),
        zone=zone,
        zones=zones,
        factor=rows["factor"].astype(np.int8),
        held_out=held_out(spec, ids, rows["bucket"]),
        arm=groups(share(ids, spec.seed, "arm"), [arm.share for arm in spec.arms]),
        rank=share(ids, spec.seed, "rank"),
        cause=cause,
    )


def held_out(spec: Spec, ids: NDArray[np.int64], bucket: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Who is kept out: of everything (the universal holdout, by bucket), or of this campaign (by its seed)."""
    universal = bucket < round(settings.UNIVERSAL_HOLDOUT * 10_000)
    return universal | (share(ids, spec.seed, "holdout") < spec.holdout_share)


def _asked(channel: PlannedChannel) -> Asked:
    return Asked(
        key=permission_key(channel.brand_id, channel.medium, channel.purpose),
        blocking=contact_state.forms(channel.brand_id, channel.medium, channel.purpose),
        addressed_by=addressed_by(channel.channel),
    )


def _stopped(channel: PlannedChannel) -> int:
    """The cause that keeps everybody from a channel, if there is one."""
    if channel.stopped:
        return CODE[Cause.CHANNEL_STOPPED]
    if channel.wants_words and channel.message_version_id is None:
        return CODE[Cause.CONTENT]
    return 0


def _zones(codes: NDArray[np.int64], ids: NDArray[np.int64]) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """Zones by index, their names in order."""
    found, first, index = np.unique(codes, return_index=True, return_inverse=True)
    names = queries.zone_names([int(ids[n]) for n in first]) if len(found) else {}
    told = [names[int(code)] for code in found]
    order = np.argsort(np.array(told, dtype=object)) if told else np.array([], dtype=np.int64)
    place = np.empty(len(order), dtype=np.int16)
    place[order] = np.arange(len(order), dtype=np.int16)
    return place[index.reshape(-1)] if len(found) else index.astype(np.int16), tuple(told[n] for n in order)
