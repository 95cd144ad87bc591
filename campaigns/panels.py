"""What campaigns add to a customer's page."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from audiences.registers import CustomerPanel, customer_panels
from audiences.vocabulary import ResponseKind
from campaigns import contacts
from campaigns.models import Campaign


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


def register() -> None:
    """Called once, from ``CampaignsConfig.ready``."""
    customer_panels.add(
        "campaigns.contacts",
        CustomerPanel(_("Contacts: why and why not"), "campaigns/_panel_contacts.html", contacted),
    )
    customer_panels.add(
        "campaigns.responses", CustomerPanel(_("Responses"), "campaigns/_panel_responses.html", responded)
    )
