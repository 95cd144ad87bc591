import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from config import env
from config.postgres import ServerError
from config.up import AlreadyUp, Up


class Command(BaseCommand):
    help = "Run everything on this machine: database, web, worker, beat and the sandbox, until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, help="Port of the web (default: 8000, or the next free one).")
        parser.add_argument("--host", default="127.0.0.1", help="Address to listen on (default: 127.0.0.1).")
        parser.add_argument("--no-demo", action="store_true", help="No demo people, demo data or sandbox.")

    def handle(self, *args: Any, **options: Any) -> None:
        demo = env.flag("EVENREACH_DEMO", default=True) and not options["no_demo"]
        try:
            code = Up(options["host"], options["port"], demo, self._say).run()
        except AlreadyUp as other:
            self._say(_("Evenreach runs here already: %(url)s") % {"url": other})
            return
        except (ServerError, OSError) as error:
            raise CommandError(str(error)) from error
        if code:
            sys.exit(code)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
