"""COPY in binary, between tables and numpy arrays: no row ever becomes a Python object.

Values are of fixed width: integers, floats, booleans, moments (microseconds since 2000-01-01 UTC), and texts
that are equal in a whole block of rows.
"""

import struct
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, cast

import numpy as np
from django.db import connection
from numpy.typing import NDArray
from psycopg import sql

HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack("!ii", 0, 0)
TRAILER = struct.pack("!h", -1)
EPOCH = 946_684_800  # 2000-01-01 UTC in Unix seconds
PIECE = 1 << 20  # bytes handed to the server at once


def fetch(statement: str, columns: Sequence[tuple[str, str]]) -> NDArray[Any]:
    """The rows of a query (literals inside) as a structured array.

    ``columns`` are (name, numpy type such as ``i8``). Raises :class:`ValueError` when a value is NULL.
    """
    wire = [("fields", ">i2")]
    for name, kind in columns:
        wire += [(f"{name}!", ">i4"), (name, f">{kind}")]
    row = np.dtype(wire)
    with connection.cursor() as cursor:
        with cast(Any, cursor).copy(f"COPY ({statement}) TO STDOUT (FORMAT BINARY)") as copy:
            data = bytearray()
            for piece in copy:
                data += piece
    count = (len(data) - len(HEADER) - len(TRAILER)) // row.itemsize
    if len(data) != len(HEADER) + len(TRAILER) + count * row.itemsize:
        raise ValueError("a column is NULL or wider than declared")
    rows = np.frombuffer(data, dtype=row, count=count, offset=len(HEADER))
    found = np.empty(count, dtype=[(name, f"={kind}") for name, kind in columns])
    for name, _kind in columns:
        found[name] = rows[name]
    return found


def moment(seconds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Unix seconds as the server keeps a moment."""
    return (seconds - EPOCH) * 1_000_000


def numeric(value: Decimal) -> bytes:
    """A number as the server's ``numeric``: digits of base 10,000."""
    sign, digits, exponent = value.as_tuple()
    scale = max(0, -cast(int, exponent))
    whole = "".join(map(str, digits)) + "0" * max(0, cast(int, exponent))
    whole = whole.rjust(scale + 1, "0")
    left, right = (whole[:-scale], whole[-scale:]) if scale else (whole, "")
    left = left.rjust(-(-len(left) // 4) * 4, "0")
    right = right.ljust(-(-len(right) // 4) * 4, "0")
    groups = [int((left + right)[n : n + 4]) for n in range(0, len(left + right), 4)]
    weight = len(left) // 4 - 1
    while groups and groups[0] == 0:
        groups.pop(0)
        weight -= 1
    while groups and groups[-1] == 0:
        groups.pop()
    if not groups:
        weight = 0
    return struct.pack(f"!hhHh{len(groups)}h", len(groups), weight, 0x4000 if sign else 0, scale, *groups)


def text(value: str) -> bytes:
    return value.encode()


# A column of a block: an array of one value a row, bytes that hold for every row, or None (NULL).
Column = NDArray[Any] | bytes | None


def block(columns: Sequence[Column]) -> NDArray[np.uint8]:
    """Rows in the wire format, as an array of bytes: rows × row length."""
    count = next((len(column) for column in columns if isinstance(column, np.ndarray)), 0)
    head = struct.pack("!h", len(columns))
    parts: list[tuple[int, bytes | NDArray[np.uint8]]] = [(0, head)]
    width = len(head)
    for column in columns:
        if column is None:
            parts.append((width, struct.pack("!i", -1)))
            width += 4
        elif isinstance(column, bytes):
            parts.append((width, struct.pack("!i", len(column)) + column))
            width += 4 + len(column)
        else:
            size = column.dtype.itemsize
            parts.append((width, struct.pack("!i", size)))
            swapped = np.ascontiguousarray(column.astype(column.dtype.newbyteorder(">"), copy=False))
            parts.append((width + 4, swapped.view(np.uint8).reshape(count, size)))
            width += 4 + size
    rows = np.empty((count, width), dtype=np.uint8)
    for offset, part in parts:
        if isinstance(part, bytes):
            rows[:, offset : offset + len(part)] = np.frombuffer(part, dtype=np.uint8)
        else:
            rows[:, offset : offset + part.shape[1]] = part
    return rows


def load(table: str, columns: Sequence[str], blocks: Iterable[NDArray[np.uint8]]) -> int:
    """Copy blocks of rows into a table; how many rows."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    count = 0
    with connection.cursor() as cursor:
        with cast(Any, cursor).copy(statement) as copy:
            copy.write(HEADER)
            for rows in blocks:
                count += len(rows)
                flat = memoryview(cast(Any, rows)).cast("B") if rows.size else memoryview(b"")
                for start in range(0, len(flat), PIECE):
                    copy.write(flat[start : start + PIECE])
            copy.write(TRAILER)
    return count
