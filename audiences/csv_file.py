"""CSV files a spreadsheet opens as they are: UTF-8 with BOM, no cell that a program would run."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from django.http import StreamingHttpResponse
from django.utils import timezone

DANGEROUS = ("=", "+", "-", "@", "\t", "\r")


def cell(value: Any) -> str:
    """As text; what begins like a formula is prefixed with an apostrophe, numbers are left alone."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return timezone.localtime(value).isoformat(timespec="seconds")
    text = str(value)
    if isinstance(value, str) and text.startswith(DANGEROUS):
        return f"'{text}"
    return text


class _Echo:
    def write(self, text: str) -> str:
        return text


def lines(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The file, line by line."""
    writer = csv.writer(_Echo())  # type: ignore[type-var]
    yield "\ufeff"
    yield writer.writerow([str(name) for name in header])  # type: ignore[misc]
    for row in rows:
        yield writer.writerow([cell(value) for value in row])  # type: ignore[misc]


def csv_response(name: str, header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> StreamingHttpResponse:
    """A download that never holds the whole file."""
    response = StreamingHttpResponse(lines(header, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
