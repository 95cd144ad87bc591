"""The import screens, as a marketer goes through them."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from audiences import jobs
from audiences.imports import batches
from audiences.models import Customer, ImportBatch, Order

pytestmark = pytest.mark.django_db


def upload(client: Client, text: str, kind: str = "customers", name: str = "people.csv") -> Any:
    return client.post("/imports/new/", {"kind": kind, "file": SimpleUploadedFile(name, text.encode())})


def work() -> None:
    """What the worker does."""
    for batch in ImportBatch.objects.filter(state="running"):
        jobs.run(batch.job_id)


def test_a_file_goes_from_upload_over_its_columns_to_its_result(as_marketer: Client) -> None:
    answer = upload(as_marketer, "姓名,手机号,T-shirt\n王小明,13812345678,L\n李,1,\n")
    batch = ImportBatch.objects.get()
    assert answer.url == f"/imports/{batch.pk}/"
    page = as_marketer.get(answer.url).content.decode()
    assert "2 of 3 columns were recognised" in page
    assert "王小明" in page
    assert '<option value="phone" selected>' in page
    assert not Customer.objects.exists()

    form = {"column-0": "name", "column-1": "phone", "column-2": ""}
    assert as_marketer.post(answer.url, form).status_code == 302
    assert "Cancel" in as_marketer.get(answer.url).content.decode()
    work()
    page = as_marketer.get(answer.url).content.decode()
    assert "1 row was refused" in page
    assert "not a phone number" in page
    assert Customer.objects.get().attributes == {"T-shirt": "L"}
    refused = b"".join(as_marketer.get(f"{answer.url}refused.csv")).decode("utf-8-sig")
    assert refused.splitlines()[1] == "李,1,,3,phone,phone: not a phone number"


def test_a_column_left_out_stays_out_though_its_name_is_known(as_marketer: Client) -> None:
    url = upload(as_marketer, "name,phone,email\nAnn,13812345678,ann@b.cn\n").url
    as_marketer.post(url, {"column-0": "name", "column-1": "phone", "column-2": ""})
    work()
    assert Customer.objects.get().identities.count() == 1


def test_missing_columns_are_told_before_anything_is_loaded(as_marketer: Client) -> None:
    url = upload(as_marketer, "a,b\n1,2\n", "orders").url
    answer = as_marketer.post(url, {"column-0": "number", "column-1": ""})
    assert answer.status_code == 422
    assert "The file has no column for placed_at, paid" in answer.content.decode()
    assert ImportBatch.objects.get().state == "waiting"


@pytest.mark.parametrize(("text", "says"), [("", "empty"), ("a,a\n", "twice: a")])
def test_a_file_that_is_no_table_is_refused_at_the_door(as_marketer: Client, text: str, says: str) -> None:
    answer = upload(as_marketer, text)
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert not ImportBatch.objects.exists()


def test_a_file_beyond_the_cap_is_refused_with_what_to_do(
    as_marketer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert batches.LARGEST_UPLOAD == 100 * 1024 * 1024
    monkeypatch.setattr(batches, "LARGEST_UPLOAD", 5)
    answer = upload(as_marketer, "name,phone\n")
    assert answer.status_code == 422
    assert "manage.py import" in answer.content.decode()


def test_a_load_can_be_taken_back_from_its_page(as_marketer: Client) -> None:
    url = upload(as_marketer, "phone\n13812345678\n").url
    as_marketer.post(url, {"column-0": "phone"})
    work()
    as_marketer.post(f"{url}remove/")
    assert not Customer.objects.exists()
    assert "took this file back: 1 rows" in as_marketer.get(url).content.decode()


def test_a_file_not_loaded_can_be_forgotten(as_marketer: Client) -> None:
    url = upload(as_marketer, "phone\n13812345678\n").url
    as_marketer.post(f"{url}discard/")
    assert not ImportBatch.objects.exists()


def test_a_file_is_loaded_once_however_often_the_button_is_pressed(as_marketer: Client) -> None:
    url = upload(as_marketer, "phone\n13812345678\n").url
    as_marketer.post(url, {"column-0": "phone"})
    as_marketer.post(url, {"column-0": "phone"})
    work()
    as_marketer.post(url, {"column-0": "phone"})
    assert ImportBatch.objects.get().state == "done"
    assert Customer.objects.count() == 1


def test_orders_can_create_their_customers(as_marketer: Client) -> None:
    url = upload(as_marketer, "订单号,下单时间,手机号,实付金额\n1,2026-01-01,13812345678,9\n", "orders").url
    as_marketer.post(
        url,
        {
            "column-0": "number",
            "column-1": "placed_at",
            "column-2": "phone",
            "column-3": "paid",
            "create": "on",
        },
    )
    work()
    assert Order.objects.get().customer.identities.get().value == "+8613812345678"
    assert "customers created" in as_marketer.get(url).content.decode()


def test_who_may_not_load_a_kind_is_not_offered_it(log_in: Callable[[str], Client]) -> None:
    approver = log_in("approver")
    assert approver.get("/imports/").status_code == 200
    assert approver.get("/imports/new/").status_code == 403
    finance = log_in("finance")
    assert upload(finance, "phone\n13812345678\n").status_code == 422


def test_the_headers_of_a_kind_can_be_had_as_a_file(as_marketer: Client) -> None:
    text = as_marketer.get("/imports/columns/orders.csv").content.decode("utf-8-sig")
    assert text.startswith("number,source,placed_at,")
    assert io.StringIO(text).readline().count(",") > 10
