"""What beat wakes in reports."""

from celery import shared_task
from django.utils import timezone

from reports import measuring


@shared_task
def measure_running() -> int:
    """Bring the reports of running campaigns up to date."""
    return measuring.measure_running(timezone.now())
