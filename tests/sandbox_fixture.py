"""The sandbox inside a test: ``from tests.sandbox_fixture import sandbox  # noqa: F401`` gives the fixture.

It runs in a thread of the test's process, on free ports, in a folder of the test's own; ``start_sandbox`` is for
tests that need their own configuration, a population, or a restart. ``accounts`` make adapters that talk to it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from channels.accounts import defaults
from channels.adapters import adapter_class
from channels.adapters.base import Account
from channels.sandbox.people import Person, write_population
from channels.sandbox.server import Sandbox

TLV = "0x1401"


def start_sandbox(
    directory: Path, people: list[Person] | None = None, seed: int = 1, **config: Mapping[str, Any]
) -> Sandbox:
    """A sandbox, not yet entered: ``with start_sandbox(tmp_path, smpp={"answer_seconds": 0.01}) as sandbox:``."""
    if people is not None:
        write_population(directory / "population.csv", people)
    return Sandbox(directory, ports=0, seed=seed, config=config)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with start_sandbox(
        tmp_path / "sandbox", smpp={"receipt_seconds": 0.01}, wecom={"confirm_seconds": 0.05}
    ) as running:
        yield running


def _account(
    number: int, adapter: str, medium: str, told: dict[str, Any], secrets: dict[str, str]
) -> Account:
    """As :func:`channels.accounts.account_of` makes it, without a channel."""
    return Account(number, "main", medium, defaults(adapter_class(adapter)) | told, secrets)


def email_account(sandbox: Sandbox, **settings: Any) -> Account:
    told = {
        "host": "127.0.0.1",
        "port": sandbox.ports["smtp"],
        "tls": "none",
        "from_address": "news@example.com",
    }
    return _account(1, "email", "email", told | settings, {})


def smpp_account(sandbox: Sandbox, **settings: Any) -> Account:
    told = {
        "host": "127.0.0.1", "port": sandbox.ports["smpp"], "system_id": "evenreach", "source": "10690000",
        "reference_tlv": TLV, "timeout": 5, "window": 100,
    }  # fmt: skip
    return _account(2, "smpp", "sms", told | settings, {"password": "sandbox"})


def wecom_account(sandbox: Sandbox, **settings: Any) -> Account:
    config = sandbox.config.wecom
    told = {"base_url": f"http://127.0.0.1:{sandbox.ports['wecom']}", "corp_id": config.corp_id, "timeout": 5}
    secrets = {
        "secret": config.secret, "callback_token": config.callback_token, "callback_aes_key": config.callback_aes_key,
    }  # fmt: skip
    return _account(3, "wecom", "wecom", told | settings, secrets)


def meta_account(sandbox: Sandbox, **settings: Any) -> Account:
    config = sandbox.config.meta
    told = {
        "base_url": f"http://127.0.0.1:{sandbox.ports['meta']}", "version": "v26.0", "account_id": config.account_id,
        "timeout": 5,
    }  # fmt: skip
    return _account(
        4, "meta", "social", told | settings, {"token": config.token, "app_secret": config.app_secret}
    )
