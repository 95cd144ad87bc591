"""Platform rules as dated rows."""

import json
from datetime import date

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from audiences.access import ANYBODY, Role, needs
from audiences.vocabulary import Medium
from channels import rule_rows
from channels.forms import RuleForm
from channels.models import PlatformRule
from channels.platform_rules import KEYS


@needs(*ANYBODY)
def rules(request: HttpRequest) -> HttpResponse:
    """Rules by medium; those of the past and of the future on demand."""
    medium, every = request.GET.get("medium", ""), request.GET.get("all") == "1"
    today = timezone.localdate()
    found = PlatformRule.objects.select_related("channel").order_by(
        "medium", "key", "country", "adapter", "-valid_from"
    )
    if medium in Medium.values:
        found = found.filter(medium=medium)
    if not every:
        found = found.filter(Q(valid_to=None) | Q(valid_to__gte=today))
    rows = [(rule, KEYS.get(rule.key), _when(rule, today)) for rule in found]
    shown = {"rows": rows, "media": Medium.choices, "medium": medium, "all": every}
    return render(request, "channels/_rules.html" if request.htmx else "channels/rules.html", shown)  # type: ignore[attr-defined]


def _when(rule: PlatformRule, today: date) -> str:
    if rule.valid_from > today:
        return "future"
    return "past" if rule.valid_to and rule.valid_to < today else "now"


def _tell(request: HttpRequest, told: list[str]) -> None:
    for text in told:
        messages.warning(request, text)


@needs(Role.CHANNEL_ADMIN)
def new_rule(request: HttpRequest) -> HttpResponse:
    """A new row; ``?from=`` copies an older one, so that a change keeps what held before."""
    initial: dict[str, object] = {"valid_from": timezone.localdate()}
    copied = request.GET.get("from", "")
    instance = PlatformRule()
    if copied.isdecimal():
        old = get_object_or_404(PlatformRule, pk=copied)
        instance = PlatformRule(
            medium=old.medium,
            adapter=old.adapter,
            channel=old.channel,
            country=old.country,
            key=old.key,
            value=old.value,
            valid_from=timezone.localdate(),
            source=old.source,
        )
        initial["value"] = json.dumps(old.value, ensure_ascii=False)
    form = RuleForm(request.POST or None, instance=instance, initial=initial)
    if request.method == "POST" and form.is_valid():
        told = rule_rows.save(form.save(commit=False), timezone.now())
        messages.success(
            request, _("The rule is saved. It holds from %(day)s.") % {"day": form.instance.valid_from}
        )
        _tell(request, told)
        return redirect("channels:rules")
    shown = {"form": form, "keys": KEYS}
    return render(request, "channels/rule.html", shown, status=422 if form.errors else 200)


@needs(Role.CHANNEL_ADMIN)
def rule(request: HttpRequest, pk: int) -> HttpResponse:
    """Correct a row that was written wrongly. A rule that changes gets a new row instead."""
    found = get_object_or_404(PlatformRule, pk=pk)
    form = RuleForm(request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        told = rule_rows.save(form.save(commit=False), timezone.now())
        messages.success(request, _("The rule is saved."))
        _tell(request, told)
        return redirect("channels:rules")
    return render(
        request,
        "channels/rule.html",
        {"form": form, "rule": found, "keys": KEYS},
        status=422 if form.errors else 200,
    )


@needs(Role.CHANNEL_ADMIN)
@require_POST
def end_rule(request: HttpRequest, pk: int) -> HttpResponse:
    """It holds for the last time today."""
    told = rule_rows.end(get_object_or_404(PlatformRule, pk=pk), timezone.localdate(), timezone.now())
    messages.success(request, _("The rule ends today."))
    _tell(request, told)
    return redirect("channels:rules")
