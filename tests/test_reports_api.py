"""Other systems read the same figures as the screens, within their scopes."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from config import api_keys
from reports.accruals import post_incurred
from reports.coverage import coverage
from tests.plan_rows import channel, customers
from tests.report_rows import START, released, short, touch

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(make_user: Callable[..., Any]) -> Callable[..., dict[str, str]]:
    def headers(*scopes: str, role: str = "finance") -> dict[str, str]:
        _key, text = api_keys.issue(make_user(f"robot {role}", role=role), "robot", scopes)
        return {"Authorization": f"Bearer {text}"}

    return headers


def test_coverage_and_roi_tell_what_the_screens_tell(key: Callable[..., dict[str, str]]) -> None:
    people = customers(2, ["email"])
    mail = channel("email")
    campaign = released(people, [mail], target=1)
    touch(campaign, people[0], mail, cost="0.5")
    short(campaign, people[1], mail, 0, "no_consent")
    post_incurred(START)
    told = Client().get(f"/api/v1/reports/coverage/{campaign.pk}/", headers=key("reports:read")).json()
    total = coverage(campaign).total
    assert (told["total"]["target"], told["total"]["reached"], told["total"]["gap"]) == (
        total.target,
        total.reached,
        total.gap,
    )
    assert told["causes"] == [{"cause": "no_consent", "owner": "audience", "touches": 1}]
    money = Client().get(f"/api/v1/reports/roi/{campaign.pk}/", headers=key("reports:read")).json()
    assert money["full_cost"] == "0.5000"
    assert money["ratios"]["roi"]["value"] is None
    assert "holdout" in money["ratios"]["roi"]["basis"]
    ledger = (
        Client().get(f"/api/v1/reports/ledger/?campaign={campaign.pk}", headers=key("reports:read")).json()
    )
    assert [line["side"] for line in ledger["results"]] == ["credit", "debit"]


def test_a_key_without_the_scope_is_refused(key: Callable[..., dict[str, str]]) -> None:
    assert Client().get("/api/v1/reports/ledger/", headers=key("campaigns:read")).status_code == 403
    assert Client().get("/api/v1/reports/ledger/").status_code in (401, 403)
