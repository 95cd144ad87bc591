"""Responses told elsewhere, loaded by file, API or screen: each is stored once, whoever loads it and how often."""

import datetime as dt
import random
from collections import Counter
from typing import Any

import pytest

from audiences.imports import batches
from audiences.models import ImportBatch
from campaigns.models import Campaign, Response
from tests import factories as make
from tests.test_pressure import in_threads

pytestmark = pytest.mark.django_db(transaction=True)
AT = dt.datetime(2026, 3, 2, 4, tzinfo=dt.UTC).isoformat()


def told(people: list[int], n: int) -> list[dict[str, Any]]:
    Campaign.objects.create(
        brand=make.brand(), name="Elsewhere", number="E1", kind="imported", state="finished"
    )
    return [
        {"campaign": "E1", "email": f"c{people[k % len(people)]}@example.com", "kind": "click", "occurred_at": AT,
         "key": f"k{k}"}
        for k in range(n)
    ]  # fmt: skip


def test_loads_of_the_same_responses_in_any_order_at_once_store_each_once() -> None:
    rows = told(make.customers(7), 400)
    done: list[ImportBatch] = []

    def load(n: int) -> None:
        mine = rows[: 300 + 25 * n]
        random.Random(n).shuffle(mine)
        done.append(batches.load_rows("responses", mine))

    in_threads(4, load)
    assert Counter(batch.state for batch in done) == {"done": 4}
    assert sum(batch.rows_new for batch in done) == Response.objects.count() == 375
    assert sum(batch.rows_same for batch in done) == sum(batch.rows_read for batch in done) - 375
    assert {batch.rows_bad for batch in done} == {0}


def test_a_load_taken_back_removes_its_responses_and_no_others() -> None:
    rows = told(make.customers(3), 60)
    first = batches.load_rows("responses", rows[:40])
    second = batches.load_rows("responses", rows)
    assert (second.rows_new, second.rows_same) == (20, 40)
    batches.remove(second)
    assert Response.objects.filter(import_batch_id=first.pk).count() == Response.objects.count() == 40
