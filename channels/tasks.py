"""What beat wakes. Each task looks for due rows and stops when there are none."""

import logging

from celery import shared_task
from django.utils import timezone

from channels import (
    audience_sync,
    balances,
    consumption,
    daily_reports,
    employees,
    flight_pauses,
    flights,
    pushing,
)

logger = logging.getLogger(__name__)


@shared_task
def sync_audiences() -> None:
    """Audiences where wanted and held differ."""
    for audience_id in audience_sync.waiting(timezone.now()):
        done = audience_sync.sync(audience_id)
        if done.error:
            logger.warning("audience %s: %s", audience_id, done.error)


@shared_task
def withdraw_from_audiences() -> None:
    """People who permit the upload no more are to be taken out of every audience."""
    audience_sync.sweep(timezone.now())


@shared_task
def set_flights() -> None:
    """Flights the platform does not keep to yet."""
    for audience_id in flights.waiting(timezone.now()):
        if text := flights.apply(audience_id, timezone.now()):
            logger.warning("flight of audience %s: %s", audience_id, text)


@shared_task
def pause_flights() -> None:
    """Ads of campaigns that stand still, and those that go on again."""
    for audience_id in flight_pauses.waiting(timezone.now()):
        if text := flight_pauses.apply(audience_id, timezone.now()):
            logger.warning("pause of audience %s: %s", audience_id, text)


@shared_task
def fetch_reports() -> None:
    """The last days of every platform that reports, what they consumed, and once a day what is left there."""
    for channel_id, done in daily_reports.fetch_all(timezone.now()).items():
        if isinstance(done, str):
            logger.warning("reports of channel %s: %s", channel_id, done)
    consumption.accrue(timezone.now())
    for channel_id, told in balances.fetch_all(timezone.now()).items():
        if isinstance(told, str):
            logger.warning("balance of channel %s: %s", channel_id, told)


@shared_task
def sync_employees() -> None:
    """Employees, their customers, tags and groups, as the providers have them."""
    employees.sync_all(timezone.now())


@shared_task
def push_spend_sheet() -> None:
    """The daily spend sheet to whom it is due and was not sent today."""
    pushing.push_due(timezone.now())
