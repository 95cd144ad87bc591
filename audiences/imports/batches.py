"""What is to be loaded, what was loaded, its bad rows as a file, and taking it back."""

import csv
import datetime as dt
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.text import get_valid_filename
from django.utils.translation import gettext as _

from audiences import jobs
from audiences.imports import loading, reading
from audiences.imports.mapping import Recognised, place, recognise
from audiences.imports.reading import Source, UnreadableFile
from audiences.models import BadRow, ImportBatch, Job
from audiences.registers import import_kinds

logger = logging.getLogger(__name__)

LARGEST_UPLOAD = 100 << 20  # bytes by screen and API; the command takes any size
LARGEST_CALL = 10_000  # rows of one JSON call
KEPT = dt.timedelta(days=30)
"""How long an uploaded file is kept, for looking things up. Then it goes: it names people."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def receive(
    kind: str,
    name: str,
    file: IO[bytes],
    size: int,
    *,
    mapping: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    user: Any = None,
) -> ImportBatch:
    """Keep an uploaded file as a batch that waits. Raises :class:`UnreadableFile` before anything is kept."""
    import_kinds.get(kind)
    if size > LARGEST_UPLOAD:
        raise UnreadableFile(
            _(
                "The file has %(size)s MB; %(most)s MB can be uploaded. "
                "Pack it as .csv.gz, split it, or use the command: manage.py import."
            )
            % {"size": size >> 20, "most": LARGEST_UPLOAD >> 20}
        )
    source = reading.open_file(file, name)
    file.seek(0)
    batch = ImportBatch.objects.create(
        kind=kind,
        name=name[:254],
        sha256=source.sha256,
        size=source.size,
        mapping=dict(mapping or {}),
        options={**(options or {}), "header": source.header},
        created_by_id=getattr(user, "pk", None),
    )
    batch.path = default_storage.save(f"imports/{batch.pk}/{get_valid_filename(name)[-100:]}", File(file))
    batch.save(update_fields=["path"])
    return batch


def look(batch: ImportBatch, rows: int = 8) -> tuple[Source, list[list[str]]]:
    """The header and the first rows of a batch that waits."""
    with default_storage.open(batch.path) as file:
        source = reading.open_file(file, batch.name)
        return source, source.sample(rows)


def recognised(batch: ImportBatch) -> dict[str, str]:
    """Our column → header, as told or recognised, without raising for what is missing."""
    header = batch.options.get("header", [])
    told = {ours: name for ours, name in batch.mapping.items() if name in header}
    found = recognise(import_kinds.get(batch.kind), header)
    return {
        ours: name for ours, name in found.items() if ours not in batch.mapping and name not in told.values()
    } | told


def fits(batch: ImportBatch) -> Recognised:
    """The mapping the load will use. Raises :class:`UnreadableFile` saying what is missing."""
    return place(import_kinds.get(batch.kind), batch.options.get("header", []), batch.mapping)


def start(batch: ImportBatch, user: Any = None) -> Job:
    """Load the batch by a worker. Raises :class:`UnreadableFile` when the columns do not suffice."""
    fits(batch)
    with transaction.atomic():
        locked = ImportBatch.objects.select_for_update().get(pk=batch.pk)
        if locked.state not in (
            ImportBatch.State.WAITING,
            ImportBatch.State.FAILED,
            ImportBatch.State.CANCELLED,
        ):
            raise UnreadableFile(_("This file is loaded, or being loaded, already."))
        job = jobs.start("import", f"import:{batch.pk}", {"batch": batch.pk}, user)
        ImportBatch.objects.filter(pk=batch.pk).update(job=job, state=ImportBatch.State.RUNNING, error="")
    batch.refresh_from_db()
    return job


def run(job: Job) -> dict[str, Any]:
    """The job: load its batch. May be begun again from the start; a batch that is done is left alone."""
    batch = ImportBatch.objects.get(pk=job.arguments["batch"])
    if batch.state != ImportBatch.State.DONE:
        with default_storage.open(batch.path) as file:
            loading.load(
                batch,
                lambda: reading.open_file(file, batch.name),
                lambda done, total, step: jobs.report(job, done, total, step),
            )
    if batch.state == ImportBatch.State.FAILED:
        raise jobs.JobFailed(batch.error)
    return told(batch) | {"url": reverse("audiences:import", args=[batch.pk])}


def load_file(
    kind: str, name: str, file: IO[bytes], *, mapping: Mapping[str, str], options: Mapping[str, Any]
) -> ImportBatch:
    """Load a file here and now, of any size, keeping no copy: the command's way."""
    import_kinds.get(kind)
    batch = ImportBatch.objects.create(
        kind=kind, name=name[:254], mapping=dict(mapping), options=dict(options)
    )
    return loading.load(batch, lambda: reading.open_file(file, name))


def load_rows(
    kind: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    options: Mapping[str, Any] | None = None,
    user: Any = None,
    patience: float = 20,
) -> ImportBatch:
    """Load rows of an API call here and now. Raises :class:`UnreadableFile`, or
    :class:`~audiences.imports.loading.Busy` when another load of the kind takes longer than ``patience`` s."""
    if len(rows) > LARGEST_CALL:
        raise UnreadableFile(
            _("One call takes %(n)s rows; send several, or a file.") % {"n": f"{LARGEST_CALL:,}"}
        )
    reading.from_rows(rows)
    batch = ImportBatch.objects.create(
        kind=kind, name="API", options=dict(options or {}), created_by_id=getattr(user, "pk", None)
    )
    try:
        loading.load(batch, lambda: reading.from_rows(rows), patience=patience)
    except loading.Busy:
        batch.delete()
        raise
    if batch.state == ImportBatch.State.FAILED:
        raise UnreadableFile(batch.error)
    return batch


def told(batch: ImportBatch) -> dict[str, Any]:
    """The counts of a batch."""
    return {
        "read": batch.rows_read,
        "new": batch.rows_new,
        "changed": batch.rows_changed,
        "same": batch.rows_same,
        "bad": batch.rows_bad,
    }


def bad_rows(batch: ImportBatch) -> Iterator[dict[str, Any]]:
    """Refused lines in order: line, columns and reasons (joined), cells as read."""
    current: dict[str, Any] | None = None
    for row in BadRow.objects.filter(batch=batch).order_by("line", "pk").iterator(5000):
        if current is None or current["line"] != row.line:
            if current is not None:
                yield current
            current = {"line": row.line, "columns": [], "reasons": [], "cells": row.raw}
        if row.column:
            current["columns"].append(row.column)
        current["reasons"].append(f"{row.column}: {row.reason}" if row.column else row.reason)
    if current is not None:
        yield current


def bad_rows_file(batch: ImportBatch) -> Iterator[bytes]:
    """The refused rows as CSV: the columns of the file, then why. Mended, it can be loaded as it is.

    UTF-8 with a mark, so that spreadsheets read Chinese; cells that a spreadsheet would take for a formula
    begin with an apostrophe, which loading drops.
    """
    header: list[str] = batch.options.get("header", [])
    kept = [n for n, name in enumerate(header) if name not in reading.RESERVED]
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\r\n")
    yield b"\xef\xbb\xbf"
    writer.writerow([*(_plain(header[n]) for n in kept), *reading.RESERVED])
    for row in bad_rows(batch):
        cells = row["cells"] if len(row["cells"]) == len(header) else _fitted(row["cells"], header)
        writer.writerow(
            [
                *(_plain(cells[n]) for n in kept),
                row["line"],
                ", ".join(row["columns"]),
                _plain("; ".join(row["reasons"])),
            ]
        )
        if line.tell() > 1 << 16:
            yield line.getvalue().encode()
            line.seek(0)
            line.truncate()
    yield line.getvalue().encode()


def remove(batch: ImportBatch, user: Any = None) -> int:
    """Take back what a batch brought; returns how many rows. Raises :class:`ValueError` if it cannot be."""
    kind = import_kinds.get(batch.kind)
    if kind.remove is None:
        raise ValueError(_("What this kind of file brings cannot be taken back."))
    with transaction.atomic():
        locked = ImportBatch.objects.select_for_update().get(pk=batch.pk)
        if locked.state != ImportBatch.State.DONE:
            raise ValueError(_("Only a file that was loaded can be taken back."))
        gone = kind.remove(batch.pk)
        locked.state = ImportBatch.State.REMOVED
        locked.totals = {
            **locked.totals,
            "removed": {"rows": gone, "by": str(user or ""), "at": timezone.now().isoformat()},
        }
        locked.save(update_fields=["state", "totals"])
    batch.refresh_from_db()
    return gone


def discard(batch: ImportBatch) -> None:
    """Forget a file that was never loaded."""
    if batch.state not in (ImportBatch.State.WAITING, ImportBatch.State.FAILED, ImportBatch.State.CANCELLED):
        raise ValueError(_("This file is loaded, or being loaded, already."))
    if batch.path:
        default_storage.delete(batch.path)
    batch.delete()


def forget_old(now: dt.datetime) -> int:
    """Delete uploaded files and bad rows older than :data:`KEPT`: they name people. Returns how many batches."""
    old = ImportBatch.objects.filter(created_at__lt=now - KEPT).exclude(path="")
    for batch in old:
        default_storage.delete(batch.path)
    BadRow.objects.filter(batch__created_at__lt=now - KEPT).delete()
    return old.update(path="")


def _plain(cell: str) -> str:
    return f"'{cell}" if cell[:1] in _FORMULA else cell


def _fitted(cells: Sequence[str], header: Sequence[str]) -> list[str]:
    """Cells of a line that was no row, in as many as the header has; what is too much stays in the last."""
    if len(cells) > len(header):
        return [*cells[: len(header) - 1], ",".join(cells[len(header) - 1 :])]
    return [*cells, *[""] * (len(header) - len(cells))]
