"""What beat wakes in reports."""

from celery import shared_task
from django.utils import timezone

from reports import coverage_days, measuring


@shared_task
def measure_running() -> int:
    """Bring the reports of running campaigns up to date."""
    return measuring.measure_running(timezone.now())


@shared_task
def bring_coverage_up_to_date() -> int:
    """Fold what changed, count what was attached, renew figures about people."""
    return coverage_days.bring_up_to_date(timezone.now())


@shared_task
def check_coverage() -> int:
    """Hold what is counted against the rows, once a day; how many cells were wrong."""
    return coverage_days.check_all(timezone.now())
