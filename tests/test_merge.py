"""Two customers who are one: what moves, what stays, and how they are parted again."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from audiences import consent, contact_state, identity, merge
from audiences.brands import default_brand
from audiences.models import ContactState, Customer, Identity, Order
from audiences.registers import Follower, followers

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def two() -> tuple[int, int]:
    return (
        identity.know([("phone", "", "13812345678")], "test", NOW),
        identity.know([("email", "", "ann@example.com")], "test", NOW),
    )


def test_the_survivor_gets_identities_contacts_and_blocks_and_history_stays() -> None:
    kept, away = two()
    brand = default_brand()
    consent.grant(kept, brand.pk, "sms", "form", NOW)
    consent.grant(away, brand.pk, "email", "form", NOW)
    consent.opt_out(away, "sms", None, "asked", "reply", NOW)
    Customer.objects.filter(pk=away).update(
        name="Ann", city="上海", attributes={"size": "M"}, stage="customer"
    )
    order = Order.objects.create(
        number="1", customer_id=away, placed_at=NOW, received_at=NOW, gross=9, paid=9
    )
    ContactState.objects.filter(pk=kept).update(recent_attempts=[1], recent_channels=[5], recent_at=[NOW])
    ContactState.objects.filter(pk=away).update(
        recent_attempts=[2], recent_channels=[6], recent_at=[NOW - HOUR]
    )

    merge.merge(away, kept, reason="same person", by="ann", now=NOW)

    state = ContactState.objects.get(pk=kept)
    assert (state.recent_attempts, state.recent_channels) == ([2, 1], [6, 5])
    assert not contact_state.permits(state, brand.pk, "sms")  # who opted out under one id is out under both
    assert contact_state.permits(state, brand.pk, "email")
    assert ContactState.objects.get(pk=away).absorbed
    assert set(Identity.objects.values_list("customer_id", flat=True)) == {kept}
    order.refresh_from_db()
    assert order.customer_id == away
    survivor = Customer.objects.get(pk=kept)
    assert (survivor.name, survivor.city, survivor.attributes, survivor.stage) == (
        "Ann", "上海", {"size": "M"}, "customer",
    )  # fmt: skip


def test_undo_restores_both() -> None:
    kept, away = two()
    brand = default_brand()
    consent.grant(kept, brand.pk, "sms", "form", NOW)
    consent.grant(away, brand.pk, "email", "form", NOW)
    Customer.objects.filter(pk=away).update(name="Ann")
    ContactState.objects.filter(pk=away).update(recent_attempts=[2], recent_channels=[6], recent_at=[NOW])
    before = list(ContactState.objects.order_by("pk").values())
    people = list(Customer.objects.order_by("pk").values("pk", "name", "attributes", "merged_into_id"))
    identities = list(Identity.objects.order_by("pk").values())

    one = merge.merge(away, kept, reason="mistake", now=NOW)
    merge.undo(one.pk, by="bob", now=NOW)

    assert list(ContactState.objects.order_by("pk").values()) == before
    assert (
        list(Customer.objects.order_by("pk").values("pk", "name", "attributes", "merged_into_id")) == people
    )
    assert list(Identity.objects.order_by("pk").values()) == identities
    with pytest.raises(ValueError, match="already"):
        merge.undo(one.pk, by="bob", now=NOW)


def test_what_happened_to_the_survivor_since_stays_with_it() -> None:
    kept, away = two()
    brand = default_brand()
    ContactState.objects.filter(pk=away).update(recent_attempts=[2], recent_channels=[6], recent_at=[NOW])
    one = merge.merge(away, kept, reason="mistake", now=NOW)
    state = ContactState.objects.get(pk=kept)
    ContactState.objects.filter(pk=kept).update(
        recent_attempts=[*state.recent_attempts, 3], recent_channels=[6, 6], recent_at=[NOW, NOW + HOUR]
    )
    consent.opt_out(kept, "email", None, "asked", "reply", NOW + HOUR)
    merge.undo(one.pk, by="bob", now=NOW + 2 * HOUR)
    assert ContactState.objects.get(pk=kept).recent_attempts == [3]
    assert ContactState.objects.get(pk=away).recent_attempts == [2]
    for customer in (kept, away):
        assert not consent.grant(customer, brand.pk, "email", "file", NOW + 3 * HOUR)


def test_pointers_stay_flat_when_a_survivor_is_absorbed() -> None:
    kept, away = two()
    third = identity.know([("member_number", "main", "M1")], "test", NOW)
    first = merge.merge(third, away, reason="x", now=NOW)
    merge.merge(away, kept, reason="x", now=NOW)
    assert dict(Customer.objects.values_list("pk", "merged_into_id")) == {kept: None, away: kept, third: kept}
    with pytest.raises(ValueError, match="later merge"):
        merge.undo(first.pk, by="bob", now=NOW)


def test_the_database_refuses_a_pointer_to_an_absorbed_customer() -> None:
    kept, away = two()
    third = Customer.objects.create()
    merge.merge(away, kept, reason="x", now=NOW)
    with pytest.raises(IntegrityError), transaction.atomic():
        Customer.objects.filter(pk=third.pk).update(merged_into_id=away)
    with pytest.raises(IntegrityError), transaction.atomic():
        Customer.objects.filter(pk=kept).update(merged_into_id=third.pk)


def test_a_customer_cannot_be_merged_twice_or_into_itself() -> None:
    kept, away = two()
    merge.merge(away, kept, reason="x", now=NOW)
    for absorbed, survivor in ((away, kept), (kept, away), (kept, kept)):
        with pytest.raises(ValueError):
            merge.merge(absorbed, survivor, reason="x", now=NOW)


def test_followers_run_inside_the_merge_and_can_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, away = two()

    def refuse(absorbed: int, survivor: int) -> None:
        assert (absorbed, survivor) == (away, kept)
        raise RuntimeError("no")

    monkeypatch.setitem(followers._entries, "refusing", Follower(merged=refuse))
    with pytest.raises(RuntimeError), transaction.atomic():
        merge.merge(away, kept, reason="x", now=NOW)
    assert not Customer.objects.filter(merged_into_id=kept).exists()


def test_a_contact_of_an_absorbed_customer_is_given_back_to_the_survivor() -> None:
    kept, away = two()
    ContactState.objects.filter(pk=away).update(recent_attempts=[2], recent_channels=[6], recent_at=[NOW])
    merge.merge(away, kept, reason="x", now=NOW)
    assert contact_state.give_back([(away, 2)]) == 2
    assert ContactState.objects.get(pk=kept).recent_attempts == []
