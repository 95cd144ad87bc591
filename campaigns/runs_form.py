"""The form of how a campaign runs: once, again and again, or when something happens to a person."""

import datetime as dt
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import Stage
from campaigns import cadence, definition, occasions
from campaigns.definition import Document
from campaigns.forms import LocalDateTime, from_local, local
from campaigns.models import Campaign, Occasion
from campaigns.queries import occasions as queries

KINDS = (
    (Campaign.Kind.ONE_OFF, gettext_lazy("Once: everybody in the audience, on the campaign's dates")),
    (Campaign.Kind.RECURRING, gettext_lazy("Again and again: every so many days, weeks or months")),
    (Campaign.Kind.TRIGGERED, gettext_lazy("When something happens: for each person at their own moment")),
)
WAITS = (("1", gettext_lazy("hours")), ("24", gettext_lazy("days")))


class RunsForm(forms.Form):
    """Fields of the kinds that are not chosen are left alone."""

    kind = forms.ChoiceField(
        label=gettext_lazy("How it runs"),
        choices=KINDS,
        widget=forms.RadioSelect(attrs={"data-runs-kind": ""}),
    )
    # Again and again
    starts_at = LocalDateTime(label=gettext_lazy("First run"))
    every = forms.IntegerField(label=gettext_lazy("Every"), required=False, min_value=1, max_value=366)
    unit = forms.ChoiceField(label=gettext_lazy("Unit"), required=False, choices=cadence.UNITS)
    times = forms.IntegerField(
        label=gettext_lazy("How many times"),
        required=False,
        min_value=1,
        max_value=cadence.MOST_RUNS,
        help_text=gettext_lazy("Empty: until the last day."),
    )
    until = forms.DateField(
        label=gettext_lazy("Last day"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text=gettext_lazy("Empty: so many times."),
    )
    days = forms.IntegerField(
        label=gettext_lazy("Each run lasts, days"),
        required=False,
        min_value=1,
        max_value=366,
        help_text=gettext_lazy("What is not out by then is a gap. Empty: until the next run."),
    )
    # When something happens
    by = forms.ChoiceField(
        label=gettext_lazy("What triggers it"), required=False, choices=cadence.BY, widget=forms.RadioSelect
    )
    occasion = forms.ModelChoiceField(
        Occasion.objects.all(),
        label=gettext_lazy("Occasion"),
        required=False,
        empty_label=gettext_lazy("Choose an occasion…"),
    )
    event = forms.CharField(
        label=gettext_lazy("Behaviour"),
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs={"list": "event-kinds", "autocomplete": "off"}),
        help_text=gettext_lazy("The kind of event, as the shop or the site sends it, such as add_to_cart."),
    )
    stage = forms.ChoiceField(
        label=gettext_lazy("Stage"),
        required=False,
        choices=[("", gettext_lazy("Choose a stage…")), *Stage.choices],
    )
    wait = forms.IntegerField(
        label=gettext_lazy("Wait after it"), required=False, min_value=0, max_value=8760
    )
    wait_unit = forms.ChoiceField(label=gettext_lazy("Unit of the wait"), required=False, choices=WAITS)
    window_days = forms.IntegerField(
        label=gettext_lazy("Stays open, days"),
        required=False,
        min_value=1,
        max_value=366,
        help_text=gettext_lazy("All touches of one time lie within; what is not out by then is a gap."),
    )
    most = forms.IntegerField(
        label=gettext_lazy("A person at most, times"),
        required=False,
        min_value=1,
        max_value=cadence.MOST_TIMES,
    )
    apart_days = forms.IntegerField(
        label=gettext_lazy("And never again within, days"), required=False, min_value=0, max_value=3650
    )

    def __init__(self, *arguments: Any, document: Document, **options: Any) -> None:
        self.document = document
        own = dict(document.get("cadence") or {})
        trigger, repeat = cadence.TRIGGER | own, cadence.REPEAT | own
        hours = int(trigger["wait_hours"] or 0)
        days = hours % 24 == 0
        options["initial"] = {
            "kind": document["kind"],
            "starts_at": local(document["starts_at"], document["zone"]),
            **{name: repeat[name] for name in ("every", "unit", "times", "until", "days")},
            **{name: trigger[name] for name in ("by", "event", "stage", "window_days", "most", "apart_days")},
            "occasion": (document.get("occasion") or {}).get("id"),
            "wait": hours // 24 if days else hours,
            "wait_unit": "24" if days else "1",
        }
        super().__init__(*arguments, **options)
        self.event_kinds = queries.event_kinds()

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        try:
            found["starts_at"] = from_local(found.get("starts_at") or "", self.document["zone"])
        except forms.ValidationError as error:
            self.add_error("starts_at", error)
        if found.get("kind") == Campaign.Kind.RECURRING and not found.get("every"):
            self.add_error("every", _("Write a number of 1 or more."))
        if found.get("times") and found.get("until"):
            self.add_error("until", _("Say how many times, or the last day; not both."))
        return found

    def into(self, document: Document) -> None:
        """Put what was entered into the document."""
        found = self.cleaned_data
        document["kind"] = found["kind"]
        if found["kind"] == Campaign.Kind.RECURRING:
            document |= {"occasion": None, "cadence": self._repeat(found)}
            starts_at, ends_at = found["starts_at"], definition.as_moment(document["ends_at"])
            if starts_at:
                document.update(
                    definition.with_flight(
                        document, starts_at, max(ends_at or starts_at, starts_at + dt.timedelta(days=1))
                    )
                )
            document.update(definition.with_runs(document))
        elif found["kind"] == Campaign.Kind.TRIGGERED:
            chosen = found["occasion"] if found["by"] == "occasion" else None
            document |= {"occasion": occasions.entry(chosen), "cadence": self._trigger(found)}
        else:
            document |= {"occasion": None, "cadence": {}}

    def _repeat(self, found: dict[str, Any]) -> dict[str, Any]:
        return {
            "every": found["every"],
            "unit": found["unit"] or "week",
            "times": found["times"],
            "until": found["until"].isoformat() if found["until"] else None,
            "days": found["days"],
        }

    def _trigger(self, found: dict[str, Any]) -> dict[str, Any]:
        by = found["by"] or "occasion"
        usual = cadence.TRIGGER
        apart = found["apart_days"]
        return {
            "by": by,
            "event": found["event"].strip() if by == "event" else "",
            "stage": found["stage"] if by == "stage" else "",
            "wait_hours": (found["wait"] or 0) * int(found["wait_unit"] or 24),
            "window_days": found["window_days"] or usual["window_days"],
            "most": found["most"] or 1,
            "apart_days": usual["apart_days"] if apart is None else apart,
        }
