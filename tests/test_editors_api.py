"""What the editors do, over the API: occasions, how a campaign runs, its offer and the offer's codes."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from campaigns.models import Campaign, Occasion
from tests import plan_rows as rows
from tests.campaign_drafts import make_draft, make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> APIClient:
    found = APIClient()
    found.force_authenticate(make_person("maker", "marketer"))
    return found


def post(client: APIClient, path: str, data: dict[str, Any], status: int = 201) -> Any:
    answer = client.post(f"/api/v1/{path}", data, format="json")
    assert answer.status_code == status, answer.content
    return answer.json()


def test_an_occasion_is_made_looked_at_and_not_deleted_while_it_is_used(client: APIClient) -> None:
    made = post(
        client,
        "occasions/",
        {"name": "中秋", "kind": "festival", "rule": {"calendar": "lunar", "month": 8, "day": 15}},
    )
    assert made["sentence"] == "Lunar month 8, day 15"
    post(client, "occasions/", {"name": "never", "kind": "festival", "rule": {"month": 2, "day": 31}}, 400)
    rows.customers(2)
    known = post(client, "occasions/", {"name": "Birthday", "kind": "birthday", "rule": {}, "lead_days": 3})
    assert known["rule"] == {"calendar": "own"}
    assert client.get(f"/api/v1/occasions/{known['id']}/preview/").json() == {
        "people": 0,
        "past": False,
        "days": [],
    }
    rows.campaign([], [rows.channel()], kind="triggered", occasion=Occasion.objects.get(pk=known["id"]))
    assert client.delete(f"/api/v1/occasions/{known['id']}/").status_code == 409
    assert client.delete(f"/api/v1/occasions/{made['id']}/").status_code == 204


def test_a_campaign_is_told_how_it_runs(client: APIClient) -> None:
    post(client, "campaigns/", {"name": "Weekly", "kind": "recurring", "starts_at": "2027-03-01T09:00:00+08:00",
         "zone": "Asia/Shanghai", "cadence": {"every": 1, "unit": "week", "times": 3, "days": 2}})  # fmt: skip
    campaign = Campaign.objects.get()
    assert campaign.ends_at is not None
    assert campaign.ends_at.isoformat() == "2027-03-17T01:00:00+00:00"
    told = client.get(f"/api/v1/campaigns/{campaign.pk}/runs/").json()
    assert told["sentence"] == "Every week, 3 times, each run lasts 2 days"
    assert len(told["runs"]) == 3
    birthday = Occasion.objects.create(name="Birthday", kind="birthday", rule={"calendar": "own"})
    answer = client.patch(
        f"/api/v1/campaigns/{campaign.pk}/",
        {"kind": "triggered", "cadence": {"by": "occasion", "most": 2}, "occasion": {"id": birthday.pk}},
        format="json",
    )
    assert answer.status_code == 200, answer.content
    document = answer.json()["document"]
    assert document["occasion"]["rule"] == {"calendar": "own"}
    assert document["cadence"]["window_days"] == 7
    assert client.get(f"/api/v1/campaigns/{campaign.pk}/openings/").json()["results"] == []


def test_an_offer_gets_its_codes_and_its_campaign(client: APIClient) -> None:
    make_draft(make_person("maker", "marketer"))
    made = post(
        client, "offers/", {"brand": "main", "name": "Gift", "codes": "personal", "value": "¥20", "cost": "8"}
    )
    assert post(client, f"offers/{made['id']}/codes/", {"codes": ["A1", "A1"], "make": 3}) == {"added": 4}
    assert len(client.get(f"/api/v1/offers/{made['id']}/codes/").json()["results"]) == 4
    campaign = Campaign.objects.get()
    path = f"/api/v1/campaigns/{campaign.pk}/"
    assert client.get(f"{path}offer/").status_code == 204
    assert client.patch(path, {"offer": {"id": made["id"]}}, format="json").status_code == 200
    assert client.get(f"{path}offer/").json() == {
        "offer": made["id"],
        "given": 0,
        "redeemed": 0,
        "cost": "0.0000",
    }
    Campaign.objects.update(state="running")
    assert client.patch(f"/api/v1/offers/{made['id']}/", {"cost": "9"}, format="json").status_code == 400
    assert client.patch(f"/api/v1/offers/{made['id']}/", {"stock": 9}, format="json").status_code == 200
