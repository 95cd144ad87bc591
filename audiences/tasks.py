"""What workers do for this app. A task takes ids and calls one rule function."""

from celery import shared_task

from audiences import jobs


@shared_task
def run_job(job_id: int) -> None:
    """Runs a job unless somebody does already."""
    jobs.run(job_id)


@shared_task
def sweep_jobs() -> None:
    """Wakes workers for jobs whose worker died or was never told."""
    jobs.sweep()
