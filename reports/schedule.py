"""Beat entries of reports."""

BEAT = {
    "measure-running-campaigns": {"task": "reports.tasks.measure_running", "schedule": 300.0},
}
