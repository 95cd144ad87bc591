"""One campaign over SMS, private domain, social and search: real workers, far sides that fail, its coverage report."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import factories as make

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def run(folder: Path) -> dict[str, Any]:
    """The campaign in this test's database; everything else in processes of its own."""
    command = [
        sys.executable, str(ROOT / "manage.py"), "torture", "--scene", "families", "--customers", "400", "--kills", "0",
        "--workers", "2", "--database", make.database_url(), "--keep", str(folder), "--minutes", "4", "--json",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True)
    assert done.stdout.strip(), done.stderr[-3000:]
    (folder / "found.json").write_text(done.stdout)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_campaign_over_four_families_reaches_its_report_with_over_0(tmp_path: Path) -> None:
    found = run(tmp_path)
    assert found["finished"], found
