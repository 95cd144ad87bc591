"""A Moments post in a real browser: planned by a marketer, approved by another, confirmed by an employee at WeCom."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from campaigns import broadcast_work
from campaigns.models import Broadcast
from channels import employees
from channels.accounts import release_adapters
from channels.adapters import wecom
from channels.sandbox.server import Sandbox
from tests import factories as make
from tests.browser.test_channels import NARROW, WIDE, accessible, no_sideways, watched
from tests.sandbox_fixture import start_sandbox, wecom_account
from tests.test_sandbox_road import at_noon, connect
from tests.test_wecom_posts import GROUPS, crowd

__all__ = ["watched"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def running(tmp_path: Path, transactional_db: None) -> Iterator[Sandbox]:
    wecom._tokens.clear()
    told: dict[str, Any] = {"confirm_seconds": 1e6, "job_seconds": 0.0, "groups": GROUPS, "like_share": 0.5}
    with start_sandbox(tmp_path, crowd(), wecom=told) as sandbox:
        yield sandbox
    release_adapters()


def test_a_post_is_planned_approved_and_seen_to_be_confirmed(
    watched: Callable[[str], Page], live_server: Any, shots: Callable[..., Path], running: Sandbox
) -> None:
    channel = connect("wecom", "wecom", wecom_account(running))
    now = timezone.now()
    employees.sync(channel, now)
    campaign = make.campaign([channel], now=now, zone=at_noon()[1], name="双十一")
    page = watched("marketer")
    page.goto(live_server.url + reverse("campaigns:live", args=[campaign.pk]))
    page.get_by_role("main").get_by_role("link", name="Group and Moments posts").click()
    accessible(page)
    page.get_by_role("link", name="New post").first.click()
    page.get_by_label("Where it is shown").select_option("moments")
    shots(page, "post-where")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("counts 0.20 of a message to one customer")).to_be_visible()
    accessible(page)
    page.get_by_label("What it says*").fill("新茶到店，双十一品鉴会报名开始")
    page.get_by_label("Where its link leads").fill("https://shop.example.com/tea")
    page.get_by_role("button", name="Plan the post").click()
    expect(
        page.get_by_text("Choose who shall post it.").or_(page.get_by_text("This field is required.")).first
    ).to_be_visible()
    page.get_by_label("staff0").check()
    page.get_by_label("staff1").check()
    shots(page, "post-new")
    page.set_viewport_size(NARROW)
    no_sideways(page)
    shots(page, "post-new-390")
    page.set_viewport_size(WIDE)
    page.get_by_role("button", name="Plan the post").click()
    expect(page.get_by_text("Somebody else must approve it.").first).to_be_visible()
    post = Broadcast.objects.get()
    address = live_server.url + reverse("campaigns:broadcast", args=[post.pk])
    other = watched("approver")
    other.goto(address)
    expect(other.get_by_text("gave no consent for WeCom messages")).to_be_visible()
    other.get_by_role("button", name="Approve").click()
    expect(other.get_by_text("The post is approved.")).to_be_visible()
    later = timezone.now()
    assert broadcast_work.work(later) == 2
    broadcast_work.work(later)
    moment = post.tasks.values_list("reference", flat=True).first()
    assert moment
    running.call(running.corp.moments.publish, moment.removeprefix("mom:"), "staff0")
    broadcast_work.work(later + 2 * broadcast_work.ASK_AGAIN)
    page = watched("marketer")  # the browser holds one person at a time
    page.goto(address)
    row = page.get_by_role("row").filter(has_text="staff0")
    expect(row).to_contain_text("Confirmed")
    expect(page.get_by_text("each counts 0.20")).to_be_visible()
    accessible(page)
    shots(page, "post-one")
    page.set_viewport_size(NARROW)
    no_sideways(page)
    shots(page, "post-one-390")
    page.goto(live_server.url + reverse("campaigns:broadcasts"))
    no_sideways(page)
    accessible(page)
    shots(page, "posts-390")
    page.set_viewport_size(WIDE)
    shots(page, "posts")
    page.goto(live_server.url + reverse("reports:coverage", args=[campaign.pk]))
    expect(page.locator("#posts")).to_contain_text("2.0")
    accessible(page)
    shots(page, "post-coverage")
    page.context.add_cookies(
        [{"name": settings.LANGUAGE_COOKIE_NAME, "value": "zh-hans", "url": live_server.url}]
    )
    for name, where in (
        ("post-one-zh", address),
        (
            "post-new-zh",
            f"{live_server.url}{reverse('campaigns:new_broadcast')}?campaign={campaign.pk}&kind=group",
        ),
        ("post-coverage-zh", live_server.url + reverse("reports:coverage", args=[campaign.pk])),
    ):
        page.goto(where)
        accessible(page)
        shots(page, name)
    page.set_viewport_size(NARROW)
    page.goto(address)
    no_sideways(page)
    shots(page, "post-one-zh-390")
