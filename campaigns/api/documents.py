"""The document of a campaign as JSON: shapes, and the way into the form that :mod:`campaigns.definition` keeps."""

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from zoneinfo import available_timezones

from django.utils.translation import gettext as _
from rest_framework import serializers

from audiences.models import Brand, Segment
from audiences.vocabulary import ResponseKind, Stage
from campaigns import cadence, definition, occasions
from campaigns.models import Campaign, Message, Occasion, Offer
from channels.models import Channel

MONEY: dict[str, Any] = {"max_digits": 18, "decimal_places": 4, "min_value": Decimal(0)}
SHARE: dict[str, Any] = {
    "max_digits": 5,
    "decimal_places": 4,
    "min_value": Decimal(0),
    "max_value": Decimal(1),
}


class SegmentEntry(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField(read_only=True)
    rule = serializers.JSONField(
        read_only=True, allow_null=True, help_text="As it was when this document was read."
    )


class CadenceEntry(serializers.Serializer[Any]):
    """How it runs: of a recurring campaign ``every``, ``unit`` and ``times`` or ``until``; of a triggered one ``by``…"""

    every = serializers.IntegerField(min_value=1, max_value=366, required=False)
    unit = serializers.ChoiceField(choices=[unit for unit, _label in cadence.UNITS], required=False)
    times = serializers.IntegerField(
        min_value=1, max_value=cadence.MOST_RUNS, required=False, allow_null=True
    )
    until = serializers.DateField(required=False, allow_null=True, help_text="The last day a run may begin.")
    days = serializers.IntegerField(
        min_value=1, max_value=366, required=False, allow_null=True, help_text="How long a run lasts."
    )
    by = serializers.ChoiceField(choices=[by for by, _label in cadence.BY], required=False)
    event = serializers.CharField(max_length=40, required=False, allow_blank=True)
    stage = serializers.ChoiceField(choices=Stage.choices, required=False, allow_blank=True)
    wait_hours = serializers.IntegerField(min_value=0, max_value=8760, required=False)
    window_days = serializers.IntegerField(min_value=1, max_value=366, required=False)
    most = serializers.IntegerField(
        min_value=1, max_value=cadence.MOST_TIMES, required=False, help_text="Times a person, at most."
    )
    apart_days = serializers.IntegerField(min_value=0, max_value=3650, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("times") and attrs.get("until"):
            raise serializers.ValidationError({"until": _("Say how many times, or the last day; not both.")})
        return attrs


class OccasionEntry(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField(read_only=True)
    kind = serializers.CharField(read_only=True)
    rule = serializers.JSONField(read_only=True)
    lead_days = serializers.IntegerField(read_only=True)
    segment = serializers.IntegerField(read_only=True, allow_null=True)


class OfferEntry(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField(read_only=True)
    kind = serializers.CharField(read_only=True)
    value = serializers.CharField(read_only=True)
    codes = serializers.CharField(read_only=True)
    code = serializers.CharField(read_only=True)
    cost = serializers.CharField(read_only=True)
    valid_from = serializers.CharField(read_only=True, allow_null=True)
    valid_to = serializers.CharField(read_only=True, allow_null=True)


class PhaseEntry(serializers.Serializer[Any]):
    id = serializers.IntegerField(required=False, allow_null=True, help_text="Left out: a new phase.")
    name = serializers.CharField(max_length=80)
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    round_days = serializers.IntegerField(
        min_value=1,
        max_value=3650,
        required=False,
        allow_null=True,
        default=None,
        help_text="Days a round; null: the whole phase is one round.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["ends_at"] <= attrs["starts_at"]:
            raise serializers.ValidationError({"ends_at": _("It must end after it starts.")})
        return attrs


class DayPartEntry(serializers.Serializer[Any]):
    """Permitted hours of the recipient's zone. ``days``: 1 Monday to 7 Sunday."""

    days = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=7), default=lambda: list(range(1, 8))
    )
    to = serializers.TimeField(format="%H:%M")

    def get_fields(self) -> dict[str, Any]:  # "from" is no name Python allows
        return {**super().get_fields(), "from": serializers.TimeField(format="%H:%M")}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["to"] <= attrs["from"]:
            raise serializers.ValidationError({"to": _("Hours must end after they begin.")})
        return attrs


class MessageEntry(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField(read_only=True)
    version = serializers.IntegerField(read_only=True, allow_null=True)
    version_id = serializers.IntegerField(
        required=False, allow_null=True, help_text="Left out: the newest version."
    )
    digest = serializers.CharField(read_only=True)


class ChannelEntry(serializers.Serializer[Any]):
    channel = serializers.IntegerField(help_text="Id of the channel.")
    name = serializers.CharField(read_only=True)
    medium = serializers.CharField(read_only=True)
    budget = serializers.DecimalField(**MONEY, required=False, allow_null=True, default=None)
    daily_limit = serializers.IntegerField(min_value=0, required=False, allow_null=True, default=None)
    day_parts = DayPartEntry(many=True, required=False, default=list)
    silence_hours = serializers.IntegerField(
        min_value=1, max_value=10000, required=False, allow_null=True, default=None
    )
    message = MessageEntry(required=False, allow_null=True, default=None)


class CellEntry(serializers.Serializer[Any]):
    """A cell of the frequency matrix: n touches a round, at least so many hours apart."""

    phase = serializers.IntegerField(min_value=0, help_text="Index into phases.")
    channel = serializers.IntegerField(help_text="Id of the channel.")
    stage = serializers.ChoiceField(choices=Stage.choices)
    touches = serializers.IntegerField(min_value=0, max_value=90)
    min_gap_hours = serializers.IntegerField(min_value=0, max_value=8760, default=48)


class ArmEntry(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=40)
    share = serializers.DecimalField(**SHARE)
    cap = serializers.IntegerField(min_value=0, max_value=90, required=False, allow_null=True, default=None)


class DocumentSerializer(serializers.Serializer[Any]):
    """A campaign's definition as one document: dates, audience, phases, matrix, budgets, content, experiment, rules."""

    name = serializers.CharField(max_length=160)
    brand = serializers.SlugField(required=False, help_text="Code of the brand; the first one when left out.")
    kind = serializers.ChoiceField(choices=Campaign.Kind.choices, default=Campaign.Kind.ONE_OFF)
    cadence = CadenceEntry(required=False, default=dict)
    occasion = OccasionEntry(required=False, allow_null=True, default=None)
    offer = OfferEntry(required=False, allow_null=True, default=None)
    goal = serializers.CharField(required=False, allow_blank=True, default="")
    segment = SegmentEntry(required=False, allow_null=True, default=None)
    starts_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    ends_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    zone = serializers.CharField(required=False)
    currency = serializers.RegexField(r"^[A-Z]{3}$", required=False)
    budget = serializers.DecimalField(**MONEY, required=False, allow_null=True, default=None)
    objective = serializers.ChoiceField(
        choices=Campaign.Objective.choices, default=Campaign.Objective.COVERAGE
    )
    priority = serializers.IntegerField(min_value=0, max_value=100, default=50)
    person_cap = serializers.IntegerField(
        min_value=1, max_value=32000, required=False, allow_null=True, default=None
    )
    holdout_share = serializers.DecimalField(
        max_digits=5, decimal_places=4, min_value=Decimal(0), max_value=Decimal("0.5"), default=Decimal(0)
    )
    joiner_share = serializers.DecimalField(
        max_digits=5,
        decimal_places=4,
        min_value=Decimal(0),
        max_value=Decimal("0.9"),
        default=Decimal(0),
        help_text="Share of each budget the first plan leaves to those who enter the segment later.",
    )
    margin_rate = serializers.DecimalField(
        max_digits=6, decimal_places=4, min_value=Decimal(0), max_value=Decimal(1), default=Decimal("0.3")
    )
    conversion_value = serializers.DecimalField(**MONEY, default=Decimal(100))
    silence_hours = serializers.IntegerField(
        min_value=1, max_value=10000, required=False, allow_null=True, default=None
    )
    silent_touches = serializers.IntegerField(min_value=1, max_value=90, default=1)
    exit_on = serializers.ListField(child=serializers.ChoiceField(choices=ResponseKind.choices), default=list)
    attribution_days = serializers.IntegerField(min_value=1, max_value=365, default=7)
    revenue_basis = serializers.ChoiceField(
        choices=Campaign.RevenueBasis.choices, default=Campaign.RevenueBasis.NET
    )
    phases = PhaseEntry(many=True, required=False, default=list)
    channels = ChannelEntry(many=True, required=False, default=list)
    matrix = CellEntry(many=True, required=False, default=list)
    arms = ArmEntry(many=True, required=False, default=list)

    def validate_zone(self, zone: str) -> str:
        if zone not in available_timezones():
            raise serializers.ValidationError(_("There is no such time zone."))
        return zone

    def validate_kind(self, kind: str) -> str:
        if kind == Campaign.Kind.IMPORTED:
            raise serializers.ValidationError(_("Campaigns that ran elsewhere come in by import."))
        return kind

    def validate_brand(self, code: str) -> str:
        if not Brand.objects.filter(code=code).exists():
            raise serializers.ValidationError(_("There is no brand “%(code)s”.") % {"code": code})
        return code

    def validate_segment(self, entry: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if entry and not Segment.objects.filter(pk=entry["id"]).exists():
            raise serializers.ValidationError({"id": _("There is no segment %(id)s.") % {"id": entry["id"]}})
        return entry

    def validate_occasion(self, entry: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if entry and not Occasion.objects.filter(pk=entry["id"]).exists():
            raise serializers.ValidationError({"id": _("There is no occasion %(id)s.") % {"id": entry["id"]}})
        return entry

    def validate_offer(self, entry: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if entry and not Offer.objects.filter(pk=entry["id"]).exists():
            raise serializers.ValidationError({"id": _("There is no offer %(id)s.") % {"id": entry["id"]}})
        return entry

    def validate_channels(self, entries: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        known = set(
            Channel.objects.filter(pk__in=[entry["channel"] for entry in entries]).values_list(
                "pk", flat=True
            )
        )
        for entry in entries:
            if entry["channel"] not in known:
                raise serializers.ValidationError(_("There is no channel %(id)s.") % {"id": entry["channel"]})
            message = entry.get("message")
            if message and not Message.objects.filter(pk=message["id"]).exists():
                raise serializers.ValidationError(_("There is no message %(id)s.") % {"id": message["id"]})
        return entries

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("starts_at") and attrs.get("ends_at") and attrs["ends_at"] <= attrs["starts_at"]:
            raise serializers.ValidationError({"ends_at": _("It must end after it starts.")})
        if "matrix" in attrs and "phases" in attrs and "channels" in attrs:
            channels = {entry["channel"] for entry in attrs["channels"]}
            for n, cell in enumerate(attrs["matrix"]):
                if cell["phase"] >= len(attrs["phases"]) or cell["channel"] not in channels:
                    raise serializers.ValidationError(
                        {
                            "matrix": {
                                str(n): _("It names a phase or a channel that the campaign does not have.")
                            }
                        }
                    )
        return attrs


def plain(entered: Mapping[str, Any]) -> definition.Document:
    """Validated values as the plain JSON of a document; only what was given."""
    document: definition.Document = {}
    for name, value in entered.items():
        document[name] = SHAPES.get(name, _as_is)(value)
    return document


def _as_is(value: Any) -> Any:
    if isinstance(value, Decimal):
        return definition.amount(value)
    return definition.moment(value) if isinstance(value, dt.datetime) else value


def _segment(value: Mapping[str, Any] | None) -> Any:
    return definition.segment_entry(Segment.objects.get(pk=value["id"])) if value else None


def _occasion(value: Mapping[str, Any] | None) -> Any:
    return occasions.entry(Occasion.objects.get(pk=value["id"])) if value else None


def _offer(value: Mapping[str, Any] | None) -> Any:
    return definition.offer_entry(Offer.objects.get(pk=value["id"])) if value else None


def _cadence(value: Mapping[str, Any]) -> Any:
    """What was said, with the usual values of a cadence of its sort for what was not."""
    told = {name: part.isoformat() if isinstance(part, dt.date) else part for name, part in value.items()}
    if "by" in told:
        return cadence.TRIGGER | told
    if "every" in told:
        usual = {"unit": "week", "times": None, "until": None, "days": None}
        return usual | told
    return told


def _phases(value: list[Mapping[str, Any]]) -> Any:
    return [{"id": None} | {name: _as_is(part) for name, part in entry.items()} for entry in value]


def _channels(value: list[Mapping[str, Any]]) -> Any:
    channels = Channel.objects.in_bulk([entry["channel"] for entry in value])
    found = []
    for entry in value:
        message = entry.get("message")
        found.append(
            {
                **definition.channel_entry(channels[entry["channel"]]),
                "budget": definition.amount(entry["budget"]),
                "daily_limit": entry["daily_limit"],
                "day_parts": [
                    {
                        "days": sorted(set(part["days"])),
                        "from": part["from"].strftime("%H:%M"),
                        "to": part["to"].strftime("%H:%M"),
                    }
                    for part in entry["day_parts"]
                ],
                "silence_hours": entry["silence_hours"],
                "message": definition.message_entry(
                    Message.objects.get(pk=message["id"]), message.get("version_id")
                )
                if message
                else None,
            }
        )
    return found


def _cells(value: list[Mapping[str, Any]]) -> Any:
    return [dict(cell) for cell in value if cell["touches"]]


def _arms(value: list[Mapping[str, Any]]) -> Any:
    return [{name: _as_is(part) for name, part in entry.items()} for entry in value]


SHAPES: dict[str, Callable[[Any], Any]] = {
    "segment": _segment,
    "cadence": _cadence,
    "occasion": _occasion,
    "offer": _offer,
    "phases": _phases,
    "channels": _channels,
    "matrix": _cells,
    "arms": _arms,
    "exit_on": lambda value: sorted(set(value)),
}
