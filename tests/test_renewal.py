"""A token that runs out is renewed by one worker and kept for all, whatever the others do meanwhile."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from channels import accounts
from channels.adapters.base import AdapterError
from channels.models import Channel
from channels.renewal import renew
from channels.sandbox.server import Sandbox
from tests.ad_platforms import TODAY, account
from tests.channel_rows import make_channel
from tests.sandbox_fixture import start_sandbox

NAME = "ocean_engine"  # takes a refresh token once
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path, vendors={NAME: {"process_seconds": 0.0}}) as running:
        yield running
    accounts.release_adapters()


@pytest.fixture
def channel(far: Sandbox) -> Channel:
    told = account(far, NAME)
    return make_channel(NAME, "video", settings=dict(told.settings), credentials=dict(told.credentials))


def in_threads(n: int, work: Any) -> list[Any]:
    """What ``work`` brings in each of ``n`` threads, which begin at once; an error counts as what it brings."""
    begin, found = threading.Barrier(n), []

    def one() -> None:
        begin.wait(5)
        try:
            found.append(work())
        except Exception as error:
            found.append(error)
        finally:
            accounts.release_adapters()
            connection.close()

    threads = [threading.Thread(target=one) for _n in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return found


def test_four_workers_that_find_it_over_renew_it_once(channel: Channel, far: Sandbox) -> None:
    before = dict(Channel.objects.get(pk=channel.pk).credentials)
    far.call(lambda: far.vendors[NAME].access.clear())
    found = in_threads(
        4, lambda: accounts.adapter_for(Channel.objects.get(pk=channel.pk)).fetch_report(TODAY)
    )
    assert found == [[], [], [], []]
    assert far.counters(NAME)["renewed"] == 1
    after = Channel.objects.get(pk=channel.pk).credentials
    assert after["access_token"] != before["access_token"]
    assert after["refresh_token"] != before["refresh_token"]
    assert after["app_secret"] == before["app_secret"]


def test_another_process_goes_on_with_what_was_kept(channel: Channel, far: Sandbox) -> None:
    far.faults(NAME, expired_token=1)
    accounts.adapter_for(channel).fetch_report(TODAY)
    accounts.release_adapters()
    fresh = accounts.adapter_for(Channel.objects.get(pk=channel.pk))
    assert fresh.fetch_report(TODAY) == []
    assert far.counters(NAME)["renewed"] == 1


def test_a_failed_exchange_changes_nothing_and_lets_the_next_one_in(channel: Channel) -> None:
    stale = dict(channel.credentials)

    def fails(_stored: Any) -> Any:
        raise AdapterError("no answer", retryable=True)

    with pytest.raises(AdapterError, match="no answer"):
        renew(channel.pk, stale, fails)
    assert Channel.objects.get(pk=channel.pk).credentials == stale
    (found,) = in_threads(1, lambda: renew(channel.pk, stale, lambda _stored: {"access_token": "new"}))
    assert found["access_token"] == "new"


def test_what_somebody_typed_meanwhile_is_taken_instead_of_a_renewal(channel: Channel) -> None:
    stale = dict(channel.credentials)
    Channel.objects.filter(pk=channel.pk).update(credentials={**stale, "access_token": "typed"})
    assert renew(channel.pk, stale, lambda _stored: pytest.fail("exchanged"))["access_token"] == "typed"


def test_testing_the_connection_keeps_the_new_token_as_well(channel: Channel, far: Sandbox) -> None:
    from django.utils import timezone

    far.faults(NAME, expired_token=1)
    assert accounts.check_connection(channel, timezone.now()).ok
    assert accounts.check_connection(Channel.objects.get(pk=channel.pk), timezone.now()).ok
    assert far.counters(NAME)["renewed"] == 1
