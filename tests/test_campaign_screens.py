"""The campaign's screens: every part saves by itself, and nothing is saved by halves."""

from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from campaigns import definition, versions
from campaigns.models import Campaign, Message, MessageVariant, MessageVersion
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
HTMX = {"HX-Request": "true"}
STEPS = ["basics", "matrix", "content", "rules", "forecast", "approval", "live", "review"]


def post(client: Client, step: str, campaign: Campaign, data: dict[str, Any], htmx: bool = True) -> Any:
    return client.post(reverse(f"campaigns:{step}", args=[campaign.pk]), data, headers=HTMX if htmx else {})


def document_of(campaign: Campaign) -> dict[str, Any]:
    return definition.read(Campaign.objects.get(pk=campaign.pk))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("who", ["marketer", "approver", "channels", "finance"])
def test_every_role_may_look_at_every_step(step: str, who: str, log_in: Any) -> None:
    campaign = make_draft(channels=[make_channel(), make_channel("sms")])
    make_plan(campaign)
    answer = log_in(who).get(reverse(f"campaigns:{step}", args=[campaign.pk]))
    assert answer.status_code == 200
    assert campaign.name in answer.content.decode()


@pytest.mark.parametrize("step", ["basics", "matrix", "content", "rules"])
def test_only_marketers_edit(step: str, as_approver: Client) -> None:
    assert post(as_approver, step, make_draft(), {}).status_code == 403


def test_a_campaign_begins_with_a_name_and_two_days(as_marketer: Client) -> None:
    segment, channel = make_segment(), make_channel()
    answer = as_marketer.post(
        reverse("campaigns:new_campaign"),
        {
            "name": "Spring",
            "segment": segment.pk,
            "starts_on": "2030-03-01",
            "ends_on": "2030-03-10",
            "brand": channel.brand_id,
        },
    )
    campaign = Campaign.objects.get(name="Spring")
    assert answer["Location"] == reverse("campaigns:matrix", args=[campaign.pk])
    document = document_of(campaign)
    assert (document["starts_at"], document["ends_at"]) == (
        "2030-02-28T16:00:00+00:00",
        "2030-03-10T16:00:00+00:00",
    )
    assert len(document["phases"]) == 1


def test_dates_are_those_of_the_campaigns_zone(as_marketer: Client) -> None:
    campaign = make_draft()
    data = {
        "name": "N",
        "goal": "",
        "segment": "",
        "zone": "America/New_York",
        "brand": "main",
        "currency": "CNY",
        "starts_at": "2030-01-01T09:00",
        "ends_at": "2030-02-01T09:00",
    }
    assert post(as_marketer, "basics", campaign, data).status_code == 200
    document = document_of(campaign)
    assert document["starts_at"] == "2030-01-01T14:00:00+00:00"
    assert document["phases"][0]["starts_at"] == document["starts_at"]
    assert document["phases"][-1]["ends_at"] == document["ends_at"]


def matrix_data(campaign: Campaign, **changes: Any) -> dict[str, Any]:
    """What the browser would post for the matrix as it stands."""
    from campaigns.forms import local

    document = document_of(campaign)
    data: dict[str, Any] = {
        "budget": document["budget"] or "",
        "person_cap": "",
        "priority": "50",
        "objective": "coverage",
    }
    for n, phase in enumerate(document["phases"]):
        data |= {
            f"p{n}-name": phase["name"],
            f"p{n}-round_days": phase["round_days"] or "",
            f"p{n}-starts_at": local(phase["starts_at"], document["zone"]),
            f"p{n}-ends_at": local(phase["ends_at"], document["zone"]),
        }
        for entry in document["channels"]:
            for stage in ("prospect", "member", "customer", "advocate"):
                cell = next(
                    (
                        c
                        for c in document["matrix"]
                        if (c["phase"], c["channel"], c["stage"]) == (n, entry["channel"], stage)
                    ),
                    {"touches": "", "min_gap_hours": 48},
                )
                data[f"c{n}-{entry['channel']}-{stage}-n"] = cell["touches"]
                data[f"c{n}-{entry['channel']}-{stage}-gap"] = cell["min_gap_hours"]
    return data | changes


def test_the_matrix_as_it_stands_changes_nothing(as_marketer: Client) -> None:
    campaign = make_draft(channels=[make_channel(), make_channel("sms")])
    before = document_of(campaign)
    assert post(as_marketer, "matrix", campaign, matrix_data(campaign)).status_code == 200
    assert document_of(campaign) == before


def test_a_cell_is_saved_as_soon_as_it_changes(as_marketer: Client) -> None:
    campaign = make_draft()
    channel = campaign.channel_plans.get().channel_id
    data = matrix_data(campaign, **{f"c0-{channel}-advocate-n": "3", f"c0-{channel}-advocate-gap": "24"})
    answer = post(as_marketer, "matrix", campaign, data)
    assert "Saved" in answer.content.decode()
    cells = {
        cell["stage"]: (cell["touches"], cell["min_gap_hours"]) for cell in document_of(campaign)["matrix"]
    }
    assert cells == {"member": (2, 48), "advocate": (3, 24)}


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("c0-{channel}-member-n", "-1", "whole number from 0 to 90"),
        ("c0-{channel}-member-n", "91", "whole number from 0 to 90"),
        ("c0-{channel}-member-gap", "many", "hours apart"),
        ("budget", "a lot", "Budget"),
        ("budget", "1e30", "Budget"),
        ("budget", "NaN", "Budget"),
        ("p0-ends_at", "tomorrow", "Write a date and a time"),
        ("p0-ends_at", "", "needs a start and an end"),
        ("p0-ends_at", "2000-01-01T00:00", "end after it starts"),
        ("p0-round_days", "0", "days a round"),
        ("ch{channel}-budget", "-5", "Budget of"),
        ("ch{channel}-daily_limit", "1.5", "Messages a day"),
    ],
)
def test_a_wrong_value_is_named_and_nothing_is_saved(
    field: str, value: str, told: str, as_marketer: Client
) -> None:
    campaign = make_draft()
    channel = campaign.channel_plans.get().channel_id
    before = document_of(campaign)
    data = matrix_data(campaign, **{field.format(channel=channel): value, f"c0-{channel}-advocate-n": "1"})
    answer = post(as_marketer, "matrix", campaign, data)
    assert answer.status_code == 422
    assert told in answer.content.decode()
    assert document_of(campaign) == before


def test_day_parts_are_kept_for_each_channel(as_marketer: Client) -> None:
    campaign = make_draft()
    key = f"ch{campaign.channel_plans.get().channel_id}"
    data = matrix_data(
        campaign,
        **{
            f"{key}-dps": "2",
            f"{key}-dp0-days": ["1", "2"],
            f"{key}-dp0-from": "09:00",
            f"{key}-dp0-to": "20:30",
            f"{key}-dp1-from": "",
            f"{key}-dp1-to": "",
        },
    )
    post(as_marketer, "matrix", campaign, data)
    assert document_of(campaign)["channels"][0]["day_parts"] == [
        {"days": [1, 2], "from": "09:00", "to": "20:30"}
    ]
    data |= {f"{key}-dp0-to": "08:00"}
    assert "end after they begin" in post(as_marketer, "matrix", campaign, data).content.decode()


def test_a_phase_is_added_by_splitting_the_last_and_removed_by_giving_back_its_time(
    as_marketer: Client,
) -> None:
    campaign = make_draft()
    before = document_of(campaign)
    post(as_marketer, "matrix", campaign, matrix_data(campaign, do="add_phase"), htmx=False)
    split = document_of(campaign)
    assert [phase["name"] for phase in split["phases"]] == ["Phase 1", "Phase 2"]
    assert split["phases"][0]["ends_at"] == split["phases"][1]["starts_at"] == "2026-03-10T02:00:00+00:00"
    assert [cell["phase"] for cell in split["matrix"]] == [0, 1]
    post(as_marketer, "matrix", campaign, matrix_data(campaign, do="remove_phase:1"), htmx=False)
    assert document_of(campaign) == before


def test_removing_the_first_phase_keeps_the_matrix_of_the_second(as_marketer: Client) -> None:
    campaign = make_draft()
    channel = campaign.channel_plans.get().channel_id
    post(as_marketer, "matrix", campaign, matrix_data(campaign, do="add_phase"), htmx=False)
    post(
        as_marketer, "matrix", campaign, matrix_data(campaign, **{f"c1-{channel}-member-n": "7"}), htmx=False
    )
    post(as_marketer, "matrix", campaign, matrix_data(campaign, do="remove_phase:0"), htmx=False)
    document = document_of(campaign)
    assert [(cell["phase"], cell["touches"]) for cell in document["matrix"]] == [(0, 7)]
    assert document["phases"][0]["starts_at"] == document["starts_at"]


def test_channels_come_and_go_with_their_column(as_marketer: Client) -> None:
    campaign, sms = make_draft(), make_channel("sms")
    post(as_marketer, "matrix", campaign, matrix_data(campaign, do="add_channel", channel=sms.pk), htmx=False)
    assert [entry["channel"] for entry in document_of(campaign)["channels"]][1] == sms.pk
    first = document_of(campaign)["channels"][0]["channel"]
    post(as_marketer, "matrix", campaign, matrix_data(campaign, do=f"remove_channel:{first}"), htmx=False)
    document = document_of(campaign)
    assert ([entry["channel"] for entry in document["channels"]], document["matrix"]) == ([sms.pk], [])


def test_rules_are_entered_in_per_cent_and_kept_as_shares(as_marketer: Client) -> None:
    campaign = make_draft()
    data = {
        "holdout": "12.5",
        "silence_hours": "72",
        "silent_touches": "1",
        "exit_on": ["conversion", "click"],
        "margin": "30",
        "conversion_value": "199",
        "attribution_days": "7",
        "revenue_basis": "net",
        "arm-0-name": "few",
        "arm-0-share": "33.33",
        "arm-0-cap": "1",
        "arm-1-name": "",
        "arm-1-share": "",
        "arm-1-cap": "",
    }
    assert post(as_marketer, "rules", campaign, data).status_code == 200
    document = document_of(campaign)
    assert (document["holdout_share"], document["margin_rate"]) == ("0.1250", "0.3000")
    assert document["exit_on"] == ["click", "conversion"]
    assert document["arms"] == [{"name": "few", "share": "0.3333", "cap": 1}]
    answer = post(as_marketer, "rules", campaign, data | {"holdout": "51"})
    assert answer.status_code == 422
    assert document_of(campaign)["holdout_share"] == "0.1250"


def test_choosing_a_message_puts_its_newest_version_into_the_campaign(as_marketer: Client) -> None:
    campaign = make_draft()
    version = make_message("email")
    channel = campaign.channel_plans.get().channel_id
    post(as_marketer, "content", campaign, {f"message-{channel}": version.message_id})
    message = document_of(campaign)["channels"][0]["message"]
    assert (message["id"], message["version_id"]) == (version.message_id, version.pk)
    assert (
        "Choose the message"
        not in as_marketer.get(reverse("campaigns:content", args=[campaign.pk])).content.decode()
    )


def test_a_submitted_campaign_is_shown_but_refuses_changes(as_marketer: Client) -> None:
    from campaigns import lifecycle

    campaign = make_draft()
    make_plan(campaign)
    lifecycle.submit(campaign, make_person("maker", "marketer"), NOW)
    before = document_of(campaign)
    answer = post(as_marketer, "matrix", campaign, matrix_data(campaign, budget="5"))
    assert answer.status_code == 422
    assert "Withdraw" in answer.content.decode()
    assert document_of(campaign) == before


def test_a_draft_can_be_deleted_and_a_submitted_one_cannot(as_marketer: Client) -> None:
    from campaigns import lifecycle

    draft, sent = make_draft(), make_draft()
    make_plan(sent)
    lifecycle.submit(sent, make_person("maker", "marketer"), NOW)
    lifecycle.withdraw(sent, make_person("maker", "marketer"), NOW)
    for campaign in (draft, sent):
        as_marketer.post(reverse("campaigns:delete", args=[campaign.pk]))
    assert list(Campaign.objects.values_list("pk", flat=True)) == [sent.pk]


@time_machine.travel(NOW, tick=False)
def test_the_approver_decides_on_the_screen(as_marketer: Client, as_approver: Client) -> None:
    campaign = make_draft()
    make_plan(campaign)
    as_marketer.post(reverse("campaigns:submit", args=[campaign.pk]))
    version = versions.open_version(campaign)
    assert version is not None
    url = reverse("campaigns:decide", args=[campaign.pk, version.number])
    assert as_marketer.post(url, {"step": "approver", "decision": "approve"}).status_code == 403
    as_approver.post(url, {"step": "approver", "decision": "reject", "comment": "Too often"})
    campaign.refresh_from_db()
    assert campaign.state == "draft"
    as_marketer.post(reverse("campaigns:submit", args=[campaign.pk]))
    as_approver.post(
        reverse("campaigns:decide", args=[campaign.pk, 2]), {"step": "approver", "decision": "approve"}
    )
    campaign.refresh_from_db()
    assert campaign.state in ("approved", "scheduled", "running")
    assert "Too often" in as_marketer.get(reverse("campaigns:approval", args=[campaign.pk])).content.decode()


# Content library ------------------------------------------------------------------------------


def test_words_are_saved_and_checked_as_one_types(as_marketer: Client) -> None:
    make_channel("sms")
    as_marketer.post(
        reverse("campaigns:new_message"), {"name": "Hello", "medium": "sms", "brand": make_channel().brand_id}
    )
    message = Message.objects.get(name="Hello")
    url = reverse("campaigns:message_version", args=[message.pk, 1])
    words = {"variant": "1", "name": "A", "weight": "1", "text": "新品上市", "subject": "", "html": ""}
    answer = as_marketer.post(url, words, headers=HTMX)
    assert "拒收请回复R" in answer.content.decode()  # what the platform rule asks for
    answer = as_marketer.post(url, words | {"text": "新品上市，拒收请回复R"}, headers=HTMX)
    assert "No rule of" in answer.content.decode()
    assert MessageVariant.objects.get().text == "新品上市，拒收请回复R"


def test_frozen_words_are_read_only_until_there_is_a_new_version(as_marketer: Client) -> None:
    version = make_message("email")
    MessageVersion.objects.filter(pk=version.pk).update(frozen_at=NOW)
    url = reverse("campaigns:message_version", args=[version.message_id, 1])
    words = {"variant": "1", "name": "A", "weight": "1", "text": "Other", "subject": "S", "html": ""}
    answer = as_marketer.post(url, words, headers=HTMX)
    assert (answer.status_code, "Make a new version" in answer.content.decode()) == (422, True)
    as_marketer.post(reverse("campaigns:new_message_version", args=[version.message_id]))
    as_marketer.post(reverse("campaigns:message_version", args=[version.message_id, 2]), words)
    texts = MessageVariant.objects.order_by("version__number").values_list("version__number", "text")
    assert [number for number, _text in texts] == [1, 2]
    assert texts[1][1] == "Other"


def test_the_email_preview_is_caged(as_marketer: Client) -> None:
    version = make_message("email", html="<script>alert(1)</script><p>{{name|friend}}</p>")
    answer = as_marketer.get(reverse("campaigns:message_html", args=[version.pk, 1]))
    policy = answer["Content-Security-Policy"]
    assert "sandbox" in policy
    assert "script-src 'none'" in policy
    assert "default-src 'none'" in policy
    assert answer["X-Frame-Options"] == "SAMEORIGIN"


def test_the_list_finds_by_words_and_state(as_marketer: Client) -> None:
    first, _second = make_draft(name="Alpha"), make_draft(name="Beta")
    page = as_marketer.get(reverse("campaigns:campaigns"), {"q": "alp"}).content.decode()
    assert "Alpha" in page
    assert "Beta" not in page
    assert (
        "Alpha" not in as_marketer.get(reverse("campaigns:campaigns"), {"state": "running"}).content.decode()
    )
    assert first.name == "Alpha"


def test_the_calendar_shows_what_touches_the_month(as_marketer: Client) -> None:
    make_draft(name="March thing")
    assert (
        "March thing" in as_marketer.get(reverse("campaigns:calendar"), {"month": "2026-03"}).content.decode()
    )
    assert (
        "March thing"
        not in as_marketer.get(reverse("campaigns:calendar"), {"month": "2026-04"}).content.decode()
    )
    assert as_marketer.get(reverse("campaigns:calendar"), {"month": "nonsense"}).status_code == 200
