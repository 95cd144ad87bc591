"""A channel's employees in a real browser: read by a marketer, changed by a channel admin, on a phone as well."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from audiences.days import day_of
from campaigns.models import EmployeeTask
from channels.models import Channel, Employee, EmployeeDay
from tests.browser.test_channels import NARROW, WIDE, accessible, no_sideways, watched  # noqa: F401
from tests.channel_rows import make_channel

pytestmark = pytest.mark.django_db(transaction=True)


def staffed() -> Channel:
    """Three employees with tasks of today and figures of yesterday, and one who left."""
    channel = make_channel("wecom", "wecom", settings={"corp_id": "ww1"})
    now = timezone.now()
    day = day_of(now)
    for number, (userid, name, store) in enumerate(
        (("lili", "李丽", "静安店"), ("wangfang", "王芳", "徐汇店"), ("zhangwei", "张伟", "浦东店"))
    ):
        one = Employee.objects.create(
            channel=channel, external_id=userid, name=name, store=store, daily_tasks=3
        )
        for task in range(number + 1):
            EmployeeTask.objects.create(
                channel=channel, employee=one, day=day, campaign_id=1, attempt_id=task, customers=40, made_at=now,
                state=("confirmed", "open", "ended")[task], reference=f"m{number}{task}",
            )  # fmt: skip
        EmployeeDay.objects.create(
            employee=one, day=day - dt.timedelta(days=1), customers_added=4 * number, deletions=number, messages=9,
            first_reply_minutes=3.5 + number,
        )  # fmt: skip
    Employee.objects.create(channel=channel, external_id="gone", name="陈晨", left_at=now)
    return channel


def test_employees_are_read_and_their_tasks_a_day_set(
    watched: Callable[[str], Page],  # noqa: F811
    live_server: Any,
    shots: Callable[..., Path],
) -> None:
    channel = staffed()
    page = watched("channels")
    page.goto(live_server.url + reverse("channels:channel", args=[channel.pk]))
    page.get_by_role("link", name="Employees, customers and tasks").click()
    expect(page.get_by_role("heading", name="Employees", exact=True)).to_be_visible()
    accessible(page)
    shots(page, "employees-en-wide")
    page.get_by_label("Tasks a day of 李丽").fill("12")
    page.get_by_label("Tasks a day of 李丽").press("Enter")
    expect(page.get_by_text("李丽 gets 12 tasks a day at most.")).to_be_visible()
    page.set_viewport_size(NARROW)
    no_sideways(page)
    shots(page, "employees-en-narrow")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-hans")
    no_sideways(page)
    shots(page, "employees-zh-narrow")
    page.set_viewport_size(WIDE)
    accessible(page)
    shots(page, "employees-zh-wide")
