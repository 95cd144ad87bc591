"""Consent, opt-out and suppression, decided from the contact state alone."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from audiences import consent, contact_state, erasure, identity
from audiences.brands import default_brand
from audiences.models import Brand, Consent, ConsentChange, ContactState, Customer, Identity, Suppression
from audiences.suppression import digest

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def somebody(phone: str = "13812345678") -> int:
    return identity.know([("phone", "", phone)], "test", NOW)


def permitted(customer: int, brand: Brand, medium: str = "sms") -> bool:
    """What Python and SQL say of it, which must be the same."""
    state = ContactState.objects.get(pk=customer)
    told = contact_state.permits(state, brand.pk, medium)
    with connection.cursor() as cursor:
        where = contact_state.permitted_sql("s", "%(brand)s", "%(medium)s")
        cursor.execute(
            f"SELECT {where} FROM audiences_contactstate s WHERE customer_id = %(customer)s",
            {"brand": str(brand.pk), "medium": medium, "customer": customer},
        )
        assert cursor.fetchone() == (told,)
    return told


@pytest.fixture
def brand(db: None) -> Brand:
    return default_brand()


def test_nobody_may_be_contacted_without_consent(brand: Brand) -> None:
    assert not permitted(somebody(), brand)


def test_a_grant_permits_its_medium_and_brand_only(brand: Brand) -> None:
    other = Brand.objects.create(code="other", name="Other")
    one = somebody()
    assert consent.grant(one, brand.pk, "sms", "form", NOW)
    assert permitted(one, brand)
    assert not permitted(one, brand, "email")
    assert not permitted(one, other)


def test_an_older_event_never_overrides_a_newer_one_in_whatever_order_they_come(brand: Brand) -> None:
    one = somebody()
    consent.withdraw(one, brand.pk, "sms", "call centre", NOW)
    assert not consent.grant(one, brand.pk, "sms", "old form", NOW - HOUR)
    assert not permitted(one, brand)
    assert consent.grant(one, brand.pk, "sms", "new form", NOW + HOUR)
    # The grant is said again later; a withdrawal between the two arrives last.
    consent.grant(one, brand.pk, "sms", "new form", NOW + 3 * HOUR)
    assert not consent.withdraw(one, brand.pk, "sms", "late", NOW + 2 * HOUR)
    assert permitted(one, brand)


def test_at_the_same_moment_a_withdrawal_wins(brand: Brand) -> None:
    one = somebody()
    consent.grant(one, brand.pk, "sms", "a", NOW)
    assert consent.withdraw(one, brand.pk, "sms", "b", NOW)
    assert not consent.grant(one, brand.pk, "sms", "a", NOW)
    assert not permitted(one, brand)


def test_every_change_is_kept_and_a_repetition_is_none(brand: Brand) -> None:
    one = somebody()
    consent.grant(one, brand.pk, "sms", "form", NOW)
    consent.grant(one, brand.pk, "sms", "form", NOW)
    consent.withdraw(one, brand.pk, "sms", "reply T", NOW + HOUR)
    assert list(ConsentChange.objects.order_by("pk").values_list("status", "source")) == [
        ("granted", "form"),
        ("withdrawn", "reply T"),
    ]


def test_rows_written_in_bulk_are_mirrored_too(brand: Brand) -> None:
    ids = [somebody(f"1381234567{n}") for n in range(4)]
    Consent.objects.bulk_create(
        Consent(
            customer_id=one,
            brand=brand,
            medium=medium,
            status=status,
            source="x",
            occurred_at=NOW,
            received_at=NOW,
        )
        for one in ids
        for medium, status in (("sms", "granted"), ("email", "withdrawn"))
    )
    states = ContactState.objects.filter(pk__in=ids).values_list("allowed", "blocked")
    assert set(map(str, states)) == {str(([f"contact:{brand.pk}:sms"], [f"contact:{brand.pk}:email"]))}
    Consent.objects.filter(medium="email").update(status="granted")
    Consent.objects.filter(medium="sms").delete()
    states = ContactState.objects.filter(pk__in=ids).values_list("allowed", "blocked")
    assert set(map(str, states)) == {str(([f"contact:{brand.pk}:email"], []))}


@pytest.mark.parametrize("of_brand", [True, False])
@pytest.mark.parametrize("medium", ["sms", ""])
def test_an_opt_out_survives_the_next_load(brand: Brand, of_brand: bool, medium: str) -> None:
    one = somebody()
    consent.grant(one, brand.pk, "sms", "form", NOW)
    assert consent.opt_out(one, medium, brand.pk if of_brand else None, "asked", "call", NOW + HOUR)
    assert not permitted(one, brand)
    # A file says yes again, with a later date.
    assert not consent.grant(one, brand.pk, "sms", "file", NOW + 9 * HOUR)
    assert not permitted(one, brand)
    # The customer is lost and loaded again under another id.
    Identity.objects.all().delete()
    again = somebody()
    assert again != one
    assert not consent.grant(again, brand.pk, "sms", "file", NOW + 9 * HOUR)
    assert not permitted(again, brand)


def test_an_opt_out_of_one_brand_leaves_the_others(brand: Brand) -> None:
    other = Brand.objects.create(code="other", name="Other")
    one = somebody()
    for each in (brand, other):
        consent.grant(one, each.pk, "sms", "form", NOW)
    consent.opt_out(one, "sms", brand.pk, "asked", "reply", NOW + HOUR)
    assert not permitted(one, brand)
    assert permitted(one, other)


def test_an_opt_out_that_comes_late_does_not_undo_a_newer_grant(brand: Brand) -> None:
    one = somebody()
    consent.grant(one, brand.pk, "sms", "form", NOW)
    assert not consent.opt_out(one, "sms", None, "asked", "late reply", NOW - HOUR)
    assert permitted(one, brand)
    assert not Suppression.objects.exists()


def test_a_person_who_asks_again_is_heard_and_only_for_what_they_asked(brand: Brand) -> None:
    one = somebody()
    later = datetime.now(UTC) + HOUR
    for medium in ("sms", "email"):
        consent.grant(one, brand.pk, medium, "form", NOW)
    consent.opt_out(one, "", None, "asked", "call", NOW + HOUR)
    assert consent.grant(one, brand.pk, "sms", "preference centre", later, lift=True)
    assert permitted(one, brand)
    assert not permitted(one, brand, "email")
    assert not consent.grant(one, brand.pk, "email", "file", later)


def test_the_suppression_list_names_nobody(brand: Brand) -> None:
    consent.opt_out(somebody(), "sms", None, "asked", "call", NOW)
    row = Suppression.objects.get()
    assert "1381234" not in row.digest
    assert row.digest == digest("phone", "", "+8613812345678")


def test_the_hash_in_sql_is_the_hash_in_python(brand: Brand) -> None:
    one = somebody()
    key = ("external", "旧系统", "客户|甲")
    identity.know([("phone", "", "13812345678"), key], "test", NOW)
    Suppression.objects.create(digest=digest(*key), kind="external", medium="sms", reason="x")
    assert consent.apply_suppressions([one]) == 1
    assert ContactState.objects.get(pk=one).blocked == ["contact:*:sms", "upload:*:sms"]
    assert consent.apply_suppressions([one]) == 0


def test_an_erased_person_is_blank_blocked_and_stays_out_when_loaded_again(brand: Brand) -> None:
    one = somebody()
    Customer.objects.filter(pk=one).update(name="王小明", attributes={"shoe": 42})
    consent.grant(one, brand.pk, "sms", "form", NOW)
    erasure.erase(one, requested_by="officer", now=NOW + HOUR)
    customer = Customer.objects.get(pk=one)
    assert (customer.name, customer.name_sort, customer.attributes) == ("", "", {})
    assert ContactState.objects.get(pk=one).erased
    assert Identity.objects.get(customer=one).value == f"erased-{Identity.objects.get(customer=one).pk}"
    assert not permitted(one, brand)
    again = somebody()
    assert again != one
    assert not consent.grant(again, brand.pk, "sms", "file", NOW + 2 * HOUR)
    assert not permitted(again, brand)
    with pytest.raises(ValueError, match="already"):
        erasure.erase(one, requested_by="officer", now=NOW)


def test_contacts_given_back_leave_the_state_and_expired_ones_are_forgotten(brand: Brand) -> None:
    one = somebody()
    times = [NOW - 3 * HOUR, NOW, NOW - 2 * HOUR]
    ContactState.objects.filter(pk=one).update(
        recent_attempts=[1, 2, 3], recent_channels=[7, 8, 9], recent_at=times
    )
    assert contact_state.give_back([(one, 2), (one, 99)]) == 1
    assert contact_state.give_back([(one, 2)]) == 0
    assert contact_state.forget_expired(NOW, 2 * HOUR + timedelta(minutes=1)) == 1
    state = ContactState.objects.get(pk=one)
    assert (state.recent_attempts, state.recent_channels, state.recent_at) == ([3], [9], [NOW - 2 * HOUR])


def run(*functions: Any) -> None:
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
        thread.join(30)
    assert not errors
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.django_db(transaction=True)
def test_an_opt_out_waits_for_a_claim_that_holds_the_state_and_then_holds() -> None:
    brand = default_brand()
    one = somebody()
    consent.grant(one, brand.pk, "sms", "form", NOW)
    claimed, order = threading.Event(), []

    def claim() -> None:
        with transaction.atomic():
            (state,) = contact_state.lock([one])
            assert contact_state.permits(state, brand.pk, "sms")
            claimed.set()
            threading.Event().wait(0.3)
            order.append("claimed")

    def leave() -> None:
        claimed.wait(10)
        consent.opt_out(one, "sms", None, "asked", "reply", NOW + HOUR)
        order.append("out")

    run(claim, leave)
    assert order == ["claimed", "out"]
    assert not permitted(one, brand)


@pytest.mark.django_db(transaction=True)
def test_grants_and_opt_outs_of_many_people_at_once_never_deadlock() -> None:
    brand = default_brand()
    people = [somebody(f"1381234567{n}") for n in range(8)]

    def grants(ids: list[int]) -> Any:
        def work() -> None:
            for turn in range(4):
                with transaction.atomic():
                    contact_state.lock(ids)
                    for one in ids:
                        consent.grant(one, brand.pk, "sms", "form", NOW + turn * HOUR)

        return work

    def outs() -> None:
        for one in reversed(people):
            consent.opt_out(one, "", None, "asked", "reply", NOW + 100 * HOUR)

    run(grants(people), grants(people[::-1]), outs)
    assert not any(permitted(one, brand) for one in people)
