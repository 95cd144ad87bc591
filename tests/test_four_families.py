"""One campaign over SMS, private domain, social and search: real workers, far sides that fail, its coverage report.

The far sides, the web, the workers and beat are processes of their own. What people got is read from the far sides'
logs, joined by attempt; what we say of it is the coverage report's.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import factories as make

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]
PERSONAL = {"smpp", "aliyun_sms", "tencent_sms", "twilio", "email", "wecom", "official_account", "webhook"}
SOCIAL = {"meta", "tencent_ads", "ocean_engine", "xiaohongshu", "weibo"}
SEARCH = {"google_ads", "microsoft_ads", "baidu"}


def run(folder: Path) -> dict[str, Any]:
    """The campaign in this test's database; everything else in processes of its own."""
    command = [
        sys.executable, str(ROOT / "manage.py"), "torture", "--scene", "families", "--customers", "100", "--kills", "0",
        "--workers", "1", "--database", make.database_url(), "--keep", str(folder), "--minutes", "5", "--json",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True)
    assert done.stdout.strip(), done.stderr[-3000:]
    (folder / "found.json").write_text(done.stdout)  # for whoever looks at a failure
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_campaign_over_all_four_families_reaches_its_report_with_over_0_while_far_sides_fail(
    tmp_path: Path,
) -> None:
    found = run(tmp_path)
    channels, platforms = found["channels"], found["platforms"]
    assert found["finished"], found
    assert set(channels) == PERSONAL | SOCIAL | SEARCH
    assert found["left_out"] == []

    # It was no fair weather.
    seen: Counter[str] = Counter()
    for told in found["faults"].values():
        seen.update(told)
    assert {name for name, n in seen.items() if n} == {"throttle", "refuse", "silent", "drop", "drop_before"}
    assert all(found[name] for name in ("throttled", "refused", "bounced"))

    # By the logs of the far sides: nobody got more than planned, nobody one message twice, nothing unaccounted for.
    assert found["differences"] == []
    for name in ("over", "sent_twice", "stranger", "lost", "denied", "stateless", "told_over", "astray"):
        assert found[name] == 0, name
    assert found["over_by_us"] == 0
    assert sum(channels[name]["by_log"] for name in PERSONAL) == found["accepted"] > 400
    # The official account makes one call for everybody, and that may be the one that fails.
    for name in PERSONAL - {"official_account"}:
        assert min(channels[name]["by_log"], channels[name]["reached"]) > 0, (name, channels[name])

    # By the report: every target is in one place, and each gap has a cause.
    assert sum(found["gap_by_cause"].values()) == found["gap"]
    assert {"no_identity", "no_consent", "pressure"} <= set(found["gap_by_cause"])
    for told in channels.values():
        parts = ("reached", "unknown", "unobserved", "gap", "released")
        assert told["target"] == sum(told[part] for part in parts)

    # Channels that tell totals only are told as totals only, held to the plan where the platform can hold to it.
    for name in SOCIAL | SEARCH:
        told = platforms[name]
        assert (channels[name]["reached"], channels[name]["unknown"]) == (0, 0)
        assert told["settled"], (name, told)
        assert told["exposures"] == told["shown"] > 0, (name, told)
        held = told["cap_wanted"] if name in {"meta", "weibo"} else None
        assert told["cap_held"] == held, name
        if channels[name]["observability"] == "person_targeted":
            assert channels[name]["unobserved"] > 0
            assert told["members"] > 0
    assert platforms["meta"]["exposures"] <= 3 * platforms["meta"]["members"]
    assert found["held_after"] == 0, "at the end everybody is taken out"
