import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from audiences.imports import batches
from audiences.models import ImportBatch
from audiences.registers import import_kinds


class Command(BaseCommand):
    help = (
        "Load a file (.csv, .csv.gz, .xlsx). Good rows in; bad rows are listed and can be written to a file."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", choices=import_kinds.names(), help="What the rows are.")
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--map", action="append", default=[], metavar="OURS=THEIRS",
            help="Which column of the file is which of ours, where the header does not tell; THEIRS '-' leaves it out.",
        )  # fmt: skip
        parser.add_argument("--brand", help="Code of the brand the rows belong to (default: the first).")
        parser.add_argument(
            "--zone", help="Time zone of times without one (default: that of the installation)."
        )
        parser.add_argument("--system", help="Name of the system that external ids come from.")
        parser.add_argument("--create", action="store_true", help="Create customers that nobody knows yet.")
        parser.add_argument(
            "--no-merge", action="store_true", help="Refuse rows that would merge two customers."
        )
        parser.add_argument("--bad", type=Path, help="Write the refused rows here, to mend and load again.")
        parser.add_argument("--json", action="store_true", help="Tell the result as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        mapping = {}
        for pair in options["map"]:
            ours, equals, theirs = pair.partition("=")
            if not equals:
                raise CommandError(
                    _("--map wants OURS=THEIRS, such as phone=手机号, not %(pair)s.") % {"pair": pair}
                )
            mapping[ours.strip()] = theirs.strip()
        chosen = {name: options[name] for name in ("brand", "zone", "system", "create") if options[name]}
        if options["no_merge"]:
            chosen["merge"] = "refuse"
        try:
            with options["file"].open("rb") as file:
                batch = batches.load_file(
                    options["kind"], options["file"].name, file, mapping=mapping, options=chosen
                )
        except OSError as error:
            raise CommandError(
                _("%(file)s cannot be read: %(error)s.") % {"file": options["file"], "error": error}
            ) from error
        except ValueError as error:
            raise CommandError(str(error)) from error
        if batch.state == ImportBatch.State.FAILED:
            raise CommandError(batch.error)
        if options["bad"] and batch.rows_bad:
            with options["bad"].open("wb") as file:
                file.writelines(batches.bad_rows_file(batch))
        self._tell(batch, options)

    def _tell(self, batch: ImportBatch, options: dict[str, Any]) -> None:
        counts = batches.told(batch)
        if options["json"]:
            self.stdout.write(
                json.dumps({"import": batch.pk, **counts, "totals": batch.totals}, ensure_ascii=False)
            )
            return
        self.stdout.write(
            _(
                "Import %(id)s: %(read)s rows read: %(new)s new, %(changed)s changed, %(same)s same, %(bad)s refused."
            )
            % {"id": batch.pk, **{name: f"{n:,}" for name, n in counts.items()}}
        )
        for name, sums in batch.totals["sums"].items():
            self.stdout.write(
                _("%(name)s: read %(read)s, refused %(refused)s, stored %(stored)s") % {"name": name, **sums}
            )
        for n, row in enumerate(batches.bad_rows(batch)):
            if n == 10:
                self.stdout.write(
                    _("… and %(n)s more refused rows; write them all with --bad FILE.")
                    % {"n": f"{batch.rows_bad - n:,}"}
                )
                break
            self.stdout.write(
                _("line %(line)s: %(reasons)s") % {"line": row["line"], "reasons": "; ".join(row["reasons"])}
            )
