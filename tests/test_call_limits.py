"""Limits of a platform's calls bind: recipients in one call, calls a minute, calls a day, over all workers."""

import datetime as dt
import threading
import time
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

from campaigns import dispatch
from campaigns.models import EmployeeTask, Touch
from campaigns.vocabulary import Cause
from channels import audience_sync, calls
from channels.adapters.base import Account, AdapterError, Outgoing, ReportRow
from channels.models import ChannelCalls, PlatformRule
from tests import factories as make
from tests.channel_rows import make_channel
from tests.factories import DAY, MINUTE, NOW
from tests.test_pressure import in_threads
from tests.wire import Wire

SECOND = dt.timedelta(seconds=1)
MIDNIGHT = dt.datetime(2026, 3, 2, 16, 0, tzinfo=dt.UTC)  # the next day begins in Shanghai
transactional = pytest.mark.django_db(transaction=True)


def rule(key: str, value: Any, medium: str = "email", **fields: Any) -> PlatformRule:
    fields = {"valid_from": dt.date(2026, 1, 1), "source": "The platform's page"} | fields
    return PlatformRule.objects.create(medium=medium, key=key, value=value, **fields)


# Taking calls -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_minute_rolls_and_a_lowered_limit_waits_for_enough_old_calls_to_be_over() -> None:
    channel = make_channel()
    minute = calls.Limits(a_minute=5)
    assert [calls.take(channel.pk, n, minute, NOW).n for n in (3, 9)] == [3, 2]
    refused = calls.take(channel.pk, 1, minute, NOW + 30 * SECOND)
    assert (refused.n, refused.wait_seconds) == (0, pytest.approx(32))
    assert calls.take(channel.pk, 9, minute, NOW + 62 * SECOND).n == 5
    lowered = calls.take(channel.pk, 1, calls.Limits(a_minute=1), NOW + 70 * SECOND)
    assert (lowered.n, lowered.wait_seconds) == (0, pytest.approx(54))
    assert calls.take(channel.pk, 1, calls.Limits(a_minute=0), NOW + DAY).n == 0


@pytest.mark.django_db
def test_calls_a_day_begin_anew_at_midnight_of_the_installation() -> None:
    channel = make_channel()
    day = calls.Limits(a_day=3)
    assert [calls.take(channel.pk, 2, day, NOW).n for _ in range(3)] == [2, 1, 0]
    late = calls.take(channel.pk, 1, day, MIDNIGHT - SECOND)
    assert (late.n, late.wait_seconds) == (0, pytest.approx(1))
    assert calls.take(channel.pk, 5, day, MIDNIGHT).n == 3
    assert calls.used(channel.pk, MIDNIGHT).day == 3


@pytest.mark.django_db
def test_calls_of_a_long_send_are_counted_until_a_minute_after_its_end() -> None:
    channel = make_channel()
    minute = calls.Limits(a_minute=2, a_day=10)
    taken = calls.take(channel.pk, 2, minute, NOW)
    calls.ended(channel.pk, taken, NOW + 40 * SECOND)
    assert calls.take(channel.pk, 1, minute, NOW + 90 * SECOND).n == 0
    assert calls.take(channel.pk, 1, minute, NOW + 102 * SECOND).n == 1
    assert ChannelCalls.objects.get().of_day == 3, "counted once a day"


@transactional
def test_eight_threads_take_exactly_what_a_minute_and_a_day_allow() -> None:
    channel = make_channel()
    limit = calls.Limits(a_minute=50, a_day=70)
    taken: list[int] = []

    def take(_n: int) -> None:
        for _turn in range(20):
            taken.append(calls.take(channel.pk, 3, limit, NOW).n)

    in_threads(8, take)
    assert sum(taken) == 50
    in_threads(8, lambda n: taken.append(calls.take(channel.pk, 7, limit, NOW + 2 * MINUTE).n))
    assert sum(taken) == 70


# Sending ------------------------------------------------------------------------------------------


@transactional
def test_four_workers_make_no_more_calls_a_minute_than_the_rule_in_force_says() -> None:
    rule("calls_a_minute", 5)
    wire = Wire(batch_size=4)
    channel = make.channel(wire=wire)
    for _campaign in range(2):
        make.released(make.campaign([channel]), make.customers(40))
    for turn, total in enumerate((5, 10, 15)):
        at = NOW + turn * 62 * SECOND
        in_threads(
            4, lambda n, at=at: dispatch.dispatch_channel(channel.pk, now=at, worker=f"w{n}", seconds=3)
        )
        assert wire.calls == total
    assert len(wire.log) == len(set(wire.addresses)) <= 4 * 15


@transactional
def test_by_the_clock_no_sixty_seconds_hold_more_calls_than_allowed_and_what_is_left_waits() -> None:
    """Threads on the database's clock; the limit is used up within a moment."""
    rule("calls_a_minute", 6)
    wire = Wire(lambda message: time.sleep(0.002) or Outgoing and "accepted", batch_size=2)  # type: ignore[arg-type]
    channel = make.channel(wire=wire)
    now = dt.datetime.now(dt.UTC)
    found = make.campaign([channel], now=now)
    make.released(found, make.customers(60), due_at=now - SECOND)
    in_threads(4, lambda n: dispatch.dispatch_channel(channel.pk, worker=f"w{n}", seconds=1.5))
    assert wire.calls == 6
    states = make.states(found)
    assert states["sent"] == 12
    assert states["planned"] == 48


@transactional
def test_calls_a_day_hold_the_rest_until_the_next_day_with_the_cause() -> None:
    rule("calls_a_day", 3)
    wire = Wire(batch_size=2)
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(10))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert (wire.calls, make.states(found)) == (3, {"sent": 6, "planned": 4})
    dispatch.dispatch_channel(channel.pk, now=NOW + MINUTE)
    assert wire.calls == 3, "nobody is claimed where no call is left"
    make.ran_until(MIDNIGHT)
    dispatch.dispatch_channel(channel.pk, now=MIDNIGHT + MINUTE)
    assert make.states(found) == {"sent": 10}


@transactional
def test_a_batch_whose_calls_are_not_all_left_is_cut_and_the_rest_given_back(monkeypatch: Any) -> None:
    """Between the look and the call another worker took most of what was left."""
    rule("calls_a_minute", 10)
    wire = Wire(batch_size=8)
    channel = make.channel(wire=wire)
    from channels.adapters import adapter_class

    monkeypatch.setattr(adapter_class(channel.adapter), "recipients_a_call", 1)
    found = make.campaign([channel])
    make.released(found, make.customers(8))
    room = calls.room

    def others(*given: Any) -> calls.Taken:
        told = room(*given)
        if not ChannelCalls.objects.exists():
            calls.take(channel.pk, 7, calls.Limits(a_minute=10), NOW)
        return told

    monkeypatch.setattr(calls, "room", others)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert len(wire.log) == 3
    waiting = Touch.objects.filter(state="planned")
    assert set(waiting.values_list("deferred", flat=True)) == {Cause.CAPACITY}
    assert {at > NOW for at in waiting.values_list("due_at", flat=True)} == {True}


@transactional
def test_the_recipients_of_a_call_are_those_of_the_rule_and_never_more_than_the_adapter_knows() -> None:
    sizes: list[int] = []
    wire = Wire(before=lambda batch: sizes.append(len(batch)), batch_size=15)
    channel = make.channel(wire=wire)
    found = rule("recipients_a_call", 6)
    make.released(make.campaign([channel]), make.customers(20))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert (max(sizes), sum(sizes)) == (6, 20)
    PlatformRule.objects.filter(pk=found.pk).update(value=500)
    sizes.clear()
    make.released(make.campaign([channel]), make.customers(30))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert max(sizes) <= 15


@transactional
def test_a_rule_that_an_admin_writes_while_a_worker_sends_binds_within_seconds(
    client: Client, make_user: Any
) -> None:
    client.force_login(make_user("admin", "channel_admin"))
    wire = Wire(lambda message: time.sleep(0.02) or "accepted", batch_size=1)  # type: ignore[arg-type]
    channel = make.channel(wire=wire)
    now = dt.datetime.now(dt.UTC)
    make.released(make.campaign([channel], now=now), make.customers(2000), due_at=now - SECOND)

    def work() -> None:
        dispatch.dispatch_channel(channel.pk, seconds=9)
        connections.close_all()

    worker = threading.Thread(target=work)
    worker.start()
    while not wire.log:
        time.sleep(0.01)
    fields = {
        "medium": "email", "country": "", "key": "calls_a_minute", "value": "3", "valid_from": now.date().isoformat(),
        "source": "A call", "adapter": "", "channel": "", "valid_to": "", "source_date": "",
    }  # fmt: skip
    assert client.post(reverse("channels:new_rule"), fields).status_code == 302
    saved = time.monotonic()
    worker.join(30)
    late = [at for at in wire.at if at > saved + 8]
    assert len(late) <= 3
    assert len(wire.log) < 2000


# Adapters -----------------------------------------------------------------------------------------


def adapter(name: str, medium: str, **settings: Any) -> Any:
    from channels.accounts import defaults
    from channels.adapters import adapter_class

    cls = adapter_class(name)
    return cls(Account(1, "main", medium, defaults(cls) | settings, {"auth_token": "x"}))


def messages(n: int, **fields: Any) -> list[Outgoing]:
    return [Outgoing(1000 + k, f"+861380013{k:04d}", text="你好", template="T1", **fields) for k in range(n)]


@pytest.mark.parametrize(
    ("name", "medium", "plain", "limited"),
    [
        ("twilio", "sms", 30, 30),  # a call a message
        ("smpp", "sms", 30, 30),
        ("email", "email", 30, 30),
        ("wecom", "wecom", 1, 3),
        ("official_account", "official_account", 1, 3),
        ("webhook", "app_push", 1, 3),
        ("tencent_sms", "sms", 1, 3),
        ("aliyun_sms", "sms", 1, 3),
    ],
)
def test_each_adapter_tells_how_many_calls_a_batch_takes_and_keeps_to_the_rule(
    name: str, medium: str, plain: int, limited: int
) -> None:
    found = adapter(name, medium)
    batch = messages(30)
    assert plain <= found.calls(batch) <= plain + (1 if "sms" in name else 0)
    found.most_recipients = 10
    assert limited <= found.calls(batch) <= limited + (1 if "sms" in name else 0)
    assert found.at_once <= 10
    found.most_recipients = 10**6
    assert found.at_once == (type(found).recipients_a_call or found.batch_size)


def test_a_template_message_of_an_official_account_is_a_call_of_its_own() -> None:
    assert adapter("official_account", "official_account", kind="template").calls(messages(30)) == 30


@pytest.mark.django_db
def test_notices_do_not_keep_to_rules_of_mass_messages_unless_a_row_names_their_channel() -> None:
    channel = make.channel("official_account", settings={"kind": "template"})
    assert calls.limits(channel, NOW) == calls.Limits()
    mass = make.channel("official_account", settings={"kind": "mass"})
    assert calls.limits(mass, NOW) == calls.Limits(10_000, 60, None)
    rule("calls_a_minute", 7, "official_account", channel=channel)
    assert calls.limits(channel, NOW).a_minute == 7


@transactional
def test_an_employees_day_counts_each_task_that_a_smaller_call_makes() -> None:
    """Ten customers of one employee in calls of four: three tasks, of which the day has room for two."""
    from campaigns import employee_tasks
    from channels.models import Employee

    channel = make.channel("wecom")
    Employee.objects.create(channel=channel, external_id="li", name="Li", daily_tasks=2)
    batch = [Outgoing(k, f"wm{k}", text="Hello", sender="li") for k in range(10)]
    found = employee_tasks.reserve(channel, batch, dict.fromkeys(range(10), 1), NOW, 4)
    assert sorted(map(len, found.tasks.values())) == [4, 4]
    assert [message.attempt_id for message in found.waiting] == [8, 9]
    assert EmployeeTask.objects.count() == 2


# What is no message -------------------------------------------------------------------------------


@transactional
def test_pushes_of_audiences_and_reports_count_and_wait_when_no_call_is_left(monkeypatch: Any) -> None:
    from channels import daily_reports
    from channels.adapters import adapter_class

    rule("calls_a_day", 2, "search", adapter="google_ads")
    channel = make.channel(
        "search", adapter="google_ads", guarantee="aggregate", observability="person_targeted", domain="public"
    )  # fmt: skip
    asked: list[dt.date] = []

    def fetch_report(_self: Any, day: dt.date) -> list[ReportRow]:
        asked.append(day)
        return []

    monkeypatch.setattr(adapter_class("google_ads"), "fetch_report", fetch_report)
    with pytest.raises(AdapterError) as told:
        daily_reports.fetch(channel, dt.datetime.now(dt.UTC), days=3)
    assert len(asked) == 2
    assert told.value.retryable
    assert told.value.retry_after
    audience = audience_sync.audience_for(channel, None, "Everybody")
    audience.external_id, audience.publish_after = "7", dt.datetime.now(dt.UTC)
    with pytest.raises(AdapterError):
        audience_sync._call(audience, (), ())


# The panel ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_channels_page_shows_calls_used_and_allowed(client: Client, make_user: Any) -> None:
    client.force_login(make_user("admin", "channel_admin"))
    rule("calls_a_minute", 40)
    rule("calls_a_day", 900)
    channel = make.channel()
    calls.take(channel.pk, 13, calls.limits(channel, NOW))
    page = client.get(reverse("channels:channel", args=[channel.pk])).content.decode()
    text = " ".join(page.split())
    assert 'Calls in the last minute</td><td class="num">13</td><td class="num">40</td>' in text
    assert 'Calls today</td><td class="num">13</td><td class="num">900</td>' in text
