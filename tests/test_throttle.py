"""The shared throttle: exact over any number of workers."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from channels import throttle
from channels.models import ChannelThrottle
from channels.throttle import AHEAD, Leased, back_off, lease
from tests.channel_rows import make_channel

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.django_db
def test_a_channel_without_a_rate_gives_all_that_is_wanted() -> None:
    channel = make_channel()
    assert lease(channel.pk, 5000, NOW) == Leased(5000, 0)


@pytest.mark.django_db
def test_a_rate_is_kept_message_by_message() -> None:
    channel = make_channel(rate_per_second=2)
    assert lease(channel.pk, 10, NOW) == Leased(1, 0)
    assert lease(channel.pk, 10, NOW) == Leased(0, pytest.approx(0.5 - AHEAD))
    assert lease(channel.pk, 10, later(0.3)).n == 0
    assert lease(channel.pk, 10, later(0.5 - AHEAD)).n == 1
    assert ChannelThrottle.objects.get(channel=channel).next_at == later(1)


@pytest.mark.django_db
def test_a_fast_channel_is_leased_in_chunks() -> None:
    channel = make_channel(rate_per_second=1000)
    first = lease(channel.pk, 5000, NOW)
    assert first.n == 1000 * AHEAD + 1
    assert lease(channel.pk, 5000, NOW).n == 0
    taken = first.n + sum(lease(channel.pk, 5000, later(step / 100)).n for step in range(1, 101))
    assert taken == 1000 * (1 + AHEAD) + 1


@pytest.mark.django_db
def test_idle_time_is_not_saved_up() -> None:
    channel = make_channel(rate_per_second=10)
    lease(channel.pk, 1, NOW)
    assert lease(channel.pk, 1000, later(3600)).n == 2


@pytest.mark.django_db
def test_only_what_is_wanted_is_taken() -> None:
    channel = make_channel(rate_per_second=1000)
    assert [lease(channel.pk, 3, NOW).n for _ in range(2)] == [3, 3]
    assert ChannelThrottle.objects.get(channel=channel).next_at == later(0.006)


@pytest.mark.django_db
def test_a_rate_of_nothing_gives_nothing() -> None:
    assert lease(make_channel(rate_per_second=0).pk, 10, NOW) == Leased(0, 60)


@pytest.mark.django_db
def test_back_off_holds_every_worker_and_is_never_shortened() -> None:
    channel = make_channel()
    back_off(channel.pk, 30, NOW)
    back_off(channel.pk, 5, NOW)
    assert lease(channel.pk, 10, later(10)) == Leased(0, pytest.approx(20))
    assert lease(channel.pk, 10, later(30)).n == 10


@pytest.mark.django_db
def test_a_channel_whose_row_is_missing_gets_one() -> None:
    channel = make_channel(rate_per_second=1)
    ChannelThrottle.objects.all().delete()
    assert lease(channel.pk, 1, NOW).n == 1
    with pytest.raises(LookupError):
        lease(channel.pk + 1, 1, NOW)


@pytest.mark.django_db(transaction=True)
def test_a_lease_inside_a_transaction_is_refused() -> None:
    channel = make_channel(rate_per_second=1)
    with transaction.atomic(), pytest.raises(RuntimeError):
        lease(channel.pk, 1)


@pytest.mark.django_db(transaction=True)
def test_many_workers_together_keep_the_rate() -> None:
    """Six threads that ask without pause for 1.5 s: no window of any length holds more than its share."""
    rate = 400.0
    channel = make_channel(rate_per_second=rate)
    granted: list[tuple[float, int]] = []
    stop = time.monotonic() + 1.5

    def work() -> None:
        try:
            while time.monotonic() < stop:
                before = time.monotonic()
                leased = lease(channel.pk, 25)
                if leased.n:
                    granted.append((before, leased.n))
                else:
                    time.sleep(min(leased.wait_seconds, 0.02))
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(6)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    lasted = time.monotonic() - began
    total = sum(n for _at, n in granted)
    assert total <= rate * (lasted + throttle.AHEAD) + 1
    assert total >= rate * 1.5 * 0.7
    # The row itself is the exact account: it moved by one interval for each message since it last stood still.
    row = ChannelThrottle.objects.get(channel=channel)
    assert row.next_at <= datetime.now(UTC) + timedelta(seconds=AHEAD + 2 / rate)
