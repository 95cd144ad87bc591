"""Customers on screen: finding them, and what can be done on the page of one."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audiences import consent, contact_state, finding, identity
from audiences.brands import default_brand
from audiences.models import (
    BehaviourEvent,
    Consent,
    ContactState,
    Customer,
    CustomerTag,
    Merge,
    Order,
    PrivacyRequest,
    Tag,
)

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def person(name: str, phone: str, **fields: object) -> int:
    one = identity.know([("phone", "", phone)], "test", NOW)
    Customer.objects.filter(pk=one).update(name=name, **fields)
    return one


def names(words: str = "", **more: object) -> list[str]:
    return [one.name for one in finding.search(words, **more).customers]  # type: ignore[arg-type]


def test_a_customer_is_found_by_any_identity_however_it_is_written() -> None:
    ann = person("Ann", "13812345678")
    identity.know(
        [("phone", "", "13812345678"), ("email", "", "Ann@b.cn"), ("external", "crm", "X-7")], "test", NOW
    )
    person("Bob", "13912345678")
    for words in (
        "13812345678",
        "+86 138-1234-5678",
        "1381234",
        "ANN@b.cn",
        "ann@",
        "X-7",
        f"#{ann}",
        str(ann),
    ):
        assert names(words) == ["Ann"], words


def test_a_customer_is_found_by_the_beginning_of_a_name_else_by_a_part_of_it() -> None:
    for n, name in enumerate(("王小明", "王伟", "李小明", "Wang Li")):
        person(name, f"1381234567{n}")
    assert set(names("王")) == {"王小明", "王伟"}
    assert names("wang") == ["Wang Li"]
    assert set(names("小明")) == {"王小明", "李小明"}
    assert names("nobody") == []


def test_a_number_of_an_absorbed_customer_finds_the_survivor() -> None:
    ann, other = person("Ann", "13812345678"), person("", "13912345678")
    identity.know([("phone", "", "13812345678"), ("phone", "", "13912345678")], "test", NOW)
    assert names(f"#{other}") == ["Ann"]
    assert [one.pk for one in finding.search().customers] == [ann]


@pytest.mark.parametrize("words", ["", "N"])
def test_pages_by_key_show_everybody_once(words: str) -> None:
    for n in range(23):
        person(f"N{n % 5}", f"138123456{n:02d}")
    seen, after = [], ""
    while True:
        found = finding.search(words, after=after, size=10)
        seen += [one.pk for one in found.customers]
        after = found.after
        if not after:
            break
    assert len(seen) == len(set(seen)) == 23


def test_stage_and_tag_narrow_the_list() -> None:
    ann, _bob = person("Ann", "13812345678", stage="member"), person("Bob", "13912345678")
    tag = Tag.objects.create(name="vip")
    CustomerTag.objects.create(customer_id=ann, tag=tag)
    assert names(stage="member") == names(tag=tag.pk) == ["Ann"]
    assert names(stage="advocate") == []


def test_the_list_costs_the_same_queries_however_many_it_shows(as_marketer: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as caught:
            assert as_marketer.get("/customers/").status_code == 200
        return len(caught)

    person("Ann", "13812345678")
    queries()
    few = queries()
    for n in range(20):
        person(f"N{n}", f"139123456{n:02d}")
    assert queries() == few


def test_the_page_tells_everything_known(as_marketer: Client) -> None:
    ann = person("王小明", "13812345678", city="上海", attributes={"尺码": "L"})
    Order.objects.create(
        number="SO-1", customer_id=ann, placed_at=NOW, received_at=NOW, gross=120, paid=100, returned=30
    )
    BehaviourEvent.objects.create(
        source="web",
        source_key="1",
        customer_id=ann,
        kind="visit",
        occurred_at=NOW,
        received_at=NOW,
        attributes={"page": "/x"},
    )
    consent.grant(ann, default_brand().pk, "sms", "form 7", NOW)
    page = as_marketer.get(f"/customers/{ann}/").content.decode()
    for text in (
        "王小明",
        "+8613812345678",
        "上海",
        "尺码",
        "SO-1",
        "¥70.00",
        "visit",
        "/x",
        "form 7",
        "Permitted",
        "No consent",
    ):
        assert text in page, text


def test_an_absorbed_customers_page_is_the_survivors(as_marketer: Client) -> None:
    ann, other = person("Ann", "13812345678"), person("", "13912345678")
    identity.know([("phone", "", "13812345678"), ("phone", "", "13912345678")], "test", NOW)
    assert as_marketer.get(f"/customers/{other}/").url == f"/customers/{ann}/"
    assert as_marketer.get("/customers/999999/").status_code == 404


def test_an_opt_out_by_hand_holds_and_permission_by_hand_lifts_it(as_marketer: Client) -> None:
    ann, brand = person("Ann", "13812345678"), default_brand()
    as_marketer.post(f"/customers/{ann}/grant/", {"medium": "sms", "brand": brand.pk, "source": ""})
    assert not Consent.objects.exists()
    as_marketer.post(f"/customers/{ann}/grant/", {"medium": "sms", "brand": brand.pk, "source": "call"})
    assert Consent.objects.get().source == "call (marketer)"
    as_marketer.post(f"/customers/{ann}/opt-out/", {"medium": "sms", "brand": brand.pk})
    assert not contact_state.permits(ContactState.objects.get(pk=ann), brand.pk, "sms")
    as_marketer.post(f"/customers/{ann}/opt-out/")
    as_marketer.post(f"/customers/{ann}/grant/", {"medium": "sms", "brand": brand.pk, "source": "letter"})
    state = ContactState.objects.get(pk=ann)
    assert contact_state.permits(state, brand.pk, "sms")
    assert not consent.grant(ann, brand.pk, "email", "file", NOW + timedelta(days=9999))


def test_merging_and_parting_by_hand(as_marketer: Client) -> None:
    ann, bob = person("Ann", "13812345678"), person("Bob", "13912345678")
    as_marketer.post(f"/customers/{ann}/merge/", {"other": "nobody at all"})
    assert not Merge.objects.exists()
    as_marketer.post(f"/customers/{ann}/merge/", {"other": "13912345678"})
    assert Customer.objects.get(pk=bob).merged_into_id == ann
    merge = Merge.objects.get()
    assert merge.merged_by == "marketer"
    assert "Undo" in as_marketer.get(f"/customers/{ann}/").content.decode()
    as_marketer.post(f"/customers/{ann}/merges/{merge.pk}/undo/")
    assert Customer.objects.get(pk=bob).merged_into_id is None


def test_tags_are_put_on_and_taken_off(as_marketer: Client) -> None:
    ann = person("Ann", "13812345678")
    as_marketer.post(f"/customers/{ann}/tag/", {"name": "vip"})
    as_marketer.post(f"/customers/{ann}/tag/", {"name": "vip"})
    row = CustomerTag.objects.get()
    as_marketer.post(f"/customers/{ann}/tags/{row.tag_id}/remove/")
    assert not CustomerTag.objects.exists()


def test_export_and_erasure_are_done_and_recorded(as_marketer: Client) -> None:
    ann = person("Ann", "13812345678")
    Order.objects.create(number="SO-1", customer_id=ann, placed_at=NOW, received_at=NOW, gross=1, paid=1)
    told = json.loads(as_marketer.post(f"/customers/{ann}/export/").content)
    assert told["customers"][0]["name"] == "Ann"
    assert told["identities"][0]["value"] == "+8613812345678"
    assert told["orders"][0]["number"] == "SO-1"
    as_marketer.post(f"/customers/{ann}/erase/")
    page = as_marketer.get(f"/customers/{ann}/").content.decode()
    assert "was erased" in page
    assert "Ann" not in page
    assert "13812345678" not in page
    assert Order.objects.filter(customer_id=ann).exists()
    assert list(PrivacyRequest.objects.order_by("pk").values_list("kind", "requested_by")) == [
        ("export", "marketer"),
        ("erase", "marketer"),
    ]
    assert names() == []


def test_who_only_looks_can_change_nothing(as_finance: Client) -> None:
    ann = person("Ann", "13812345678")
    page = as_finance.get(f"/customers/{ann}/")
    assert page.status_code == 200
    assert "/erase/" not in page.content.decode()
    for path in ("opt-out", "grant", "tag", "merge", "export", "erase"):
        assert as_finance.post(f"/customers/{ann}/{path}/").status_code == 403
