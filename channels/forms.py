"""Forms of the channel screens. The adapter's own fields are built from what it declares."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from audiences.models import Brand
from channels.accounts import Values, clean_values
from channels.adapters import adapter_choices
from channels.adapters.base import BaseAdapter, Setting
from channels.models import Channel, ChannelCapacity, Employee, PlatformRule
from channels.platform_rules import KEYS, clean_value


class DateInput(forms.DateInput):
    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d")


class AdapterSettingsForm(forms.Form):
    """The fields an adapter declares. Secrets are written and never shown; left empty they stay as they are."""

    prefix = "adapter"

    def __init__(
        self,
        adapter: type[BaseAdapter],
        data: Mapping[str, Any] | None = None,
        *,
        settings: Mapping[str, Any],
        credentials: Mapping[str, Any],
    ) -> None:
        super().__init__(data)
        self.adapter, self.kept = adapter, credentials
        self.values = Values()
        for setting in adapter.settings:
            initial = settings.get(setting.name, setting.default)
            self.fields[setting.name] = _field(setting, initial, bool(credentials.get(setting.name)))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        try:
            self.values = clean_values(self.adapter, cleaned, self.kept)
        except ValidationError as error:
            for name, texts in error.message_dict.items():
                self.add_error(None if name == "__all__" else name, texts)
        return cleaned


class RotationForm(forms.Form):
    """The secrets of a channel's adapter, all empty; what is left empty stays."""

    prefix = "adapter"
    force = forms.BooleanField(
        label=_("Use them even if the test fails"),
        required=False,
        help_text=_("Only when the provider cannot be asked now. Wrong ones stop the channel."),
    )

    def __init__(self, settings: Sequence[Setting], data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data)
        for setting in settings:
            field = _field(setting, "", True)
            field.required, field.help_text = False, setting.help
            self.fields[setting.name] = field
        self.order_fields([*(setting.name for setting in settings), "force"])


def _field(setting: Setting, initial: Any, kept: bool) -> forms.Field:
    """Whether a value is fit is for :func:`clean_values` to say, the same for the API."""
    needed = setting.required and setting.default == "" and not (setting.secret and kept)
    shared: dict[str, Any] = {"label": setting.label, "help_text": setting.help, "required": needed}
    if setting.kind == "boolean":
        return forms.BooleanField(initial=bool(initial), **shared | {"required": False})
    if setting.kind == "choice":
        return forms.ChoiceField(choices=setting.choices, initial=initial, **shared)
    widget: forms.Widget
    if setting.secret:
        if kept:
            shared["help_text"] = gettext("Kept. Leave empty to keep it; write to replace it.")
        attributes = {"autocomplete": "new-password"}
        widget = (
            _BlankTextarea(attrs=attributes | {"rows": 4})
            if setting.kind == "textarea"
            else forms.PasswordInput(attrs=attributes, render_value=False)
        )
        return forms.CharField(widget=widget, strip=setting.kind != "textarea", **shared)
    if setting.kind == "textarea":
        widget = forms.Textarea(attrs={"rows": 3})
    elif setting.kind == "number":
        widget = forms.NumberInput(attrs={"step": "any"})
    else:
        widget = forms.TextInput()
    return forms.CharField(initial=initial, widget=widget, **shared)


class _BlankTextarea(forms.Textarea):
    """A secret of several lines: written, never shown."""

    def format_value(self, value: Any) -> str:
        return ""


class ChannelForm(forms.ModelForm[Channel]):
    """What every channel has, whatever its adapter."""

    class Meta:
        model = Channel
        fields = (
            "name",
            "brand",
            "currency",
            "price_model",
            "unit_price",
            "rate_per_second",
            "daily_capacity",
        )
        labels = {"brand": _("Brand")}  # noqa: RUF012
        help_texts = {  # noqa: RUF012
            "name": _("As people know it here, such as “SMS, Shop A”."),
            "unit_price": _(
                "Of one message, 1,000 exposures, one click…, as the price model says. For CPS: a share, such as 0.05."
            ),
            "rate_per_second": _("Empty: as fast as it goes."),
            "daily_capacity": _("Empty: no limit. A single day may differ; see the channel's page."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None and Brand.objects.count() == 1:
            self.initial["brand"] = Brand.objects.get().pk

    def clean_currency(self) -> str:
        code = str(self.cleaned_data["currency"]).upper()
        if len(code) != 3 or not code.isalpha():
            raise ValidationError(gettext("Write a currency of three letters, such as CNY."))
        return code

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in ("unit_price", "rate_per_second", "daily_capacity"):
            value = cleaned.get(name)
            if value is not None and value < 0:
                self.add_error(name, gettext("It cannot be less than 0."))
        return cleaned


class CapacityForm(forms.ModelForm[ChannelCapacity]):
    class Meta:
        model = ChannelCapacity
        fields = ("day", "messages")
        labels = {"day": _("Day"), "messages": _("Messages")}  # noqa: RUF012
        widgets = {"day": DateInput()}  # noqa: RUF012

    def clean_messages(self) -> int:
        messages = int(self.cleaned_data["messages"])
        if messages < 0:
            raise ValidationError(gettext("It cannot be less than 0."))
        return messages


class EmployeeForm(forms.ModelForm[Employee]):
    """Somebody who makes a channel's touches by hand, and the log-in by which they see their tasks."""

    class Meta:
        model = Employee
        fields = ("name", "external_id", "store", "daily_tasks", "user")
        labels = {"external_id": _("Number or account"), "user": _("Log-in")}  # noqa: RUF012
        help_texts = {  # noqa: RUF012
            "external_id": _("As the platform or your staff list knows the person; unique in the channel."),
            "user": _("With it the person sees their own tasks on a phone; no role is needed for that."),
        }

    def __init__(self, channel: Channel, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.channel = channel
        users = get_user_model().objects.filter(is_active=True).order_by("username")
        self.fields["user"].queryset = users  # type: ignore[attr-defined]

    def clean_daily_tasks(self) -> int:
        tasks = int(self.cleaned_data["daily_tasks"])
        if tasks < 0:
            raise ValidationError(gettext("It cannot be less than 0."))
        return tasks

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        same = Employee.objects.filter(
            channel=self.instance.channel, external_id=cleaned.get("external_id", "")
        )
        if same.exclude(pk=self.instance.pk).exists():
            self.add_error("external_id", gettext("Another employee of this channel has this number."))
        return cleaned


class RuleForm(forms.ModelForm[PlatformRule]):
    """A platform's rule. A rule that changes gets a new row with a later date."""

    key = forms.ChoiceField(label=_("Rule"))
    adapter = forms.ChoiceField(label=_("Adapter"), required=False, help_text=_("Empty: every adapter."))
    value = forms.CharField(
        label=_("Value"),
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_('As JSON: 70, true, "text", ["STOP", "R"], {"from": "08:00", "to": "21:00"}.'),
    )

    class Meta:
        model = PlatformRule
        fields = (
            "medium",
            "key",
            "value",
            "adapter",
            "channel",
            "country",
            "valid_from",
            "valid_to",
            "source",
            "source_date",
        )
        labels = {"channel": _("Channel"), "source_date": _("Date of the source")}  # noqa: RUF012
        help_texts = {  # noqa: RUF012
            "channel": _("Empty: every channel of the medium."),
            "country": _("Two letters, such as CN. Empty: every country."),
            "valid_to": _("Last day on which it holds. Empty: until another rule comes."),
            "source": _("Where it is written: a document, a letter, a law."),
        }
        widgets = {"valid_from": DateInput(), "valid_to": DateInput(), "source_date": DateInput()}  # noqa: RUF012

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["key"].choices = [(name, key.label) for name, key in KEYS.items()]  # type: ignore[attr-defined]
        self.fields["adapter"].choices = [("", "—"), *adapter_choices()]  # type: ignore[attr-defined]
        if self.instance.pk:
            self.initial["value"] = json.dumps(self.instance.value, ensure_ascii=False)

    def clean_country(self) -> str:
        country = str(self.cleaned_data["country"]).upper()
        if country and (len(country) != 2 or not country.isalpha()):
            raise ValidationError(gettext("Write two letters, such as CN."))
        return country

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "value" in cleaned and cleaned.get("key") in KEYS:
            try:
                cleaned["value"] = clean_value(cleaned["key"], json.loads(cleaned["value"]))
            except json.JSONDecodeError:
                self.add_error(
                    "value",
                    gettext("That is no JSON. A text stands in quotation marks; true and false do not."),
                )
            except ValueError as error:
                self.add_error("value", str(error))
        channel = cleaned.get("channel")
        if channel and channel.medium != cleaned.get("medium"):
            self.add_error("channel", gettext("This channel is of another medium."))
        begins, ends = cleaned.get("valid_from"), cleaned.get("valid_to")
        if begins and ends and ends < begins:
            self.add_error("valid_to", gettext("It ends before it begins."))
        return cleaned
