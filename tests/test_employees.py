"""WeCom's employees, customers, tags, groups and departures, brought up to date in sets."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiences import consent, tagging
from audiences.models import ContactState, Customer, CustomerTag, Identity
from channels import counts, employees
from channels.accounts import release_adapters
from channels.models import Channel, CustomerGroup, Employee, EmployeeContact, EmployeeDay
from channels.sandbox.people import Person
from channels.sandbox.server import Sandbox
from tests import factories as make
from tests.sandbox_fixture import start_sandbox, wecom_account
from tests.test_sandbox_road import connect

pytestmark = pytest.mark.django_db(transaction=True)
NOW = dt.datetime(2026, 11, 20, 4, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def _connections() -> Iterator[None]:
    yield
    release_adapters()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Sandbox]:
    crowd = [Person(str(n), wecom_external_id=f"wm{n}", wecom_userid=f"staff{n % 3}") for n in range(300)]
    group = {"chat_id": "wr1", "name": "品鉴群", "owner": "staff1", "customers": 7}
    with start_sandbox(tmp_path, crowd, wecom={"groups": [group]}) as sandbox:
        yield sandbox


@pytest.fixture
def channel(running: Sandbox) -> Channel:
    return connect("wecom", "wecom", wecom_account(running))


def contacts(channel: Channel, **filters: Any) -> set[tuple[str, str]]:
    rows = EmployeeContact.objects.filter(employee__channel=channel, **filters)
    return set(rows.values_list("employee__external_id", "identity__value"))


def test_employees_and_their_customers_come_in_and_a_second_sync_changes_nothing(channel: Channel) -> None:
    known = make.customers(1)[0]
    Identity.objects.create(
        customer_id=known, kind="wecom_external_id", issuer=channel.settings["corp_id"], value="wm0"
    )
    done = employees.sync(channel, NOW)
    assert (done.employees, done.born, done.contacts, done.removed, done.errors) == (3, 299, 300, 0, [])
    assert contacts(channel, removed_at=None) == {(f"staff{n % 3}", f"wm{n}") for n in range(300)}
    assert set(Employee.objects.values_list("name", flat=True)) == {f"员工 staff{n}" for n in range(3)}
    assert ContactState.objects.count() == Customer.objects.count() == 300
    assert not ContactState.objects.exclude(allowed=[]).exclude(pk=known).exists(), (
        "being a contact is no consent"
    )
    again = employees.sync(channel, NOW)
    assert (again.employees, again.born, again.contacts, again.removed, again.left) == (0, 0, 0, 0, 0)


def test_a_customer_who_deletes_the_employee_is_no_contact_any_more(
    running: Sandbox, channel: Channel
) -> None:
    employees.sync(channel, NOW)
    running.call(running.corp.leave, "wm4", "staff1")
    done = employees.sync(channel, NOW)
    assert (done.removed, contacts(channel, removed_at=NOW)) == (1, {("staff1", "wm4")})


def test_an_employee_who_left_sends_nothing_and_comes_back_with_the_same_row(
    running: Sandbox, channel: Channel
) -> None:
    employees.sync(channel, NOW)
    running.call(running.corp.depart, "staff2")
    done = employees.sync(channel, NOW)
    gone = Employee.objects.get(external_id="staff2")
    assert (done.left, done.removed) == (1, 100)
    assert gone.left_at is not None
    assert abs((gone.left_at - dt.datetime.now(dt.UTC)).total_seconds()) < 120, "the time WeCom tells"
    running.call(running.corp._departed.clear)
    employees.sync(channel, NOW)
    back = Employee.objects.get(external_id="staff2")
    assert (back.pk, back.left_at) == (gone.pk, None)
    assert len(contacts(channel, removed_at=None)) == 300


def test_tags_come_in_and_go_with_wecom_and_ours_go_out(running: Sandbox, channel: Channel) -> None:
    channel.settings = {**channel.settings, "tags_out": "高潜力，沉睡"}
    channel.save()
    running.call(running.corp._tags.update, {"et1": "爱绿茶", "et2": "高潜力"})
    running.call(running.corp.mark, "staff1", "wm1", {"et1", "et2"})
    employees.sync(channel, NOW)
    one = Identity.objects.get(value="wm1").customer_id
    two = Identity.objects.get(value="wm2").customer_id
    assert set(CustomerTag.objects.values_list("customer_id", "tag__name", "source")) == {
        (one, "爱绿茶", f"channel:{channel.pk}")
    }, "a tag of ours is not taken from them"
    assert running.call(lambda: running.corp._marked["staff1", "wm1"]) == {"et1"}, (
        "nor left where it is not ours"
    )
    tagging.put(two, "高潜力", source="hand")
    tagging.put(two, "沉睡", source="hand")
    running.call(running.corp.mark, "staff1", "wm1", set())
    done = employees.sync(channel, NOW)
    assert (done.tagged, done.sent_tags, done.errors) == (1, 1, [])
    names = running.call(lambda: {running.corp._tags[tag] for tag in running.corp._marked["staff2", "wm2"]})
    assert names == {"高潜力", "沉睡"}
    assert not CustomerTag.objects.filter(customer_id=one).exists()
    assert employees.sync(channel, NOW).sent_tags == 0


def test_groups_and_figures_by_day_are_known(channel: Channel) -> None:
    done = employees.sync(channel, NOW)
    group = CustomerGroup.objects.get()
    assert (group.name, group.owner.external_id if group.owner else "", group.customers) == (
        "品鉴群",
        "staff1",
        7,
    )
    assert done.days == EmployeeDay.objects.count() == 3 * 7
    assert set(EmployeeDay.objects.values_list("day", flat=True)) == {
        dt.date(2026, 11, 13) + dt.timedelta(days=n) for n in range(7)
    }
    assert employees.sync(channel, NOW).days == 0, "once a day"
    pk = Employee.objects.get(external_id="staff1").pk
    counts.count(channel.pk, counts.shared_click(7, 31, pk, False), n=5, now=NOW)
    counts.count(channel.pk, counts.shared_click(7, 31, pk, True), n=50, now=NOW)
    rows = {row.external_id: row for row in employees.of_channel(channel, NOW)}
    row = rows["staff1"]
    assert (row.contacts, row.groups, row.clicks, row.deletions) == (100, 1, 5, 0)
    assert row.first_reply_minutes is not None
    assert 2 <= row.first_reply_minutes <= 22
    assert row.customers_added == sum(
        EmployeeDay.objects.filter(employee=pk).values_list("customers_added", flat=True)
    )


def test_what_cannot_be_read_leaves_what_was_known(running: Sandbox, channel: Channel) -> None:
    employees.sync(channel, NOW)
    channel.settings = {**channel.settings, "base_url": "http://127.0.0.1:1"}
    channel.save()
    done = employees.sync(channel, NOW)
    assert done.errors
    assert len(contacts(channel, removed_at=None)) == 300
    assert not Employee.objects.exclude(left_at=None).exists()


def test_an_app_without_the_address_book_shows_ids(running: Sandbox, channel: Channel) -> None:
    running.change({"wecom": {"shows_names": False}})
    assert employees.sync(channel, NOW).errors == []
    assert set(Employee.objects.values_list("name", flat=True)) == {"staff0", "staff1", "staff2"}


def test_somebody_who_was_suppressed_stays_so_when_they_come_in(channel: Channel) -> None:
    consent.suppress(
        "wecom_external_id", channel.settings["corp_id"], "wm5", "opt_out", medium="wecom", brand_id=None
    )
    employees.sync(channel, NOW)
    state = ContactState.objects.get(pk=Identity.objects.get(value="wm5").customer_id)
    assert state.blocked
