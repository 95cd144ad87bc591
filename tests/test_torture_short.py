"""A worker and the database are killed with -9 while two campaigns send: counted from the sandbox's log."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLACES = 4  # turns on one channel at a time
IN_FLIGHT = 20  # messages in a call of one of them


@pytest.mark.timeout(420)
def test_nothing_is_sent_twice_or_over_or_lost_when_everything_is_killed():
    command = [sys.executable, str(ROOT / "manage.py"), "torture", "--customers", "120", "--kills", "2"]
    done = subprocess.run(
        [*command, "--workers", "2", "--json"], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True
    )
    assert done.stdout.strip(), done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert (found["finished"], found["kills"], found["touches"]) == (True, 2, 480), found
    for name in (
        "sent_twice",
        "over",
        "lost",
        "stranger",
        "stateless",
        "expired",
        "refused",
        "unknown_arrived",
    ):
        assert found[name] == 0, found
    # What a dead worker was calling about is unknown for good: one call of each of its places.
    assert found["unknown"] <= 2 * PLACES * IN_FLIGHT
    assert found["accepted"] + found["unknown"] + found["capped"] == 480
    assert found["capped"] >= 120
    assert done.returncode == 0
