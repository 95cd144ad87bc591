"""Helpers of the import tests: files as bytes, loaded as the command does."""

import io
from typing import Any

from audiences.imports import batches
from audiences.models import ImportBatch


def load(
    kind: str, data: str | bytes, name: str = "file.csv", mapping: Any = None, **options: Any
) -> ImportBatch:
    content = data.encode() if isinstance(data, str) else data
    return batches.load_file(kind, name, io.BytesIO(content), mapping=mapping or {}, options=options)


def counts(batch: ImportBatch) -> tuple[int, int, int, int]:
    """New, changed, same, bad; a batch that failed tells why instead."""
    assert batch.state == ImportBatch.State.DONE, batch.error
    assert batch.rows_read == batch.rows_new + batch.rows_changed + batch.rows_same + batch.rows_bad
    return batch.rows_new, batch.rows_changed, batch.rows_same, batch.rows_bad


def bad(batch: ImportBatch) -> list[tuple[int, str, str]]:
    """(line, column, beginning of the reason) of every refused cell."""
    return [
        (line, column, reason.split(";")[0][:40])
        for line, column, reason in batch.bad_rows.order_by("line", "pk").values_list(
            "line", "column", "reason"
        )
    ]
