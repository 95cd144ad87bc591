"""`manage.py doctor`: what is wrong, in words, with what to do."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _

from campaigns import doctor


class Command(BaseCommand):
    help = "Checks what the product promises, and what is stuck. Ends with 1 if a promise is broken."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        found = doctor.examine(timezone.now())
        if options["json"]:
            self.stdout.write(json.dumps({finding.question.name: finding.count for finding in found}))
        elif not found:
            self.stdout.write(_("All is well."))
        for finding in [] if options["json"] else found:
            mark = _("BROKEN") if finding.question.broken else _("stuck")
            self.stdout.write(f"{mark}: {finding.count} {finding.question.text}")
            for row in finding.examples:
                self.stdout.write(f"    {', '.join(str(value) for value in row)}")
            self.stdout.write(f"    → {finding.question.hint}")
        if any(finding.question.broken for finding in found):
            sys.exit(1)
