from datetime import UTC, datetime, timedelta

import pytest

from config import throttles
from config.models import ThrottleWindow

NOON = datetime(2026, 6, 18, 12, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rate", "meaning"),
    [("60/min", (60, 60)), ("5/s", (5, 1)), ("1000/hour", (1000, 3600)), ("9/day", (9, 86400))],
)
def test_rates_are_read(rate: str, meaning: tuple[int, int]) -> None:
    assert throttles.parse(rate) == meaning


@pytest.mark.django_db
def test_calls_are_counted_per_key_and_window() -> None:
    seen = [
        throttles.count("key:1", 60, NOON),
        throttles.count("key:1", 60, NOON + timedelta(seconds=20)),
        throttles.count("key:2", 60, NOON),
        throttles.count("key:1", 60, NOON + timedelta(seconds=40)),
    ]
    assert seen == [1, 2, 1, 1]
    assert set(ThrottleWindow.objects.values_list("key", "starts_at", "calls")) == {
        ("key:1", datetime(2026, 6, 18, 12, 0, tzinfo=UTC), 2),
        ("key:2", datetime(2026, 6, 18, 12, 0, tzinfo=UTC), 1),
        ("key:1", datetime(2026, 6, 18, 12, 1, tzinfo=UTC), 1),
    }
