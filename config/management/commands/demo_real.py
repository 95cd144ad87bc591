import json
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from config.demo import real
from config.models import User


class Command(BaseCommand):
    help = (
        "Load The Complete Journey through the public import, beside the other data; again changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="Tell what stands in the database as one JSON line."
        )
        parser.add_argument("--remove", action="store_true", help="Take all of it out again.")
        parser.add_argument("--keep", type=Path, help="Keep the CSV files in this folder.")

    def handle(self, *args: Any, **options: Any) -> None:
        def say(text: str) -> None:
            if not options["json"]:
                self.stdout.write(text)

        if options["remove"]:
            real.remove(say)
            return
        with tempfile.TemporaryDirectory(prefix="evenreach-") as folder:
            try:
                files = real.write_files(options["keep"] or Path(folder))
                real.load(files, say)
            except (real.Missing, RuntimeError) as error:
                raise CommandError(str(error)) from error
        marketer = User.objects.filter(groups__name="marketer").order_by("pk").first()
        campaign = real.new_campaign(marketer, timezone.now())
        say(f"{campaign.name}: {campaign.get_state_display()}")
        self.stdout.write(json.dumps(real.counts(), ensure_ascii=False))
