"""Forms of KOL accounts."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from audiences.vocabulary import Medium
from channels import kol
from channels.models import Channel, KolAccount


class KolAccountForm(forms.ModelForm[KolAccount]):
    url = forms.URLField(label=_("Address"), required=False, max_length=500, assume_scheme="https")

    class Meta:
        model = KolAccount
        fields = ("channel", "name", "platform", "handle", "url", "followers", "fee", "note")
        help_texts = {  # noqa: RUF012
            "channel": _("Of the medium KOL, priced “Fixed”: fees of its posts become spend."),
            "platform": _("Such as Xiaohongshu, Douyin, Weibo."),
            "handle": _("The name or number it has there."),
            "followers": _("For your information: accounts are ranked by what they bring, not by followers."),
            "fee": _("What a post usually costs; each post has a fee of its own."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        channels = Channel.objects.filter(medium=Medium.KOL).exclude(state=Channel.State.ARCHIVED)
        field = self.fields["channel"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101
        field.queryset = channels.order_by("name")

    def clean_channel(self) -> Channel:
        channel: Channel = self.cleaned_data["channel"]
        kol.check_channel(channel)
        return channel

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in ("followers", "fee"):
            value = cleaned.get(name)
            if value is not None and value < 0:
                self.add_error(name, ValidationError(_("It cannot be less than 0.")))
        return cleaned
