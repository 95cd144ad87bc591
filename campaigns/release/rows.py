"""Members, targets and touches of an outcome as blocks of rows, ready to be copied.

Within a block all texts are equal, so a row never becomes a Python object.
"""

from collections.abc import Iterator
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from campaigns.models import MessageVariant
from campaigns.planner.causes import ORDER
from campaigns.planner.shares import groups, share
from campaigns.planner.spec import STAGES
from campaigns.planner.work import Outcome
from campaigns.queries import binary

MEMBER = (
    "campaign_id", "customer_id", "stage", "held_out", "arm", "zone", "state", "reason", "entered_at", "state_at",
)  # fmt: skip
MEMBER_TARGET = (
    "campaign_id", "customer_id", "channel_id", "round", "stage", "held_out", "target", "planned", "cause",
)  # fmt: skip
TOUCH = (
    "campaign_id", "customer_id", "channel_id", "round", "ordinal", "stage", "message_version_id", "variant",
    "priority", "due_at", "deadline_at", "state", "reserved", "state_at",
)  # fmt: skip

Block = NDArray[np.uint8]
PIECE = 200_000  # rows of a block at most


def members(outcome: Outcome, now: datetime) -> Iterator[Block]:
    """Everybody of the audience, the held out too."""
    people, spec = outcome.people, outcome.spec
    zones = len(people.zones)
    code = (
        (people.stage.astype(np.int64) * 2 + people.held_out) * (len(spec.arms) + 1) + people.arm + 1
    ) * zones
    code += people.zone
    moment = _moment(now)
    for key, rows in _by(code):
        rest, zone = divmod(key, zones)
        rest, arm = divmod(rest, len(spec.arms) + 1)
        stage, held_out = divmod(rest, 2)
        yield binary.block([
            _bigint(spec.campaign.pk),
            people.ids[rows],
            STAGES[stage].encode(),
            bytes([held_out]),
            b"" if arm == 0 or held_out else spec.arms[arm - 1].name.encode(),
            people.zones[zone].encode(),
            b"active",
            b"",
            moment,
            moment,
        ])  # fmt: skip


def member_targets(outcome: Outcome) -> Iterator[Block]:
    """A row for each cell in which a member has a target, with what is planned of it and why not all."""
    people, spec, target = outcome.people, outcome.spec, outcome.targets.target
    for column, cell in enumerate(spec.cells):
        aimed = np.flatnonzero(target[:, column] | outcome.given.ordinal[:, column])
        code = people.stage[aimed].astype(np.int64) * len(ORDER) + outcome.cause[aimed, column]
        for key, places in _by(code):
            stage, cause = divmod(key, len(ORDER))
            rows = aimed[places]
            yield binary.block([
                _bigint(spec.campaign.pk),
                people.ids[rows],
                _integer(spec.channels[cell.channel].id),
                _smallint(cell.round),
                STAGES[stage].encode(),
                b"\x00",
                target[rows, column].astype(np.int16),
                outcome.planned[rows, column].astype(np.int16),
                ORDER[cause].encode(),
            ])  # fmt: skip


def touches(outcome: Outcome, now: datetime) -> Iterator[Block]:
    """The planned contacts, with when they are due and what is reserved for them."""
    # Read before the copy begins: it has the connection to itself.
    variants = [_variants(channel.message_version_id) for channel in outcome.spec.channels]
    return _touches(outcome, now, variants)


def _touches(
    outcome: Outcome, now: datetime, variants: list[tuple[list[int], list[float]]]
) -> Iterator[Block]:
    people, spec, placed = outcome.people, outcome.spec, outcome.schedule
    moment = _moment(now)
    for column, cell in enumerate(spec.cells):
        own = np.flatnonzero(placed.cell == column)
        if len(own) == 0:
            continue
        channel = spec.channels[cell.channel]
        numbers, weights = variants[cell.channel]
        person = placed.person[own]
        salt = f"variant {channel.message_version_id}"
        turn = groups(share(people.ids[person], spec.seed, salt), weights) if len(numbers) > 1 else 0
        code = people.stage[person].astype(np.int64) * len(numbers) + np.maximum(turn, 0)
        reserved = binary.numeric(outcome.costs[cell.channel].greatest)
        for key, places in _by(code):
            stage, variant = divmod(key, len(numbers))
            rows = own[places]
            yield binary.block([
                _bigint(spec.campaign.pk),
                people.ids[placed.person[rows]],
                _integer(channel.id),
                _smallint(cell.round),
                placed.ordinal[rows].astype(np.int16),
                STAGES[stage].encode(),
                None if channel.message_version_id is None else _bigint(channel.message_version_id),
                _smallint(numbers[variant]),
                _smallint(spec.campaign.priority),
                binary.moment(placed.due[rows]),
                binary.moment(placed.deadline[rows]),
                b"planned",
                reserved,
                moment,
            ])  # fmt: skip


def _variants(message_version_id: int | None) -> tuple[list[int], list[float]]:
    """Numbers of a message's variants and their shares, which sum to 1."""
    rows = list(
        MessageVariant.objects.filter(version_id=message_version_id, weight__gt=0)
        .order_by("number")
        .values_list("number", "weight")
    )
    if message_version_id is None or not rows:
        return [1], [1.0]
    total = sum(weight for _number, weight in rows)
    weights = [float(weight / total) for _number, weight in rows]
    weights[-1] = 2.0  # rounding must leave nobody without a variant
    return [number for number, _weight in rows], weights


def _by(code: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Row numbers by code, in order, at most PIECE at a time."""
    order = np.argsort(code, kind="stable")
    if len(order) == 0:
        return
    edges = np.flatnonzero(np.diff(code[order])) + 1
    for rows in np.split(order, edges):
        for start in range(0, len(rows), PIECE):
            yield int(code[rows[0]]), rows[start : start + PIECE]


def _bigint(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def _integer(value: int) -> bytes:
    return value.to_bytes(4, "big", signed=True)


def _smallint(value: int) -> bytes:
    return value.to_bytes(2, "big", signed=True)


def _moment(at: datetime) -> bytes:
    return _bigint(round((at.timestamp() - binary.EPOCH) * 1_000_000))
