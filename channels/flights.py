"""Flights on ad platforms as desired state: budget, exposure cap and dates, told until the platform agrees."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F, Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from channels import calls, states
from channels.accounts import adapter_for
from channels.adapters import adapter_class
from channels.adapters._flights import BY_AUDIENCE
from channels.adapters.base import AdapterError, Flight
from channels.models import Channel, PlatformAudience
from channels.queries.locks import alone

FLIGHT_LOCK = 730_148
REST = timedelta(minutes=10)  # after an error, or when the platform keeps to something else


def want(audience: PlatformAudience, flight: Flight) -> bool:
    """What the platform shall keep to; whether that is news. ``flight.reference`` may be empty: the adapter makes one."""
    wanted = to_json(flight)
    if wanted == audience.wanted_flight:
        return False
    audience.wanted_flight = wanted
    audience.save(update_fields=["wanted_flight"])
    return True


def to_json(flight: Flight) -> dict[str, Any]:
    told = asdict(flight)
    told.pop("reference")
    without = list(told.pop("without"))
    plain = {
        name: value if value is None or isinstance(value, int) else str(value) for name, value in told.items()
    }
    return plain | {"without": without} if without else plain


def from_json(reference: str, told: Mapping[str, Any]) -> Flight:
    return Flight(
        reference=reference,
        budget=Decimal(told["budget"]),
        starts_on=date.fromisoformat(told["starts_on"]),
        ends_on=date.fromisoformat(told["ends_on"]),
        cap_exposures=told.get("cap_exposures"),
        cap_days=told.get("cap_days"),
        without=tuple(told.get("without") or ()),
    )


def agrees(audience: PlatformAudience) -> bool:
    """Whether the platform keeps to what is wanted: money by value, only what was asked for, and only what it can
    be told; :func:`beyond` says what it cannot."""
    wanted, known = audience.wanted_flight, audience.known_flight
    if not wanted:
        return True
    if not known:
        return False
    asked, told = asdict(from_json("", wanted)), asdict(from_json("", known))
    asked.pop("without")
    without = told["without"]
    return all(
        told[name] == value for name, value in asked.items() if value is not None and name not in without
    )


def beyond(audience: PlatformAudience) -> list[str]:
    """Fields of the flight that were asked for and that the platform has nothing for: nobody there keeps to them."""
    wanted, known = audience.wanted_flight, audience.known_flight
    return [name for name in (known or {}).get("without", ()) if (wanted or {}).get(name) is not None]


def unheld_cap(audience: PlatformAudience) -> tuple[int, int | None] | None:
    """(exposures, days) of a wanted frequency cap that the platform, asked for it, told nothing of: it has none.

    Such a cap is never agreed. It is kept, as far as exposures of a person are seen, by taking people out.
    """
    wanted, known = audience.wanted_flight, audience.known_flight
    if not known or not wanted.get("cap_exposures") or known.get("cap_exposures"):
        return None
    return int(wanted["cap_exposures"]), wanted.get("cap_days")


def settled(audience: PlatformAudience) -> bool:
    """Whether telling the platform again would change nothing: it agrees, or only a cap is missing that it lacks."""
    if agrees(audience):
        return True
    if unheld_cap(audience) is None:
        return False
    wanted, known = from_json("", audience.wanted_flight), from_json("", audience.known_flight)
    return (wanted.budget, wanted.starts_on, wanted.ends_on) == (known.budget, known.starts_on, known.ends_on)


def waiting(now: datetime) -> list[int]:
    """Audiences of active channels whose flight is not as wanted, and was not tried just now. What stands still waits:
    telling a flight may make it."""
    rows = (
        PlatformAudience.objects.filter(channel__state=Channel.State.ACTIVE, pause_wanted=False)
        .exclude(wanted_flight={})
        .exclude(wanted_flight=F("known_flight"))
        .filter(Q(flight_tried_at=None) | Q(flight_tried_at__lt=now - REST))
    )
    return [audience.pk for audience in rows.order_by("pk") if not settled(audience)]


def refer(audience: PlatformAudience, reference: str) -> None:
    """Somebody says which campaign, ad group or ad of the platform this flight is; it is told anew."""
    named = reference.strip()[:120]
    another = named != audience.flight_reference
    audience.flight_reference = named
    audience.known_flight, audience.flight_tried_at, audience.last_error = {}, None, ""
    fields = ["flight_reference", "known_flight", "flight_tried_at", "last_error"]
    if another:
        # It is looked at anew, and is not ours to start. The same one, saved again, stays ours.
        audience.pause_known, audience.paused_by_us_at, audience.pause_tried_at = None, None, None
        audience.pause_error = ""
        fields += ["pause_known", "paused_by_us_at", "pause_tried_at", "pause_error"]
    audience.save(update_fields=fields)


# What a platform may have nothing for, in words.
BEYOND = {
    "starts_on": gettext_lazy("first day"),
    "ends_on": gettext_lazy("last day"),
}


def beyond_in_words(audience: PlatformAudience) -> list[Any]:
    """:func:`beyond` for people."""
    return [BEYOND[name] for name in beyond(audience) if name in BEYOND]


def apply(audience_id: int, now: datetime) -> str:
    """Tell the platform once; returns '' or what went wrong, which also stands on the audience. Outside a transaction.

    By one worker at a time: two at once would make it twice on the platform, with twice the money.
    """
    with alone(FLIGHT_LOCK, audience_id) as mine:
        return _apply(audience_id, now) if mine else ""


def _apply(audience_id: int, now: datetime) -> str:
    audience = PlatformAudience.objects.select_related("channel__brand").get(pk=audience_id)
    channel = audience.channel
    if (
        audience.pause_wanted
        or not audience.wanted_flight
        or "set_flight" not in adapter_class(channel.adapter).verbs()
    ):
        return ""
    audience.flight_tried_at = now
    audience.save(update_fields=["flight_tried_at"])
    reference = audience.flight_reference or (
        f"{BY_AUDIENCE}{audience.external_id}" if audience.external_id else ""
    )
    if not reference:
        if "sync_audience" in adapter_class(channel.adapter).verbs():
            return _failed(audience, _("The platform has no audience yet."))
        return _failed(
            audience,
            _("Write the id of the platform's campaign or ad here: it is not known which one this is."),
        )
    try:
        calls.spend(channel)
        known = adapter_for(channel).set_flight(from_json(reference, audience.wanted_flight))
    except AdapterError as error:
        if error.stops_channel:
            states.stop(channel, str(error))
        return _failed(audience, str(error))
    audience.flight_reference, audience.known_flight, audience.last_error = (
        known.reference,
        to_json(known),
        "",
    )
    audience.save(update_fields=["flight_reference", "known_flight", "last_error"])
    if not settled(audience):
        return _failed(audience, _("The platform keeps to something else than was asked."))
    return ""


def _failed(audience: PlatformAudience, text: str) -> str:
    audience.last_error = text[:254]
    audience.save(update_fields=["last_error"])
    return text
