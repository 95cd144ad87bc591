"""Posts to many obey the platforms' rules: refused in the form with the rule named, moved where a rule came since."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audiences.access import Role
from campaigns import broadcast_rules, broadcast_work, broadcasts
from campaigns.models import Broadcast, Campaign
from channels import employees
from channels.accounts import release_adapters
from channels.adapters import wecom
from channels.models import Channel, Employee, PlatformRule
from channels.sandbox.server import Sandbox
from tests import factories as make
from tests.sandbox_fixture import start_sandbox, wecom_account
from tests.test_sandbox_road import connect
from tests.test_wecom_posts import crowd

pytestmark = pytest.mark.django_db
ZONE = "Asia/Shanghai"
NOON = dt.datetime(2026, 11, 28, 4, 0, tzinfo=dt.UTC)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Sandbox]:
    wecom._tokens.clear()
    told: dict[str, Any] = {"confirm_seconds": 1e6, "job_seconds": 0.0}
    with start_sandbox(tmp_path, crowd(), wecom=told) as sandbox:
        yield sandbox
    release_adapters()


@pytest.fixture
def channel(running: Sandbox) -> Channel:
    found = connect("wecom", "wecom", wecom_account(running))
    Channel.objects.filter(pk=found.pk).update(name="企业微信")
    employees.sync(found, NOON)
    return Channel.objects.get(pk=found.pk)


@pytest.fixture
def campaign(channel: Channel) -> Campaign:
    return make.campaign([channel], now=NOON, zone=ZONE, name="双十一")


def employee() -> Employee:
    return Employee.objects.get(external_id="staff0")


def plan(campaign: Campaign, at: dt.datetime, text: str = "新茶到店") -> Broadcast:
    channel = campaign.channel_plans.get().channel
    return broadcasts.plan(campaign, channel, "moments", text, at, employees=[employee()], user=None)


def rule(key: str, value: Any, **fields: Any) -> PlatformRule:
    fields = {"valid_from": NOON.date(), "source": "WeCom's letter"} | fields
    return PlatformRule.objects.create(medium="wecom", key=key, value=value, **fields)


def test_a_post_at_night_is_refused_and_the_rule_is_named(campaign: Campaign) -> None:
    with pytest.raises(ValidationError) as caught:
        plan(campaign, NOON + 10 * HOUR)  # 22:00 in Shanghai
    (said,) = caught.value.message_dict["due_at"]
    assert "Hours of sending" in said
    assert "from 08:00 to 21:00" in said
    assert "Default of this product, as for text messages, holds from" in said
    assert plan(campaign, NOON + 8 * HOUR).state == "planned", "20:00"


def test_the_form_names_the_rule_beside_the_time_and_keeps_what_was_written(
    client: Client, make_user: Any, campaign: Campaign
) -> None:
    client.force_login(make_user("m", Role.MARKETER))
    own = campaign.channel_plans.get()
    address = f"{reverse('campaigns:new_broadcast')}?plan={own.pk}&kind=moments"
    day = (NOON + DAY).date().isoformat()
    told = {"text": "新茶到店", "due_at": f"{day}T22:30", "employees": [employee().pk]}
    answer = client.post(address, told)
    shown = answer.content.decode()
    assert answer.status_code == 422
    assert "Hours of sending: “企业微信” may send from 08:00 to 21:00" in shown
    assert "新茶到店" in shown
    assert "Permitted from 08:00 to 21:00" in shown, "the form says it before"


def test_words_and_lengths_are_judged_by_every_day_on_which_it_may_be_confirmed(campaign: Campaign) -> None:
    rule("forbidden_characters", "★", valid_from=(NOON + DAY).date())
    rule("longest_characters", 3, valid_from=(NOON + 9 * DAY).date())
    with pytest.raises(ValidationError) as caught:
        plan(campaign, NOON, "★新茶到店")
    (said,) = caught.value.message_dict["text"]
    assert said.startswith("Forbidden characters: Take out ★")
    assert "(WeCom's letter, holds from Nov. 29, 2026)" in said


def test_a_rule_that_came_after_planning_forbids_the_approval(campaign: Campaign, make_user: Any) -> None:
    post = plan(campaign, NOON + HOUR)
    rule("forbidden_characters", "茶")
    with pytest.raises(ValidationError, match="Take out 茶"):
        broadcasts.approve(post, make_user("approver"), NOON)


def approved(campaign: Campaign, make_user: Any, at: dt.datetime) -> Broadcast:
    return broadcasts.approve(plan(campaign, at), make_user("approver"), NOON)


def test_where_a_rule_changes_afterwards_the_post_waits_for_the_next_permitted_time(
    campaign: Campaign, running: Sandbox, make_user: Any
) -> None:
    post = approved(campaign, make_user, NOON + 7 * HOUR)  # 19:00
    rule("hours", {"from": "10:00", "to": "18:00"})
    assert broadcast_work.work(post.due_at) == 0
    assert running.log_lines("wecom", "moment") == []
    post.refresh_from_db()
    assert post.due_at == NOON + 22 * HOUR, "10:00 of the next day"
    assert post.until == post.due_at + DAY, "with as long to confirm as before"
    assert broadcast_work.work(post.due_at - HOUR) == 0
    assert broadcast_work.work(post.due_at) == 1
    assert running.log_lines("wecom", "moment") != [], "WeCom has the task"
    assert post.tasks.get().state == "open"


def test_the_rule_of_the_day_it_is_moved_to_holds(campaign: Campaign, channel: Channel) -> None:
    rule("hours", {"from": "14:00", "to": "16:00"}, valid_from=(NOON + DAY).date())
    night = NOON + 10 * HOUR
    assert broadcast_rules.next_permitted(channel, ZONE, night) == NOON + DAY + 2 * HOUR
    assert broadcast_rules.next_permitted(channel, ZONE, NOON) == NOON


def test_a_post_that_cannot_be_moved_within_the_flight_is_never_made(
    campaign: Campaign, running: Sandbox, make_user: Any
) -> None:
    post = approved(campaign, make_user, NOON + 7 * HOUR)
    Campaign.objects.filter(pk=campaign.pk).update(ends_at=NOON + 9 * HOUR)
    rule("hours", {"from": "10:00", "to": "18:00"})
    assert broadcast_work.work(post.due_at) == 0
    post.refresh_from_db()
    assert post.due_at == NOON + 7 * HOUR
    assert broadcast_work.work(post.until) == 0
    assert post.tasks.get().state == "unconfirmed"
    assert running.log_lines("wecom", "moment") == []


# Rules on words that come after the approval --------------------------------------------------------


def test_a_post_whose_words_a_rule_forbids_since_is_not_asked_for_and_the_page_says_which(
    campaign: Campaign, running: Sandbox, make_user: Any, as_marketer: Client
) -> None:
    post = approved(campaign, make_user, NOON + HOUR)
    made = rule("forbidden_characters", "茶")
    assert broadcast_work.work(NOON + HOUR) == 0
    assert running.log_lines("wecom", "moment") == []
    assert post.tasks.get().state == "planned"
    ((_post, problems),) = broadcast_rules.stopped(NOON + HOUR)
    (said,) = problems
    assert said.startswith("Forbidden characters: Take out 茶")
    assert "(WeCom's letter, holds from Nov. 28, 2026)" in said
    made.value = "☆"
    made.save()
    assert broadcast_work.work(NOON + 2 * HOUR) == 1, "the rule was corrected"
    assert running.log_lines("wecom", "moment") != []


def test_who_was_asked_and_has_not_confirmed_is_asked_no_longer(
    campaign: Campaign, running: Sandbox, make_user: Any
) -> None:
    post = approved(campaign, make_user, NOON + HOUR)
    assert broadcast_work.work(NOON + HOUR) == 1
    assert post.tasks.get().state == "open"
    rule("forbidden_characters", "茶", valid_from=(NOON + DAY).date())
    broadcast_work.work(NOON + 2 * HOUR)
    assert post.tasks.get().state == "open", "today it may be confirmed"
    broadcast_work.work(NOON + 13 * HOUR)  # 01:00 of the next day
    assert post.tasks.get().state == "planned"
    assert broadcast_work.work(NOON + 21 * HOUR) == 0, "and nobody is asked anew"
    post.refresh_from_db()  # it waited for the permitted hours of the morning
    assert broadcast_work.work(post.until) == 0
    assert post.tasks.get().state == "unconfirmed"


def test_a_stopped_post_stands_on_its_page_on_home_and_in_the_api(
    channel: Channel, make_user: Any, as_marketer: Client
) -> None:
    now = timezone.now()
    campaign = make.campaign([channel], now=now, zone=ZONE, name="双十一")
    rule("hours", {"from": "00:00", "to": "23:59"}, valid_from=(now - DAY).date())
    post = broadcasts.approve(plan(campaign, now + HOUR), make_user("approver"), now)
    assert as_marketer.get(f"/api/v1/broadcasts/{post.pk}/").json()["broken_rules"] == []
    rule("forbidden_characters", "茶", valid_from=(now - DAY).date())
    shown = as_marketer.get(reverse("campaigns:broadcast", args=[post.pk])).content.decode()
    assert "A rule that came after the approval stops this post" in shown
    assert "Take out 茶" in shown
    assert "Take out 茶" in as_marketer.get(reverse("config:home")).content.decode()
    (said,) = as_marketer.get(f"/api/v1/broadcasts/{post.pk}/").json()["broken_rules"]
    assert "Take out 茶" in said
