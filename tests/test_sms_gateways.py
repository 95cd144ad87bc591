"""What stands between us and a vendor may fail after the vendor took everything: then nobody knows."""

from pathlib import Path
from typing import Any

import pytest

from channels.adapters import adapter_class
from channels.adapters.base import AdapterError, Outcome, Outgoing
from tests.sandbox_fixture import start_sandbox
from tests.sms_vendors import aliyun_account, gateway, tencent_account, twilio_account

ACCOUNTS: dict[str, Any] = {
    "aliyun_sms": aliyun_account,
    "tencent_sms": tencent_account,
    "twilio": twilio_account,
}
BATCH = [Outgoing(n, f"+861380000000{n}", text="你好", template=t) for n, t in ((1, "1"), (2, "2"))]


@pytest.mark.parametrize("name", ACCOUNTS)
@pytest.mark.parametrize(
    ("status", "body"),
    [(502, b"<html>Bad gateway</html>"), (504, b""), (200, b"<html>Welcome to the hotel</html>")],
)
def test_an_answer_that_is_not_the_vendors_leaves_all_unknown_and_is_not_asked_for_again(
    tmp_path: Path, name: str, status: int, body: bytes
) -> None:
    with start_sandbox(tmp_path) as far, gateway(status, body) as (address, came):
        adapter = adapter_class(name)(ACCOUNTS[name](far, base_url=address))
        results = adapter.send(BATCH)
        adapter.close()
    assert {sent.outcome for sent in results} == {Outcome.UNKNOWN}
    assert len(came) == 2, "two templates, or two messages: one call each"


@pytest.mark.parametrize("name", ACCOUNTS)
def test_a_client_that_is_not_installed_stops_the_channel_and_names_the_file(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str, *_: Any) -> Any:
        raise ImportError(module)

    monkeypatch.setattr("channels.adapters._sms_calls.import_module", missing)
    with start_sandbox(tmp_path) as far:
        adapter = adapter_class(name)(ACCOUNTS[name](far))
    with pytest.raises(AdapterError, match=adapter.needs_requirements) as told:
        adapter.send(BATCH)
    assert told.value.stops_channel
    assert not adapter.check().ok
    assert (Path(__file__).resolve().parent.parent / adapter.needs_requirements).exists()
