"""``manage.py messages``: finds the texts of the screens, adds their Chinese from locale-src/, compiles."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config import texts


class Command(BaseCommand):
    help = "Make locale/zh_Hans from the texts in the code and their Chinese in locale-src/*.json."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail when a text has no Chinese"
        )

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        if missing := texts.tools_missing():
            raise CommandError(
                f"GNU gettext is not installed ({', '.join(missing)}). Debian: apt install gettext"
            )
        try:
            built = texts.build(settings.BASE_DIR)
        except texts.TextError as error:
            raise CommandError(str(error)) from None
        for key in built.unused:
            self.stderr.write(f"unused: {key!r}")
        if not check:
            texts.write(settings.BASE_DIR, built)
        if built.missing:
            self.stdout.write(built.missing)
            raise CommandError("These texts have no Chinese. Add them to locale-src/<area>.zh_Hans.json.")
        self.stdout.write("Every text has its Chinese.")
