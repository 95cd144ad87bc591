"""How a channel fares: throughput and errors of the last day, what waits, when it last heard something."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _

from channels.models import Channel, ChannelCapacity
from channels.queries import health as queries

DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Health:
    """Of the last 24 hours."""

    channel: Channel
    accepted: int = 0
    held: int = 0
    refused: int = 0
    throttled: int = 0
    unknown: int = 0
    bad_signatures: int = 0
    last_event: datetime | None = None
    waiting: int = 0
    set_aside: int = 0

    @property
    def handed_over(self) -> int:
        return self.accepted + self.held

    @property
    def failed(self) -> int:
        return self.refused + self.throttled + self.unknown

    @property
    def failed_share(self) -> float | None:
        every = self.handed_over + self.failed
        return self.failed / every if every else None

    @property
    def troubles(self) -> list[str]:
        """In words, the worst first."""
        told = []
        if self.channel.state == Channel.State.STOPPED:
            told.append(
                _("Stopped: %(reason)s") % {"reason": self.channel.state_reason or _("no reason given")}
            )
        if self.channel.last_check and not self.channel.last_check.get("ok"):
            told.append(_("The connection test failed."))
        if self.set_aside:
            told.append(_("%(n)d events are set aside.") % {"n": self.set_aside})
        if self.bad_signatures:
            told.append(_("%(n)d calls with a bad signature.") % {"n": self.bad_signatures})
        if self.failed_share is not None and self.failed_share > 0.2 and self.failed >= 5:
            told.append(_("More than a fifth is not taken."))
        return told


@dataclass(frozen=True, slots=True)
class Span:
    """Hours of a day and the causes of what failed in it."""

    hours: Sequence[tuple[datetime, int, int]] = field(default=())
    causes: Sequence[tuple[str, int]] = field(default=())

    @property
    def chart(self) -> dict[str, Any]:
        """An ECharts option."""
        from django.utils import timezone

        return {
            "tooltip": {"trigger": "axis"},
            "grid": {"left": 48, "right": 8, "top": 24, "bottom": 24},
            "legend": {"top": 0},
            "xAxis": {
                "type": "category",
                "data": [timezone.localtime(hour).strftime("%H:%M") for hour, _a, _b in self.hours],
            },
            "yAxis": {"type": "value", "minInterval": 1},
            "series": [
                {
                    "type": "bar",
                    "stack": "all",
                    "name": _("Handed over"),
                    "data": [went for _hour, went, _failed in self.hours],
                },
                {
                    "type": "bar",
                    "stack": "all",
                    "name": _("Not taken"),
                    "data": [failed for _hour, _went, failed in self.hours],
                },
            ],
        }


def of_channels(channels: Sequence[Channel], now: datetime) -> list[Health]:
    """In the order given, in one query."""
    rows = {row[0]: row[1:] for row in queries.summary([channel.pk for channel in channels], now - DAY)}
    return [Health(channel, *rows.get(channel.pk, ())) for channel in channels]


def last_day(channel: Channel, now: datetime) -> Span:
    return Span(queries.hours(channel.pk, now - DAY, now), queries.causes(channel.pk, now - DAY))


def capacity_on(channel: Channel, day: date) -> int | None:
    """How many messages the channel takes on a day; None is no limit."""
    told = ChannelCapacity.objects.filter(channel=channel, day=day).values_list("messages", flat=True).first()
    return channel.daily_capacity if told is None else told
