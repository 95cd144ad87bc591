import json
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config import bench


class Command(BaseCommand):
    help = "Measure: run one module of bench/ in a database of its own. Without a name, list them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="Which measurement; the beginning of its name is enough.")
        parser.add_argument("--json", action="store_true", help="Print the figures as one line of JSON.")
        for option, used_by in bench.options().items():
            parser.add_argument(
                f"--{option.replace('_', '-')}", dest=f"option_{option}", help=f"of {', '.join(used_by)}"
            )

    def handle(self, *args: Any, name: str | None, **options: Any) -> None:
        if not name:
            for each, says in bench.names().items():
                self.stdout.write(f"{each:<20} {says}")
            return
        given = {
            key.removeprefix("option_"): value
            for key, value in options.items()
            if key.startswith("option_") and value is not None
        }
        try:
            name = bench.named(name)
            if bench.HERE not in os.environ:
                code = bench.elsewhere(_arguments(name, given, options["json"]))
                if code:
                    sys.exit(code)
                return
            figures = bench.measure(name, given)
        except bench.BenchRefused as refused:
            raise CommandError(str(refused)) from None
        if options["json"]:
            self.stdout.write(json.dumps(figures, default=str))
        else:
            for key, value in figures.items():
                self.stdout.write(f"{key:<28} {value}")


def _arguments(name: str, given: dict[str, str], as_json: bool) -> list[str]:
    return [
        name,
        *(["--json"] if as_json else []),
        *(f"--{key.replace('_', '-')}={given[key]}" for key in given),
    ]
