"""Orders, lines, products, consents, tags, behaviours and the do-not-contact list, from files."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from audiences import consent, contact_state, identity
from audiences.brands import default_brand
from audiences.imports import batches
from audiences.models import (
    BehaviourEvent,
    Brand,
    ContactState,
    Customer,
    CustomerTag,
    Order,
    OrderLine,
    Product,
    Tag,
)
from campaigns.models import Campaign
from tests.import_files import bad, counts, load

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def ann() -> int:
    return identity.know([("phone", "", "13812345678"), ("member_number", "main", "M1")], "test", NOW)


def test_orders_are_loaded_once_and_their_totals_agree(ann: int) -> None:
    data = (
        "订单号,下单时间,手机号,实付金额,退款金额,门店\n"
        '1,2026-01-01 10:00,13812345678,"¥1,234.50",,上海一店\n'
        "2,2026/1/2 08:30:15,138 1234 5678,10.005,2,\n"
    )
    batch = load("orders", data)
    assert counts(batch) == (2, 0, 0, 0)
    assert batch.totals["sums"]["paid"] == {"read": "1244.505", "refused": "0.000", "stored": "1244.5050"}
    assert counts(load("orders", data)) == (0, 0, 2, 0)
    assert list(
        Order.objects.order_by("number").values_list("customer", "placed_at", "paid", "returned", "store")
    ) == [
        (ann, datetime(2026, 1, 1, 2, tzinfo=UTC), Decimal("1234.5"), 0, "上海一店"),
        (ann, datetime(2026, 1, 2, 0, 30, 15, tzinfo=UTC), Decimal("10.005"), 2, ""),
    ]


def test_what_is_refused_is_missing_from_what_is_stored_and_told_so(ann: int) -> None:
    batch = load(
        "orders",
        "number,placed_at,phone,paid\n1,2026-01-01,13812345678,100\n2,2026-01-01,13912345678,7\n"
        "3,yesterday,13812345678,5\n4,2026-01-01,13812345678,-1\n5,2026-01-01,,3\n"
        '6,2026-01-01,13812345678,"1,5"\n',
    )
    assert counts(batch) == (1, 0, 0, 5)
    sums = batch.totals["sums"]["paid"]
    assert Decimal(sums["read"]) - Decimal(sums["refused"]) == Decimal(sums["stored"]) == 100
    assert bad(batch) == [
        (3, "phone", "nobody has any of the identities of this"),
        (4, "placed_at", "not a time such as 2026-03-01 12:30"),
        (5, "paid", "below zero"),
        (6, "phone", "names no customer"),
        (7, "paid", "not a number such as 1234.50"),
    ]


def test_a_later_file_brings_the_return_and_keeps_the_rest(ann: int) -> None:
    load("orders", "number,placed_at,phone,paid,store\n1,2026-01-01,13812345678,100,S1\n")
    batch = load(
        "orders",
        "number,placed_at,phone,paid,returned,returned_at\n1,2026-01-01,13812345678,100,40,2026-01-09\n",
    )
    assert counts(batch) == (0, 1, 0, 0)
    assert Order.objects.values_list("paid", "returned", "store").get() == (100, 40, "S1")


def test_times_without_a_zone_are_those_of_the_load(ann: int) -> None:
    load("orders", "number,placed_at,phone,paid\n1,2026-01-01 10:00,13812345678,1\n", zone="America/New_York")
    load("orders", "number,placed_at,phone,paid\n2,2026-01-01T10:00:00+01:00,13812345678,1\n")
    times = list(Order.objects.order_by("number").values_list("placed_at", flat=True))
    assert times == [datetime(2026, 1, 1, 15, tzinfo=UTC), datetime(2026, 1, 1, 9, tzinfo=UTC)]


def test_unknown_customers_of_orders_are_created_when_asked_and_only_once() -> None:
    data = (
        "number,placed_at,phone,email,paid\n1,2026-01-01,13812345678,,1\n"
        "2,2026-01-01,13812345678,a@b.cn,1\n3,2026-01-02,,a@b.cn,1\n"
    )
    batch = load("orders", data, create=True)
    assert counts(batch) == (3, 0, 0, 0)
    assert batch.totals["counts"]["customers_created"] == 1
    assert Order.objects.values_list("customer").distinct().count() == 1
    assert counts(load("orders", data, create=True)) == (0, 0, 3, 0)
    assert Customer.objects.count() == 1


def test_a_row_goes_to_the_survivor_of_a_merge(ann: int) -> None:
    other = identity.know([("email", "", "a@b.cn")], "test", NOW)
    identity.know([("phone", "", "13812345678"), ("email", "", "a@b.cn")], "test", NOW)
    load("orders", f"number,placed_at,customer_id,paid\n1,2026-01-01,{other},1\n")
    assert Order.objects.get().customer_id == ann


def test_orders_can_be_taken_back_with_their_lines(ann: int) -> None:
    load("orders", "number,placed_at,phone,paid\n0,2026-01-01,13812345678,1\n")
    batch = load("orders", "number,placed_at,phone,paid\n1,2026-01-01,13812345678,1\n")
    load("order_lines", "number,sku,amount\n1,A,1\n")
    assert batches.remove(batch) == 1
    assert list(Order.objects.values_list("number", flat=True)) == ["0"]
    assert not OrderLine.objects.exists()


def test_lines_know_their_place_and_create_their_products(ann: int) -> None:
    load("orders", "number,placed_at,phone,paid\n1,2026-01-01,13812345678,6\n2,2026-01-01,13812345678,1\n")
    data = "number,sku,qty,amount\n1,A,2,4\n2,A,1,1\n1,B,1,2\n9,C,1,1\n"
    batch = load("order_lines", data)
    assert counts(batch) == (3, 0, 0, 1)
    assert batch.totals["sums"]["amount"] == {"read": "8", "refused": "1", "stored": "7.0000"}
    lines = OrderLine.objects.order_by("order__number", "line")
    assert list(lines.values_list("order__number", "line", "product__sku")) == [
        ("1", 1, "A"),
        ("1", 2, "B"),
        ("2", 1, "A"),
    ]
    assert counts(load("order_lines", data)) == (0, 0, 3, 1)
    assert counts(load("products", "sku,name,category,colour\nA,Apple,Fruit,red\nC,Cap,Hats,\n")) == (
        1,
        1,
        0,
        0,
    )
    assert Product.objects.values_list("category", "attributes").get(sku="A") == ("Fruit", {"colour": "red"})


def test_consents_of_several_brands_and_purposes(ann: int) -> None:
    other = Brand.objects.create(code="other", name="Other")
    data = (
        "member_number,medium,granted,purpose,brand,time\n"
        "M1,短信,yes,,,2026-01-01\nM1,sms,yes,,other,2026-01-01\nM1,search,y,upload,,2026-01-01\nM1,email,no,,nobody,\n"
    )
    batch = load("consents", data)
    assert counts(batch) == (3, 0, 0, 1)
    assert set(ContactState.objects.get().allowed) == {
        f"contact:{default_brand().pk}:sms", f"contact:{other.pk}:sms", f"upload:{default_brand().pk}:search",
    }  # fmt: skip
    assert counts(load("consents", data)) == (0, 0, 3, 1)
    assert counts(
        load("consents", "member_number,medium,granted,time\nM1,sms,no,2026-02-01\nM1,sms,yes,2026-01-15\n")
    ) == (0, 1, 1, 0)
    assert not contact_state.permits(ContactState.objects.get(), default_brand().pk, "sms")


def test_tags_are_put_once(ann: int) -> None:
    data = "phone,tag,group\n13812345678,gold,level\n13812345678,gold,level\n"
    assert counts(load("tags", data)) == (1, 0, 1, 0)
    assert counts(load("tags", data)) == (0, 0, 2, 0)
    assert CustomerTag.objects.count() == 1
    assert Tag.objects.get().group == "level"


def test_events_are_loaded_once_with_or_without_a_key_of_their_own(ann: int) -> None:
    data = (
        "phone,event,time,key,page\n13812345678,visit,2026-01-01T10:00:00Z,e1,/a\n"
        "13812345678,visit,2026-01-01T11:00:00Z,,/b\n"
    )
    batch = load("behaviours", data)
    assert counts(batch) == (2, 0, 0, 0)
    assert counts(load("behaviours", data)) == (0, 0, 2, 0)
    assert set(BehaviourEvent.objects.values_list("attributes__page", flat=True)) == {"/a", "/b"}
    assert batches.remove(batch) == 2


def test_a_do_not_contact_list_blocks_those_who_are_known_and_those_to_come(ann: int) -> None:
    brand = default_brand().pk
    consent.grant(ann, brand, "sms", "form", NOW)
    data = "phone,email,medium\n13812345678,,\n,later@b.cn,email\n"
    batch = load("suppressions", data)
    assert counts(batch) == (2, 0, 0, 0)
    assert counts(load("suppressions", data)) == (0, 0, 2, 0)
    assert not contact_state.permits(ContactState.objects.get(pk=ann), brand, "sms")
    load("customers", "email,consent_email,consent_sms\nlater@b.cn,yes,yes\n")
    state = ContactState.objects.get(pk=identity.resolve("email", "", "later@b.cn"))
    assert not contact_state.permits(state, brand, "email")
    assert contact_state.permits(state, brand, "sms")


def test_a_campaign_that_ran_elsewhere_is_loaded_once_as_finished_with_its_flight() -> None:
    told = "campaign,name,starts_at,ends_at,budget\nE7,Autumn,2026-09-01,2026-10-01,500\n"
    assert counts(load("campaigns", told)) == (1, 0, 0, 0)
    assert counts(load("campaigns", told)) == (0, 0, 1, 0)
    campaign = Campaign.objects.get(number="E7")
    assert (campaign.state, campaign.kind, campaign.cadence) == ("finished", "imported", {})
    assert campaign.phases.get().starts_at == campaign.starts_at
