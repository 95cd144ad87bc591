"""Channels: the list with their health, connecting an account, one channel's page."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from audiences.access import ANYBODY, Role, has_role, needs
from audiences.vocabulary import Medium
from channels import accounts, health, states
from channels.adapters import adapter_choices, adapter_class
from channels.forms import AdapterSettingsForm, CapacityForm, ChannelForm
from channels.models import Channel, ChannelCapacity
from channels.registers import health_panels

ADMIN = (Role.CHANNEL_ADMIN,)


@needs(*ANYBODY)
def channels(request: HttpRequest) -> HttpResponse:
    """Every channel with the health of its last day; archived ones on demand."""
    archived = request.GET.get("archived") == "1"
    found = Channel.objects.select_related("brand").order_by("medium", "name")
    found = (
        found.filter(state=Channel.State.ARCHIVED)
        if archived
        else found.exclude(state=Channel.State.ARCHIVED)
    )
    rows = health.of_channels(list(found), timezone.now())
    shown = {"rows": rows, "archived": archived, "any": Channel.objects.exists()}
    return render(request, "channels/channels.html", shown)


@needs(*ADMIN)
def connect(request: HttpRequest) -> HttpResponse:
    """Medium, then adapter, then its fields; each step has its own address."""
    medium, name = request.GET.get("medium", ""), request.GET.get("adapter", "")
    if medium not in Medium.values:
        return render(request, "channels/connect_medium.html", {"media": Medium.choices})
    choices = adapter_choices(medium)
    if name not in dict(choices):
        if len(choices) > 1:
            shown = {
                "medium": medium,
                "medium_label": Medium(medium).label,
                "choices": _described(choices, medium),
            }
            return render(request, "channels/connect_adapter.html", shown)
        name = choices[0][0]
    channel = Channel(medium=medium, adapter=name, price_model=adapter_class(name).price_model)
    return _edit(request, channel, "channels/connect.html")


def _described(choices: list[tuple[str, Any]], medium: str) -> list[dict[str, Any]]:
    described = []
    for name, label in choices:
        _domain, guarantee, observability = adapter_class(name).traits(medium)
        described.append(
            {"name": name, "label": label, "guarantee": guarantee, "observability": observability}
        )
    return described


@needs(*ADMIN)
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Change what a channel is; its medium and adapter stay, since its history hangs on them."""
    return _edit(
        request, get_object_or_404(Channel.objects.select_related("brand"), pk=pk), "channels/edit.html"
    )


def _edit(request: HttpRequest, channel: Channel, template: str) -> HttpResponse:
    adapter = adapter_class(channel.adapter)
    data = request.POST or None
    form = ChannelForm(data, instance=channel)
    own = AdapterSettingsForm(
        adapter, data, settings=channel.settings if channel.pk else {}, credentials=channel.credentials
    )
    if request.method == "POST" and all([form.is_valid(), own.is_valid()]):
        channel = form.save(commit=False)
        channel.settings, channel.credentials = own.values.settings, own.values.credentials
        try:
            accounts.save_channel(channel, own.values.kept)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, _("%(name)s is saved. Test the connection now.") % {"name": channel})
            return redirect("channels:channel", channel.pk)
    shown = {"form": form, "own": own, "channel": channel, "adapter_label": adapter.label}
    return render(request, template, shown, status=422 if form.errors or own.errors else 200)


@needs(*ANYBODY)
def channel(request: HttpRequest, pk: int) -> HttpResponse:
    """One channel: how it fares, what it is, its capacity, and what later apps tell of it."""
    found = get_object_or_404(Channel.objects.select_related("brand"), pk=pk)
    return render(request, "channels/channel.html", _page(request, found))


def _page(request: HttpRequest, channel: Channel, capacity: CapacityForm | None = None) -> dict[str, Any]:
    now = timezone.now()
    adapter = adapter_class(channel.adapter)
    admin = has_role(request.user, *ADMIN)
    (found,) = health.of_channels([channel], now)
    panels = [(panel, panel.context(request, channel.pk)) for panel in health_panels]
    return {
        "channel": channel,
        "adapter_label": adapter.label,
        "health": found,
        "heard_ago": (now - found.last_event).total_seconds() if found.last_event else None,
        "inbox_query": f"?channel={channel.pk}",
        "day": health.last_day(channel, now),
        "queues": health.queues(found, now),
        "fetches": health.fetches(channel),
        "settings": [
            (setting.label, _shown(setting, channel)) for setting in adapter.settings if not setting.secret
        ],
        "secrets": [
            (setting.label, bool(channel.credentials.get(setting.name)))
            for setting in adapter.settings
            if setting.secret
        ]
        if admin
        else [],
        "callback_url": accounts.callback_url(channel)
        if admin and "parse_inbound" in adapter.verbs()
        else "",
        "capacities": ChannelCapacity.objects.filter(channel=channel, day__gte=timezone.localdate()).order_by(
            "day"
        ),
        "capacity_form": capacity or CapacityForm(),
        "audiences": channel.audiences.order_by("-id")[:20],
        "panels": [(panel.label, panel.template, context) for panel, context in panels if context],
    }


def _shown(setting: Any, channel: Channel) -> Any:
    value = channel.settings.get(setting.name, setting.default)
    if setting.kind == "boolean":
        return _("yes") if value else _("no")
    if setting.kind == "choice":
        return dict(setting.choices).get(value, value)
    return value


@needs(*ADMIN)
@require_POST
def check(request: HttpRequest, pk: int) -> HttpResponse:
    """Test the connection; the answer stays on the page."""
    found = get_object_or_404(Channel.objects.select_related("brand"), pk=pk)
    checked = accounts.check_connection(found, timezone.now())
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "channels/_check.html", {"channel": found})
    (messages.success if checked.ok else messages.error)(request, str(checked.text))
    return redirect("channels:channel", pk)


@needs(*ADMIN)
@require_POST
def change_state(request: HttpRequest, pk: int) -> HttpResponse:
    """Pause, resume, archive or restore."""
    found = get_object_or_404(Channel, pk=pk)
    action = request.POST.get("action", "")
    if action not in states.ACTIONS:
        raise Http404
    if states.ACTIONS[action](found):
        messages.success(
            request, _("%(name)s is now: %(state)s.") % {"name": found, "state": found.get_state_display()}
        )
    else:
        messages.warning(request, _("Somebody else changed it meanwhile. Look again."))
    return redirect("channels:channel", pk)


@needs(*ADMIN)
@require_POST
def capacity(request: HttpRequest, pk: int) -> HttpResponse:
    """What the channel takes on one day; said again it replaces, ``remove`` takes it away."""
    found = get_object_or_404(Channel.objects.select_related("brand"), pk=pk)
    if removed := request.POST.get("remove"):
        if removed.isdecimal():
            ChannelCapacity.objects.filter(channel=found, pk=removed).delete()
        return redirect("channels:channel", pk)
    form = CapacityForm(request.POST)
    if not form.is_valid():
        return render(request, "channels/channel.html", _page(request, found, form), status=422)
    ChannelCapacity.objects.update_or_create(
        channel=found, day=form.cleaned_data["day"], defaults={"messages": form.cleaned_data["messages"]}
    )
    messages.success(request, _("The capacity of that day is set."))
    return redirect("channels:channel", pk)
