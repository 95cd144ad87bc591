"""One load, from a source to the rows of its kind, in one transaction.

Loads of one kind go one after the other (an advisory lock), so that a file sent twice at once is loaded
once and found unchanged once; kinds whose rows are only added, each by its key, need not wait. A load that
meets somebody else's writes in its way (a deadlock, an identity told by a response meanwhile) begins again
from the start.
"""

import hashlib
import logging
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from psycopg.errors import DeadlockDetected, LockNotAvailable, QueryCanceled, SerializationFailure

from audiences.brands import brand_by_code, default_brand
from audiences.imports import checking, staging
from audiences.imports.mapping import Recognised, place
from audiences.imports.reading import GZIP_FAULTS, RESERVED, Source, UnreadableFile
from audiences.imports.staging import Staged
from audiences.jobs import Cancelled, LeaseLost
from audiences.models import BadRow, ImportBatch
from audiences.registers import import_kinds

logger = logging.getLogger(__name__)

TRIES = 3
KEPT_BAD_ROWS = 1_000_000
Report = Callable[[int, int, str], None]


class Interfered(Exception):
    """Somebody else's writes came between; the load must begin again."""


class Busy(Exception):
    """Another load of the kind is running, and the caller would not wait."""


def load(
    batch: ImportBatch,
    reopen: Callable[[], Source],
    report: Report = lambda done, total, step: None,
    *,
    patience: float | None = None,
) -> ImportBatch:
    """Load a batch. Returns it done, or failed with ``error`` saying why; never half.

    ``reopen`` gives the source, again for each try. ``patience``: seconds to wait for another load of the
    kind before :class:`Busy` is raised (default: as long as it takes). Other errors than a file that cannot
    be read, and :class:`Cancelled` of a job, pass through with the batch failed.
    """
    for attempt in range(1, TRIES + 1):
        try:
            with transaction.atomic():
                _load(batch, reopen(), report, patience, attempt)
            return batch
        except (UnreadableFile, *GZIP_FAULTS) as error:
            return _failed(batch, _told(error))
        except LeaseLost:
            raise
        except Cancelled:
            _ended(batch, ImportBatch.State.CANCELLED, "")
            raise
        except Interfered:
            if attempt == TRIES:
                _failed(batch, _("Other work changed the same customers meanwhile. Load the file again."))
                raise
        except OperationalError as error:
            cause = error.__cause__
            if isinstance(cause, LockNotAvailable) and patience is not None:
                raise Busy from error
            if isinstance(cause, QueryCanceled):  # somebody pressed Cancel
                _ended(batch, ImportBatch.State.CANCELLED, "")
                raise
            if not isinstance(cause, DeadlockDetected | SerializationFailure) or attempt == TRIES:
                _failed(batch, _("The database could not do it: %(error)s") % {"error": error})
                raise
        except Exception:
            _failed(
                batch, _("The load was stopped by an error; nothing of it was kept. See the server's log.")
            )
            raise
        logger.warning("Import %s begins again: other work came between.", batch.pk)
        batch.refresh_from_db()
    raise AssertionError("unreachable")


def _load(batch: ImportBatch, source: Source, report: Report, patience: float | None, attempt: int) -> None:
    kind = import_kinds.get(batch.kind)
    found: Recognised = place(kind, source.header, batch.mapping)
    code = batch.options.get("brand")
    staged = Staged(
        batch=batch,
        kind=kind,
        source=source,
        mapping=found.mapping,
        others={name: n for name, n in found.others.items() if name not in RESERVED},
        brand_id=(brand_by_code(code) if code else default_brand()).pk,
        now=timezone.now(),
        options=batch.options,
        attempt=attempt,
    )
    batch.state, batch.sha256, batch.size = ImportBatch.State.RUNNING, source.sha256, source.size
    batch.options = {**batch.options, "header": source.header}
    staging.drop(staged)
    report(0, 4, _("Reading the file"))
    staging.make(staged, batch.options.get("zone") or settings.TIME_ZONE)
    report(1, 4, _("Checking %(n)s rows") % {"n": f"{source.rows_seen:,}"})
    read = _sums(staged)
    if (
        kind.alone
    ):  # from here on rows are compared with what is stored: no other load of the kind may come between
        _alone(batch.kind, patience)
    batch.rows_bad = checking.check(staged)
    batch.rows_read = source.rows_seen + len(source.unread)
    report(2, 4, _("Loading %(n)s good rows") % {"n": f"{batch.rows_read - batch.rows_bad:,}"})
    if batch.rows_bad:
        staged.execute("ANALYZE {rows}")
    good = _sums(staged)
    counts = kind.load(staged)
    report(3, 4, _("Counting"))
    batch.rows_new, batch.rows_changed, batch.rows_same = (
        counts.get(n, 0) for n in ("new", "changed", "same")
    )
    stored = kind.stored(staged) if kind.stored and read else {}
    batch.totals = {
        "sums": {
            name: {
                "read": str(read[name]),
                "refused": str(read[name] - good[name]),
                "stored": _text(stored.get(name)),
            }
            for name in kind.sums
            if name in staged.mapping
        },
        "counts": staged.counts,
        "others": list(staged.others) if kind.takes_other_columns else [],
    }
    _keep_bad_rows(staged)
    staging.drop(staged)
    batch.state, batch.error, batch.finished_at = ImportBatch.State.DONE, "", timezone.now()
    batch.save()
    report(4, 4, _("Done"))


def _alone(kind: str, patience: float | None) -> None:
    number = int.from_bytes(hashlib.sha256(f"import|{kind}".encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        if patience is not None:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{int(patience * 1000)}ms"])
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
        if patience is not None:
            cursor.execute("SELECT set_config('lock_timeout', '0', true)")


def _sums(staged: Staged) -> dict[str, Any]:
    """Totals of the amount columns over the rows that are there now."""
    names = [name for name in staged.kind.sums if name in staged.mapping]
    if not names:
        return {}
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in names)
    return dict(zip(names, staged.fetch(f"SELECT {sums} FROM {{rows}}")[0], strict=True))


def _keep_bad_rows(staged: Staged) -> None:
    """Bad rows with the cells as they were read, so that the file can be mended."""
    cells = ", ".join(f"x.c{n}" for n in range(len(staged.source.header)))
    staged.execute("DELETE FROM audiences_badrow WHERE batch_id = %(batch)s")
    staged.execute(
        f"""
        INSERT INTO audiences_badrow (batch_id, line, "column", value, reason, raw)
        SELECT %(batch)s, b.line, left(b.column_name, 80), left(b.value, 1000), left(b.reason, 254),
            coalesce(to_jsonb(ARRAY[{cells}]), '[]')
        FROM {{bad}} b LEFT JOIN {{raw}} x USING (line)
        ORDER BY b.line LIMIT %(limit)s
        """,
        limit=KEPT_BAD_ROWS,
    )
    unread = {one.line: one.cells for one in staged.source.unread}
    if unread:
        rows = list(BadRow.objects.filter(batch=staged.batch, line__in=unread, column=""))
        for row in rows:
            row.raw = unread[row.line]
        BadRow.objects.bulk_update(rows, ["raw"], batch_size=5000)


def _failed(batch: ImportBatch, error: str) -> ImportBatch:
    return _ended(batch, ImportBatch.State.FAILED, error)


def _ended(batch: ImportBatch, state: ImportBatch.State, error: str) -> ImportBatch:
    """Record an end that is not the good one, on the row as it was before the load."""
    batch.refresh_from_db()
    batch.state, batch.error, batch.finished_at = state, error, timezone.now()
    batch.save(update_fields=["state", "error", "finished_at"])
    return batch


def _told(error: Exception) -> str:
    if isinstance(error, UnreadableFile):
        return str(error)
    return _("The compressed file is damaged: %(error)s. Pack it again.") % {"error": error}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
