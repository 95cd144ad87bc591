"""What can go wrong on a far side, chosen by share (by hash, so the same messages fail again) or one by one."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """How one message is treated."""

    OK = "ok"
    THROTTLE = "throttle"  # not taken: slower, please
    REFUSE = "refuse"  # not taken, for good
    SILENT = "silent"  # taken and logged, but never answered
    DROP = "drop"  # taken and logged, then the connection is closed instead of an answer
    DROP_BEFORE = "drop_before"  # the connection is closed before anything is taken


@dataclass
class Faults:
    """Shares are of messages, 0 to 1, tried in the order of the fields. ``next`` is consumed first."""

    drop_before: float = 0.0
    throttle: float = 0.0
    refuse: float = 0.0
    silent: float = 0.0
    drop: float = 0.0
    seconds: float = 0.0  # each answer waits this long
    expired_token: int = 0  # so many calls from now find their token expired (HTTP sides)
    receipt_seconds: float = 0.0  # receipts come this much later
    receipt_repeat: float = 0.0  # share of receipts told twice
    receipt_shuffle: bool = False  # receipts come out of order
    receipt_early: float = 0.0  # share of receipts that come before the answer
    next: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Beside the configuration: what happened so far.
        self.seen: Counter[str] = Counter()
        self._times: Counter[str] = Counter()

    def decide(self, seed: int, key: str) -> Fault:
        """The treatment of the message ``key``."""
        fault = Fault(self.next.pop(0)) if self.next else self._draw(seed, key)
        self.seen[fault.value] += fault is not Fault.OK
        return fault

    def decide_call(self, seed: int, key: str) -> Fault:
        """The treatment of a call that is the same when it is made again: its next time is drawn anew, as a line
        that failed once does not fail for ever."""
        self._times[key] += 1
        times = self._times[key]
        return self.decide(seed, key if times == 1 else f"{key}\0{times}")

    def _draw(self, seed: int, key: str) -> Fault:
        share = chance(seed, "fault", key)
        for fault in (Fault.DROP_BEFORE, Fault.THROTTLE, Fault.REFUSE, Fault.SILENT, Fault.DROP):
            width = float(getattr(self, fault.value))
            if share < width:
                return fault
            share -= width
        return Fault.OK


def chance(seed: int, purpose: str, key: str) -> float:
    """A number in [0, 1) that is the same for the same seed, purpose and key."""
    raw = hashlib.blake2b(f"{seed}\0{purpose}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(raw) / 2**64
