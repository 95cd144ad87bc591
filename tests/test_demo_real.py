"""The Complete Journey goes through the public import: its counts, twice, and out again."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from audiences.models import Customer, Order, OrderLine, Product
from audiences.models.customer import Brand
from campaigns.models import Campaign
from config.demo import real

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(900)]


def told(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command("demo_real", "--json", *arguments, stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue().strip().splitlines()[-1])
    return found


@pytest.fixture(autouse=True)
def installed() -> None:
    try:
        real.data_folder()
    except real.Missing:
        pytest.skip("skipped: not installed (requirements-demo.txt)")


def test_the_real_data_gives_its_counts_and_shows_selection_not_lift(as_finance: Client) -> None:
    Brand.objects.get_or_create(code="main", defaults={"name": "Main"})
    counts = told()
    assert counts == {
        "households": 2469,
        "products": 92331,
        "transaction_lines": 1469307,
        "baskets": 155848,
        "sales": 4596039.58,
        "sales_of_lines": 4596039.58,
        "campaigns": 27,
        "touches": 6589,
        "redemptions": 2102,
        "campaign_18": {
            "targeted": 1133,
            "responding": 214,
            "response_rate": 0.1889,
            "spent_each": 471.18,
            "others": 1336,
            "others_spent_each": 163.75,
            "lift": None,
            "why_no_lift": "No holdout was kept, so nothing can be said about lift.",
        },
    }
    campaign = Campaign.objects.get(number="CJ-18")
    page = as_finance.get(f"/reports/roi/{campaign.pk}/").content.decode()
    assert "No holdout was kept" in page
    assert "471.18" in page
    assert "163.75" in page
    call_command("demo_real", "--remove", stdout=StringIO())
    left = [model.objects.count() for model in (Customer, Order, OrderLine, Product)]
    assert left == [0, 0, 0, 0]
