"""A campaign as numbers: people of equal kind in rows, touches as items, budgets and capacities as limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from campaigns.planner import limits as person_limits
from campaigns.planner.calendar import UNLIMITED, Calendar
from campaigns.planner.causes import CODE
from campaigns.planner.cost import TouchCost
from campaigns.planner.given import Given
from campaigns.planner.instance import NO_CAP, Counts, Floats, Group, Instance
from campaigns.planner.limits import Contacts, Limit
from campaigns.planner.people import People
from campaigns.planner.response_model import ResponseModel
from campaigns.planner.spec import Spec
from campaigns.planner.targets import Targets
from campaigns.vocabulary import Cause

MOST_GROUPS = 60
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Resource:
    """A limit of the campaign as a whole. ``kind`` is budget or capacity.

    A capacity counts the touches of a cell (by index; None: of all its channel's cells) from ``ordinal`` on.
    """

    kind: str
    channel: int | None  # index; None: the whole campaign
    cell: int | None = None
    ordinal: int = 1

    @property
    def unit(self) -> float:
        """What 1 of it is in the instance: money is counted in millionths, so that sums are exact."""
        return MILLION if self.kind == "budget" else 1.0

    @property
    def cause(self) -> int:
        return CODE[Cause.BUDGET if self.kind == "budget" else Cause.CAPACITY]


@dataclass(frozen=True, slots=True)
class Modelled:
    """The instance, what its limits are, and the row of each person."""

    instance: Instance
    resources: tuple[Resource, ...]
    row: NDArray[np.int64]


def items(spec: Spec) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Cell and ordinal of each item."""
    most = [max(cell.touches) for cell in spec.cells]
    cell = np.repeat(np.arange(len(most)), most).astype(np.int16)
    ordinal = np.concatenate([np.arange(1, n + 1) for n in most] or [np.arange(0)]).astype(np.int16)
    return cell, ordinal


def worths(
    spec: Spec,
    model: ResponseModel,
    costs: Sequence[TouchCost],
    cell: NDArray[np.int16],
    ordinal: NDArray[np.int16],
    stage: NDArray[np.int64],
    given: NDArray[np.uint8],
) -> tuple[Floats, Floats]:
    """(kinds × items) margin expected of a touch for a person of usual worth, and the cost expected of it.

    A kind has a stage and what it is ``given`` of each cell, behind which its items stand. Both numbers count the
    chance that the sequence comes so far; touches that would cost more than they bring are worth less than nothing,
    whoever gets them.
    """
    channel = np.array([spec.cells[c].channel for c in cell], dtype=np.int64)
    place = np.minimum(ordinal[None, :] + given[:, cell].astype(np.int64), model.going.shape[2]) - 1
    going = model.going[channel[None, :], stage[:, None], place]
    chance = model.conversion[channel[None, :], stage[:, None], place]
    expected = np.array([float(costs[c].expected) for c in channel])
    return going * chance * model.conversion_value * model.margin_rate, going * expected[None, :]


def resources(
    spec: Spec,
    calendar: Calendar,
    costs: Sequence[TouchCost],
    cell: NDArray[np.int16],
    ordinal: NDArray[np.int16],
) -> tuple[tuple[Resource, ...], Floats, Floats]:
    """The limits, what each item takes of them (limits × items), and how much there is."""
    channel = np.array([spec.cells[c].channel for c in cell], dtype=np.int64)
    greatest = np.array([_millionths(costs[c].greatest) for c in channel])
    found: list[tuple[Resource, Floats, float]] = []
    if spec.budget is not None:
        found.append((Resource("budget", None), greatest, _millionths(spec.budget)))
    for index, one in enumerate(spec.channels):
        own = channel == index
        if one.budget is not None:
            found.append((Resource("budget", index), np.where(own, greatest, 0.0), _millionths(one.budget)))
        if not (calendar.capacity[index] < UNLIMITED).any():
            continue
        cells = np.unique(cell[own])
        whole = _places(spec, calendar, index, cells, 1)
        if len(cells) > 1 and whole < UNLIMITED:
            found.append((Resource("capacity", index), own.astype(float), float(whole)))
        for number in cells:
            found += _capacities(spec, calendar, index, int(number), cell, ordinal)
    found = [row for row in found if row[1].any()]
    usage = np.stack([row[1] for row in found]) if found else np.zeros((0, len(cell)))
    return tuple(row[0] for row in found), usage, np.array([row[2] for row in found])


def _millionths(amount: Decimal) -> float:
    return float((amount * MILLION).to_integral_value())


def _capacities(
    spec: Spec,
    calendar: Calendar,
    channel: int,
    number: int,
    cell: NDArray[np.int16],
    ordinal: NDArray[np.int16],
) -> list[tuple[Resource, Floats, float]]:
    """A cell's places, and those left for its later ordinals: a third touch cannot use the first days."""
    found = []
    before = None
    for turn in range(1, max(spec.cells[number].touches) + 1):
        places = _places(spec, calendar, channel, np.array([number]), turn)
        if places >= UNLIMITED or places == before:
            continue
        before = places
        takers = ((cell == number) & (ordinal >= turn)).astype(float)
        found.append((Resource("capacity", channel, number, turn), takers, float(places)))
    return found


def _places(spec: Spec, calendar: Calendar, channel: int, cells: NDArray[np.int16], ordinal: int) -> int:
    """Messages the days of these cells take, from where their ordinal can be due; only days with open hours."""
    days = np.zeros(len(calendar.days), dtype=bool)
    ends = np.append(calendar.edges[1:], calendar.edges[-1] + 2 * 86_400)
    for number in cells:
        stages = [stage for stage, n in enumerate(spec.cells[number].touches) if n >= ordinal]
        if not stages:
            continue
        gap = int(calendar.gaps[stages, number].min())
        begins = int(calendar.starts[number]) + (ordinal - 1) * gap
        until = int(calendar.ends[number])
        for (_zone, of), hours in calendar.hours.items():
            if of != channel:
                continue
            opens, closes = np.maximum(hours.opens, begins), np.minimum(hours.closes, until)
            for start, stop in zip(opens[opens < closes], closes[opens < closes], strict=True):
                days |= (calendar.edges < stop) & (ends > start)
    room = calendar.capacity[channel][days]
    return UNLIMITED if (room >= UNLIMITED).any() else int(room.sum())


def groups(
    spec: Spec,
    people: People,
    possible: Counts,
    calendar: Calendar,
    limits: Sequence[Limit],
    contacts: Contacts,
    given: Given,
) -> list[Group]:
    """Caps over several cells, by person: contact policy and quotas by window, and the campaign's own cap.

    They hold for every schedule, so the bound holds too; the schedule keeps the limits themselves. A limit that
    crosses one already taken is left to the schedule.
    """
    found: list[Group] = []
    for n, limit in enumerate(limits):
        for cells, begins, ends in _windows(spec, calendar, limit):
            cap = _cap(limit, n, contacts, len(people), begins, ends)
            found.append(_group(cells, cap, possible, limit.cause))
    if spec.person_cap is not None:
        everything = np.ones(len(spec.cells), dtype=bool)
        left = np.maximum(0, spec.person_cap - given.kept.sum(axis=1, dtype=np.int64))
        found.append(_group(everything, left, possible, CODE[Cause.CAP]))
    binding = [group for group in found if (group.cap < NO_CAP).any()]
    binding.sort(key=lambda group: int(group.cells.sum()))
    taken: list[Group] = []
    for group in binding[:MOST_GROUPS]:
        if all(_nested(group.cells, other.cells) for other in taken):
            taken.append(group)
    return taken


def _windows(spec: Spec, calendar: Calendar, limit: Limit) -> list[tuple[NDArray[np.bool_], int, int]]:
    """Cells the limit counts, in clusters that lie in one window of it, or as long as the cells are."""
    counted = [n for n, cell in enumerate(spec.cells) if limit.counts(spec.channels[cell.channel].id)]
    counted = [n for n in counted if calendar.starts[n] < calendar.ends[n]]
    counted.sort(key=lambda n: (int(calendar.starts[n]), int(calendar.ends[n])))
    found: list[tuple[NDArray[np.bool_], int, int]] = []
    for n in counted:
        begins, ends = int(calendar.starts[n]), int(calendar.ends[n])
        if found:
            cells, first, last = found[-1]
            if max(last, ends) - first <= limit.seconds or (begins >= first and ends <= last):
                cells[n] = True
                found[-1] = (cells, first, max(last, ends))
                continue
        cells = np.zeros(len(spec.cells), dtype=bool)
        cells[n] = True
        found.append((cells, begins, ends))
    return found


def _cap(
    limit: Limit, number: int, contacts: Contacts, people: int, begins: int, ends: int
) -> NDArray[np.int64]:
    """How many touches fit into a cluster at most: a place less in each window for every other contact."""
    inside = (
        (contacts.mask >> np.uint32(number) & np.uint32(1) > 0)
        & (contacts.at >= begins)
        & (contacts.at < ends)
    )
    if limit.period:
        edges = np.array([begins, ends - 1], dtype=np.int64)
        first, last = person_limits.periods(edges, limit.period)
        windows = int(last - first) + 1
        window = person_limits.periods(np.concatenate([edges, contacts.at[inside]]), limit.period)[2:] - first
    else:
        windows = -((begins - ends) // limit.seconds)
        window = (contacts.at[inside] - begins) // limit.seconds
    cap = np.full(people, limit.touches * windows, dtype=np.int64)
    if inside.any():
        pairs, count = np.unique(contacts.person[inside] * windows + window, return_counts=True)
        np.subtract.at(cap, pairs // windows, np.minimum(count, limit.touches))
    return cap


def _group(cells: NDArray[np.bool_], cap: NDArray[np.int64], possible: Counts, cause: int) -> Group:
    """Caps that cannot bind are told as none, so that they make no difference between people."""
    most = possible[:, cells].sum(axis=1, dtype=np.int64)
    return Group(cells, np.where(cap >= most, NO_CAP, np.minimum(cap, NO_CAP - 1)).astype(np.uint8), cause)


def _nested(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> bool:
    both = a & b
    return not both.any() or bool((both == a).all()) or bool((both == b).all())


def build(
    spec: Spec,
    people: People,
    targets: Targets,
    calendar: Calendar,
    costs: Sequence[TouchCost],
    model: ResponseModel,
    limits: Sequence[Limit],
    contacts: Contacts,
    given: Given,
) -> Modelled:
    """The problem of a campaign, with people of equal kind put together."""
    cell, ordinal = items(spec)
    found, usage, amount = resources(spec, calendar, costs, cell, ordinal)
    caps = groups(spec, people, targets.possible, calendar, limits, contacts, given)
    first, row, n = _alike(people, targets, caps, given)
    kinds, kind = np.unique(
        np.column_stack([people.stage[first].astype(np.uint8), given.ordinal[first]]),
        axis=0,
        return_inverse=True,
    )
    gain, loss = worths(spec, model, costs, cell, ordinal, kinds[:, 0].astype(np.int64), kinds[:, 1:])
    instance = Instance(
        n=n,
        worth=people.worth()[first].astype(np.float64),
        kind=kind.reshape(-1).astype(np.int32),
        possible=targets.possible[first],
        cell=cell,
        ordinal=ordinal,
        gain=gain,
        loss=loss,
        usage=usage,
        amount=amount,
        groups=[Group(group.cells, group.cap[first], group.cause) for group in caps],
    )
    return Modelled(instance, found, row)


def _alike(
    people: People, targets: Targets, caps: Sequence[Group], given: Given
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """First person, row of everybody and size of each kind of people that the problem cannot tell apart."""
    columns: list[NDArray[Any]] = [people.stage.view(np.uint8), people.factor.view(np.uint8)]
    columns += [*targets.possible.T, ~targets.within_reach(given)]
    columns += [*given.ordinal.T] if given.ordinal.any() else []
    columns += [group.cap for group in caps]
    # Equal people have equal hashes; unequal ones differ but for one chance in 2⁶⁴ a pair, which is looked at.
    key = np.zeros(len(people), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in columns:
            key = (key ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(29)
    _keys, first, row, n = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    row = row.reshape(-1)
    if any((column != column[first][row]).any() for column in columns):
        return np.arange(len(people)), np.arange(len(people)), np.ones(len(people), dtype=np.int64)
    return first, row, n
