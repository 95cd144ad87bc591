"""Values in one normal form, and one customer behind all values told together."""

import threading
from datetime import UTC, datetime

import pytest
from django.db import connection

from audiences import identity
from audiences.models import ContactState, Customer, Identity, Merge

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("13812345678", "+8613812345678"),
        ("138 1234 5678", "+8613812345678"),
        ("+86 138-1234-5678", "+8613812345678"),
        ("008613812345678", "+8613812345678"),
        ("１３８１２３４５６７８", "+8613812345678"),
        ("010-65529988", "+861065529988"),
        ("+852 9123 4567", "+85291234567"),
        ("+1 (202) 555-0143", "+12025550143"),
    ],
)
def test_a_phone_number_has_one_form_however_it_is_written(written: str, kept: str) -> None:
    assert identity.normalise("phone", "", written) == kept


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("phone", "12345"),
        ("phone", "not a phone"),
        ("phone", ""),
        ("email", "a@b"),
        ("email", "a b@example.com"),
        ("email", "a@@example.com"),
        ("email", "a@example..com"),
        ("member_number", "  "),
        ("member_number", "x" * 255),
        ("external", "a\x00b"),
        ("shoe_size", "42"),
    ],
)
def test_a_value_that_cannot_be_one_is_refused_with_a_reason(kind: str, value: str) -> None:
    with pytest.raises(ValueError, match=r".{3,}"):
        identity.normalise(kind, "", value)


def test_an_email_is_kept_in_lower_case() -> None:
    assert identity.normalise("email", "", " Ann@Example.COM ") == "ann@example.com"


@pytest.mark.django_db
def test_the_same_person_told_twice_is_one_customer() -> None:
    first = identity.know([("phone", "", "13812345678")], "test", NOW)
    again = identity.know([("phone", "", "+86 13812345678"), ("email", "", "Ann@example.com")], "test", NOW)
    assert first == again
    assert list(Identity.objects.order_by("kind").values_list("customer_id", "kind", "value")) == [
        (first, "email", "ann@example.com"),
        (first, "phone", "+8613812345678"),
    ]
    assert identity.resolve("email", "", "ANN@example.com") == first
    assert identity.resolve("email", "", "bob@example.com") is None


@pytest.mark.django_db
def test_a_record_with_identities_of_two_customers_merges_them() -> None:
    one = identity.know([("phone", "", "13812345678")], "test", NOW)
    two = identity.know([("email", "", "ann@example.com")], "test", NOW)
    assert identity.know([("phone", "", "13812345678"), ("email", "", "ann@example.com")], "test", NOW) == one
    assert Customer.objects.get(pk=two).merged_into_id == one
    assert Merge.objects.values_list("absorbed_id", "survivor_id").get() == (two, one)
    assert identity.resolve("email", "", "ann@example.com") == one


@pytest.mark.django_db
def test_a_customer_is_born_with_a_contact_state_a_bucket_and_a_sort_key() -> None:
    customers = [Customer.objects.create(name=name) for name in ("赵敏", "Ann", "陈晨")]
    assert ContactState.objects.count() == 3
    by_name = Customer.objects.order_by("name_sort").values_list("name", flat=True)
    assert list(by_name) == ["Ann", "陈晨", "赵敏"]  # Ann, Chén, Zhào
    buckets = set(Customer.objects.filter(pk__in=[c.pk for c in customers]).values_list("bucket", flat=True))
    assert all(0 <= bucket < 10_000 for bucket in buckets)
    assert len(buckets) > 1


@pytest.mark.django_db(transaction=True)
def test_many_threads_telling_of_one_person_make_one_customer() -> None:
    barrier = threading.Barrier(6)
    found: list[int] = []

    def tell(n: int) -> None:
        try:
            barrier.wait(10)
            keys = [("phone", "", "13812345678"), ("email", "", "ann@example.com")]
            found.append(identity.know(keys if n % 2 else keys[::-1], "test", NOW))
        finally:
            connection.close()

    threads = [threading.Thread(target=tell, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 6
    assert len({identity.survivor(one) for one in found}) == 1
    assert len(set(Identity.objects.values_list("customer_id", flat=True))) == 1
