"""REST of the audiences: rows in, people out, and what may be done with them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from audiences import contact_state, identity, jobs
from audiences.brands import default_brand
from audiences.models import ContactState, Customer, ImportBatch, Order, Segment

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
API = "/api/v1"


def post(client: Client, path: str, data: Any = None, **more: Any) -> Any:
    return client.post(f"{API}{path}", data or {}, content_type="application/json", **more)


def test_rows_by_call_are_the_same_as_rows_by_file(as_marketer: Client) -> None:
    rows = [
        {"phone": "13812345678", "name": "Ann", "consent_sms": True, "shoe": 38, "tags": "vip"},
        {"phone": "nonsense", "name": "Bob"},
    ]
    told = post(as_marketer, "/customers/batch/", {"rows": rows}).json()
    assert {name: told[name] for name in ("read", "new", "changed", "same", "bad")} == {
        "read": 2, "new": 1, "changed": 0, "same": 0, "bad": 1,
    }  # fmt: skip
    assert told["bad_rows"][0] | {"raw": None} == {
        "line": 2, "column": "phone", "value": "nonsense", "reason": "not a phone number", "raw": None,
    }  # fmt: skip
    again = post(as_marketer, "/customers/batch/", {"rows": rows}).json()
    assert (again["new"], again["changed"], again["same"]) == (0, 0, 1)
    assert Customer.objects.get().attributes == {"shoe": "38"}


def test_orders_and_events_by_call(as_marketer: Client) -> None:
    orders = {
        "rows": [
            {"number": "1", "placed_at": "2026-03-01T10:00:00+08:00", "phone": "13812345678", "paid": 12.5}
        ],
        "create": True,
    }
    assert post(as_marketer, "/orders/batch/", orders).json()["new"] == 1
    events = {"rows": [{"kind": "visit", "occurred_at": "2026-03-01T10:00:00Z", "phone": "13812345678"}]}
    assert post(as_marketer, "/events/batch/", events).json()["new"] == 1
    listed = as_marketer.get(f"{API}/orders/?placed_since=2026-03-01T00:00:00Z").json()["results"]
    assert [(row["number"], row["paid"]) for row in listed] == [("1", "12.5000")]
    assert as_marketer.get(f"{API}/orders/{Order.objects.get().pk}/").json()["lines"] == []
    assert as_marketer.get(f"{API}/events/?kind=visit").json()["results"][0]["kind"] == "visit"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/nonsense/batch/", {"rows": [{"a": 1}]}, 404),
        ("/customers/batch/", {"rows": []}, 400),
        ("/customers/batch/", {"rows": ["x"]}, 400),
        ("/customers/batch/", {}, 400),
        ("/customers/batch/", {"rows": [{"phone": "13812345678"}], "brand": "nobody"}, 400),
        ("/orders/batch/", {"rows": [{"number": "1"}]}, 400),
    ],
)
def test_a_call_that_cannot_be_is_refused_with_a_reason(
    as_marketer: Client, path: str, body: Any, status: int
) -> None:
    answer = post(as_marketer, path, body)
    assert answer.status_code == status
    assert answer.json()


def test_a_file_by_call_is_loaded_by_a_worker(as_marketer: Client) -> None:
    file = SimpleUploadedFile("people.csv", b"Handy,name\n13812345678,Ann\n1,Bob\n")
    data = {"kind": "customers", "file": file, "mapping": '{"phone": "Handy"}'}
    answer = as_marketer.post(f"{API}/imports/", data)
    assert answer.status_code == 202
    pk = answer.json()["id"]
    jobs.run(ImportBatch.objects.get(pk=pk).job_id)
    told = as_marketer.get(f"{API}/imports/{pk}/").json()
    assert (told["state"], told["rows_new"], told["rows_bad"]) == ("done", 1, 1)
    assert as_marketer.get(f"{API}/imports/{pk}/bad-rows/").json()["results"][0]["line"] == 3
    assert b"1,Bob,3,phone" in b"".join(as_marketer.get(f"{API}/imports/{pk}/bad-rows.csv"))
    assert post(as_marketer, f"/imports/{pk}/remove/").json() == {"removed": 1}
    missing = as_marketer.post(
        f"{API}/imports/", {"kind": "orders", "file": SimpleUploadedFile("o.csv", b"a\n1\n")}
    )
    assert missing.status_code == 400
    assert "no column for number" in missing.json()["file"][0]
    assert ImportBatch.objects.count() == 1


def test_one_customer_with_everything_and_lookup(as_marketer: Client) -> None:
    ann = identity.know([("phone", "", "13812345678")], "test", NOW)
    found = as_marketer.get(f"{API}/identities/lookup/?kind=phone&value=138 1234 5678").json()
    assert found == {"customer": ann, "value": "+8613812345678"}
    assert as_marketer.get(f"{API}/identities/lookup/?kind=phone&value=13912345678").status_code == 404
    assert as_marketer.get(f"{API}/identities/lookup/?kind=phone&value=x").status_code == 400
    one = as_marketer.get(f"{API}/customers/{ann}/").json()
    assert one["identities"][0]["value"] == "+8613812345678"
    assert one["contact_state"] == {"allowed": [], "blocked": [], "erased": False, "absorbed": False}
    listed = as_marketer.get(f"{API}/customers/?q=1381234").json()["results"]
    assert [row["id"] for row in listed] == [ann]


def test_consent_and_opt_out_by_call(as_marketer: Client) -> None:
    ann = identity.know([("phone", "", "13812345678")], "test", NOW)
    brand = default_brand()
    told = {
        "brand": "main",
        "medium": "sms",
        "status": "granted",
        "source": "shop",
        "occurred_at": "2026-03-01T10:00:00Z",
    }
    assert post(as_marketer, f"/customers/{ann}/consents/", told).json() == {"changed": True}
    assert contact_state.permits(ContactState.objects.get(), brand.pk, "sms")
    older = told | {"status": "withdrawn", "occurred_at": "2026-02-01T10:00:00Z"}
    assert post(as_marketer, f"/customers/{ann}/consents/", older).json() == {"changed": False}
    assert post(as_marketer, f"/customers/{ann}/opt-out/", {"medium": "sms"}).json() == {"changed": True}
    assert not contact_state.permits(ContactState.objects.get(), brand.pk, "sms")
    later = told | {"occurred_at": "2090-01-01T00:00:00Z"}
    assert post(as_marketer, f"/customers/{ann}/consents/", later).json() == {"changed": False}
    assert post(as_marketer, f"/customers/{ann}/consents/", later | {"asked_for": True}).json() == {
        "changed": True
    }
    assert [row["medium"] for row in as_marketer.get(f"{API}/customers/{ann}/consents/").json()] == ["sms"]


def test_merge_export_and_erase_by_call(as_marketer: Client) -> None:
    ann = identity.know([("phone", "", "13812345678")], "test", NOW)
    bob = identity.know([("phone", "", "13912345678")], "test", NOW)
    merge = post(as_marketer, f"/customers/{ann}/merges/", {"absorbed": bob, "reason": "same"}).json()
    assert as_marketer.get(f"{API}/customers/{bob}/").json()["merged_into"] == ann
    assert (
        post(as_marketer, f"/customers/{ann}/merges/", {"absorbed": bob, "reason": "same"}).status_code == 400
    )
    assert post(as_marketer, f"/merges/{merge['id']}/undo/").json()["undone_by"] == "marketer"
    assert len(post(as_marketer, f"/customers/{ann}/export/").json()["identities"]) == 1
    assert post(as_marketer, f"/customers/{ann}/erase/").json() == {
        "customers": 1,
        "identities": 1,
        "suppressed": 1,
    }
    assert post(as_marketer, f"/customers/{ann}/erase/").status_code == 400


def test_segments_by_call(as_marketer: Client) -> None:
    rows = [
        {"phone": f"1381234567{n}", "city": "上海" if n < 3 else "北京", "consent_sms": n < 2}
        for n in range(5)
    ]
    post(as_marketer, "/customers/batch/", {"rows": rows})
    rule = {"kind": "attribute", "field": "city", "op": "is", "value": "上海"}
    assert post(as_marketer, "/segments/count/", {"rule": rule}).json() == {
        "n": 3, "margin": 0, "in_words": "City is 上海",
    }  # fmt: skip
    made = post(as_marketer, "/segments/", {"name": "Shanghai", "rule": rule})
    assert (made.status_code, made.json()["counted"]) == (201, 3)
    pk = made.json()["id"]
    assert post(as_marketer, "/segments/", {"name": "Shanghai", "rule": rule}).status_code == 400
    assert post(as_marketer, "/segments/", {"name": "Bad", "rule": {"kind": "shoe"}}).status_code == 400
    reach = as_marketer.get(f"{API}/segments/{pk}/reach/").json()
    assert (reach["total"], {row["label"]: row["n"] for row in reach["channels"]}["SMS"]) == (3, 2)
    assert len(as_marketer.get(f"{API}/segments/{pk}/members/").json()["results"]) == 3
    changed = as_marketer.patch(
        f"{API}/segments/{pk}/", {"rule": {"not": rule}}, content_type="application/json"
    )
    assert changed.json()["counted"] == 2
    itself = {"kind": "segment", "segment": pk}
    assert (
        as_marketer.patch(
            f"{API}/segments/{pk}/", {"rule": itself}, content_type="application/json"
        ).status_code
        == 400
    )
    assert post(as_marketer, f"/segments/{pk}/archive/").json()["archived_at"]
    assert Segment.objects.get().archived_at


def test_who_may_not_write_is_refused(log_in: Callable[[str], Client]) -> None:
    finance, approver = log_in("finance"), log_in("approver")
    rows = {"rows": [{"phone": "13812345678"}]}
    assert post(finance, "/customers/batch/", rows).status_code == 403
    assert post(approver, "/customers/batch/", rows).status_code == 403
    assert finance.get(f"{API}/customers/").status_code == 200
    assert post(finance, "/segments/", {"name": "x"}).status_code == 403
    assert Client().get(f"{API}/customers/").status_code in (401, 403)


def test_the_same_call_with_an_idempotency_key_is_carried_out_once(as_marketer: Client) -> None:
    rows = {"rows": [{"phone": "13812345678", "name": "Ann"}]}
    key = {"HTTP_IDEMPOTENCY_KEY": "k1"}
    first = post(as_marketer, "/customers/batch/", rows, **key)
    second = post(as_marketer, "/customers/batch/", rows, **key)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert first.json() == second.json()
    assert ImportBatch.objects.count() == 1


def test_what_can_be_loaded_and_asked_is_told(as_marketer: Client) -> None:
    kinds = {kind["name"]: kind for kind in as_marketer.get(f"{API}/import-kinds/").json()}
    assert {"customers", "orders", "consents", "behaviours", "lists"} <= set(kinds)
    assert any(column["required"] for column in kinds["orders"]["columns"])
    assert "attribute" in {kind["name"] for kind in as_marketer.get(f"{API}/segment-rule-kinds/").json()}


def test_the_paths_of_the_audiences_are_described_without_a_warning() -> None:
    from drf_spectacular.drainage import GENERATOR_STATS
    from drf_spectacular.generators import SchemaGenerator

    GENERATOR_STATS.reset()  # type: ignore[no-untyped-call]
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    ours = [
        text
        for text in (*GENERATOR_STATS._warn_cache, *GENERATOR_STATS._error_cache)
        if "/audiences/" in text
    ]
    assert ours == []
    assert "/api/v1/{kind}/batch/" in schema["paths"]
