"""What beat does for this app."""

from typing import Any

BEAT: dict[str, dict[str, Any]] = {
    "sweep-jobs": {"task": "audiences.tasks.sweep_jobs", "schedule": 15.0, "options": {"expires": 60}},
}
