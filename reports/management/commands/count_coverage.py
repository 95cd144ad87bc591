"""`manage.py count_coverage`: count coverage from the rows, or hold what is counted against them."""

import datetime as dt
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from campaigns.models import Campaign
from reports import coverage_days


class Command(BaseCommand):
    help = "Counts coverage of a campaign, or of one of its days, from the rows. Safe at any time."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("campaign", type=int, help="The number in the address of its page.")
        parser.add_argument("--day", help="Only this day of the campaign's zone, as 2026-03-01.")
        parser.add_argument(
            "--check", action="store_true", help="Only tell how many cells are wrong, and mend them."
        )

    def handle(self, *args: Any, campaign: int, day: str | None, check: bool, **options: Any) -> None:
        found = Campaign.objects.filter(pk=campaign).first()
        if found is None:
            raise CommandError(
                f"There is no campaign {campaign}. Its number stands in the address of its page."
            )
        now = timezone.now()
        if check:
            self.stdout.write(f"{coverage_days.check(found, now)} cells differed from the rows.")
        elif day:
            try:
                cells = coverage_days.count_day(found, dt.date.fromisoformat(day))
            except ValueError:
                raise CommandError(f"{day!r} is no day. Write it as 2026-03-01.") from None
            self.stdout.write(f"{cells} cells of {day} counted.")
        else:
            self.stdout.write(f"{coverage_days.count(found.pk, now)} cells counted.")
