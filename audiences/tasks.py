"""What workers do for this app. A task takes ids and calls one rule function."""

from celery import shared_task
from django.utils import timezone

from audiences import jobs, scores, stages
from audiences.imports import batches


@shared_task
def run_job(job_id: int) -> None:
    """Runs a job unless somebody does already."""
    jobs.run(job_id)


@shared_task
def sweep_jobs() -> None:
    """Wakes workers for jobs whose worker died or was never told."""
    jobs.sweep()


@shared_task
def find_stages() -> None:
    """Gives everybody the stage whose rule holds."""
    stages.recompute(timezone.now())


@shared_task
def compute_scores() -> None:
    """Computes RFM."""
    scores.recompute_rfm(timezone.now())


@shared_task
def forget_old_uploads() -> None:
    """Deletes uploaded files and refused rows past their time."""
    batches.forget_old(timezone.now())
