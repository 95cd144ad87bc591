"""The form of an offer."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from campaigns import offers
from campaigns.models import Offer


class OfferForm(forms.ModelForm[Offer]):
    """An offer's terms. Those of a submitted or running campaign stay as they were approved."""

    codes = forms.ChoiceField(
        label=gettext_lazy("Codes"),
        choices=Offer.Codes.choices,
        widget=forms.RadioSelect,
        initial=Offer.Codes.SHARED,
    )

    class Meta:
        model = Offer
        fields = (
            "name",
            "kind",
            "value",
            "brand",
            "codes",
            "code",
            "valid_from",
            "valid_to",
            "cost",
            "funder",
            "stock",
            "repeatable",
            "mode",
            "terms",
        )
        widgets = {
            "terms": forms.Textarea(attrs={"rows": 3}),
            "valid_from": forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
            "valid_to": forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        }
        labels = {"brand": gettext_lazy("Brand"), "mode": gettext_lazy("Mode")}
        help_texts = {
            "value": gettext_lazy("Such as “¥20 off”. Messages say it with {{offer.value}}."),
            "code": gettext_lazy(
                "Messages say it with {{offer.code}}; orders that carry it redeem the offer."
            ),
            "cost": gettext_lazy("What one redemption costs us, in the company's currency."),
            "funder": gettext_lazy("Who pays for it, such as the brand or a supplier."),
            "stock": gettext_lazy("How many people may get it. Empty: unlimited."),
            "repeatable": gettext_lazy("Once it is redeemed, the same person may get it anew."),
        }

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        if found.get("valid_from") and found.get("valid_to") and found["valid_to"] <= found["valid_from"]:
            self.add_error("valid_to", _("It must end after it starts."))
        if found.get("stock") is not None and found["stock"] < 0:
            self.add_error("stock", _("Write an amount of 0 or more."))
        if found.get("cost") is not None and found["cost"] < 0:
            self.add_error("cost", _("Write an amount of 0 or more."))
        if found.get("codes") != Offer.Codes.SHARED:
            found["code"] = ""
        if self.instance.pk:
            before = Offer.objects.get(pk=self.instance.pk)
            changed = [
                name for name in offers.TERMS if name in found and getattr(before, name) != found[name]
            ]
            problem = offers.refusal(before, changed)
            if problem:
                raise forms.ValidationError(problem)
        return found


class CodesForm(forms.Form):
    """Codes the shop gave us, or so many of our own making."""

    listed = forms.CharField(
        label=gettext_lazy("Codes from the shop, one a line"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    number = forms.IntegerField(
        label=gettext_lazy("Or make so many"), required=False, min_value=1, max_value=offers.MOST_AT_ONCE
    )
    beginning = forms.CharField(label=gettext_lazy("Beginning with"), required=False, max_length=20)
