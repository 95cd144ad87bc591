"""Forms of posts to many: first for which campaign, channel and kind, then what it says and who posts it."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from campaigns import broadcast_rules, broadcasts
from campaigns.forms import LOCAL, from_local
from campaigns.hours import zone_info
from campaigns.models import Broadcast, ChannelPlan
from channels.models import CustomerGroup, Employee

Checks = forms.CheckboxSelectMultiple


class WhereForm(forms.Form):
    """A campaign with one of its channels, and the kind of post."""

    plan = forms.TypedChoiceField(label=gettext_lazy("Campaign and channel"), coerce=int)
    kind = forms.ChoiceField(label=gettext_lazy("Where it is shown"), choices=Broadcast.Kind)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plan = self.fields["plan"]
        assert isinstance(plan, forms.TypedChoiceField)  # noqa: S101
        self.plans = {one.pk: one for one in broadcasts.plans()}
        plan.choices = [(pk, f"{one.campaign.name} · {one.channel.name}") for pk, one in self.plans.items()]

    @property
    def chosen(self) -> ChannelPlan:
        return self.plans[self.cleaned_data["plan"]]


class _Groups(forms.ModelMultipleChoiceField):
    def label_from_instance(self, group: CustomerGroup) -> str:  # type: ignore[override]
        told = {"group": group, "owner": group.owner, "n": group.customers}
        return _("%(group)s · %(owner)s · %(n)s customers") % told


class _Employees(forms.ModelMultipleChoiceField):
    def __init__(self, *args: Any, lately: Mapping[int, Decimal], **kwargs: Any) -> None:
        self.lately = lately
        super().__init__(*args, **kwargs)

    def label_from_instance(self, employee: Employee) -> str:  # type: ignore[override]
        weighed = format((self.lately.get(employee.pk) or Decimal(0)).normalize(), "f")
        return _("%(name)s · posts of 7 days weigh %(n)s") % {"name": employee.name, "n": weighed}


class BroadcastForm(forms.Form):
    """A post of one kind on one channel. Times are those of the campaign's zone."""

    text = forms.CharField(
        label=gettext_lazy("What it says"), widget=forms.Textarea(attrs={"rows": 4}), max_length=4000
    )
    url = forms.URLField(
        label=gettext_lazy("Where its link leads"),
        max_length=1500,
        assume_scheme="https",
        required=False,
        help_text=gettext_lazy("The post gets a tracked link of its own to this page, at its end."),
    )
    due_at = forms.CharField(
        label=gettext_lazy("When employees are asked"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )

    def __init__(self, plan: ChannelPlan, kind: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.plan, self.kind = plan, kind
        self.zone = plan.campaign.zone
        now = timezone.now()
        first = max(now, plan.campaign.starts_at or now)
        first = broadcast_rules.next_permitted(plan.channel, self.zone, first)
        self.fields["due_at"].initial = first.astimezone(zone_info(self.zone)).strftime(LOCAL)
        help_text = _("Time zone: %(zone)s") % {"zone": self.zone}
        rule = broadcast_rules.hours_on(plan.channel, first.astimezone(zone_info(self.zone)).date())
        if rule is not None:
            help_text += ". " + _("Permitted %(hours)s.") % {"hours": broadcast_rules.told(rule)}
        self.fields["due_at"].help_text = help_text
        if kind == Broadcast.Kind.GROUP:
            groups = [one.pk for one in broadcasts.groups_of(plan.channel)]
            found = CustomerGroup.objects.select_related("owner").filter(pk__in=groups)
            self.fields["groups"] = _Groups(
                found.order_by("owner__name", "name", "pk"), label=_("Groups it goes to"), widget=Checks,
                help_text=_("Each owner gets one task for their groups."),
            )  # fmt: skip
        else:
            staff = broadcasts.employees_of(plan.channel)
            self.fields["employees"] = _Employees(
                Employee.objects.filter(pk__in=[one.pk for one in staff]).order_by("name", "pk"),
                label=_("Who posts it"), widget=Checks, help_text=_("All their customers can see it."),
                lately=broadcasts.lately(staff, now),
            )  # fmt: skip

    def clean_due_at(self) -> datetime:
        found = from_local(self.cleaned_data["due_at"], self.zone)
        if found is None:
            raise forms.ValidationError(_("Write a date and a time, such as 2026-03-01 09:00."))
        return found
