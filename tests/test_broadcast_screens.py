"""The screens and the API of group and Moments posts: who may plan, who may approve, what is shown."""

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audiences.access import Role
from campaigns import broadcasts
from campaigns.models import Broadcast, BroadcastTask, Campaign
from channels.models import Channel, CustomerGroup, Employee
from tests import factories as make
from tests.channel_rows import make_channel
from tests.test_sandbox_road import at_noon

pytestmark = pytest.mark.django_db


@pytest.fixture
def channel() -> Channel:
    found = make_channel("wecom", "wecom", name="企业微信", settings={"corp_id": "ww1"})
    for userid, name in (("lili", "李丽"), ("wangfang", "王芳")):
        one = Employee.objects.create(channel=found, external_id=userid, name=name)
        CustomerGroup.objects.create(
            channel=found, external_id=f"wr-{userid}", name=f"{name}的群", owner=one, customers=40
        )
    return found


@pytest.fixture
def campaign(channel: Channel) -> Campaign:
    return make.campaign([channel], now=timezone.now(), zone=at_noon()[1], name="双十一")


def form(**told: Any) -> dict[str, Any]:
    soon = timezone.now() + dt.timedelta(hours=2)
    at = soon.astimezone(ZoneInfo(at_noon()[1])).strftime("%Y-%m-%dT%H:%M")
    return {"text": "新茶到店", "url": "https://shop.example.com/", "due_at": at} | told


def test_from_planning_to_a_post_that_is_approved_and_cancelled(
    client: Client, make_user: Any, campaign: Campaign
) -> None:
    client.force_login(make_user("m", Role.MARKETER))
    plan = campaign.channel_plans.get()
    page = client.get(reverse("campaigns:new_broadcast"), {"campaign": campaign.pk}).content.decode()
    assert "双十一 · 企业微信" in page
    address = f"{reverse('campaigns:new_broadcast')}?plan={plan.pk}&kind=group"
    shown = client.get(address).content.decode()
    assert "counts 0.50 of a message to one customer" in shown
    assert "李丽的群 · 李丽 · 40 customers" in shown
    assert client.post(address, form()).status_code == 422, "no group was chosen"
    group = CustomerGroup.objects.get(external_id="wr-lili")
    assert client.post(address, form(groups=[group.pk])).status_code == 302
    post = Broadcast.objects.get()
    assert "/l/" in post.text
    one = reverse("campaigns:broadcast", args=[post.pk])
    shown = client.get(one).content.decode()
    assert "of 40 who can see it" in shown
    assert "each counts 0.50" in shown
    assert "approve/" not in shown, "a marketer cannot approve"
    assert client.post(reverse("campaigns:approve_broadcast", args=[post.pk])).status_code == 403
    client.force_login(make_user("a", Role.APPROVER))
    assert "approve/" in client.get(one).content.decode()
    client.post(reverse("campaigns:approve_broadcast", args=[post.pk]))
    post.refresh_from_db()
    assert post.state == "approved"
    client.post(reverse("campaigns:cancel_broadcast", args=[post.pk]))
    post.refresh_from_db()
    assert (post.state, post.tasks.get().state) == ("cancelled", "cancelled")


def test_who_has_both_roles_does_not_approve_their_own(
    client: Client, make_user: Any, campaign: Campaign, channel: Channel
) -> None:
    both = make_user("both", Role.MARKETER)
    make_user("both", Role.APPROVER)
    post = broadcasts.plan(
        campaign, channel, "moments", "新茶", timezone.now(), employees=list(Employee.objects.all()), user=both
    )  # fmt: skip
    client.force_login(both)
    assert "approve/" not in client.get(reverse("campaigns:broadcast", args=[post.pk])).content.decode()
    client.post(reverse("campaigns:approve_broadcast", args=[post.pk]))
    post.refresh_from_db()
    assert post.state == "planned"


def test_the_list_the_file_and_coverage_tell_the_same_weighed_figures(
    client: Client, make_user: Any, campaign: Campaign, channel: Channel
) -> None:
    post = broadcasts.plan(
        campaign, channel, "moments", "新茶到店", timezone.now(), employees=list(Employee.objects.all())
    )  # fmt: skip
    broadcasts.approve(post, make_user("a", Role.APPROVER), timezone.now())
    BroadcastTask.objects.filter(employee__external_id="lili").update(
        state="confirmed", shown=250, likes=3, confirmed_at=timezone.now()
    )
    client.force_login(make_user("m", Role.MARKETER))
    page = client.get(reverse("campaigns:broadcasts"), {"campaign": campaign.pk}).content.decode()
    for shown in ("1 / 2", ">250<", ">0.20<", ">50.0<"):
        assert shown in page
    told = b"".join(client.get(reverse("campaigns:broadcasts_export"))).decode("utf-8-sig")  # type: ignore[arg-type]
    assert ",250,0.200,50.000," in told
    page = client.get(reverse("reports:coverage", args=[campaign.pk])).content.decode()
    assert 'id="posts"' in page
    assert ">50.0<" in page
    (line,) = client.get(f"/api/v1/reports/coverage/{campaign.pk}/").json()["posts"]
    assert (line["shown"], line["weight"], line["weighted"], line["confirmed"]) == (250, "0.200", "50.000", 1)
    frame = client.get(reverse("campaigns:live", args=[campaign.pk])).content.decode()
    assert f"{reverse('campaigns:broadcasts')}?campaign={campaign.pk}" in frame


def test_the_api_plans_approves_and_cancels_as_the_screens_do(
    client: Client, make_user: Any, campaign: Campaign, channel: Channel
) -> None:
    told = {
        "campaign": campaign.pk, "channel": channel.pk, "kind": "moments", "text": "新茶",
        "due_at": (timezone.now() + dt.timedelta(hours=1)).isoformat(),
    }  # fmt: skip
    address = "/api/v1/broadcasts/"
    assert client.get(address).status_code in (401, 403)
    client.force_login(make_user("m", Role.MARKETER))
    refused = client.post(address, told, content_type="application/json")
    assert (refused.status_code, list(refused.json())) == (400, ["employees"])
    told["employees"] = [Employee.objects.get(external_id="lili").pk]
    made = client.post(address, told, content_type="application/json")
    assert made.status_code == 201
    one = made.json()
    assert (one["weight"], one["state"], [task["state"] for task in one["tasks"]]) == (
        "0.200",
        "planned",
        ["planned"],
    )
    assert client.post(f"{address}{one['id']}/approve/").status_code == 403
    client.force_login(make_user("a", Role.APPROVER))
    assert client.post(f"{address}{one['id']}/approve/").json()["state"] == "approved"
    assert client.post(f"{address}{one['id']}/approve/").status_code == 400
    assert client.get(f"{address}?state=approved").json()["results"][0]["id"] == one["id"]
    assert client.post(f"{address}{one['id']}/cancel/").json()["state"] == "cancelled"
    assert client.get(f"{address}{one['id']}/").json()["tasks"][0]["state"] == "cancelled"


def test_a_channel_that_makes_no_posts_is_not_offered(client: Client, make_user: Any) -> None:
    make.campaign([make_channel("manual", "sms", name="SMS")], now=timezone.now(), name="春茶")
    client.force_login(make_user("m", Role.MARKETER))
    page = client.get(reverse("campaigns:broadcasts")).content.decode()
    assert "No campaign can make such posts yet." in page
    assert "春茶" not in client.get(reverse("campaigns:new_broadcast")).content.decode()
