"""Contact policy and approval thresholds: what holds over all campaigns."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from audiences.access import ANYBODY, Role, needs
from audiences.vocabulary import Medium
from campaigns import policy as rules
from campaigns.forms import CURRENCIES
from campaigns.models import Approval, ApprovalRule, PressureRule

POLICY_MAKERS = (Role.MARKETER, Role.CHANNEL_ADMIN)


class PressureRuleForm(forms.ModelForm[PressureRule]):
    days = forms.DecimalField(
        label=gettext_lazy("In how many days"),
        min_value=0.05,
        max_value=366,
        max_digits=6,
        decimal_places=2,
        help_text=gettext_lazy("A rolling window: any so many days on end, not calendar days."),
    )
    medium = forms.ChoiceField(
        label=gettext_lazy("Medium"),
        required=False,
        choices=[("", gettext_lazy("All media together")), *Medium.choices],
    )

    class Meta:
        model = PressureRule
        fields = ("name", "touches", "medium", "channel", "brand", "active")
        labels = {"channel": gettext_lazy("Channel"), "brand": gettext_lazy("Brand")}  # noqa: RUF012

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.order_fields(["name", "touches", "days", "medium", "channel", "brand", "active"])
        channel: Any = self.fields["channel"]
        channel.empty_label = gettext_lazy("All channels")
        brand: Any = self.fields["brand"]
        brand.empty_label = gettext_lazy("All brands")
        if self.instance.pk:
            self.fields["days"].initial = round(self.instance.hours / 24, 2)

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        channel = found.get("channel")
        if channel and found.get("medium") and channel.medium != found["medium"]:
            self.add_error("medium", _("The channel is of another medium."))
        return found

    def save(self, commit: bool = True) -> PressureRule:
        rule: PressureRule = super().save(commit=False)
        rule.hours = max(1, round(self.cleaned_data["days"] * 24))
        return rules.save(rule, timezone.now())


@needs(*ANYBODY)
def policy(request: HttpRequest) -> HttpResponse:
    """The rules in force, each in a sentence."""
    found = PressureRule.objects.select_related("channel", "brand").order_by("-active", "hours", "id")
    rows = [{"rule": rule, "sentence": rules.sentence(rule)} for rule in found]
    thresholds = ApprovalRule.objects.filter(step=Approval.Step.FINANCE).order_by("currency")
    return render(request, "campaigns/policy.html", {"rows": rows, "thresholds": thresholds})


@needs(*POLICY_MAKERS)
def pressure_rule(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """One rule, new or known."""
    rule = get_object_or_404(PressureRule, pk=pk) if pk else None
    form = PressureRuleForm(request.POST or None, instance=rule)
    if request.method == "POST" and form.is_valid():
        saved = form.save()
        messages.success(request, rules.sentence(saved))
        return redirect("campaigns:policy")
    return render(
        request,
        "campaigns/pressure_rule.html",
        {"form": form, "rule": rule},
        status=422 if form.errors else 200,
    )


@needs(*POLICY_MAKERS)
@require_POST
def delete_pressure_rule(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes a rule away."""
    rules.delete(get_object_or_404(PressureRule, pk=pk))
    messages.success(request, _("The rule was removed."))
    return redirect("campaigns:policy")


# Thresholds ---------------------------------------------------------------------------------------


class ThresholdForm(forms.ModelForm[ApprovalRule]):
    currency = forms.ChoiceField(
        label=gettext_lazy("Currency"), choices=[(code, code) for code in CURRENCIES]
    )

    class Meta:
        model = ApprovalRule
        fields = ("above", "currency")

    def clean_above(self) -> Any:
        if self.cleaned_data["above"] < 0:
            raise forms.ValidationError(_("Write an amount of 0 or more."))
        return self.cleaned_data["above"]


@needs(Role.FINANCE)
def threshold(request: HttpRequest) -> HttpResponse:
    """Sets from which budget on finance approves besides."""
    form = ThresholdForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        ApprovalRule.objects.update_or_create(
            currency=form.cleaned_data["currency"],
            step=Approval.Step.FINANCE,
            defaults={"above": form.cleaned_data["above"]},
        )
        messages.success(request, _("Saved."))
        return redirect("campaigns:policy")
    return render(request, "campaigns/threshold.html", {"form": form}, status=422 if form.errors else 200)


@needs(Role.FINANCE)
@require_POST
def delete_threshold(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes a threshold away."""
    get_object_or_404(ApprovalRule, pk=pk).delete()
    messages.success(request, _("The threshold was removed."))
    return redirect("campaigns:policy")
