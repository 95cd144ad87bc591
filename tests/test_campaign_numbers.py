"""Ids above a thousand stand in forms and addresses as they are, never with a separator."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from campaigns.models import Message
from tests.campaign_drafts import make_channel, make_draft

pytestmark = pytest.mark.django_db
TABLES = (
    "campaigns_campaign",
    "campaigns_message",
    "channels_channel",
    "audiences_segment",
    "campaigns_phase",
)


def test_ids_above_a_thousand_stay_numbers(as_marketer: Client) -> None:
    with connection.cursor() as cursor:
        for number, table in enumerate(TABLES):
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [table, 12_000 + 1_000 * number]
            )
    campaign = make_draft(channels=[make_channel(), make_channel("sms", daily_capacity=5_000)])
    make_channel("social")
    pages = [
        reverse(f"campaigns:{step}", args=[campaign.pk])
        for step in ("basics", "matrix", "content", "rules", "approval")
    ]
    pages += [
        reverse("campaigns:new_campaign"),
        reverse("campaigns:message", args=[Message.objects.earliest("pk").pk]),
    ]
    wrong: dict[str, Any] = {}
    for page in pages:
        text = as_marketer.get(page).content.decode()
        found = re.findall(r'(?:value|name|id|for|href|action|hx-post|hx-get)="[^"]*\d,\d{3}[^"]*"', text)
        if found:
            wrong[page] = found
    assert wrong == {}
