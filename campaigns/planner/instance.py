"""The problem a plan solves, in numbers only: people of equal kind, touches with values, limits.

A *row* stands for ``n`` people who are alike in everything the problem sees. An *item* is a further touch of a
cell: item i is ordinal ``ordinal[i]`` of cell ``cell[i]``, and is of use only behind the ordinals before it.
Its value for a row of class q and worth w is ``w × gain[q, i] − loss[q, i]``, which never rises with the
ordinal where it is positive. It takes ``usage[r, i]`` of limit r, of which there is ``amount[r]``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.uint8]
BLOCK = 1 << 21  # numbers worked on at once, so that memory stays flat whatever the audience's size
NO_CAP = 255


@dataclass(frozen=True, slots=True)
class Group:
    """At most ``cap`` touches over these cells, by row. Groups are nested or apart, never crossing."""

    cells: NDArray[np.bool_]
    cap: Counts
    cause: int

    def items(self, cell: NDArray[np.int16]) -> NDArray[np.int64]:
        return np.flatnonzero(self.cells[cell])


@dataclass(frozen=True, slots=True)
class Instance:
    """See the module. ``possible`` is rows × cells; groups go from the smallest to the largest."""

    n: NDArray[np.int64]
    worth: Floats
    kind: NDArray[np.int32]  # the class q of each row
    possible: Counts
    cell: NDArray[np.int16]
    ordinal: NDArray[np.int16]
    gain: Floats
    loss: Floats
    usage: Floats
    amount: Floats
    groups: Sequence[Group] = field(default_factory=tuple)

    @property
    def rows(self) -> int:
        return len(self.n)

    @property
    def cells(self) -> int:
        return self.possible.shape[1]

    def blocks(self) -> Iterator[slice]:
        """Slices of rows small enough to work on at once."""
        step = max(1, BLOCK // max(1, len(self.cell)))
        for start in range(0, self.rows, step):
            yield slice(start, min(start + step, self.rows))

    def values(self, rows: slice | NDArray[np.int64]) -> Floats:
        """Rows × items: what each touch is worth, before any price."""
        kind = self.kind[rows]
        return self.worth[rows][:, None] * self.gain[kind] - self.loss[kind]

    def open(self, rows: slice | NDArray[np.int64]) -> NDArray[np.bool_]:
        """Rows × items: which touches are possible at all."""
        return self.ordinal[None, :] <= self.possible[rows][:, self.cell]

    def take(self, rows: NDArray[np.int64]) -> "Instance":
        """The same problem for some rows."""
        return replace(
            self,
            n=self.n[rows],
            worth=self.worth[rows],
            kind=self.kind[rows],
            possible=self.possible[rows],
            groups=[Group(group.cells, group.cap[rows], group.cause) for group in self.groups],
        )

    def counted(self, chosen: NDArray[np.bool_]) -> Counts:
        """Rows × cells from rows × items."""
        found = np.zeros((len(chosen), self.cells), dtype=np.uint8)
        for item in range(len(self.cell)):
            found[:, self.cell[item]] += chosen[:, item]
        return found

    def used(self, counts: Counts, n: NDArray[np.int64] | None = None) -> Floats:
        """What counts (rows × cells) take of each limit, over ``n`` people a row (1 where not given)."""
        total = np.zeros(len(self.amount))
        for item in range(len(self.cell)):
            holders = counts[:, self.cell[item]] >= self.ordinal[item]
            total += self.usage[:, item] * float(holders.sum() if n is None else n[holders].sum())
        return total

    def worths(self, kind: NDArray[np.int64], worth: Floats, counts: Counts) -> float:
        """The value of counts for people of these classes and worths."""
        total = 0.0
        for item in range(len(self.cell)):
            holders = counts[:, self.cell[item]] >= self.ordinal[item]
            if holders.any():
                of = kind[holders]
                total += float((worth[holders] * self.gain[of, item] - self.loss[of, item]).sum())
        return total


def select(instance: Instance, rows: slice | NDArray[np.int64], reduced: Floats) -> NDArray[np.bool_]:
    """Of each row's touches with a positive reduced value the best ones that its groups let through.

    Exact: with nested caps, keeping the best of each group from the smallest to the largest is optimal, and
    since reduced values do not rise with the ordinal (ties go to the lower one), no ordinal is left out.
    """
    chosen = (reduced > 0) & instance.open(rows)
    for group in instance.groups:
        items = group.items(instance.cell)
        cap = group.cap[rows]
        held = chosen[:, items]
        over = np.flatnonzero(held.sum(axis=1) > cap)
        if len(over) == 0:
            continue
        chosen[np.ix_(over, items)] = _best(
            np.where(held[over], reduced[over][:, items], -np.inf), cap[over].astype(np.int64)
        )
    return chosen


def _best(worth: Floats, cap: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The ``cap`` largest of each row, of equal ones the first; each row has more than that to choose from."""
    found = np.zeros(worth.shape, dtype=bool)
    width = worth.shape[1]
    for most in np.unique(cap):
        if most == 0:
            continue
        rows = np.flatnonzero(cap == most)
        own = worth[rows]
        # Half the work of sorting, and all rows but those with equal values at the edge are done.
        edge = np.partition(own, width - most, axis=1)[:, width - most]
        kept = own >= edge[:, None]
        tied = np.flatnonzero(kept.sum(axis=1) > most)
        if len(tied):
            order = np.argsort(-own[tied], axis=1, kind="stable")
            rank = np.empty_like(order)
            np.put_along_axis(rank, order, np.arange(width)[None, :], axis=1)
            kept[tied] = rank < most
        found[rows] = kept
    return found
