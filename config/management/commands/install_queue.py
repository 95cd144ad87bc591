from typing import Any

from django.core.management.base import BaseCommand
from django.utils.translation import gettext as _

from config import queue


class Command(BaseCommand):
    help = "Install the task queue into the database (done by `migrate` too; safe to repeat)."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(
            _("The queue is installed.") if queue.install() else _("The queue was there already.")
        )
