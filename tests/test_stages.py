"""Stages by rule and scores by what people bought."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from audiences import identity, scores, segments_saved, stages
from audiences.models import Customer, Job, Score, Segment, StageRule
from audiences.registers import rule_kinds
from tests.import_files import load

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)


def bought(**orders: int) -> None:
    load("customers", "name,phone\n" + "".join(f"{name},1381234567{n}\n" for n, name in enumerate(orders)))
    rows = [
        f"{name}{k},{(NOW - timedelta(days=10 * n + k)).isoformat()},1381234567{n},{100 - n}\n"
        for n, (name, many) in enumerate(orders.items())
        for k in range(many)
    ]
    load("orders", "number,placed_at,phone,paid\n" + "".join(rows))


def segment(name: str, orders: int) -> Segment:
    rule = {"kind": "order", "measure": "orders", "op": "at_least", "value": orders}
    return segments_saved.save(Segment(), name=name, description="", rule=rule)


def of_stage() -> dict[str, str]:
    return dict(Customer.objects.filter(merged_into=None).values_list("name", "stage"))


def test_the_highest_stage_that_holds_counts_and_nobody_elses_row_is_touched() -> None:
    bought(ann=3, bob=1, cid=0)
    stages.set_segments({"customer": segment("Buyers", 1).pk, "advocate": segment("Fans", 3).pk})
    assert stages.recompute(NOW) == {"advocate": 1, "customer": 1}
    assert of_stage() == {"ann": "advocate", "bob": "customer", "cid": "prospect"}
    before = dict(Customer.objects.values_list("pk", "updated_at"))
    assert stages.recompute(NOW + timedelta(days=1)) == {}
    assert dict(Customer.objects.values_list("pk", "updated_at")) == before
    stages.set_segments({"customer": None, "advocate": Segment.objects.get(name="Fans").pk})
    assert stages.recompute(NOW) == {"prospect": 1}


def test_orders_of_an_absorbed_customer_count_for_the_survivor() -> None:
    bought(ann=2, bob=2)
    identity.know([("phone", "", "13812345670"), ("phone", "", "13812345671")], "test", NOW)
    stages.set_segments({"advocate": segment("Fans", 4).pk})
    stages.recompute(NOW)
    assert of_stage() == {"ann": "advocate"}
    scores.recompute_rfm(NOW)
    assert set(Score.objects.values_list("customer__name", flat=True)) == {"ann"}


def test_without_rules_stages_stay_as_they_are() -> None:
    load("customers", "name,phone,stage\nann,13812345678,member\n")
    assert stages.recompute(NOW) == {}
    assert of_stage() == {"ann": "member"}


def test_rfm_puts_buyers_into_fifths_and_forgets_who_stopped() -> None:
    bought(**{f"c{n}": n + 1 for n in range(10)})
    scores.recompute_rfm(NOW)
    found = {
        kind: [
            value
            for _name, value in Score.objects.filter(kind=kind)
            .order_by("customer_id")
            .values_list("customer", "value")
        ]
        for kind in ("rfm_recency", "rfm_frequency", "rfm_monetary", "rfm")
    }
    assert found["rfm_recency"] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]  # the first bought last
    assert found["rfm_frequency"] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert found["rfm"][0] == 511
    assert scores.recompute_rfm(NOW + timedelta(days=731 + 200)) == 0
    assert not Score.objects.exists()


def test_scores_can_be_asked_for_in_a_segment() -> None:
    bought(**{f"c{n}": n + 1 for n in range(10)})
    scores.recompute_rfm(NOW)
    leaf: dict[str, Any] = {"kind": "score", "score": "rfm_frequency", "op": "at_least", "value": 5}
    assert "score" in rule_kinds
    assert segments_saved.save(Segment(), name="Often", description="", rule=leaf).counted == 2


def test_a_marketer_sets_the_stages_on_screen(as_marketer: Client, as_finance: Client) -> None:
    bought(ann=1)
    buyers = segment("Buyers", 1)
    assert "Buyers" in as_marketer.get("/stages/").content.decode()
    as_marketer.post("/stages/", {"segment-customer": buyers.pk, "segment-member": ""})
    assert list(StageRule.objects.values_list("stage", "rule")) == [
        ("customer", {"kind": "segment", "segment": buyers.pk})
    ]
    answer = as_marketer.post("/stages/recompute/")
    assert answer.url == f"/jobs/{Job.objects.get().pk}/"
    as_marketer.post("/scores/recompute/")
    from audiences import jobs

    for job in Job.objects.all():
        assert jobs.run(job.pk).state == "done"  # type: ignore[union-attr]
    assert of_stage() == {"ann": "customer"}
    assert "rfm_recency" in as_marketer.get("/stages/").content.decode()
    assert as_finance.get("/stages/").status_code == 200
    assert as_finance.post("/stages/", {}).status_code == 403
