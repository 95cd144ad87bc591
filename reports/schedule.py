"""Beat entries of reports."""

BEAT = {
    "measure-running-campaigns": {"task": "reports.tasks.measure_running", "schedule": 300.0},
    # Whatever is late is done by the next one.
    "bring-coverage-up-to-date": {
        "task": "reports.tasks.bring_coverage_up_to_date",
        "schedule": 30.0,
        "options": {"expires": 60},
    },
    "check-coverage": {"task": "reports.tasks.check_coverage", "schedule": 86400.0},
}
