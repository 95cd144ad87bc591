"""Customers from files: who is who, what changes, what is refused, and that twice is once."""

import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiences import consent, contact_state, identity
from audiences.brands import default_brand
from audiences.imports import batches, loading
from audiences.imports.kinds import persons
from audiences.models import (
    Consent,
    ContactState,
    Customer,
    CustomerTag,
    Identity,
    ImportBatch,
    Merge,
    Order,
    Suppression,
    Tag,
)
from tests.factories import database_url
from tests.import_files import bad, counts, load

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def people() -> list[tuple[Any, ...]]:
    """(name, identities) of every customer that stands for somebody."""
    found: dict[int, list[str]] = defaultdict(list)
    for customer, value in Identity.objects.order_by("value").values_list("customer_id", "value"):
        found[customer].append(value)
    names = Customer.objects.filter(merged_into=None).order_by("pk").values_list("pk", "name")
    return [(name, *found[pk]) for pk, name in names]


def test_a_chinese_file_is_loaded_without_being_told_what_is_what() -> None:
    batch = load(
        "customers",
        "姓名,手机号,邮箱,会员号,性别,生日,城市,阶段,标签\n"
        "王小明,138 1234 5678,A@B.cn,M1,男,1990年1月2日,上海,会员,VIP；新客\n",
    )
    assert counts(batch) == (1, 0, 0, 0)
    one = Customer.objects.get()
    assert (one.name, one.gender, str(one.birth_date), one.city, one.stage) == (
        "王小明", "male", "1990-01-02", "上海", "member",
    )  # fmt: skip
    assert set(Identity.objects.values_list("kind", "issuer", "value")) == {
        ("phone", "", "+8613812345678"),
        ("email", "", "a@b.cn"),
        ("member_number", "main", "M1"),
    }
    assert set(Tag.objects.values_list("name", flat=True)) == {"VIP", "新客"}
    assert ContactState.objects.filter(customer=one).exists()
    assert one.name_sort
    assert 0 <= one.bucket < 10_000


def test_the_same_file_twice_changes_nothing() -> None:
    data = (
        "name,phone,email,tags,consent_sms,consent_time,size\n"
        "Ann,13812345678,a@b.cn,vip,yes,2026-01-01 10:00,M\nBob,,b@b.cn,,no,,\nAnn 2,13812345678,,gold,,,L\n"
    )
    first = load("customers", data)
    before = _everything()
    again = load("customers", data)
    assert counts(first) == (2, 0, 1, 0)
    assert counts(again) == (0, 0, 3, 0)
    assert _everything() == before


def _everything() -> list[Any]:
    return [
        list(model.objects.order_by("pk").values())
        for model in (Customer, Identity, Consent, ContactState, CustomerTag, Tag, Merge)
    ]


def test_an_empty_cell_says_nothing_and_a_full_one_changes_its_column() -> None:
    load("customers", "name,phone,city,size\nAnn,13812345678,上海,M\n")
    assert counts(load("customers", "name,phone,city,shoe\n,13812345678,北京,38\n")) == (0, 1, 0, 0)
    one = Customer.objects.get()
    assert (one.name, one.city, one.attributes) == ("Ann", "北京", {"size": "M", "shoe": "38"})


def test_bad_rows_are_refused_with_line_column_and_reason_and_good_ones_loaded() -> None:
    batch = load(
        "customers",
        "name,phone,email,gender,birth_date,zone\n"
        "Ann,13812345678,,,,\n"
        "Bob,123,not mail,sphinx,1990-02-30,Mars/Base\n"
        "Cid,,,,,\n"
        "Dan,,dan@b.cn,F,1990/2/3,Asia/Tokyo\n",
    )
    assert counts(batch) == (2, 0, 0, 2)
    assert bad(batch) == [
        (3, "phone", "not a phone number"),
        (3, "email", "not an e-mail address"),
        (3, "gender", "none of: female, male, other"),
        (3, "birth_date", "not a date such as 2026-03-01"),
        (3, "zone", "not a time zone such as Asia/Shanghai"),
        (4, "", "names nobody: give a phone, an e-mail, a"),
    ]
    row = batch.bad_rows.filter(line=3).first()
    assert row.raw == ["Bob", "123", "not mail", "sphinx", "1990-02-30", "Mars/Base"]


def test_the_file_of_bad_rows_is_mended_and_loaded_again_as_it_is() -> None:
    batch = load("customers", 'name,phone,note\n=Ann,123,"a, b"\nBob,13812345678,\nCid\n')
    text = b"".join(batches.bad_rows_file(batch)).decode("utf-8-sig")
    assert text.splitlines() == [
        "name,phone,note,import_line,import_column,import_error",
        '\'=Ann,123,"a, b",2,phone,phone: not a phone number',
        "Cid,,,4,,has 1 cells where the header has 3",
    ]
    mended = text.replace("123,", "13912345678,").replace("Cid,,", "Cid,13712345678,")
    assert counts(load("customers", mended)) == (2, 0, 0, 0)
    assert list(Customer.objects.order_by("pk").values_list("name", "attributes")) == [
        ("Bob", {}),
        ("=Ann", {"note": "a, b"}),
        ("Cid", {}),
    ]


def test_rows_that_share_an_identity_are_one_person_and_the_last_that_speaks_wins() -> None:
    batch = load(
        "customers",
        "name,phone,email,member_number\n"
        "Ann,13812345678,,\n"
        "Other,13712345678,,\n"
        ",,ann@b.cn,M1\n"
        "Anna,13812345678,ann@b.cn,\n",
    )
    assert counts(batch) == (2, 0, 2, 0)
    assert people() == [("Anna", "+8613812345678", "M1", "ann@b.cn"), ("Other", "+8613712345678")]


def test_a_row_with_identities_of_several_customers_merges_them() -> None:
    one, two, three = (
        identity.know([key], "test", NOW)
        for key in (("phone", "", "13812345678"), ("email", "", "a@b.cn"), ("member_number", "main", "M9"))
    )
    batch = load("customers", "phone,email,member_number,name\n13812345678,a@b.cn,,\n,a@b.cn,M9,Ann\n")
    assert batch.totals["counts"]["merged"] == 2
    assert people() == [("Ann", "+8613812345678", "M9", "a@b.cn")]
    assert dict(Customer.objects.values_list("pk", "merged_into_id")) == {one: None, two: one, three: one}
    assert counts(load("customers", "phone,email,member_number,name\n13812345678,a@b.cn,M9,Ann\n")) == (
        0,
        0,
        1,
        0,
    )


def test_a_load_that_must_not_merge_refuses_those_rows() -> None:
    identity.know([("phone", "", "13812345678")], "test", NOW)
    identity.know([("email", "", "a@b.cn")], "test", NOW)
    batch = load("customers", "phone,email\n13812345678,a@b.cn\n13912345678,c@b.cn\n", merge="refuse")
    assert counts(batch) == (1, 0, 0, 1)
    assert not Merge.objects.exists()


def test_a_placeholder_phone_merges_nobody() -> None:
    rows = "".join(f"M{n},13800000000\n" for n in range(persons.SHARED_BY + 1))
    batch = load("customers", f"member_number,phone\n{rows}M99,13912345678\n")
    assert counts(batch) == (1, 0, 0, persons.SHARED_BY + 1)
    assert bad(batch)[0][1] == "phone"


def test_ids_of_two_systems_are_two_identities() -> None:
    load("customers", "external_id,external_system,name\n7,till,Ann\n7,shop,Bob\n")
    assert counts(load("customers", "external_id,name\n7,Ann\n", system="till")) == (0, 0, 1, 0)
    assert people() == [("Ann", "7"), ("Bob", "7")]


def test_a_landline_and_a_foreign_number_are_normalised_too() -> None:
    load("customers", "phone\n010-65529988\n+1 202 555 0143\n+852 9123 4567\n")
    assert set(Identity.objects.values_list("value", flat=True)) == {
        "+861065529988",
        "+12025550143",
        "+85291234567",
    }


def test_columns_can_be_told_and_left_out() -> None:
    batch = load("customers", "who,tel,mail\nAnn,13812345678,secret\n", mapping={"name": "who", "email": "-"})
    assert counts(batch) == (1, 0, 0, 0)
    assert people() == [("Ann", "+8613812345678")]
    failed = load("customers", "who\nAnn\n", mapping={"name": "nobody"})
    assert failed.state == "failed"
    assert "no column nobody" in failed.error


# Consent ----------------------------------------------------------------------------------------------


def test_consent_columns_permit_and_withdraw_with_their_time() -> None:
    batch = load(
        "customers",
        "phone,consent_sms,consent_email,consent_upload,consent_time,consent_source\n"
        "13812345678,是,no,1,2026-01-01 10:00,form 7\n",
    )
    assert batch.totals["counts"]["consents"] == 5
    brand = default_brand().pk
    state = ContactState.objects.get()
    assert set(state.allowed) == {
        f"contact:{brand}:sms",
        *(f"upload:{brand}:{m}" for m in ("search", "social", "video")),
    }
    assert state.blocked == [f"contact:{brand}:email"]
    one = Consent.objects.get(medium="sms")
    assert (one.source, one.occurred_at) == ("form 7", datetime(2026, 1, 1, 2, tzinfo=UTC))


def test_a_file_overrides_neither_a_newer_withdrawal_nor_one_of_unknown_time() -> None:
    load("customers", "phone\n13812345678\n")
    one = Customer.objects.get().pk
    brand = default_brand().pk
    consent.withdraw(one, brand, "sms", "call", NOW)
    for time_, changes in (("2026-02-28 10:00", 0), ("", 0), ("2026-03-02 10:00", 1)):
        batch = load("customers", f"phone,consent_sms,consent_time\n13812345678,yes,{time_}\n")
        assert counts(batch) == (0, changes, 1 - changes, 0)
        assert batch.totals["counts"]["consents"] == changes
    assert contact_state.permits(ContactState.objects.get(), brand, "sms")


def test_an_opt_out_survives_the_next_load_of_the_person_and_of_the_number() -> None:
    load("customers", "phone,consent_sms\n13812345678,yes\n")
    consent.opt_out(Customer.objects.get().pk, "sms", None, "asked", "reply", NOW)
    later = "phone,email,consent_sms,consent_email,consent_time\n13812345678,a@b.cn,yes,yes,2030-01-01\n"
    batch = load("customers", later)
    assert batch.totals["counts"]["grants_suppressed"] == 1
    brand = default_brand().pk
    assert contact_state.permits(ContactState.objects.get(), brand, "email")
    assert not contact_state.permits(ContactState.objects.get(), brand, "sms")
    assert counts(load("customers", later)) == (0, 0, 1, 0)


def test_somebody_on_the_list_is_born_blocked() -> None:
    load("suppressions", "phone,medium\n13812345678,\n")
    load("customers", "phone,consent_sms\n13812345678,yes\n13912345678,yes\n")
    brand = default_brand().pk
    assert [contact_state.permits(s, brand, "sms") for s in ContactState.objects.order_by("pk")] == [
        False,
        True,
    ]
    assert "1381234" not in str(list(Suppression.objects.values()))


# Taking back, and not half -----------------------------------------------------------------------------


def test_a_batch_can_be_taken_back_except_for_those_who_were_used_since() -> None:
    load("customers", "phone\n13512345678\n")
    batch = load(
        "customers",
        "phone,name,tags,consent_sms\n13812345678,Ann,vip,yes\n13912345678,Bob,,\n13512345678,Old,,\n",
    )
    bob = identity.resolve("phone", "", "13912345678")
    Order.objects.create(number="1", customer_id=bob, placed_at=NOW, received_at=NOW, gross=1, paid=1)
    assert batches.remove(batch) == 1
    assert {name for name, *_rest in people()} == {"Bob", "Old"}
    assert batch.state == "removed"
    with pytest.raises(ValueError, match="Only a file that was loaded"):
        batches.remove(batch)


def test_a_load_that_breaks_leaves_nothing_and_can_be_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*args: Any) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr("audiences.imports.kinds.permissions.write", die)
        with pytest.raises(RuntimeError):
            load("customers", "phone,consent_sms\n13812345678,yes\n")
    batch = ImportBatch.objects.get()
    assert (batch.state, batch.rows_new) == ("failed", 0)
    assert "nothing of it was kept" in batch.error
    assert not Customer.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname ~ '^import_[0-9]+_'")
        assert cursor.fetchone() == (0,)
    assert counts(load("customers", "phone,consent_sms\n13812345678,yes\n")) == (1, 0, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_a_large_first_load_fills_bare_tables_and_leaves_them_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def shape() -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = ANY (%(t)s::regclass[]) "
                "UNION ALL SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
                "WHERE indrelid = ANY (%(t)s::regclass[]) ORDER BY 1, 2",
                {"t": list(persons.BORN_TABLES)},
            )
            return cursor.fetchall()

    monkeypatch.setattr(persons, "LARGE", 10)
    before = shape()
    data = "phone,email\n" + "".join(f"138{n:08d},u{n}@b.cn\n" for n in range(50))
    assert counts(load("customers", data)) == (50, 0, 0, 0)
    assert shape() == before
    assert counts(load("customers", data)) == (0, 0, 50, 0)
    more = "phone,email\n" + "".join(f"139{n:08d},v{n}@b.cn\n" for n in range(80))
    assert counts(load("customers", more)) == (80, 0, 0, 0)
    assert shape() == before


# At the same time ----------------------------------------------------------------------------------------


def at_once(*functions: Any) -> None:
    errors: list[BaseException] = []

    def guarded(function: Any) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.django_db(transaction=True)
def test_one_file_loaded_by_four_at_once_is_loaded_once() -> None:
    data = "phone,email,name,consent_sms\n" + "".join(f"138{n:08d},u{n}@b.cn,N{n},yes\n" for n in range(300))
    results: list[tuple[int, int, int, int]] = []
    at_once(*[lambda: results.append(counts(load("customers", data)))] * 4)
    assert sorted(results) == [(0, 0, 300, 0)] * 3 + [(300, 0, 0, 0)]
    assert Customer.objects.count() == 300
    assert Identity.objects.count() == 600


@pytest.mark.django_db(transaction=True)
def test_a_load_and_responses_that_tell_of_the_same_people_agree_on_who_is_who() -> None:
    data = "phone,email\n" + "".join(f"138{n:08d},u{n}@b.cn\n" for n in range(200))

    def tell() -> None:
        for n in range(200):
            identity.know([("phone", "", f"138{n:08d}")], "response", NOW)

    at_once(tell, lambda: load("customers", data), tell)
    load("customers", data)
    assert Customer.objects.filter(merged_into=None).count() == 200
    owners = Identity.objects.values_list("customer_id", flat=True)
    assert len(set(owners)) == 200


@pytest.mark.django_db(transaction=True)
def test_a_load_of_consents_and_a_running_dispatch_never_deadlock() -> None:
    data = "phone,consent_sms,consent_time\n" + "".join(f"138{n:08d},yes,2026-01-01\n" for n in range(200))
    load("customers", data)
    ids = list(Customer.objects.order_by("pk").values_list("pk", flat=True))
    stop = threading.Event()

    def dispatch() -> None:
        while not stop.is_set():
            with transaction.atomic():
                contact_state.lock(ids[::3])
                time.sleep(0.002)

    def loads() -> None:
        try:
            for day in range(2, 8):
                yes = "yes" if day % 2 else "no"
                shuffled = [f"138{n:08d},{yes},2026-01-0{day}\n" for n in range(200)][:: 1 if day % 2 else -1]
                batch = load("customers", "phone,consent_sms,consent_time\n" + "".join(shuffled))
                assert counts(batch) == (0, 200, 0, 0)
        finally:
            stop.set()

    at_once(dispatch, loads, dispatch)


@pytest.mark.django_db(transaction=True)
def test_a_call_does_not_wait_for_ever_behind_a_long_load() -> None:
    held, release = threading.Event(), threading.Event()

    def long() -> None:
        with transaction.atomic():
            loading._alone("customers", None)
            held.set()
            release.wait(30)

    def call() -> None:
        held.wait(10)
        try:
            with pytest.raises(loading.Busy):
                batches.load_rows("customers", [{"phone": "13812345678"}], patience=0.2)
        finally:
            release.set()

    at_once(long, call)
    assert not ImportBatch.objects.exists()


# Whatever comes ------------------------------------------------------------------------------------------

PHONES = st.sampled_from(["", "13812345670", "13812345671", "138 1234 5672", "+8613812345670"])
EMAILS = st.sampled_from(["", "a@b.cn", "B@b.cn", "c@b.cn"])
NUMBERS = st.sampled_from(["", "M1", "M2", "M3"])
NAMES = st.sampled_from(["", "Ann", "Bob", "=1+1", 'say "x"', "line\nbreak"])
ROWS = st.lists(st.tuples(PHONES, EMAILS, NUMBERS, NAMES), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(ROWS, min_size=1, max_size=3))
def test_any_files_give_the_people_a_simple_reckoning_gives_and_twice_is_once(files: list[Any]) -> None:
    with transaction.atomic():
        for rows in files:
            data = _csv(rows)
            load("customers", data)
            after = _everything()
            assert sum(counts(load("customers", data))[:2]) == 0
            assert _everything() == after
        assert _groups() == _reckoned(files)
        survivors = Customer.objects.filter(merged_into=None).count()
        assert survivors == len(_reckoned(files))
        assert ContactState.objects.filter(absorbed=False).count() == survivors
        transaction.set_rollback(True)


def _csv(rows: list[tuple[str, ...]]) -> str:
    cells = [
        '"' + cell.replace('"', '""') + '"' if set(cell) & set('",\n') else cell
        for row in rows
        for cell in row
    ]
    lines = [",".join(cells[n : n + 4]) for n in range(0, len(cells), 4)]
    return "phone,email,member_number,name\n" + "\n".join(lines) + "\n"


def _groups() -> set[frozenset[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for customer, value in Identity.objects.values_list("customer_id", "value"):
        found[customer].add(value)
    return {frozenset(values) for values in found.values()}


def _reckoned(files: list[Any]) -> set[frozenset[str]]:
    """Sets of values that were ever told together, joined where they share one."""
    groups: list[set[str]] = []
    for phone, email, number, _name in (row for rows in files for row in rows):
        values = {
            *([identity.phone(phone)] if phone else []),
            *([email.lower()] if email else []),
            *([number] if number else []),
        }
        if not values:
            continue
        joined = [group for group in groups if group & values]
        groups = [group for group in groups if not group & values] + [values.union(*joined)]
    return {frozenset(group) for group in groups}


# The command -----------------------------------------------------------------------------------------------


def test_the_command_tells_what_came_in_and_writes_the_bad_rows(tmp_path: Any, capsys: Any) -> None:
    file = tmp_path / "people.csv"
    file.write_text("Name,Handy\nAnn,13812345678\nBob,1\n")
    call_command("import", "customers", str(file), "--map", "phone=Handy", "--bad", str(tmp_path / "bad.csv"))
    told = capsys.readouterr().out
    assert "2 rows read: 1 new, 0 changed, 0 same, 1 refused" in told
    assert "line 3: phone: not a phone number" in told
    assert "Bob,1,3,phone" in (tmp_path / "bad.csv").read_text()
    with pytest.raises(CommandError, match="OURS=THEIRS"):
        call_command("import", "customers", str(file), "--map", "phone")
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import", "customers", str(tmp_path / "none.csv"))
    with pytest.raises(CommandError, match="no brand 'x'"):
        call_command("import", "customers", str(file), "--brand", "x")


# Killed ----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_load_killed_at_any_moment_leaves_all_or_nothing(tmp_path: Any) -> None:
    rows = 20_000
    file = tmp_path / "people.csv"
    file.write_text(
        "phone,email,name,consent_sms\n" + "".join(f"138{n:08d},u{n}@b.cn,N{n},yes\n" for n in range(rows))
    )
    for patience in (0.0, 0.15, 0.4, 0.8):
        done = _killed(["import", "customers", str(file)], patience)
        assert Customer.objects.count() == Identity.objects.count() / 2 == Consent.objects.count()
        assert Customer.objects.count() in ((rows,) if done else (0, rows))
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_class WHERE relname ~ '^import_[0-9]+_'")
            assert cursor.fetchone() == (0,)
    assert sum(counts(load("customers", file.read_bytes()))) == rows
    assert Customer.objects.count() == rows
    assert ContactState.objects.count() == rows


def _killed(arguments: list[str], patience: float) -> bool:
    """Run a command against the test's database; kill -9 it a while after its batch is there. Had it ended?"""
    before, others = ImportBatch.objects.count(), set(_backends())
    process = subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        env=os.environ | {"DATABASE_URL": database_url()},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while (
            ImportBatch.objects.count() == before and process.poll() is None and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        assert ImportBatch.objects.count() == before + 1
        time.sleep(patience)
        ended = process.poll() is not None
    finally:
        process.kill()
        process.wait(30)
    # The server learns of it when it next speaks to its client.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if set(_backends()) <= others:
            break
        time.sleep(0.05)
    return ended


def _backends() -> list[int]:
    """Who is connected to the test's database: this process may hold several connections."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        return [pid for (pid,) in cursor.fetchall()]
