"""Forms of the campaign screens. They speak in a campaign's own zone and in per cent; documents do not."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.models import Brand, Segment
from audiences.vocabulary import ResponseKind
from campaigns import definition
from campaigns.definition import Document
from campaigns.models import Campaign

LOCAL = "%Y-%m-%dT%H:%M"

ZONES = (
    "Asia/Shanghai",
    "Asia/Urumqi",
    "Asia/Hong_Kong",
    "Asia/Taipei",
    "Asia/Singapore",
    "Asia/Tokyo",
    "Asia/Seoul",
    "Asia/Kolkata",
    "Asia/Dubai",
    "Europe/London",
    "Europe/Paris",
    "Europe/Berlin",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "Australia/Sydney",
    "UTC",
)
CURRENCIES = ("CNY", "USD", "EUR", "GBP", "HKD", "TWD", "JPY", "SGD")

EXITS = (
    ResponseKind.CONVERSION,
    ResponseKind.REDEMPTION,
    ResponseKind.OPT_OUT,
    ResponseKind.COMPLAINT,
    ResponseKind.REGISTRATION,
    ResponseKind.LEAD,
    ResponseKind.CONSULTATION,
    ResponseKind.VISIT,
    ResponseKind.REPLY,
    ResponseKind.CLICK,
)


def local(moment: str | None, zone: str) -> str:
    """``2026-03-01T01:00:00+00:00`` in Shanghai → ``2026-03-01T09:00``, as ``datetime-local`` wants it."""
    found = definition.as_moment(moment)
    return found.astimezone(ZoneInfo(zone)).strftime(LOCAL) if found else ""


def from_local(text: str, zone: str) -> datetime | None:
    """The moment a ``datetime-local`` field names in a zone; None when it is empty. Raises ValidationError."""
    if not text.strip():
        return None
    try:
        found = parse_datetime(text.strip())
    except ValueError:
        found = None
    if found is None:
        raise forms.ValidationError(_("Write a date and a time, such as 2026-03-01 09:00."))
    return found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))


def percent(share: str | None) -> str:
    """``"0.1000"`` → ``"10"``."""
    return "" if share is None else format((Decimal(share) * 100).normalize(), "f")


class LocalDateTime(forms.CharField):
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"})

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, **options)


class SegmentChoice(forms.ModelChoiceField):
    def label_from_instance(self, segment: Any) -> str:
        if segment.counted is None:
            return str(segment.name)
        return _("%(name)s (%(n)s people)") % {"name": segment.name, "n": f"{segment.counted:,}"}


class BasicsForm(forms.Form):
    """Name, audience and dates. All but the name may wait: readiness tells what is missing."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=160)
    goal = forms.CharField(
        label=gettext_lazy("Goal"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("What shall be different afterwards? The approver and the review read this."),
    )
    segment = SegmentChoice(
        Segment.objects.filter(archived_at=None),
        label=gettext_lazy("Audience"),
        required=False,
        empty_label=gettext_lazy("Choose a segment…"),
    )
    starts_at = LocalDateTime(label=gettext_lazy("Starts"))
    ends_at = LocalDateTime(label=gettext_lazy("Ends"))
    zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"),
        choices=[(zone, zone.replace("_", " ")) for zone in ZONES],
        help_text=gettext_lazy(
            "The campaign's days are those of this zone. Quiet hours are those of each recipient."
        ),
    )
    brand = forms.ModelChoiceField(
        Brand.objects.all(), label=gettext_lazy("Brand"), to_field_name="code", empty_label=None
    )
    currency = forms.ChoiceField(
        label=gettext_lazy("Currency"), choices=[(code, code) for code in CURRENCIES]
    )

    def __init__(self, *arguments: Any, document: Document, **options: Any) -> None:
        zone = document["zone"]
        options["initial"] = {
            "name": document["name"],
            "goal": document["goal"],
            "segment": (document["segment"] or {}).get("id"),
            "starts_at": local(document["starts_at"], zone),
            "ends_at": local(document["ends_at"], zone),
            "zone": zone,
            "brand": document["brand"],
            "currency": document["currency"],
        }
        super().__init__(*arguments, **options)
        self._add_choice("zone", zone)
        self._add_choice("currency", document["currency"])

    def _add_choice(self, name: str, value: str) -> None:
        field: Any = self.fields[name]
        if value not in dict(field.choices):
            field.choices = [*field.choices, (value, value)]

    def clean_zone(self) -> str:
        zone: str = self.cleaned_data["zone"]
        if zone not in available_timezones():
            raise forms.ValidationError(_("There is no such time zone."))
        return zone

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cleaned_data
        zone = found.get("zone") or "UTC"
        for name in ("starts_at", "ends_at"):
            try:
                found[name] = from_local(found.get(name) or "", zone)
            except forms.ValidationError as error:
                self.add_error(name, error)
                found[name] = None
        if found["starts_at"] and found["ends_at"] and found["ends_at"] <= found["starts_at"]:
            self.add_error("ends_at", _("It must end after it starts."))
        return found

    def into(self, document: Document) -> None:
        """Put what was entered into the document."""
        found = self.cleaned_data
        document |= {
            "name": found["name"],
            "goal": found["goal"],
            "segment": definition.segment_entry(found["segment"]),
            "zone": found["zone"],
            "brand": found["brand"].code,
            "currency": found["currency"],
        }
        document.update(definition.with_flight(document, found["starts_at"], found["ends_at"]))
        document.update(definition.with_runs(document))


class NewCampaignForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=160,
        widget=forms.TextInput(
            attrs={"placeholder": gettext_lazy("New collection, March"), "autofocus": True}
        ),
    )
    segment = SegmentChoice(
        Segment.objects.filter(archived_at=None),
        label=gettext_lazy("Audience"),
        required=False,
        empty_label=gettext_lazy("I will choose it later"),
    )
    starts_on = forms.DateField(
        label=gettext_lazy("First day"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    ends_on = forms.DateField(
        label=gettext_lazy("Last day"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    brand = forms.ModelChoiceField(Brand.objects.all(), label=gettext_lazy("Brand"), empty_label=None)

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cleaned_data
        if found.get("starts_on") and found.get("ends_on") and found["ends_on"] < found["starts_on"]:
            self.add_error("ends_on", _("The last day lies before the first."))
        return found


class RulesForm(forms.Form):
    """Experiment, silence, exits and how the result is valued. Shares are entered in per cent."""

    holdout = forms.DecimalField(
        label=gettext_lazy("Held out, %"),
        required=False,
        min_value=0,
        max_value=50,
        max_digits=5,
        decimal_places=2,
        help_text=gettext_lazy(
            "These people get nothing. What they buy anyway is what the campaign is measured against."
        ),
    )
    silence_hours = forms.IntegerField(
        label=gettext_lazy("Silent after, hours"),
        required=False,
        min_value=1,
        max_value=10000,
        help_text=gettext_lazy("No reaction for so long counts as silence. Empty: silence stops nothing."),
    )
    silent_touches = forms.IntegerField(
        label=gettext_lazy("Silent touches before stopping"),
        min_value=1,
        max_value=90,
        help_text=gettext_lazy(
            "After so many touches without reaction, the person is left in peace until the next occasion."
        ),
    )
    exit_on = forms.MultipleChoiceField(
        label=gettext_lazy("Leaves the campaign on"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=[(kind.value, kind.label) for kind in EXITS],
        help_text=gettext_lazy(
            "What is unsent is let go on all channels. An opt-out always ends contact on its medium."
        ),
    )
    margin = forms.DecimalField(
        label=gettext_lazy("Contribution margin, %"),
        min_value=0,
        max_value=100,
        max_digits=6,
        decimal_places=2,
    )
    conversion_value = forms.DecimalField(
        label=gettext_lazy("Revenue of a conversion"),
        min_value=0,
        max_digits=18,
        decimal_places=4,
        help_text=gettext_lazy("With the margin, this is what the forecast weighs a touch's price against."),
    )
    attribution_days = forms.IntegerField(
        label=gettext_lazy("Attribution window, days"), min_value=1, max_value=365
    )
    revenue_basis = forms.ChoiceField(
        label=gettext_lazy("Revenue counted"), choices=Campaign.RevenueBasis.choices
    )

    def __init__(self, *arguments: Any, document: Document, **options: Any) -> None:
        options["initial"] = {
            "holdout": percent(document["holdout_share"]),
            "margin": percent(document["margin_rate"]),
            "conversion_value": format(Decimal(document["conversion_value"]).normalize(), "f"),
            **{
                name: document[name]
                for name in (
                    "silence_hours",
                    "silent_touches",
                    "exit_on",
                    "attribution_days",
                    "revenue_basis",
                )
            },
        }
        super().__init__(*arguments, **options)

    def into(self, document: Document) -> None:
        found = self.cleaned_data
        if found["holdout"] is not None:  # after release it is not asked any more
            document["holdout_share"] = definition.amount(found["holdout"] / 100)
        document |= {
            "margin_rate": definition.amount(found["margin"] / 100),
            "conversion_value": definition.amount(found["conversion_value"]),
            "silence_hours": found["silence_hours"],
            "silent_touches": found["silent_touches"],
            "exit_on": sorted(found["exit_on"]),
            "attribution_days": found["attribution_days"],
            "revenue_basis": found["revenue_basis"],
        }


def arms_into(data: Mapping[str, Any], document: Document) -> None:
    """Arms ``arm-0-name``, ``arm-0-share`` (%), ``arm-0-cap``…; a row without a name is no arm.

    Raises :class:`~campaigns.definition.DefinitionError`.
    """
    rows = len([key for key in data if key.startswith("arm-") and key.endswith("-name")])
    if not rows:
        return
    arms = []
    for row in range(rows):
        name = str(data.get(f"arm-{row}-name", "")).strip()
        if not name:
            continue
        share = number(data.get(f"arm-{row}-share"), _("Share of arm “%(name)s”") % {"name": name}, 0, 100)
        cap = number(
            data.get(f"arm-{row}-cap"), _("Touches at most of arm “%(name)s”") % {"name": name}, 0, 90
        )
        arms.append(
            {
                "name": name[:40],
                "share": definition.amount((share or Decimal(0)) / 100),
                "cap": None if cap is None else int(cap),
            }
        )
    document["arms"] = arms


def number(text: Any, what: str, least: int, most: int) -> Decimal | None:
    """None for nothing. Raises :class:`~campaigns.definition.DefinitionError` for what is no such number."""
    text = str(text or "").strip()
    if not text:
        return None
    try:
        number = Decimal(text)
    except ArithmeticError:
        raise definition.DefinitionError(
            _("%(what)s: “%(text)s” is no number.") % {"what": what, "text": text}
        ) from None
    if not number.is_finite() or not least <= number <= most:
        raise definition.DefinitionError(
            _("%(what)s: write a number from %(least)d to %(most)d.")
            % {"what": what, "least": least, "most": most}
        )
    return number
