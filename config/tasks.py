"""Housekeeping of the installation itself."""

from celery import shared_task

from config import heartbeat, idempotency, throttles


@shared_task
def queue_round_trip() -> None:
    """Published by beat and run by a worker: proof that work gets through."""
    heartbeat.mark(heartbeat.ROUND_TRIP)


@shared_task
def forget_old() -> None:
    idempotency.forget_old()
    throttles.forget_old()
