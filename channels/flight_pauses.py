"""Ads of campaigns that stand still, paused on the platform, and let go on when the campaign does.

Desired state like flights: told until the platform agrees. ``pause_wanted`` is the campaign's word. Before the
platform is told to pause what runs there, ``paused_by_us_at`` is committed: whatever is killed after, only what we
paused do we start again, and what somebody paused there by hand stays paused.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from channels import calls, flights, states
from channels.accounts import adapter_for
from channels.adapters import adapter_class
from channels.adapters._flights import BY_AUDIENCE
from channels.adapters.base import NOT_FOUND, AdapterError
from channels.models import Channel, PlatformAudience
from channels.queries.locks import alone

REST = timedelta(minutes=1)  # after an error: ads that go on cost money
LATE = timedelta(minutes=5)  # from then on somebody has to look

# The ads of a channel that is paused or archived are to be paused as well; one stopped by an error cannot be called.
CALLABLE = (Channel.State.ACTIVE, Channel.State.PAUSED, Channel.State.ARCHIVED)

# What is wanted and not so: to pause what shows, or to let go on what we paused.
_OPEN = Q(pause_wanted=True) & (Q(pause_known=None) | Q(pause_known=False)) | Q(
    pause_wanted=False, paused_by_us_at__isnull=False
)


class Standing(StrEnum):
    """How a flight stands whose campaign was paused, stopped or is over."""

    PAUSED = "paused"
    PAUSING = "pausing"
    FAILING = "failing"
    RESUMING = "resuming"
    BY_HAND = "by_hand"  # the platform cannot be told from here
    NOTHING = "nothing"  # none of it was found on the platform


WORDS: dict[Standing, Any] = {
    Standing.PAUSED: gettext_lazy("Ads paused on the platform"),
    Standing.PAUSING: gettext_lazy("Ads are being paused on the platform"),
    Standing.FAILING: gettext_lazy("Ads may still be shown"),
    Standing.RESUMING: gettext_lazy("Ads are being let go on"),
    Standing.BY_HAND: gettext_lazy("Ads may still be shown: pause them on the platform"),
    Standing.NOTHING: gettext_lazy("No ads found on the platform"),
}


@dataclass(frozen=True, slots=True)
class Told:
    """A standing in words, since when, and what went wrong last."""

    standing: Standing
    since: datetime | None
    error: str

    @property
    def words(self) -> Any:
        return WORDS[self.standing]

    @property
    def shows(self) -> bool:
        """Whether somebody has to look: ads may be shown that should not."""
        return self.standing in (Standing.FAILING, Standing.BY_HAND)


def told(audience: PlatformAudience) -> Told | None:
    """How the pause of a flight stands; None while its campaign runs and nothing is left to do."""
    error = audience.pause_error
    if not audience.pause_wanted:
        return Told(Standing.RESUMING, None, error) if audience.paused_by_us_at else None
    if audience.pause_wanted_at is None:
        return None  # it was over before we paused ads at all, and was left as it was
    verbs = adapter_class(audience.channel.adapter).verbs()
    if not flight_known(audience):
        # What is aimed at an audience is found by it; any other is known only once somebody wrote its number.
        return Told(
            Standing.NOTHING if {"pause_flight", "sync_audience"} <= verbs else Standing.BY_HAND, None, ""
        )
    if "pause_flight" not in verbs:
        return Told(Standing.BY_HAND, None, "")
    if audience.pause_known and not audience.flight_reference and not audience.paused_by_us_at:
        return Told(Standing.NOTHING, None, "")
    if audience.pause_known:
        return Told(Standing.PAUSED, audience.paused_by_us_at or audience.pause_wanted_at, "")
    if audience.channel.state not in CALLABLE:
        error = audience.channel.state_reason or error  # nobody can be told before that is mended
        return Told(Standing.FAILING, None, error)
    return Told(Standing.FAILING if error else Standing.PAUSING, None, error)


def can_pause(channel: Channel) -> bool:
    return "pause_flight" in adapter_class(channel.adapter).verbs()


def flight_known(audience: PlatformAudience) -> bool:
    """Whether something on the platform may show for this audience: also what people aimed at it there, without us
    ever telling a budget."""
    return bool(audience.flight_reference or audience.external_id)


def waiting(now: datetime) -> list[int]:
    """Audiences whose ads are to be paused or let go on, and were not tried just now."""
    rows = (
        PlatformAudience.objects.filter(_OPEN, channel__state__in=CALLABLE)
        .filter(Q(pause_tried_at=None) | Q(pause_tried_at__lt=now - REST))
        .select_related("channel")
    )
    return [one.pk for one in rows.order_by("pk") if flight_known(one) and can_pause(one.channel)]


def late(now: datetime) -> list[PlatformAudience]:
    """Flights that should stand still for a while and may not: an error that lasts, or a channel that is stopped."""
    rows = PlatformAudience.objects.filter(
        Q(pause_known=None) | Q(pause_known=False), pause_wanted=True, pause_wanted_at__lt=now - LATE
    ).select_related("channel")
    return [one for one in rows.order_by("pk") if flight_known(one) and can_pause(one.channel)]


def late_to_go_on(now: datetime) -> list[PlatformAudience]:
    """Flights that we paused and that should show again for a while, but may not."""
    rows = PlatformAudience.objects.filter(
        pause_wanted=False, paused_by_us_at__isnull=False, pause_wanted_at__lt=now - LATE
    ).select_related("channel")
    return list(rows.order_by("pk"))


def of_campaign(campaign_id: int) -> dict[int, tuple[PlatformAudience, Told]]:
    """Channel → how the pause of its flight in this campaign stands."""
    rows = PlatformAudience.objects.filter(campaign_id=campaign_id).select_related("channel")
    return {one.channel_id: (one, standing) for one in rows if (standing := told(one)) is not None}


def apply(audience_id: int, now: datetime) -> str:
    """Tell the platform once; returns '' or what went wrong, which also stands on the audience. Outside a transaction.

    By one worker at a time, and never beside a change of the same flight.
    """
    with alone(flights.FLIGHT_LOCK, audience_id) as mine:
        return _apply(audience_id, now) if mine else ""


def _apply(audience_id: int, now: datetime) -> str:
    audience = PlatformAudience.objects.select_related("channel__brand").get(pk=audience_id)
    channel, wanted = audience.channel, audience.pause_wanted
    if not PlatformAudience.objects.filter(_OPEN, pk=audience_id).exists() or not can_pause(channel):
        return ""  # somebody did it meanwhile
    _keep(audience, pause_tried_at=now)
    reference = audience.flight_reference or f"{BY_AUDIENCE}{audience.external_id}"
    try:
        known = _brought_to(audience, reference, wanted, now)
        if known is None:
            return ""
    except AdapterError as error:
        if error.code == NOT_FOUND and _was_there(audience):
            _keep(audience, pause_known=True, paused_by_us_at=None, pause_error="")
            return ""  # nothing is there, and nothing is shown
        if error.stops_channel:
            states.stop(channel, str(error))
        return _failed(audience, str(error))
    if known != wanted:
        return _failed(audience, _("The platform keeps to something else than was asked."))
    # Only if nobody wished otherwise meanwhile: then the next look tells the platform anew.
    _same(audience).filter(pause_wanted=wanted).update(
        pause_known=known, pause_error="", **({} if wanted else {"paused_by_us_at": None})
    )
    return ""


def _was_there(audience: PlatformAudience) -> bool:
    """Whether a flight that is not found is gone; a number that was never found may be a slip of the pen, and its ads
    go on."""
    return bool(not audience.flight_reference or audience.known_flight or audience.paused_by_us_at)


def _brought_to(audience: PlatformAudience, reference: str, wanted: bool, now: datetime) -> bool | None:
    """Whether the flight is paused in the end; None where somebody wrote another reference meanwhile."""
    adapter = adapter_for(audience.channel)
    if wanted:
        calls.spend(audience.channel)
        if adapter.pause_flight(reference, None):
            return True  # by somebody there, or by us before our answer was lost
        if not _keep(audience, paused_by_us_at=now):
            return None
    calls.spend(audience.channel)
    return adapter.pause_flight(reference, wanted)


def _failed(audience: PlatformAudience, text: str) -> str:
    _keep(audience, pause_error=text[:254])
    return text


def _keep(audience: PlatformAudience, **fields: Any) -> int:
    return _same(audience).update(**fields)


def _same(audience: PlatformAudience) -> QuerySet[PlatformAudience]:
    """The audience, unless another reference was written since: what is known of one flight says nothing of another."""
    return PlatformAudience.objects.filter(pk=audience.pk, flight_reference=audience.flight_reference)
