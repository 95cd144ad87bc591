"""How a channel fares: throughput and errors of the last day, what waits, when it last heard something, and how
fetching from its provider goes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from channels import daily_reports, fetching, flight_pauses
from channels.models import Channel, ChannelCapacity, ChannelFetch
from channels.queries import health as queries
from channels.registers import due_messages

DAY = timedelta(hours=24)
LATE = timedelta(hours=3)
"""What is fetched every hour and fails for so long needs somebody; so does somebody who is still in an audience."""


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
    to_take_out: int = 0  # of audiences on platforms, since permission ended
    to_take_out_since: datetime | None = None
    failing: Sequence[ChannelFetch] = ()  # what could not be fetched for some time
    now: datetime | None = None
    ads_shown: int = 0  # flights that should stand still for a while and may be shown
    ads_off: int = 0  # flights we paused, that should show again for a while and may not

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
        if self.channel.state != Channel.State.STOPPED:
            return self.other_troubles
        stopped = _("Stopped: %(reason)s") % {"reason": self.channel.state_reason or _("no reason given")}
        return [stopped, *self.other_troubles]

    @property
    def other_troubles(self) -> list[str]:
        """Beside that the channel is stopped, which its page says at its head."""
        told = []
        if self.channel.last_check and not self.channel.last_check.get("ok"):
            told.append(_("The connection test failed."))
        if self.ads_shown:
            told.append(
                ngettext(
                    "Ads of %(n)d campaign that stands still may still be shown: pause them on the platform.",
                    "Ads of %(n)d campaigns that stand still may still be shown: pause them on the platform.",
                    self.ads_shown,
                )
                % {"n": self.ads_shown}
            )
        if self.ads_off:
            told.append(
                ngettext(
                    "Ads of %(n)d campaign that runs again may still be paused: switch them on at the platform.",
                    "Ads of %(n)d campaigns that run again may still be paused: switch them on at the platform.",
                    self.ads_off,
                )
                % {"n": self.ads_off}
            )
        if self._taking_out_is_late:
            told.append(
                ngettext(
                    "%(n)d person waits to be taken out of the platform's audiences, since %(since)s.",
                    "%(n)d people wait to be taken out of the platform's audiences, since %(since)s.",
                    self.to_take_out,
                )
                % {"n": self.to_take_out, "since": _moment(self.to_take_out_since)}
            )
        told += [
            _("%(what)s cannot be fetched since %(since)s: %(error)s")
            % {"what": row.get_kind_display(), "since": _moment(row.failing_since), "error": row.error}
            for row in self.failing
        ]
        if self.set_aside:
            told.append(_("%(n)d events are set aside.") % {"n": self.set_aside})
        if self.bad_signatures:
            told.append(_("%(n)d calls with a bad signature.") % {"n": self.bad_signatures})
        if self.failed_share is not None and self.failed_share > 0.2 and self.failed >= 5:
            told.append(_("More than a fifth is not taken."))
        return told

    @property
    def _taking_out_is_late(self) -> bool:
        if self.to_take_out_since is None or self.now is None:
            return False
        return self.channel.state == Channel.State.STOPPED or self.to_take_out_since < self.now - LATE


def _moment(at: datetime | None) -> str:
    return timezone.localtime(at).strftime("%Y-%m-%d %H:%M") if at else ""


@dataclass(frozen=True, slots=True)
class Span:
    """Hours of a day and the causes of what failed in it."""

    hours: Sequence[tuple[datetime, int, int]] = field(default=())
    causes: Sequence[tuple[str, int]] = field(default=())

    @property
    def chart(self) -> dict[str, Any]:
        """An ECharts option."""
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
    """In the order given, in as many queries whatever their number."""
    ids = [channel.pk for channel in channels]
    rows = {row[0]: row[1:] for row in queries.summary(ids, now - DAY)}
    failing: dict[int, list[ChannelFetch]] = {}
    for row in ChannelFetch.objects.filter(channel__in=ids, failing_since__lte=now - LATE).order_by("kind"):
        failing.setdefault(row.channel_id, []).append(row)
    shown = Counter(one.channel_id for one in flight_pauses.late(now))
    off = Counter(one.channel_id for one in flight_pauses.late_to_go_on(now))
    found = [Health(channel, *rows.get(channel.pk, ())) for channel in channels]
    return [
        replace(
            one,
            failing=failing.get(one.channel.pk, ()) if one.channel.state == Channel.State.ACTIVE else (),
            now=now,
            ads_shown=shown[one.channel.pk],
            ads_off=off[one.channel.pk],
        )
        for one in found
    ]


@dataclass(frozen=True, slots=True)
class Queues:
    """What waits at a channel, each with how many and since when the oldest does."""

    messages: tuple[int, datetime | None]
    to_add: tuple[int, datetime | None]
    to_take_out: tuple[int, datetime | None]
    inbox: int
    has_audiences: bool


def queues(health: Health, now: datetime) -> Queues:
    """Counted now; for one channel at a time."""
    channel = health.channel
    told = [due for source in due_messages for due in source([channel.pk], now)]
    return Queues(
        messages=(
            sum(due.messages for due in told),
            min((due.since for due in told if due.since), default=None),
        ),
        to_add=queries.to_add(channel.pk),
        to_take_out=(health.to_take_out, health.to_take_out_since),
        inbox=health.waiting,
        has_audiences=channel.audiences.exists(),
    )


@dataclass(frozen=True, slots=True)
class Fetched:
    """How one kind of fetching fares."""

    kind: str
    label: str
    row: ChannelFetch | None  # None: never tried
    missed: Sequence[daily_reports.Missed] = ()


def fetches(channel: Channel) -> list[Fetched]:
    """Each kind that is fetched from the channel's provider."""
    rows: Mapping[str, ChannelFetch] = {row.kind: row for row in channel.fetches.all()}
    labels = dict(ChannelFetch.Kind.choices)
    return [
        Fetched(kind, str(labels[kind]), row := rows.get(kind), daily_reports.missed(row) if row else ())
        for kind in fetching.kinds(channel)
    ]


def last_day(channel: Channel, now: datetime) -> Span:
    return Span(queries.hours(channel.pk, now - DAY, now), queries.causes(channel.pk, now - DAY))


def capacity_on(channel: Channel, day: date) -> int | None:
    """How many messages the channel takes on a day; None is no limit."""
    told = ChannelCapacity.objects.filter(channel=channel, day=day).values_list("messages", flat=True).first()
    return channel.daily_capacity if told is None else told
