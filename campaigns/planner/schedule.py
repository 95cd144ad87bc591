"""When each touch is due: spread over its round, far enough apart, at permitted hours, within every limit.

A *chain* is what a person gets in one cell: its touches one after another. Chains that nothing shares are
placed at once for all people; those on a channel with daily limits, or of people near a contact limit, go
through the days one by one, the most urgent first. Either way no row of Python is touched per person.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from campaigns.planner import limits as person_limits
from campaigns.planner.calendar import UNLIMITED, Calendar, Times
from campaigns.planner.causes import CODE
from campaigns.planner.given import Given
from campaigns.planner.limits import FAR, HOUR, Contacts, Limit
from campaigns.planner.people import People
from campaigns.planner.spec import STAGES, Spec
from campaigns.vocabulary import Cause

TIGHT = 0.6  # of a channel's places in a round are wanted: touches are no longer held back to spread them
SLACK = 6 * HOUR  # a touch stays due at least so long, or half its gap, even if the next one follows closely


@dataclass(frozen=True, slots=True)
class Schedule:
    """Touches in order of person, cell and ordinal, and the causes of those that found no place."""

    person: NDArray[np.int32]
    cell: NDArray[np.int16]
    ordinal: NDArray[np.int16]
    due: Times
    deadline: Times
    missed: NDArray[np.uint8]  # people × cells: the cause, 0 where all were placed

    def __len__(self) -> int:
        return len(self.person)


@dataclass(slots=True)
class _Chains:
    person: NDArray[np.int32]
    cell: NDArray[np.int16]
    group: NDArray[np.int32]  # zone × stages + stage
    wanted: NDArray[np.int16]
    slot: Times  # where its first touch stands among all touches

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "_Chains":
        return _Chains(
            self.person[rows], self.cell[rows], self.group[rows], self.wanted[rows], self.slot[rows]
        )

    def __len__(self) -> int:
        return len(self.person)


def place(
    spec: Spec,
    people: People,
    counts: NDArray[np.uint8],
    calendar: Calendar,
    limits: Sequence[Limit],
    contacts: Contacts,
    given: Given,
) -> Schedule:
    """Due times for ``counts`` (people × cells) touches more than are given."""
    work = _Work(spec, people, counts, calendar, limits, contacts, given)
    work.run()
    return work.result()


class _Work:
    def __init__(
        self,
        spec: Spec,
        people: People,
        counts: NDArray[np.uint8],
        calendar: Calendar,
        limits: Sequence[Limit],
        contacts: Contacts,
        given: Given,
    ) -> None:
        self.given = given
        self.spec, self.people, self.calendar, self.limits, self.contacts = (
            spec,
            people,
            calendar,
            limits,
            contacts,
        )
        self.masks = person_limits.channel_masks(spec, limits)
        self.cell_channel = np.array([cell.channel for cell in spec.cells], dtype=np.int64)
        person, cell = np.nonzero(counts)
        wanted = counts[person, cell].astype(np.int16)
        group = people.zone[person].astype(np.int32) * len(STAGES) + people.stage[person]
        slot = np.concatenate([[0], np.cumsum(wanted, dtype=np.int64)])[:-1]
        self.chains = _Chains(person.astype(np.int32), cell.astype(np.int16), group, wanted, slot)
        self.total = int(wanted.sum())
        self.due = np.full(self.total, FAR, dtype=np.int64)
        self.missed = np.zeros(counts.shape, dtype=np.uint8)
        self.room = calendar.capacity.copy()
        # The last touch of each person on each channel: the gap holds between rounds too.
        self.last = given.last.copy()

    def run(self) -> None:
        limited = (self.calendar.capacity < UNLIMITED).any(axis=1)
        shared: NDArray[np.bool_] = np.take(limited, self.cell_channel[self.chains.cell])
        near = self._near_a_limit()
        slow = shared | near[self.chains.person]
        # Rounds come in order of time; a person's chains on one channel never overtake each other.
        for cell in range(len(self.spec.cells)):
            rows = np.flatnonzero((self.chains.cell == cell) & ~slow)
            if len(rows):
                self._place_freely(self.chains.take(rows), cell)
        rows = np.flatnonzero(slow)
        if len(rows):
            _Days(self, self.chains.take(rows), near).run()

    def _near_a_limit(self) -> NDArray[np.bool_]:
        """People whose touches and other contacts, all counted together, exceed a limit."""
        found = np.zeros(len(self.people), dtype=bool)
        for n, limit in enumerate(self.limits):
            bit = np.uint32(1) << np.uint32(n)
            counted = np.take(self.masks & bit > 0, self.cell_channel[self.chains.cell])
            total = np.bincount(
                self.chains.person[counted], weights=self.chains.wanted[counted], minlength=len(self.people)
            )
            has_some = total > 0
            theirs = self.contacts.mask & bit > 0
            total += np.bincount(self.contacts.person[theirs], minlength=len(self.people))
            found |= has_some & (total > limit.touches)
        return found

    def _place_freely(self, chains: _Chains, cell: int) -> None:
        """Nobody competes for these places: each chain is spread evenly over the hours of its round."""
        channel = int(self.cell_channel[cell])
        ends = int(self.calendar.ends[cell])
        for group in np.unique(chains.group):
            zone, stage = divmod(int(group), len(STAGES))
            own = chains.take(chains.group == group)
            hours = self.calendar.hours[zone, channel]
            latest = self.calendar.latest[zone, stage, cell]
            gap = int(self.calendar.gaps[stage, cell])
            before = self.last[own.person, channel]
            soonest = np.maximum(self.calendar.starts[cell], before + gap)
            spread = soonest
            for turn in range(int(own.wanted.max())):
                rows = np.flatnonzero(own.wanted > turn)
                left = own.wanted[rows] - turn - 1
                at = hours.next_open(spread[rows])
                late = at > latest[left]
                if late.any():
                    at[late] = hours.next_open(soonest[rows[late]])
                    too_late = late & (at > latest[0])
                    if too_late.any():
                        gone = rows[too_late]
                        self.missed[own.person[gone], cell] = CODE[Cause.HOURS]
                        own.wanted[gone] = turn
                        rows, at, left = rows[~too_late], at[~too_late], left[~too_late]
                self.due[own.slot[rows] + turn] = at
                soonest[rows] = at + gap
                spread = soonest.copy()
                if gap:
                    spread[rows] = at + np.maximum(gap, (ends - at) // (left + 1))
                self.last[own.person[rows], channel] = at

    def result(self) -> Schedule:
        chains = self.chains
        person = np.repeat(chains.person, chains.wanted)
        cell = np.repeat(chains.cell, chains.wanted)
        group = np.repeat(chains.group, chains.wanted)
        ordinal = (np.arange(self.total) - np.repeat(chains.slot, chains.wanted) + 1).astype(np.int16)
        kept = self.due < FAR
        person, cell, group, ordinal, due = (
            person[kept],
            cell[kept],
            group[kept],
            ordinal[kept],
            self.due[kept],
        )
        deadline = self.calendar.ends[cell].copy()
        # A touch must be out a gap before the next one is due, but is given time to go out at all.
        followed = np.flatnonzero(ordinal[1:] > 1)
        ordinal += self.given.ordinal[person, cell]
        gap = self.calendar.gaps[group[followed] % len(STAGES), cell[followed]]
        until = np.maximum(due[followed + 1] - gap, due[followed] + np.minimum(SLACK, gap // 2))
        deadline[followed] = np.where(gap > 0, np.minimum(until, deadline[followed]), deadline[followed])
        return Schedule(person, cell, ordinal, due, deadline, self.missed)


class _Days:
    """Day by day, channel by channel: who may be contacted competes for the day's places."""

    def __init__(self, work: _Work, chains: _Chains, near: NDArray[np.bool_]) -> None:
        self.work, self.chains = work, chains
        self.calendar = work.calendar
        count = len(chains)
        stage = chains.group % len(STAGES)
        self.channel = work.cell_channel[chains.cell]
        self.gap = self.calendar.gaps[stage, chains.cell]
        self.starts, self.ends = self.calendar.starts[chains.cell], self.calendar.ends[chains.cell]
        self.done = np.zeros(count, dtype=np.int16)
        self.soonest = self.starts.copy()  # the gap permits it
        self.spread = self.starts.copy()  # and spreading evenly wants it no sooner
        self.cause = np.zeros(count, dtype=np.uint8)
        self.tight = self._tight()
        self.pressed = near[chains.person] if len(work.limits) else np.zeros(count, dtype=bool)
        self._contacts(near)

    def _tight(self) -> NDArray[np.bool_]:
        """Whether so many of a cell's places are wanted that none may be left empty to spread touches."""
        cells = len(self.work.spec.cells)
        wanted = np.bincount(self.chains.cell, weights=self.chains.wanted, minlength=cells)
        found = np.zeros(cells, dtype=bool)
        for cell in np.flatnonzero(wanted):
            first, last = self.calendar.day_of(
                np.array([self.calendar.starts[cell], self.calendar.ends[cell] - 1])
            )
            room = int(self.work.room[self.work.cell_channel[cell], max(0, first) : last + 1].sum())
            found[cell] = wanted[cell] > TIGHT * room
        return found[self.chains.cell]

    def _contacts(self, near: NDArray[np.bool_]) -> None:
        """A row of contact times for each person near a limit, with room for all touches to come."""
        people = np.flatnonzero(near)
        self.row = np.full(len(near), -1, dtype=np.int64)
        self.row[people] = np.arange(len(people))
        known = self.work.contacts
        theirs = near[known.person]
        person, at, mask = self.row[known.person[theirs]], known.at[theirs], known.mask[theirs]
        have = np.bincount(person, minlength=len(people))
        rows = self.row[self.chains.person]
        coming = np.bincount(rows[rows >= 0], weights=self.chains.wanted[rows >= 0], minlength=len(people))
        width = int((have + coming).max(initial=0))
        self.times = np.full((len(people), width), FAR, dtype=np.int64)
        self.marks = np.zeros((len(people), width), dtype=np.uint32)
        # Contacts come in order of person: a running number within each.
        column = np.arange(len(person)) - np.repeat(np.cumsum(have) - have, have)
        self.times[person, column], self.marks[person, column] = at, mask
        self.used = have.astype(np.int64)

    def run(self) -> None:
        edges = self.calendar.edges
        for day in range(len(edges)):
            begins = int(edges[day])
            ends = int(edges[day + 1]) if day + 1 < len(edges) else int(FAR)
            open_ = (self.done < self.chains.wanted) & (self.starts < ends) & (self.soonest < ends)
            for channel in range(len(self.work.spec.channels)):
                if self.work.room[channel, day] <= 0:
                    full = open_ & (self.channel == channel)
                    self.cause[full] = np.where(self.cause[full] == 0, CODE[Cause.CAPACITY], self.cause[full])
                    continue
                # A chain may have several touches on one day when its gap is short.
                turns = 0
                rows = np.flatnonzero(open_ & (self.channel == channel))
                while len(rows) and turns < 90:
                    rows = self._go(rows, channel, day, begins, ends)
                    turns += 1
        self._end()

    def _go(
        self, rows: NDArray[np.int64], channel: int, day: int, begins: int, ends: int
    ) -> NDArray[np.int64]:
        """One touch at most for each of these chains on this day; those that may have another one."""
        before = self.work.last[self.chains.person[rows], channel]
        soonest = np.maximum(np.maximum(self.soonest[rows], before + self.gap[rows]), begins)
        hold = ~self.tight[rows]
        at = self._open(rows, channel, np.where(hold, np.maximum(soonest, self.spread[rows]), soonest))
        last = self._latest(rows, at)
        late = hold & (at > last)
        if late.any():
            at[late] = self._open(rows[late], channel, soonest[late])
        now = (at < ends) & (at <= self._latest_of_all(rows))
        rows, at = rows[now], at[now]
        if len(rows) == 0:
            return rows
        near = self.row[self.chains.person[rows]]
        pressed = np.flatnonzero(near >= 0)
        if len(pressed) and len(self.work.limits):
            cause = person_limits.fits(
                at[pressed],
                np.full(len(pressed), self.work.masks[channel], dtype=np.uint32),
                self.times[near[pressed]],
                self.marks[near[pressed]],
                self.work.limits,
            )
            refused = pressed[cause > 0]
            self.cause[rows[refused]] = cause[cause > 0]
            kept = np.ones(len(rows), dtype=bool)
            kept[refused] = False
            rows, at = rows[kept], at[kept]
        room = int(self.work.room[channel, day])
        if len(rows) > room:
            left = self._latest(rows, at) - at
            order = np.lexsort((self.work.people.rank[self.chains.person[rows]], left))
            self.cause[rows[order[room:]]] = CODE[Cause.CAPACITY]
            chosen = np.sort(order[:room])
            rows, at = rows[chosen], at[chosen]
        if len(rows) == 0:
            return rows
        rows, at = self._one_a_person(rows, at)
        self._put(rows, at, channel, day)
        again = (self.done[rows] < self.chains.wanted[rows]) & (self.soonest[rows] < ends)
        return rows[again]

    def _one_a_person(self, rows: NDArray[np.int64], at: Times) -> tuple[NDArray[np.int64], Times]:
        """Of two chains of one person on one channel (rounds that overlap), the earlier goes first."""
        _person, first = np.unique(self.chains.person[rows], return_index=True)
        if len(first) == len(rows):
            return rows, at
        first.sort()
        return rows[first], at[first]

    def _put(self, rows: NDArray[np.int64], at: Times, channel: int, day: int) -> None:
        work = self.work
        work.due[self.chains.slot[rows] + self.done[rows]] = at
        self.done[rows] += 1
        self.soonest[rows] = at + self.gap[rows]
        left = self.chains.wanted[rows] - self.done[rows]
        even = np.maximum(self.gap[rows], (self.ends[rows] - at) // (left + 1))
        self.spread[rows] = at + np.where(self.gap[rows] > 0, even, 0)
        person = self.chains.person[rows]
        work.last[person, channel] = at
        work.room[channel, day] -= len(rows)
        near = self.row[person]
        pressed = near >= 0
        near, times = near[pressed], at[pressed]
        if len(near) and self.times.shape[1]:
            self.times[near, self.used[near]] = times
            self.marks[near, self.used[near]] = work.masks[channel]
            self.used[near] += 1

    def _open(self, rows: NDArray[np.int64], channel: int, at: Times) -> Times:
        found = np.full(len(rows), FAR, dtype=np.int64)
        zones = self.chains.group[rows] // len(STAGES)
        for zone in np.unique(zones):
            here = zones == zone
            found[here] = self.calendar.hours[int(zone), channel].next_open(at[here])
        return found

    def _latest(self, rows: NDArray[np.int64], at: Times) -> Times:
        zone, stage = np.divmod(self.chains.group[rows], len(STAGES))
        left = np.maximum(self.chains.wanted[rows] - self.done[rows] - 1, 0)
        return self.calendar.latest[zone, stage, self.chains.cell[rows], left]

    def _latest_of_all(self, rows: NDArray[np.int64]) -> Times:
        zone, stage = np.divmod(self.chains.group[rows], len(STAGES))
        return self.calendar.latest[zone, stage, self.chains.cell[rows], 0]

    def _end(self) -> None:
        short = np.flatnonzero(self.done < self.chains.wanted)
        cause = np.where(self.cause[short] == 0, CODE[Cause.HOURS], self.cause[short])
        self.work.missed[self.chains.person[short], self.chains.cell[short]] = cause
