"""What campaigns add to the pages of a customer and of a channel."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from audiences.access import Role, has_role
from audiences.registers import CustomerPanel, customer_panels
from audiences.vocabulary import Medium, ResponseKind
from campaigns import contacts, employee_tasks
from campaigns.models import Campaign
from channels.adapters import adapter_class
from channels.models import Channel, Employee
from channels.registers import HealthPanel, health_panels
from channels.vocabulary import Domain


def contacted(request: HttpRequest, customer_id: int) -> Mapping[str, Any]:
    """Touches and memberships with why and why not."""
    return {
        "contacts": contacts.contacts(customer_id),
        "memberships": contacts.memberships(customer_id),
    }


def responded(request: HttpRequest, customer_id: int) -> Mapping[str, Any]:
    rows = contacts.responses(customer_id)
    names = dict(Campaign.objects.filter(pk__in={row.campaign_id for row in rows}).values_list("pk", "name"))
    labels = dict(ResponseKind.choices)
    return {
        "responses": [
            {
                "row": row,
                "campaign": names.get(row.campaign_id or 0, ""),
                "label": labels.get(row.kind, row.kind),
            }
            for row in rows
        ]
    }


def employed(request: HttpRequest, channel_id: int) -> Mapping[str, Any]:
    """Employees of a channel and their tasks of today; nothing where there are none and the reader can add none."""
    channel = Channel.objects.get(pk=channel_id)
    people = Employee.objects.filter(channel=channel, left_at=None).order_by("name")
    here, confirms = people.count(), "roster" in adapter_class(channel.adapter).verbs()
    may_add = channel.domain == Domain.PRIVATE and has_role(request.user, Role.CHANNEL_ADMIN)
    if not (here or confirms or may_add):
        return {}
    shares = employee_tasks.shares(channel, timezone.now()).values()
    return {
        "channel_id": channel_id,
        "here": here,
        "confirms": confirms or channel.medium == Medium.WECOM,
        "names": people[:20],
        "today": sum(share.today for share in shares),
        "confirmed": sum(share.confirmed_today for share in shares),
    }


def register() -> None:
    """Called once, from ``CampaignsConfig.ready``."""
    customer_panels.add(
        "campaigns.contacts",
        CustomerPanel(_("Contacts: why and why not"), "campaigns/_panel_contacts.html", contacted),
    )
    health_panels.add(
        "campaigns.employees", HealthPanel(_("Employees"), "campaigns/_panel_employees.html", employed)
    )
    customer_panels.add(
        "campaigns.responses", CustomerPanel(_("Responses"), "campaigns/_panel_responses.html", responded)
    )
