"""Whom a segment reaches: in all, by stage, and on each channel of a campaign."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from audiences.models import Segment


@dataclass(frozen=True, slots=True)
class ChannelReach:
    name: str
    n: int
    share: float | None
    note: Any = ""


@dataclass(frozen=True, slots=True)
class StageCount:
    label: Any
    n: int


@dataclass(frozen=True, slots=True)
class Reach:
    total: int
    stages: list[StageCount]
    channels: list[ChannelReach]


def reach(segment: Segment, channel_ids: Sequence[int]) -> Reach:
    """Counted now, exactly, in one statement over the segment."""
    raise NotImplementedError
