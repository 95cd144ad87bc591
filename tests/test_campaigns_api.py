"""Campaigns through the API: everything the screens do, with the same refusals."""

import datetime as dt
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client

from audiences.models import Job
from campaigns import definition, lifecycle, versions
from campaigns.models import Campaign, Member, MemberTarget, Message, PressureRule
from config import api_keys
from config.models import User
from tests.campaign_drafts import (
    NOW,
    make_channel,
    make_draft,
    make_message,
    make_person,
    make_plan,
    make_segment,
)

pytestmark = pytest.mark.django_db
API = "/api/v1"


@pytest.fixture(autouse=True)
def _in_march() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def document() -> dict[str, Any]:
    channel, message = make_channel(), make_message("email")
    return {
        "name": "Through the API",
        "segment": {"id": make_segment().pk},
        "starts_at": "2026-03-03T09:00:00+08:00",
        "ends_at": "2026-03-17T09:00:00+08:00",
        "budget": "100",
        "holdout_share": "0.1",
        "exit_on": ["conversion"],
        "phases": [
            {
                "name": "Warm up",
                "starts_at": "2026-03-03T09:00:00+08:00",
                "ends_at": "2026-03-10T09:00:00+08:00",
            },
            {
                "name": "Push",
                "starts_at": "2026-03-10T09:00:00+08:00",
                "ends_at": "2026-03-17T09:00:00+08:00",
                "round_days": 3,
            },
        ],
        "channels": [
            {
                "channel": channel.pk,
                "budget": "60.5",
                "message": {"id": message.message_id},
                "day_parts": [{"days": [1, 2, 3, 4, 5], "from": "09:00", "to": "20:30"}],
            },
        ],
        "matrix": [
            {"phase": 0, "channel": channel.pk, "stage": "member", "touches": 2, "min_gap_hours": 48},
            {"phase": 1, "channel": channel.pk, "stage": "advocate", "touches": 1},
        ],
        "arms": [{"name": "fewer", "share": "0.05", "cap": 1}],
    }


def create(client: Client, document: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(f"{API}/campaigns/", document, content_type="application/json")
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_a_document_becomes_a_draft_and_comes_back_the_same(
    as_marketer: Client, document: dict[str, Any]
) -> None:
    made = create(as_marketer, document)
    kept = made["document"]
    assert (made["state"], kept["budget"], kept["channels"][0]["budget"]) == ("draft", "100.0000", "60.5000")
    assert kept["channels"][0]["message"]["version"] == 1
    assert [phase["round_days"] for phase in kept["phases"]] == [None, 3]
    assert kept["channels"][0]["day_parts"] == [{"days": [1, 2, 3, 4, 5], "from": "09:00", "to": "20:30"}]
    again = as_marketer.put(f"{API}/campaigns/{made['id']}/", kept, content_type="application/json")
    assert again.status_code == 200, again.content
    assert again.json()["document"] == kept
    assert as_marketer.get(f"{API}/campaigns/{made['id']}/").json()["document"] == kept


def test_one_part_is_changed_without_the_others(as_marketer: Client, document: dict[str, Any]) -> None:
    made = create(as_marketer, document)
    answer = as_marketer.patch(
        f"{API}/campaigns/{made['id']}/", {"budget": None, "priority": 80}, content_type="application/json"
    )
    changed = answer.json()["document"]
    assert (changed["budget"], changed["priority"]) == (None, 80)
    assert {k: v for k, v in changed.items() if k not in ("budget", "priority")} == {
        k: v for k, v in made["document"].items() if k not in ("budget", "priority")
    }


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"segment": {"id": 999}}, "segment"),
        ({"channels": [{"channel": 999}]}, "channels"),
        ({"matrix": [{"phase": 5, "channel": 1, "stage": "member", "touches": 1}]}, "matrix"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"kind": "imported"}, "kind"),
        ({"holdout_share": "0.6"}, "holdout_share"),
        ({"ends_at": "2026-03-01T00:00:00Z"}, "ends_at"),
        ({"budget": "-1"}, "budget"),
        ({"exit_on": ["boredom"]}, "exit_on"),
        (
            {"phases": [{"name": "x", "starts_at": "2026-03-03T00:00Z", "ends_at": "2026-03-02T00:00Z"}]},
            "phases",
        ),
    ],
)
def test_a_wrong_document_is_refused_with_its_place(
    change: dict[str, Any], where: str, as_marketer: Client, document: dict[str, Any]
) -> None:
    answer = as_marketer.post(f"{API}/campaigns/", document | change, content_type="application/json")
    assert answer.status_code == 400
    assert where in answer.json()
    assert not Campaign.objects.exists()


def step(client: Client, pk: int, name: str, data: dict[str, Any] | None = None) -> Any:
    return client.post(f"{API}/campaigns/{pk}/{name}/", data or {}, content_type="application/json")


def test_the_whole_life_of_a_campaign(
    as_marketer: Client, as_approver: Client, document: dict[str, Any]
) -> None:
    pk = create(as_marketer, document)["id"]
    early = step(as_marketer, pk, "submit")
    assert (early.status_code, [entry["step"] for entry in early.json()["missing"]]) == (409, ["forecast"])
    assert step(as_marketer, pk, "plan").status_code == 202
    make_plan(Campaign.objects.get(pk=pk))
    assert step(as_marketer, pk, "submit").json()["state"] == "submitted"
    assert step(as_marketer, pk, "submit").status_code == 409
    assert step(as_marketer, pk, "approve", {"version": 1}).status_code == 403
    assert step(as_approver, pk, "approve", {"version": 7}).status_code == 404
    assert step(as_approver, pk, "reject", {"version": 1, "comment": ""}).status_code == 409
    assert step(as_approver, pk, "reject", {"version": 1, "comment": "Why?"}).json()["state"] == "draft"
    step(as_marketer, pk, "submit")
    approved = step(as_approver, pk, "approve", {"version": 2})
    assert approved.status_code == 200, approved.content
    lifecycle.released(Campaign.objects.get(pk=pk), NOW)
    lifecycle.start_due(NOW + dt.timedelta(days=2))
    assert step(as_marketer, pk, "pause", {"reason": "Typo"}).json()["state_reason"] == "Typo"
    assert step(as_marketer, pk, "resume").json()["state"] == "running"
    assert step(as_marketer, pk, "stop", {"reason": "Enough"}).json()["state"] == "finished"
    assert step(as_marketer, pk, "review", {"review": "Learned"}).json()["state"] == "reviewed"
    told = as_marketer.get(f"{API}/campaigns/{pk}/versions/").json()["results"]
    assert [(version["number"], version["state"]) for version in told] == [(2, "approved"), (1, "rejected")]
    assert told[1]["approvals"][0]["comment"] == "Why?"


def test_a_running_campaign_takes_changes_as_a_version(as_marketer: Client) -> None:
    campaign = make_draft()
    make_plan(campaign)
    version = lifecycle.submit(campaign, make_person("maker", "marketer"), NOW)
    refused = as_marketer.patch(
        f"{API}/campaigns/{campaign.pk}/", {"budget": "5"}, content_type="application/json"
    )
    assert refused.status_code == 409
    lifecycle.approve(version, make_person("approver", "approver"), "approver", "", NOW)
    lifecycle.released(campaign, NOW)
    answer = as_marketer.patch(
        f"{API}/campaigns/{campaign.pk}/", {"budget": "500"}, content_type="application/json"
    )
    assert answer.json()["document"]["budget"] == "500.0000"
    assert definition.read(campaign)["budget"] == "100.0000"
    assert versions.open_version(campaign) is not None
    fixed = as_marketer.patch(
        f"{API}/campaigns/{campaign.pk}/", {"currency": "USD"}, content_type="application/json"
    )
    assert (fixed.status_code, "currency" in fixed.json()["detail"]) == (400, True)


def test_a_key_of_the_wrong_scope_writes_nothing(document: dict[str, Any]) -> None:
    owner = make_person("machine", "marketer")
    read = api_keys.issue(User.objects.get(pk=owner.pk), "reader", ["campaigns:read"])[1]
    client, headers = Client(), {"authorization": f"Bearer {read}"}
    assert client.get(f"{API}/campaigns/", headers=headers).status_code == 200
    assert (
        client.post(
            f"{API}/campaigns/", document, content_type="application/json", headers=headers
        ).status_code
        == 403
    )


def test_a_draft_made_twice_with_one_key_is_one_draft(document: dict[str, Any]) -> None:
    owner = make_person("machine", "marketer")
    key = api_keys.issue(User.objects.get(pk=owner.pk), "writer", ["campaigns:read", "campaigns:write"])[1]
    headers = {"authorization": f"Bearer {key}", "idempotency-key": "spring"}
    for _call in range(2):
        answer = Client().post(
            f"{API}/campaigns/", document, content_type="application/json", headers=headers
        )
        assert answer.status_code == 201
    assert Campaign.objects.count() == 1


def test_rows_come_with_cursors(as_marketer: Client) -> None:
    from audiences.models import Customer

    campaign = make_draft()
    channel = campaign.channel_plans.get().channel_id
    people = [Customer.objects.create(name=f"P{n}", stage="member") for n in range(5)]
    for person in people:
        Member.objects.create(
            campaign_id=campaign.pk,
            customer_id=person.pk,
            stage="member",
            zone="UTC",
            entered_at=NOW,
            state_at=NOW,
        )
        MemberTarget.objects.create(
            campaign_id=campaign.pk,
            customer_id=person.pk,
            channel_id=channel,
            round=1,
            stage="member",
            target=1,
            planned=1,
        )
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO campaigns_approved_ordinal (campaign_id, channel_id, round, stage, ordinal, version) "
                "VALUES (%s, %s, 1, 'member', 1, 1) ON CONFLICT DO NOTHING",
                [campaign.pk, channel],
            )
            cursor.execute(
                "INSERT INTO campaigns_touch (campaign_id, customer_id, channel_id, round, ordinal, stage, "
                "due_at, deadline_at) "
                "VALUES (%s, %s, %s, 1, 1, 'member', %s, %s)",
                [campaign.pk, person.pk, channel, NOW, NOW],
            )
    for name in ("members", "targets", "touches"):
        url, seen = f"{API}/campaigns/{campaign.pk}/{name}/?page_size=2", []
        while url:
            page = as_marketer.get(url).json()
            seen += [row["customer_id"] for row in page["results"]]
            url = page["next"]
        assert seen == [person.pk for person in people]
    answer = as_marketer.get(f"{API}/campaigns/{campaign.pk}/touches/", {"state": "sent"})
    assert answer.json()["results"] == []
    progress = as_marketer.get(f"{API}/campaigns/{campaign.pk}/progress/").json()
    assert (progress["members"], progress["channels"][0]["pending"]) == (5, 5)


def test_the_forecast_is_told_cell_by_cell(as_marketer: Client) -> None:
    campaign = make_draft()
    assert as_marketer.get(f"{API}/campaigns/{campaign.pk}/forecast/").status_code == 404
    plan = make_plan(campaign)
    plan.cells.create(
        round=1,
        channel_id=1,
        stage="member",
        people=5,
        eligible=4,
        reach=4,
        target=8,
        touches=6,
        gaps={"budget": 2},
    )
    told = as_marketer.get(f"{API}/campaigns/{campaign.pk}/forecast/").json()
    assert (told["stale"], told["cells"][0]["gaps"]) == (False, {"budget": 2})
    as_marketer.patch(f"{API}/campaigns/{campaign.pk}/", {"budget": "1"}, content_type="application/json")
    assert as_marketer.get(f"{API}/campaigns/{campaign.pk}/forecast/").json()["stale"] is True


def test_asking_twice_for_a_forecast_runs_one(as_marketer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from audiences import jobs

    monkeypatch.setattr(jobs, "wake", lambda _ids: None)
    campaign = make_draft()
    first, second = (
        step(as_marketer, campaign.pk, "plan").json(),
        step(as_marketer, campaign.pk, "plan").json(),
    )
    assert first["id"] == second["id"]
    assert Job.objects.filter(kind="plan").count() == 1


def test_words_are_written_and_checked(as_marketer: Client) -> None:
    sms = make_channel("sms")
    made = as_marketer.post(
        f"{API}/messages/", {"name": "Hi", "medium": "sms", "brand": "main"}, content_type="application/json"
    )
    pk = made.json()["id"]
    words = {
        "variants": [
            {"name": "A", "text": "上新"},
            {"name": "B", "text": "上新，拒收请回复R", "weight": "0.5"},
        ]
    }
    version = as_marketer.post(
        f"{API}/messages/{pk}/versions/", words, content_type="application/json"
    ).json()
    assert [(one["number"], one["name"]) for one in version["variants"]] == [(1, "A"), (2, "B")]
    problems = as_marketer.get(f"{API}/messages/{pk}/check/{sms.pk}/").json()
    assert [(problem["variant"], problem["rule"]) for problem in problems] == [("A", "opt_out_text")]
    Message.objects.get(pk=pk).versions.update(frozen_at=NOW)
    again = as_marketer.post(f"{API}/messages/{pk}/versions/", words, content_type="application/json").json()
    assert again["number"] == 2


def test_the_contact_policy_is_kept_through_the_api_too(as_marketer: Client, as_approver: Client) -> None:
    rule = {"name": "Daily", "touches": 1, "hours": 24}
    assert (
        as_approver.post(f"{API}/pressure-rules/", rule, content_type="application/json").status_code == 403
    )
    made = as_marketer.post(f"{API}/pressure-rules/", rule, content_type="application/json").json()
    assert made["sentence"] == "A person is contacted at most once in any 1 day on end, over all campaigns."
    as_marketer.patch(f"{API}/pressure-rules/{made['id']}/", {"touches": 2}, content_type="application/json")
    assert PressureRule.objects.get().touches == 2
    as_marketer.delete(f"{API}/pressure-rules/{made['id']}/")
    assert not PressureRule.objects.exists()
