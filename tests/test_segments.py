"""A rule holds exactly whom a plain reading of it holds; and nobody absorbed or erased."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Q
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from audiences.models import (
    Brand,
    ContactState,
    Customer,
    CustomerTag,
    Identity,
    Order,
    OrderLine,
    Product,
    Segment,
    SegmentMember,
    Tag,
)
from audiences.registers import rule_kinds
from audiences.segments import customer_ids
from audiences.segments.compiling import customers, matching
from audiences.segments.counting import Asked, count, preview, reach
from audiences.segments.rules import InvalidRule, check
from audiences.segments.words import sentence
from audiences.vocabulary import permission_key

pytestmark = pytest.mark.django_db


def person(name: str, **fields: Any) -> Customer:
    return Customer.objects.create(name=name, **fields)


def order(customer: Customer, paid: str, days_ago: float = 1, category: str = "", **fields: Any) -> Order:
    at = timezone.now() - dt.timedelta(days=days_ago)
    number = f"{customer.pk}-{Order.objects.count()}"
    found = Order.objects.create(
        number=number,
        customer=customer,
        placed_at=at,
        received_at=at,
        gross=Decimal(paid),
        paid=Decimal(paid),
        **fields,
    )
    if category:
        product, _made = Product.objects.get_or_create(sku=category, defaults={"category": category})
        OrderLine.objects.create(order=found, line=1, product=product, quantity=1, amount=Decimal(paid))
    return found


def held(rule: dict[str, Any]) -> set[str]:
    check(rule)
    return set(matching(rule).values_list("name", flat=True))


def attribute(field: str, op: str, value: str | None = None) -> dict[str, Any]:
    return {"kind": "attribute", "field": field, "op": op} | ({"value": value} if value is not None else {})


@pytest.fixture
def town() -> None:
    person(
        "an", city="Hangzhou", attributes={"tier": "Gold", "points": "120"}, birth_date=dt.date(1990, 5, 1)
    )
    person("bo", city="hangzhou", stage="member", attributes={"points": 15})
    person("cy", city="", attributes={"tier": "100%_x"})


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (attribute("city", "is", "HANGZHOU"), {"an", "bo"}),
        (attribute("city", "is_not", "Hangzhou"), {"cy"}),
        (attribute("city", "one_of", "hangzhou， Ningbo"), {"an", "bo"}),
        (attribute("city", "unknown"), {"cy"}),
        (attribute("city", "contains", "ZHOU"), {"an", "bo"}),
        (attribute("attributes.tier", "is", "gold"), {"an"}),
        (attribute("attributes.tier", "contains", "%_"), {"cy"}),
        (attribute("attributes.tier", "unknown"), {"bo"}),
        (attribute("attributes.tier", "is_not", "gold"), {"bo", "cy"}),
        (attribute("attributes.points", "at_least", "100"), {"an"}),
        (attribute("attributes.points", "at_most", "20"), {"bo"}),
        (attribute('attributes.it\'s "odd"', "known"), set()),
        (attribute("birth_date", "at_most", "1995-01-01"), {"an"}),
        (attribute("birth_date", "unknown"), {"bo", "cy"}),
        (attribute("created_at", "within_days", "1"), {"an", "bo", "cy"}),
        ({"kind": "stage", "stages": ["member"]}, {"bo"}),
        ({"not": {"kind": "stage", "stages": ["member"]}}, {"an", "cy"}),
        (
            {"any": [{"kind": "stage", "stages": ["member"]}, attribute("attributes.tier", "known")]},
            {"an", "bo", "cy"},
        ),
    ],
)
def test_attributes(town: None, rule: dict[str, Any], names: set[str]) -> None:
    assert held(rule) == names


def test_orders_count_in_their_window_and_at_most_includes_those_without() -> None:
    a, b, c = person("a"), person("b"), person("c")
    order(a, "100", days_ago=5, category="tea")
    order(a, "50", days_ago=400)
    order(b, "30", days_ago=50, category="cup")

    def rule(measure: str, op: str, value: float, **more: Any) -> dict[str, Any]:
        return {"kind": "order", "measure": measure, "op": op, "value": value, **more}

    assert held(rule("orders", "at_least", 1)) == {"a", "b"}
    assert held(rule("orders", "at_least", 2)) == {"a"}
    assert held(rule("orders", "at_least", 1, days=10)) == {"a"}
    assert held(rule("orders", "at_most", 0, days=10)) == {"b", "c"}
    assert held(rule("orders", "at_most", 0)) == {"c"}
    assert held(rule("amount", "at_least", 100)) == {"a"}
    assert held(rule("orders", "at_least", 1, category="cup")) == {"b"}
    assert held(rule("orders", "at_most", 0, category="cup")) == {"a", "c"}
    assert held({"not": rule("orders", "at_most", 0)}) == {"a", "b"}
    assert held({"any": [rule("orders", "at_most", 0), rule("amount", "at_least", 100)]}) == {"a", "c"}
    assert c.name == "c"


def test_what_an_absorbed_customer_did_counts_for_the_survivor() -> None:
    a, b = person("a"), person("b")
    order(a, "60")
    order(b, "60")
    CustomerTag.objects.create(customer=a, tag=Tag.objects.create(name="vip"))
    Customer.objects.filter(pk=a.pk).update(merged_into=b)
    assert held({"kind": "order", "measure": "amount", "op": "at_least", "value": 120}) == {"b"}
    assert held({"kind": "tag", "tags": ["vip"]}) == {"b"}
    assert held({"not": {"kind": "tag", "tags": ["vip"]}}) == set()


def test_an_erased_customer_is_in_no_segment() -> None:
    person("a", erased_at=timezone.now())
    assert held({"not": {"kind": "tag", "tags": ["x"]}}) == set()


def test_a_fixed_list_and_a_reference_to_it() -> None:
    a, b = person("a"), person("b")
    listed = Segment.objects.create(name="list")
    SegmentMember.objects.create(segment=listed, customer=a)
    assert list(customer_ids(listed)) == [a.pk]
    assert held({"not": {"kind": "segment", "segment": listed.pk}}) == {"b"}
    Customer.objects.filter(pk=a.pk).update(merged_into=b)
    assert list(customer_ids(listed)) == [b.pk]


def test_a_segment_nests_in_another_query_without_mixing_up_tables(town: None) -> None:
    rule = {"all": [attribute("city", "is", "hangzhou"), {"not": {"kind": "tag", "tags": ["x"]}}]}
    segment = Segment.objects.create(name="s", rule=rule)
    outer = Customer.objects.filter(Q(pk__in=customers(segment).values("pk")), stage="member")
    assert [each.name for each in outer] == ["bo"]


@pytest.mark.parametrize(
    "rule",
    [
        None,
        [],
        {},
        {"all": []},
        {"all": [], "any": []},
        {"kind": "nothing"},
        {"kind": ["x"]},
        {"kind": "stage"},
        {"kind": "stage", "stages": ["boss"]},
        {"kind": "stage", "stages": ["member"], "or": 1},
        attribute("city", "is"),
        attribute("password", "is", "x"),
        attribute("birth_date", "at_least", "soon"),
        attribute("birth_date", "contains", "19"),
        attribute("city", "within_days", "3"),
        attribute("created_at", "within_days", "-3"),
        {
            "kind": "order",
            "measure": "orders",
            "op": "at_least",
            "value": "'; DROP TABLE audiences_customer; --",
        },
        {"kind": "segment", "segment": 999_999_999},
    ],
)
def test_a_wrong_rule_is_refused_with_a_reason(rule: Any) -> None:
    with pytest.raises(InvalidRule) as refused:
        check(rule)
    assert str(refused.value)


def test_segments_that_refer_to_each_other_are_refused() -> None:
    a = Segment.objects.create(name="a", rule=attribute("city", "known"))
    b = Segment.objects.create(name="b", rule={"kind": "segment", "segment": a.pk})
    with pytest.raises(InvalidRule, match="refers to itself"):
        check({"not": {"kind": "segment", "segment": b.pk}}, segment_id=a.pk)


def test_a_deep_rule_is_refused_not_crashed_on() -> None:
    rule: dict[str, Any] = attribute("city", "known")
    for _ in range(500):
        rule = {"not": rule}
    with pytest.raises(InvalidRule, match="too deeply"):
        check(rule)


def test_reach_tells_identity_and_consent_apart() -> None:
    brand = Brand.objects.get_or_create(code="main", defaults={"name": "Main"})[0]
    people = [person(name) for name in "abcd"]
    for each in people[:3]:
        Identity.objects.create(customer=each, kind="phone", value=f"+8613800000{each.pk:03d}")
    key = permission_key(brand.pk, "sms")
    ContactState.objects.filter(customer__in=people[:2]).update(allowed=[key])
    ContactState.objects.filter(customer=people[1]).update(blocked=[permission_key("*", "sms")])
    found = reach(
        matching({"not": {"kind": "tag", "tags": ["x"]}}),
        [Asked("x", brand.pk, "sms"), Asked("y", brand.pk, "kol")],
    )
    assert (found.total, found.reachable, found.without_identity, found.without_consent) == (
        4,
        {"x": 1, "y": 0},
        {"x": 1, "y": 4},
        {"x": 2, "y": 0},
    )
    assert found.stages == {"prospect": 4}


def test_few_customers_are_counted_exactly() -> None:
    person("a")
    found = preview(matching(attribute("name", "known")))
    assert (found.n, found.exact) == (1, True)


def test_every_kind_says_itself_in_words() -> None:
    assert sentence(
        {"all": [attribute("city", "is", "X"), {"not": {"kind": "tag", "tags": ["v", "w"]}}]}
    ) == ("City is X and not (has the tag v or w)")
    assert all(kind.label and kind.fields for kind in rule_kinds)


LEAVES: dict[str, tuple[dict[str, Any], Any]] = {
    "city": (attribute("city", "is", "x"), lambda c: c["city"] == "x"),
    "tier": (attribute("attributes.n", "at_least", "2"), lambda c: c["n"] >= 2),
    "stage": (
        {"kind": "stage", "stages": ["member", "advocate"]},
        lambda c: c["stage"] in ("member", "advocate"),
    ),
    "tag": ({"kind": "tag", "tags": ["t"]}, lambda c: c["tag"]),
    "orders": (
        {"kind": "order", "measure": "orders", "op": "at_least", "value": 2},
        lambda c: len(c["orders"]) >= 2,
    ),
    "few": (
        {"kind": "order", "measure": "orders", "op": "at_most", "value": 1},
        lambda c: len(c["orders"]) <= 1,
    ),
    "spent": (
        {"kind": "order", "measure": "amount", "op": "at_least", "value": 50},
        lambda c: sum(c["orders"]) >= 50,
    ),
}


def trees() -> Any:
    leaf = st.sampled_from(sorted(LEAVES))
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)),
            st.tuples(st.just("not"), inner),
        ),
        max_leaves=6,
    )


def as_rule(tree: Any) -> dict[str, Any]:
    if isinstance(tree, str):
        return LEAVES[tree][0]
    word, below = tree
    return {"not": as_rule(below)} if word == "not" else {word: [as_rule(each) for each in below]}


def holds(tree: Any, customer: dict[str, Any]) -> bool:
    if isinstance(tree, str):
        return bool(LEAVES[tree][1](customer))
    word, below = tree
    if word == "not":
        return not holds(below, customer)
    return (all if word == "all" else any)(holds(each, customer) for each in below)


PEOPLE = st.fixed_dictionaries(
    {
        "city": st.sampled_from(["x", "y", ""]),
        "n": st.integers(0, 3),
        "stage": st.sampled_from(["prospect", "member", "customer", "advocate"]),
        "tag": st.booleans(),
        "orders": st.lists(st.integers(10, 60), max_size=3),
    }
)


class AnyRule(TestCase):
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(tree=trees(), people=st.lists(PEOPLE, min_size=1, max_size=6))
    def test_holds_whom_a_plain_reading_holds(self, tree: Any, people: list[dict[str, Any]]) -> None:
        tag, _made = Tag.objects.get_or_create(name="t")
        expected = set()
        for number, each in enumerate(people):
            made = person(f"p{number}", city=each["city"], stage=each["stage"], attributes={"n": each["n"]})
            if each["tag"]:
                CustomerTag.objects.create(customer=made, tag=tag)
            for paid in each["orders"]:
                order(made, str(paid))
            if holds(tree, each):
                expected.add(made.name)
        rule = as_rule(tree)
        assert held(rule) == expected
        assert count(matching(rule)) == len(expected)
