"""The form of an occasion: its kind, its rule, how many days before, and whose it is."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from audiences.models import Segment
from campaigns import occasions
from campaigns.models import Occasion
from campaigns.queries import occasions as queries

MONTHS = [(number, str(number)) for number in range(1, 13)]
FESTIVE = (Occasion.Kind.FESTIVAL, Occasion.Kind.SHOPPING_DAY)


class OccasionForm(forms.ModelForm[Occasion]):
    """Fields of the kinds that are not chosen are left alone."""

    kind = forms.ChoiceField(label=_("Kind"), choices=Occasion.Kind.choices, widget=forms.RadioSelect)
    birthdays = forms.ChoiceField(
        label=_("Which birthdays"),
        required=False,
        choices=occasions.CALENDARS_OF_BIRTHDAYS,
        help_text=_("A lunar birthday falls on another day every year; it is worked out for each person."),
    )
    calendar = forms.ChoiceField(label=_("Calendar"), required=False, choices=occasions.CALENDARS)
    month = forms.TypedChoiceField(
        label=_("Month"), required=False, choices=MONTHS, coerce=int, empty_value=None
    )
    day = forms.IntegerField(label=_("Day"), required=False, min_value=1, max_value=31)
    of = forms.ChoiceField(label=_("Anniversary"), required=False, choices=occasions.ANNIVERSARIES)
    event = forms.CharField(
        label=_("Behaviour"),
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs={"list": "event-kinds", "autocomplete": "off"}),
        help_text=_("The kind of event, as the shop or the site sends it, such as add_to_cart."),
    )
    segment = forms.ModelChoiceField(
        Segment.objects.filter(archived_at=None),
        label=_("Which customers"),
        required=False,
        empty_label=_("All who have it"),
    )

    class Meta:
        model = Occasion
        fields = ("name", "kind", "lead_days", "segment")
        help_texts = {"lead_days": _("Campaigns open so many days before it. 0: on the day itself.")}

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.event_kinds = queries.event_kinds()
        rule = self.instance.rule or {}
        if self.instance.kind == Occasion.Kind.BIRTHDAY:
            rule = {"birthdays": rule.get("calendar", "own")}
        for name in ("birthdays", "calendar", "month", "day", "of", "event"):
            if name in rule:
                self.fields[name].initial = rule[name]
        if not self.instance.pk and not self.instance.kind:
            self.fields["kind"].initial = Occasion.Kind.BIRTHDAY

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        kind = found.get("kind", "")
        entered = {name: found.get(name) for name in ("calendar", "month", "day", "of", "event")}
        if kind == Occasion.Kind.BIRTHDAY:
            entered["calendar"] = found.get("birthdays")
        try:
            found["rule"] = self.instance.rule = occasions.check(kind, entered) if kind else {}
        except occasions.OccasionError as error:
            where = {"behaviour": "event", "anniversary": "of", "birthday": "birthdays"}.get(kind, "day")
            self.add_error(where, str(error))
        return found
