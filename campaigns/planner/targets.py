"""What each person should get in each cell, how much of it can be got at all, and why not more."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiences.vocabulary import Purpose
from campaigns.planner.calendar import Calendar
from campaigns.planner.causes import CODE
from campaigns.planner.given import Given
from campaigns.planner.people import People
from campaigns.planner.spec import STAGES, Spec
from campaigns.vocabulary import Cause
from channels import platform_rules


@dataclass(frozen=True, slots=True)
class Targets:
    """People × cells: the target, how many more touches are possible at most, and the cause where that is less.

    The held out have no targets.
    """

    target: NDArray[np.uint8]
    possible: NDArray[np.uint8]
    cause: NDArray[np.uint8]

    def within_reach(self, given: Given) -> NDArray[np.bool_]:
        """People who can get their full target."""
        return np.asarray((self.possible.astype(np.int16) + given.ordinal >= self.target).all(axis=1))


def set_targets(
    spec: Spec, people: People, calendar: Calendar, given: Given, *, whole: bool = False
) -> Targets:
    """Targets by stage and arm; possible, beyond what is given, where consent, an address and hours are there.

    ``whole``: these are all the people of the campaign, so that an audience too small for its platform is seen.
    """
    table = arm_targets(spec)
    target = table[people.arm + 1, people.stage].astype(np.uint8)
    target[people.held_out] = 0
    channel = np.array([cell.channel for cell in spec.cells], dtype=np.int64)
    cause = people.cause[:, channel]
    if whole:
        cause = _too_small(spec, target, cause, channel)
    over = calendar.ends <= calendar.starts  # the round is over, or no moment of it is left
    cause = np.where((cause == 0) & over[None, :], CODE[Cause.DEADLINE], cause).astype(np.uint8)
    fits = calendar.fits[people.zone, people.stage]
    wanted = np.maximum(0, target.astype(np.int16) - given.ordinal)
    possible = np.where(cause == 0, np.minimum(wanted, fits), 0).astype(np.uint8)
    cause[(cause == 0) & (possible < wanted)] = CODE[Cause.HOURS]
    cause[wanted == 0] = 0
    return Targets(target, possible, cause)


def _too_small(
    spec: Spec, target: NDArray[np.uint8], cause: NDArray[np.uint8], channel: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """No platform serves an audience below its smallest: nobody of it can be planned for there."""
    for index, planned in enumerate(spec.channels):
        if planned.purpose != Purpose.UPLOAD:
            continue
        rule = platform_rules.in_force(planned.channel, "smallest_audience", spec.begins.date())
        if rule is None:
            continue
        cells = np.flatnonzero(channel == index)
        reached = int(((target[:, cells] > 0) & (cause[:, cells] == 0)).any(axis=1).sum())
        if 0 < reached < int(rule.value):
            few = cause[:, cells]
            cause[:, cells] = np.where(few == 0, CODE[Cause.PLATFORM_RULE], few)
    return cause


def arm_targets(spec: Spec) -> NDArray[np.int16]:
    """Targets by (arm + 1, stage, cell). An arm's cap lowers the target itself: a rung of a ladder is no gap.

    Under a cap, first touches of all cells come before second ones, in the order of rounds and channels.
    """
    found = np.repeat(spec.targets[None], len(spec.arms) + 1, axis=0)
    for number, arm in enumerate(spec.arms, start=1):
        if arm.cap is None:
            continue
        for stage in range(len(STAGES)):
            left = arm.cap
            kept = np.zeros(len(spec.cells), dtype=np.int16)
            for ordinal in range(1, int(spec.targets[stage].max(initial=0)) + 1):
                for cell in np.flatnonzero(spec.targets[stage] >= ordinal):
                    if left > 0:
                        kept[cell] += 1
                        left -= 1
            found[number, stage] = kept
    return found
