"""`manage.py torture`: kill everything at random under load, and count what was sent from the sandbox's log."""

import contextlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

INSIDE = "EVENREACH_TORTURE"
LEASE = 12  # seconds: whoever is killed is found out soon
PER_SECOND = 60  # touches a second that even a busy machine manages, for the time limit


class Command(BaseCommand):
    help = (
        "Kills workers, web, beat, database and sandbox with -9 while two campaigns send to the same people, then counts "
        "from the sandbox's log. In a folder, a database and on ports of its own. Ends with 1 if a promise was broken."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--customers", type=int, default=10_000)
        parser.add_argument("--kills", type=int, default=100)
        parser.add_argument("--workers", type=int, default=4, help="Worker processes.")
        parser.add_argument("--seed", type=int, default=1, help="What is killed when is drawn from it.")
        parser.add_argument(
            "--broker",
            choices=("embedded", "redis"),
            default="embedded",
            help="embedded: the queue in the database, threads. redis: a Redis of its own, killed as well; prefork.",
        )
        parser.add_argument(
            "--database",
            help="An empty database to use (a URL) instead of one of its own, which is then not killed.",
        )
        parser.add_argument(
            "--scene",
            choices=("two", "families"),
            default="two",
            help="two: two campaigns by email and SMS. families: one campaign over SMS, private domain, social and search, "
            "on far sides that fail, read as its coverage report.",
        )
        parser.add_argument("--minutes", type=float, help="Time limit (default: by customers and kills).")
        parser.add_argument(
            "--json", action="store_true", help="One line of JSON, nothing else on the output."
        )
        parser.add_argument("--keep", type=Path, help="Keep the installation and its logs in this folder.")

    def handle(self, *args: Any, **options: Any) -> None:
        if os.environ.get(INSIDE):
            self._inside(options)
            return
        if options["broker"] == "redis" and shutil.which("redis-server") is None:
            raise CommandError(
                "redis-server is not installed: apt-get install redis-server, or --broker embedded"
            )
        folder = options["keep"] or Path(tempfile.mkdtemp(prefix="evenreach-torture-"))
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "torture"]
        for name in ("customers", "kills", "workers", "seed", "minutes", "broker", "scene"):
            if options[name] is not None:
                command += [f"--{name}", str(options[name])]
        try:
            done = subprocess.run(
                [*command, "--json"] if options["json"] else command,
                env=self._environment(folder, options),
            )
        finally:
            if not options["keep"]:
                shutil.rmtree(folder, ignore_errors=True)
        if done.returncode:
            sys.exit(done.returncode)

    def _environment(self, folder: Path, options: dict[str, Any]) -> dict[str, str]:
        """Nothing of this installation's own database, queue or addresses."""
        from config.torture.run import free_ports

        dropped = {
            "DATABASE_URL",
            "BROKER_URL",
            "EVENREACH_CACHE_URL",
            "EVENREACH_OFFLINE",
            "EVENREACH_HTTPS",
        }
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        (port,) = free_ports(1)
        threads = "12" if options["scene"] == "families" else "4"  # places for sixteen channels
        queue = (
            {"BROKER_URL": f"redis+socket://{folder / 'redis.sock'}"} if options["broker"] == "redis" else {}
        )
        return (
            kept
            | queue
            | ({"DATABASE_URL": options["database"]} if options["database"] else {})
            | {
                INSIDE: "1",
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "EVENREACH_DATA": str(folder / "var"),
                "EVENREACH_PUBLIC_URL": f"http://127.0.0.1:{port}",
                "EVENREACH_DISPATCH_LEASE": str(LEASE),
                "EVENREACH_DISPATCH_WORKERS": "4",
                "EVENREACH_WORKER_THREADS": threads,
                "EVENREACH_POOL": str(2 * int(threads)),
                "EVENREACH_LOG_LEVEL": "WARNING",
                "EVENREACH_PRIVATE_HOSTS": "127.0.0.1",
            }
        )

    def _inside(self, options: dict[str, Any]) -> None:
        from config.torture.families import Families
        from config.torture.run import Torture

        kind = Families if options["scene"] == "families" else Torture
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # that the database goes away is the point
        # A touch is final once a dead worker's lease has run out, and a sweep has come by.
        touches = 4 * options["customers"]
        minutes = options["minutes"] or 3 + touches / PER_SECOND / 60 + options["kills"] * 8 / 60
        torture = kind(
            customers=options["customers"], kills=options["kills"], workers=options["workers"], seed=options["seed"],
            minutes=minutes, say=(lambda text: None) if options["json"] else self._say,
        )  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()):  # what the children say is in the log folder
            found = torture.run()
        if options["json"]:
            self.stdout.write(json.dumps(found))
        else:
            for name, value in found.items():
                self.stdout.write(f"{name:>16}  {value}")
        broken = ("sent_twice", "over", "lost", "stateless", "denied", "told_over", "astray")
        if not found["finished"] or any(found.get(name) for name in broken):
            sys.exit(1)

    def _say(self, text: str) -> None:
        self.stderr.write(text)
