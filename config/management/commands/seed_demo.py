from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.demo.seed import seed


class Command(BaseCommand):
    help = "Put in people, channels (all leading to the sandbox), a past campaign and a draft; again changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--customers", type=int, default=settings.DEMO_CUSTOMERS)
        parser.add_argument("--seed", type=int, default=1)

    def handle(self, *args: Any, **options: Any) -> None:
        seed(options["customers"], options["seed"], self.stdout.write)
