"""From a due touch over a real adapter to the sandbox, and back from its receipts to the touch."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiences.models import Identity
from campaigns import dispatch, polling, responses
from campaigns.models import Attempt
from channels import audience_sync, daily_reports, flights
from channels.accounts import release_adapters
from channels.adapters.base import Account, Flight
from channels.models import Channel, DailyReport, Employee, EmployeeContact, PlatformAudience
from channels.sandbox.people import Person
from channels.sandbox.server import Sandbox
from tests import factories as make
from tests.sandbox_fixture import email_account, meta_account, smpp_account, start_sandbox, wecom_account
from tests.test_channel_audiences import person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _connections() -> Iterator[None]:
    yield
    release_adapters()


def at_noon() -> tuple[dt.datetime, str]:
    """Now, and a zone in which it is about noon: no quiet hours, whenever the test runs."""
    now = dt.datetime.now(dt.UTC)
    ahead = 12 - now.hour
    return now, f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


def connect(medium: str, adapter: str, account: Account) -> Channel:
    return make.channel(
        medium, adapter=adapter, settings=dict(account.settings), credentials=dict(account.credentials)
    )


def due(channel: Channel, n: int, text: str = "你好，{{name|朋友}}") -> tuple[Any, list[int], dt.datetime]:
    """A running campaign with ``n`` people, each with one touch that is due."""
    now, zone = at_noon()
    text += "，拒收请回复R" if channel.medium == "sms" and "拒收" not in text else ""
    people = make.customers(n, media=(channel.medium,), zone=zone)
    found = make.campaign([channel], now=now, zone=zone)
    make.released(found, people, due_at=now, version=make.message(channel.medium, text))
    return found, people, now


def attempts() -> dict[str, int]:
    counted: dict[str, int] = {}
    for state in Attempt.objects.values_list("state", flat=True):
        counted[state] = counted.get(state, 0) + 1
    return counted


def settle(channel: Channel, wanted: dict[str, int], running: Sandbox) -> None:
    def settled() -> bool:
        polling.poll(channel)
        responses.drain()
        return attempts() == wanted

    running.wait(settled, 20)


def test_text_messages_go_out_once_and_their_receipts_come_home(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, smpp={"receipt_seconds": 0.05}) as running:
        channel = connect("sms", "smpp", smpp_account(running))
        found, people, now = due(channel, 30)
        done = dispatch.dispatch_channel(channel.pk, now=now)
        assert (done.claimed, done.accepted) == (30, 30)
        settle(channel, {"delivered": 30}, running)
        assert make.states(found) == {"delivered": 30}
        logged = [line["attempt"] for line in running.log_lines("smpp", "submit")]
        assert sorted(logged) == sorted(
            str(number) for number in Attempt.objects.values_list("id", flat=True)
        )
        assert running.call(running.center.waiting) == 0


def test_lost_answers_are_settled_by_receipts_that_name_the_attempt(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, smpp={"receipt_seconds": 0.05, "faults": {"silent": 1.0}}) as running:
        channel = connect("sms", "smpp", smpp_account(running, timeout=0.5))
        found, people, now = due(channel, 5)
        assert dispatch.dispatch_channel(channel.pk, now=now).unknown == 5
        settle(channel, {"delivered": 5}, running)
        assert make.states(found) == {"delivered": 5}
        assert len(running.log_lines("smpp", "submit")) == 5, "an unknown touch is never sent again"


def test_mail_goes_out_once_to_each_address_and_can_be_left_by_one_click(tmp_path: Path) -> None:
    with start_sandbox(tmp_path) as running:
        channel = connect("email", "email", email_account(running))
        found, people, now = due(channel, 3)
        assert dispatch.dispatch_channel(channel.pk, now=now).accepted == 3
        lines = running.log_lines("smtp", "message")
    assert sorted(line["address"] for line in lines) == sorted(f"c{one}@example.com" for one in people)
    assert all(line["one_click"] for line in lines)


def test_wecom_touches_are_held_until_the_employee_confirms(tmp_path: Path) -> None:
    crowd = [Person(str(n), wecom_external_id=f"wmExternal{n}", wecom_userid="staff1") for n in range(4)]
    with start_sandbox(tmp_path, crowd, wecom={"confirm_seconds": 1e6}) as running:
        account = wecom_account(running)
        channel = connect("wecom", "wecom", account)
        found, people, now = due(channel, 4, "冬季品鉴开始了")
        for n, one in enumerate(people):
            Identity.objects.filter(customer_id=one).update(
                issuer=account.settings["corp_id"], value=f"wmExternal{n}"
            )
        done = dispatch.dispatch_channel(channel.pk, now=now)
        assert (done.claimed, done.held) == (4, 4)
        polling.poll(channel)
        responses.drain()
        assert make.states(found) == {"held": 4}
        (msgid,) = {line["msgid"] for line in running.log_lines("wecom", "held")}
        running.call(running.corp.confirm, msgid, "staff1")
        settle(channel, {"accepted": 4}, running)
        assert make.states(found) == {"sent": 4}


def test_a_lost_task_is_never_taken_for_an_earlier_one_of_the_same_words(tmp_path: Path) -> None:
    crowd = [Person(str(n), wecom_external_id=f"wmExternal{n}", wecom_userid="staff1") for n in range(4)]
    with start_sandbox(tmp_path, crowd, wecom={"confirm_seconds": 0.01}) as running:
        account = wecom_account(running)
        channel = connect("wecom", "wecom", account)
        now, zone = at_noon()
        people = make.customers(4, media=("wecom",), zone=zone)
        for n, one in enumerate(people):
            Identity.objects.filter(customer_id=one).update(
                issuer=account.settings["corp_id"], value=f"wmExternal{n}"
            )
        found = make.campaign([channel], touches=2, gap_hours=0, now=now, zone=zone)
        version = make.message("wecom", "冬季品鉴开始了")
        make.released(found, people, touches=2, due_at=now, every=dt.timedelta(), version=version)
        assert dispatch.dispatch_channel(channel.pk, now=now, limit=4).held == 4
        settle(channel, {"accepted": 4}, running)
        running.faults("wecom", next=["drop_before"])
        assert dispatch.dispatch_channel(channel.pk, now=now + dt.timedelta(minutes=2)).unknown == 4
        for _time in range(3):
            polling.poll(channel)
            responses.drain()
        assert make.states(found) == {"sent": 4, "unknown": 4}, "nobody got the second one"


@pytest.mark.parametrize(("how", "tasks"), [("shared", 2), ("personal", 6)])
def test_one_task_serves_all_customers_of_an_employee_unless_each_gets_a_link_of_their_own(
    tmp_path: Path, how: str, tasks: int
) -> None:
    crowd = [
        Person(str(n), wecom_external_id=f"wecom_external_id{n}", wecom_userid=f"staff{n % 2}")
        for n in make.next_customers()
    ]
    with start_sandbox(tmp_path, crowd, wecom={"confirm_seconds": 1e6}) as running:
        account = wecom_account(running, links=how)
        channel = connect("wecom", "wecom", account)
        found, people, now = due(channel, 6, "冬季品鉴开始了 https://shop.example/a?utm_source=wecom")
        Identity.objects.filter(customer_id__in=people).update(issuer=account.settings["corp_id"])
        staff = [
            Employee.objects.create(channel=channel, external_id=f"staff{n}", name=f"Staff {n}")
            for n in (0, 1)
        ]
        for identity in Identity.objects.filter(customer_id__in=people):
            owner = staff[int(identity.value.removeprefix("wecom_external_id")) % 2]
            EmployeeContact.objects.create(employee=owner, identity=identity, added_at=now)
        assert dispatch.dispatch_channel(channel.pk, now=now).held == 6
        made = running.log_lines("wecom", "task")
        assert len(made) == tasks
        assert {line["sender"] for line in made} == {"staff0", "staff1"}
        assert len({line["text"] for line in made}) == tasks


def test_an_audience_its_flight_and_its_days_agree_with_the_platform(tmp_path: Path) -> None:
    with start_sandbox(tmp_path) as running:
        channel = connect("social", "meta", meta_account(running))
        people = [person(n) for n in range(60)]
        audience = audience_sync.audience_for(channel, 7, "Buyers")
        audience_sync.want(audience.pk, [one.pk for one in people], dt.datetime.now(dt.UTC))
        done = audience_sync.sync(audience.pk)
        assert (done.added, done.failed, done.error) == (60, 0, "")
        today = dt.datetime.now(dt.UTC).astimezone(running.account._zone).date()
        audience.refresh_from_db()
        flights.want(audience, Flight("", make.Decimal("100"), today, today + dt.timedelta(days=3), 2, 4))
        assert flights.apply(audience.pk, dt.datetime.now(dt.UTC)) == ""
        audience = PlatformAudience.objects.get(pk=audience.pk)
        assert flights.agrees(audience)
        running.call(running.account.deliver, audience.flight_reference, today)
        daily_reports.fetch(channel, dt.datetime.now(dt.UTC), days=2)
        row = DailyReport.objects.get(channel=channel, day=today)
        matched = running.call(lambda: len(running.account._people_in([audience.external_id])))
        assert (row.placement, row.exposures, row.reach) == (audience.flight_reference, 2 * matched, matched)
        audience_sync.unwant(audience.pk, [one.pk for one in people[:50]], dt.datetime.now(dt.UTC))
        assert audience_sync.sync(audience.pk).removed == 50
        assert running.call(lambda: len(running.account.members[audience.external_id])) == 10
