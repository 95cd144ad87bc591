"""`manage.py dispatch`: send what is due, without Celery."""

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from campaigns import dispatch


class Command(BaseCommand):
    help = "Sends what is due now on all channels, and closes what is overdue."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="One round, then end (else until Ctrl-C).")
        parser.add_argument("--json", action="store_true", help="Print the counts of each round as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        while True:
            counts = self._round()
            if options["json"]:
                self.stdout.write(json.dumps(counts, sort_keys=True))
            elif counts["channels"]:
                self.stdout.write(", ".join(f"{name} {n}" for name, n in sorted(counts.items()) if n))
            if options["once"]:
                return
            time.sleep(1)

    def _round(self) -> dict[str, int]:
        total: dict[str, int] = {
            "claimed": 0,
            "accepted": 0,
            "held": 0,
            "refused": 0,
            "throttled": 0,
            "unknown": 0,
        }

        def turn(channel_id: int) -> None:
            done = dispatch.dispatch_channel(channel_id)
            for name in total:
                total[name] += getattr(done, name)

        channels = dispatch.tick(turn)
        swept = dispatch.sweep(timezone.now())
        return {
            **total,
            "channels": channels,
            "overdue": swept.overdue,
            "lost_workers": swept.unknown + swept.returned,
        }
