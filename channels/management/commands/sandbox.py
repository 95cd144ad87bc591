from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from channels.sandbox import cli
from channels.sandbox.config import BadConfig
from channels.sandbox.server import PortTaken


class Command(BaseCommand):
    help = "Run the far sides (mail server, SMSC, WeCom, Meta) and the simulated market, until stopped."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        cli.add_options(parser, settings.DATA_DIR / "sandbox")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            cli.run(options, self._say, settings.PUBLIC_URL)
        except (BadConfig, PortTaken) as error:
            raise CommandError(str(error)) from error

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
