"""Ocean Engine against our sandbox: a data source of hashes, published once a day, projects in yuan."""

import base64
import datetime as dt
import hashlib
import io
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from channels.adapters import ocean_engine
from channels.adapters.base import AdapterError, AudienceChange
from channels.adapters.ocean_engine import Adapter
from channels.sandbox.server import Sandbox
from channels.vocabulary import Guarantee, Observability
from tests.ad_platforms import TODAY, Keeper, account, flight, not_there, pauses, phones
from tests.adapter_contract import AdapterContract
from tests.sandbox_fixture import start_sandbox

NAME = "ocean_engine"


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Sandbox]:
    told = {NAME: {"process_seconds": 0.0, "placements": {"7001": {"name": "By hand"}}}}
    with start_sandbox(tmp_path, vendors=told) as running:
        yield running


@pytest.fixture
def adapter(far: Sandbox) -> Iterator[Adapter]:
    made = Adapter(account(far, NAME))
    yield made
    made.close()


def vendor(far: Sandbox) -> Any:
    return far.vendors[NAME]


def wanted(first: int, last: int) -> set[str]:
    return {hashlib.sha256(f"13800{n:06d}".encode()).hexdigest() for n in range(first, last)}


class TestOceanEngine(AdapterContract):
    name = "ocean_engine"

    def test_it_promises_totals_only(self) -> None:
        assert (self.cls.guarantee, self.cls.observability) == (
            Guarantee.AGGREGATE,
            Observability.PERSON_TARGETED,
        )


def test_a_data_source_is_made_once_and_holds_whom_it_should(adapter: Adapter, far: Sandbox) -> None:
    made = adapter.sync_audience("", "Campaign 1", phones(30), [])
    assert (sorted(made.done), made.failed) == (list(range(30)), {})
    assert adapter.sync_audience("", "Campaign 1", phones(30), []).external_id == made.external_id
    assert len(far.log_lines(NAME, "source")) == 1, "found again by the name of its audience"
    adapter.sync_audience(made.external_id, "Campaign 1", [], phones(10))
    assert far.call(vendor(far).members, made.external_id) == wanted(10, 30)


def test_what_was_pushed_is_shown_to_nobody_before_it_is_published(adapter: Adapter, far: Sandbox) -> None:
    source = adapter.sync_audience("", "P", phones(30), []).external_id
    assert far.call(vendor(far).shown, source) == set()
    assert adapter.publish_audience(source) == 0.0
    assert far.call(vendor(far).shown, source) == wanted(0, 30)
    assert adapter.publish_audience(source) == 0.0, "nothing new: nothing is called"
    assert far.counters(NAME)["published"] == 1


def test_a_change_within_a_day_waits_for_the_next_publication(adapter: Adapter, far: Sandbox) -> None:
    source = adapter.sync_audience("", "P", phones(30), []).external_id
    adapter.publish_audience(source)
    adapter.sync_audience(source, "P", [], phones(10))
    left = adapter.publish_audience(source)
    assert 86_000 < left <= 86_400
    assert far.call(vendor(far).shown, source) == wanted(0, 30)

    def a_day_passes() -> None:
        vendor(far).published[source]["at"] -= 86_401

    far.call(a_day_passes)
    assert adapter.publish_audience(source) == 0.0
    assert far.call(vendor(far).shown, source) == wanted(10, 30)


def test_an_upload_still_worked_off_is_published_later(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={NAME: {"process_seconds": 60}}) as far:
        made = Adapter(account(far, NAME, push_to="20000002 20000003"))
        source = made.sync_audience("", "Slow", phones(5), []).external_id
        assert made.publish_audience(source) == ocean_engine.LOOK_AGAIN
        far.change({"vendors": {NAME: {"process_seconds": 0.0}}})
        assert made.publish_audience(source) == 0.0
        assert [line["targets"] for line in far.log_lines(NAME, "pushed")] == [[20000002, 20000003]]
        made.close()


def test_the_platform_refuses_a_second_publication_a_day(adapter: Adapter, far: Sandbox) -> None:
    source = adapter.sync_audience("", "P", phones(5), []).external_id
    adapter.publish_audience(source)
    number = far.call(lambda: vendor(far).sources[source]["audience"])
    with pytest.raises(AdapterError, match="once in 24 hours") as caught:
        adapter._post("2/dmp/custom_audience/publish/", {"custom_audience_id": number})
    assert not caught.value.retryable


def test_identities_the_platform_cannot_match_fail_and_the_others_go(adapter: Adapter) -> None:
    people = [*phones(1), AudienceChange(2, "email", "a@b.c"), AudienceChange(3, "phone", "+14155550102")]
    result = adapter.sync_audience("", "Mixed", people, [])
    assert (result.done, result.failed) == ([0], {2: "identity_kind", 3: "not_taken_here"})


def test_a_message_is_what_googles_protocol_buffers_make_of_the_published_schema() -> None:
    """Against the real library, built from the platform's dmp.proto: idList = 1 of IdItem {dataType = 2, id = 3}."""
    descriptors = pytest.importorskip("google.protobuf.descriptor_pb2")
    pool = pytest.importorskip("google.protobuf.descriptor_pool").DescriptorPool()
    factory = pytest.importorskip("google.protobuf.message_factory")
    field = descriptors.FieldDescriptorProto
    schema = descriptors.FileDescriptorProto(name="dmp.proto", package="toutiao.dmp", syntax="proto2")
    item, data = schema.message_type.add(name="IdItem"), schema.message_type.add(name="DmpData")
    kind = item.enum_type.add(name="DataType")
    kind.value.add(name="IMEI", number=0)
    kind.value.add(name="MOBILE_HASH_SHA256", number=6)
    item.field.add(
        name="dataType", number=2, label=field.LABEL_REQUIRED, type=field.TYPE_ENUM,
        type_name=".toutiao.dmp.IdItem.DataType",
    )  # fmt: skip
    item.field.add(name="id", number=3, label=field.LABEL_REQUIRED, type=field.TYPE_STRING)
    data.field.add(
        name="idList", number=1, label=field.LABEL_REPEATED, type=field.TYPE_MESSAGE,
        type_name=".toutiao.dmp.IdItem",
    )  # fmt: skip
    pool.Add(schema)
    message = factory.GetMessageClass(pool.FindMessageTypeByName("toutiao.dmp.DmpData"))
    hashes = sorted(wanted(0, 300))
    theirs = message()
    for value in hashes:
        theirs.idList.add(dataType=6, id=value)
    assert ocean_engine._message(hashes) == theirs.SerializeToString()


def test_a_message_is_these_bytes() -> None:
    assert ocean_engine._message(["ab", "c"]) == bytes.fromhex("0a0610061a0261620a0510061a0163")


def test_large_uploads_are_split_by_size_and_lines_by_ids(adapter: Adapter, far: Sandbox) -> None:
    hashes = sorted(wanted(0, 2500))
    packed = list(ocean_engine._packed(hashes, most=100_000))
    assert len(packed) > 1
    assert max(map(len, packed)) <= 100_000
    found = [value for raw in packed for value in far.call(lambda raw=raw: list(vendor(far)._unpacked(raw)))]
    assert found == hashes


def test_a_wrong_signature_or_a_line_that_is_no_message_is_refused(adapter: Adapter, far: Sandbox) -> None:
    base, config = (
        f"http://127.0.0.1:{far.ports[NAME]}/open_api/2/dmp/data_source/file/upload/",
        account(far, NAME),
    )
    (good,) = ocean_engine._packed(sorted(wanted(0, 3)))

    def answer(raw: bytes, signature: str) -> str:
        told = httpx.post(
            base, headers={"Access-Token": config.credentials["access_token"]}, files={"file": ("a.zip", raw)},
            data={"advertiser_id": config.settings["account_id"], "file_signature": signature},
        )  # fmt: skip
        return str(told.json()["message"])

    assert "MD5" in answer(good, "0" * 32)
    assert answer(good, hashlib.md5(good).hexdigest()) == "OK"
    assert "zip" in answer(b"no zip", hashlib.md5(b"no zip").hexdigest())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("ids", base64.b64encode(b"\x12\x01a") + b"\n")
    assert "DmpData" in answer(buffer.getvalue(), hashlib.md5(buffer.getvalue()).hexdigest())


@pytest.mark.parametrize("fault", ["drop", "drop_before"])
@pytest.mark.parametrize("lost", ["the upload", "the change"])
def test_a_lost_answer_is_repeated_to_the_same_end(
    adapter: Adapter, far: Sandbox, fault: str, lost: str
) -> None:
    far.faults(NAME, next=[fault] if lost == "the upload" else ["ok", fault])
    with pytest.raises(AdapterError) as caught:
        adapter.sync_audience("", "Lost", phones(50), [])
    assert caught.value.retryable
    source = adapter.sync_audience("", "Lost", phones(50), []).external_id
    assert far.call(vendor(far).members, source) == wanted(0, 50)
    assert len(far.log_lines(NAME, "source")) == 1


@pytest.mark.parametrize(
    ("code", "retryable", "stops"),
    [
        (40100, True, False),
        (40110, True, False),
        (50000, True, False),
        (40001, False, False),
        (40002, False, True),
    ],
)
def test_errors_are_mapped(adapter: Adapter, code: int, retryable: bool, stops: bool) -> None:
    with pytest.raises(AdapterError) as caught:
        adapter.understand({"code": code, "message": "x"}, 200)
    assert (caught.value.retryable, caught.value.stops_channel) == (retryable, stops)


def test_a_throttle_comes_back_later(adapter: Adapter, far: Sandbox) -> None:
    far.faults(NAME, next=["throttle"])
    with pytest.raises(AdapterError) as caught:
        adapter.sync_audience("", "T", phones(5), [])
    assert (caught.value.code, caught.value.retry_after) == ("40110", 120.0)
    far.change({"vendors": {NAME: {"per_minute": 1}}})
    with pytest.raises(AdapterError, match="too many"):
        [adapter.fetch_report(TODAY) for _n in range(2)]


def test_a_refresh_token_is_taken_once_and_the_new_one_is_kept(far: Sandbox) -> None:
    told = account(far, NAME)
    keeper = Keeper(told.credentials)
    made, other = (Adapter(account(far, NAME, renew=keeper)) for _n in range(2))
    far.faults(NAME, expired_token=1)
    assert made.check().ok
    assert other.check().ok
    assert keeper.exchanges == 1
    assert keeper.stored["refresh_token"] != told.credentials["refresh_token"]
    far.faults(NAME, expired_token=1)
    assert other.check().ok, "the second renewal takes the refresh token of the first"
    alone = Adapter(told)
    with pytest.raises(AdapterError, match="Authorise the app again") as caught:
        alone.fetch_report(TODAY)
    assert caught.value.stops_channel, "who keeps the old one is shut out"
    for one in (made, other, alone):
        one.close()


def test_a_flight_is_set_in_yuan_a_day_and_no_cap_is_told_back(adapter: Adapter, far: Sandbox) -> None:
    asked = flight("7001", budget=Decimal("3500.05"))
    told = adapter.set_flight(asked)
    assert (told.budget, told.starts_on, told.ends_on) == (asked.budget, asked.starts_on, asked.ends_on)
    assert told.cap_exposures is None
    setting = far.call(lambda: dict(vendor(far).placements["7001"]["delivery_setting"]))
    assert (setting["budget"], setting["budget_mode"]) == (500.0, "BUDGET_MODE_DAY")
    before = len(far.log_lines(NAME, "placement"))
    adapter.set_flight(asked)
    assert len(far.log_lines(NAME, "placement")) == before
    with pytest.raises(AdapterError, match="300"):
        adapter.set_flight(flight("7001", budget=Decimal(700)))
    with pytest.raises(AdapterError, match="no project"):
        adapter.set_flight(flight("9"))


def test_a_flight_of_an_audience_is_the_project_aimed_at_it(adapter: Adapter, far: Sandbox) -> None:
    source = adapter.sync_audience("", "F", phones(5), []).external_id
    with pytest.raises(AdapterError, match="choose it in a project"):
        adapter.set_flight(flight(f"audience:{source}"))
    number = far.call(lambda: vendor(far).sources[source]["audience"])
    far.call(lambda: vendor(far).place("7002", audience={"retargeting_tags_include": [number]}))
    assert adapter.set_flight(flight(f"audience:{source}")).reference == "7002"


def test_a_report_has_a_row_a_project_in_yuan(adapter: Adapter, far: Sandbox) -> None:
    for n in range(12):
        far.call(lambda n=n: vendor(far).place(str(7001 + n)))
        adapter.set_flight(flight(str(7001 + n)))
        far.call(vendor(far).deliver, str(7001 + n), TODAY)
    rows = adapter.fetch_report(TODAY)
    assert len(rows) == 12
    assert {(row.spend, row.exposures, row.currency) for row in rows} == {(Decimal("499.98"), 16_666, "CNY")}
    assert adapter.fetch_report(TODAY - dt.timedelta(days=1)) == []


def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    told = {NAME: {"process_seconds": 0, "placements": {"7001": {}}}}
    with start_sandbox(tmp_path, vendors=told) as first:
        made = Adapter(account(first, NAME))
        source = made.sync_audience("", "R", phones(5), []).external_id
        made.publish_audience(source)
        made.sync_audience(source, "R", [], phones(2))
        made.close()
    with start_sandbox(tmp_path, vendors=told) as second:
        made = Adapter(account(second, NAME))
        assert second.call(vendor(second).members, source) == wanted(2, 5)
        assert second.call(vendor(second).shown, source) == wanted(0, 5)
        assert made.publish_audience(source) > 86_000
        made.close()


def test_a_paused_flight_is_shown_to_nobody_until_it_goes_on(adapter: Adapter, far: Sandbox) -> None:
    adapter.set_flight(flight("7001"))
    pauses(adapter, "7001", lambda share: int(far.call(vendor(far).deliver, "7001", TODAY, share).exposures))
    not_there(adapter, "9")
    source = adapter.sync_audience("", "P", phones(5), []).external_id
    not_there(adapter, f"audience:{source}")
