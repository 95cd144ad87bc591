"""Forms of KOL posts in campaigns."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from campaigns import kol
from campaigns.models import Campaign
from channels.models import Employee, KolAccount


class KolPostForm(forms.Form):
    """A post bought of an account for a campaign."""

    campaign = forms.ModelChoiceField(Campaign.objects.none(), label=_("Campaign"))
    account = forms.ModelChoiceField(KolAccount.objects.none(), label=_("KOL account"))
    day = forms.DateField(label=_("Day of the post"), widget=forms.DateInput(attrs={"type": "date"}))
    fee = forms.DecimalField(
        label=_("Fee"),
        min_value=0,
        max_digits=14,
        decimal_places=2,
        help_text=_("In the channel's currency. It becomes spend when the post is out."),
    )
    url = forms.URLField(
        label=_("Where the link leads"),
        max_length=1500,
        assume_scheme="https",
        help_text=_("The post gets a tracked link of its own to this page."),
    )
    code = forms.CharField(
        label=_("Offer code"),
        max_length=80,
        required=False,
        help_text=_("Of this post only: orders with it are the post's."),
    )
    employee = forms.ModelChoiceField(
        Employee.objects.filter(left_at=None).order_by("name", "pk"),
        label=_("Who sees to it"),
        required=False,
        empty_label=_("nobody yet"),
        help_text=_("It stands in their tasks, on their phone."),
    )
    brief = forms.CharField(
        label=_("What to say"), required=False, widget=forms.Textarea(attrs={"rows": 3}), max_length=4000
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        campaigns, accounts = self.fields["campaign"], self.fields["account"]
        assert isinstance(campaigns, forms.ModelChoiceField)  # noqa: S101
        assert isinstance(accounts, forms.ModelChoiceField)  # noqa: S101
        campaigns.queryset = Campaign.objects.filter(pk__in=[one.pk for one in kol.campaigns_with_posts()])
        accounts.queryset = KolAccount.objects.filter(archived_at=None).select_related("channel")
