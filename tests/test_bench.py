"""`manage.py bench` runs each module of bench/ in a database of its own and prints one line."""

import json
import subprocess
import sys

import psycopg
import pytest
from django.conf import settings

from config import bench


def test_every_module_of_bench_says_what_it_measures_and_can_be_shortened() -> None:
    known = bench.names()
    assert known
    assert all(known.values()), "a module of bench/ has no docstring"
    for name in known:
        assert bench.named(name) == name
    assert bench.named("repo") == "reports"


def test_an_unknown_measurement_is_answered_with_those_there_are() -> None:
    with pytest.raises(bench.BenchRefused, match="There are: .*reports"):
        bench.named("nonsense")


def run(*, people: int = 10, ratio: float = 0.5, durable: bool = True, note: str = "") -> None:
    """Options of these types are read from a command line."""


def test_options_take_the_types_of_their_defaults() -> None:
    assert bench.converted(run, {"people": "1_000", "ratio": "0.25", "durable": "0", "note": "x"}) == {
        "people": 1000,
        "ratio": 0.25,
        "durable": False,
        "note": "x",
    }


@pytest.mark.parametrize(
    ("given", "said"), [({"people": "many"}, "is a number"), ({"speed": "9"}, "has no --speed")]
)
def test_an_option_that_cannot_be_read_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(bench.BenchRefused, match=said):
        bench.converted(run, given)


def test_a_measurement_runs_in_a_database_of_its_own_and_leaves_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "bench", "reports", "--json", "--touches=800", "--requests", "2"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["bench"] == "reports"
    assert figures["touches"] > 600
    assert 0 < figures["floor_count_s"] < figures["coverage_p95_s"]
    with psycopg.connect(settings.DATABASE_URL) as connection:
        left = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'evenreach_bench%'"
        ).fetchall()
    assert left == []
