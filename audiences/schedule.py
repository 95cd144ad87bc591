"""What beat does for this app."""

from typing import Any

from celery.schedules import crontab

NIGHT = {"expires": 6 * 3600}  # better not at all than in the middle of the day

BEAT: dict[str, dict[str, Any]] = {
    "sweep-jobs": {"task": "audiences.tasks.sweep_jobs", "schedule": 15.0, "options": {"expires": 60}},
    # Hours in UTC: the small hours where most installations stand.
    "find-stages": {
        "task": "audiences.tasks.find_stages",
        "schedule": crontab(hour="18", minute="10"),
        "options": NIGHT,
    },
    "compute-scores": {
        "task": "audiences.tasks.compute_scores",
        "schedule": crontab(hour="18", minute="30"),
        "options": NIGHT,
    },
    "forget-old-uploads": {
        "task": "audiences.tasks.forget_old_uploads",
        "schedule": crontab(hour="19", minute="0"),
        "options": NIGHT,
    },
}
