"""Whom a segment reaches: in all, by stage, and on each channel of a campaign."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from audiences.models import Segment
from audiences.segments.compiling import customers
from audiences.segments.counting import Asked
from audiences.segments.counting import reach as count
from audiences.vocabulary import REACHED_BY, Purpose, Stage
from channels.models import Channel
from channels.vocabulary import Observability


@dataclass(frozen=True, slots=True)
class ChannelReach:
    name: str
    n: int | None  # None: the channel reaches nobody person by person
    share: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class StageCount:
    label: Any
    n: int


@dataclass(frozen=True, slots=True)
class Reach:
    total: int
    stages: list[StageCount]
    channels: list[ChannelReach]


def purpose_of(channel: Channel) -> str:
    """The consent a channel needs: to contact, or to upload where an audience is pushed."""
    return Purpose.UPLOAD if channel.observability == Observability.PERSON_TARGETED else Purpose.CONTACT


def reach(segment: Segment, channel_ids: Sequence[int]) -> Reach:
    """Counted now, exactly, in one statement over the segment."""
    found = Channel.objects.in_bulk(channel_ids)
    channels = [found[pk] for pk in channel_ids if pk in found]
    personal = [
        channel
        for channel in channels
        if channel.observability != Observability.PLACEMENT and REACHED_BY.get(channel.medium)
    ]
    counted = count(
        customers(segment),
        [Asked(channel.pk, channel.brand_id, channel.medium, purpose_of(channel)) for channel in personal],
    )
    rows = []
    for channel in channels:
        if channel not in personal:
            rows.append(ChannelReach(channel.name, None, None, _("reaches places, not persons")))
            continue
        n = counted.reachable[channel.pk]
        without, refused = counted.without_identity[channel.pk], counted.without_consent[channel.pk]
        note = _("%(address)s without address, %(consent)s without consent") % {
            "address": f"{without:,}",
            "consent": f"{refused:,}",
        }
        rows.append(ChannelReach(channel.name, n, n / counted.total if counted.total else None, note))
    stages = [
        StageCount(stage.label, counted.stages[stage.value])
        for stage in Stage
        if counted.stages.get(stage.value)
    ]
    return Reach(counted.total, stages, rows)
