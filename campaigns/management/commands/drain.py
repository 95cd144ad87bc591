"""`manage.py drain`: turn what came in into what it means, without Celery."""

from typing import Any

from django.core.management.base import BaseCommand

from campaigns import polling, responses


class Command(BaseCommand):
    help = "Asks providers that tell nothing by themselves, then drains the inbox."

    def handle(self, *args: Any, **options: Any) -> None:
        polled = polling.poll_all()
        drained = responses.drain()
        self.stdout.write(f"{polled} new events asked for, {drained} events drained.")
