"""Two tables per load: ``{raw}`` holds the cells as read, ``{rows}`` the typed values; ``{bad}`` what is wrong.

They are unlogged and made in the load's own transaction, so a load that dies leaves none behind. Those of a call
are temporary: an unlogged table is written to the disk when it is made, which costs more than loading its rows.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from audiences.imports import cells
from audiences.imports.reading import RESERVED, Source
from audiences.models import ImportBatch
from audiences.registers import ImportKind

WORK_MEM = "256MB"  # of one statement's sort or hash, in this transaction only
# Statistics of a call's rows: 1,500 are looked at, not 30,000, which took an eighth of a call.
LOOK_OF_FEW = "5"
_TABLE = re.compile(r"\{(raw|rows|bad)\}|\{work:(\w+)\}")


@dataclass
class Staged:
    """Rows of one load on their way. What a kind's functions are given.

    ``mapping``: our column → position in the file. ``others``: header → position of columns that are none
    of ours. ``options``: what was chosen for the load, such as ``{"zone": "Asia/Shanghai"}``.
    """

    batch: ImportBatch
    kind: ImportKind
    source: Source
    mapping: Mapping[str, int]
    others: Mapping[str, int]
    brand_id: int
    now: dt.datetime
    options: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 1  # the second time, keep others from writing instead of hoping
    counts: dict[str, int] = field(default_factory=dict)  # anything worth telling beside new/changed/same

    @property
    def raw(self) -> str:
        return self.work("raw")

    @property
    def rows(self) -> str:
        return self.work("rows")

    @property
    def bad(self) -> str:
        return self.work("bad")

    def work(self, name: str) -> str:
        """A name for a table of the kind's own, which also goes with the load: ``{work:name}`` in SQL."""
        return f"import_{self.batch.pk}_{name}"

    @property
    def table_kind(self) -> str:
        """How working tables are made: ``CREATE {table_kind} TABLE``. Only unlogged ones are read in parallel."""
        return "TEMPORARY" if self.source.few else "UNLOGGED"

    def has(self, *columns: str) -> bool:
        """Whether the file brings at least one of these columns."""
        return any(column in self.mapping for column in columns)

    def execute(self, sql: str, **params: Any) -> int:
        """Run one statement; returns its row count. ``%`` in it must be written ``%%``."""
        with connection.cursor() as cursor:
            cursor.execute(self.sql(sql), self.params(params))
            return cursor.rowcount

    def fetch(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """The rows of one query."""
        with connection.cursor() as cursor:
            cursor.execute(self.sql(sql), self.params(params))
            return cursor.fetchall()

    def table(self, name: str, sql: str, index: str = "", **params: Any) -> int:
        """Make the working table ``{work:name}`` from a query and analyse it; returns its row count."""
        made = self.execute(f"CREATE {self.table_kind} TABLE {self.work(name)} AS {sql}", **params)
        if index:
            self.execute(f"CREATE INDEX ON {self.work(name)} ({index})")
        self.execute(f"ANALYZE {self.work(name)}")
        return made

    def refuse(self, column: str, reason: Any, where: str, *, value: str = "NULL", **params: Any) -> int:
        """Refuse the rows ``r`` of ``{rows}`` that meet a condition; returns how many.

        ``value``: SQL of what to show beside the reason; by default the cell as it was read.
        """
        if value == "NULL" and column in self.mapping:
            value = f"(SELECT {self.cell(column)} FROM {{raw}} x WHERE x.line = r.line)"
        return self.execute(
            f"INSERT INTO {{bad}} SELECT r.line, %(_column)s, coalesce(({value})::text, ''), %(_reason)s "
            f"FROM {{rows}} r WHERE {where}",
            _column=column,
            _reason=str(reason),
            **params,
        )

    def take_out(self) -> None:
        """Take the lines refused so far out of ``{rows}``."""
        self.execute("DELETE FROM {rows} r WHERE EXISTS (SELECT FROM {bad} b WHERE b.line = r.line)")

    def cell(self, column: str, alias: str = "x") -> str:
        """The SQL of the raw cell of one of our columns."""
        return f"{alias}.c{self.mapping[column]}"

    def sql(self, text: str) -> str:
        """Fill in the names of the tables."""
        return _TABLE.sub(lambda found: self.work(found[1] or found[2]), text)

    def params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"batch": self.batch.pk, "brand": self.brand_id, "now": self.now, **params}


def make(staged: Staged, zone: str) -> None:
    """Copy the source into ``{raw}``, type it into ``{rows}``; ``broken`` marks rows with a cell to look at.

    ``zone`` is that of times written without one.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('work_mem', %s, true)", [WORK_MEM])
        if staged.source.few:
            cursor.execute("SELECT set_config('default_statistics_target', %s, true)", [LOOK_OF_FEW])
    _copy(staged)
    with connection.cursor() as cursor:
        # Set back at once: Django takes every time it reads for one in the connection's zone.
        cursor.execute("SELECT current_setting('timezone'), set_config('timezone', %s, true)", [zone])
        before = cursor.fetchone()[0]
        _type(staged)
        cursor.execute("SELECT set_config('timezone', %s, true)", [before])
    staged.execute("ANALYZE {rows}")


def read_back(staged: Staged) -> list[str]:
    """The header of the file, without the columns a file of bad rows adds."""
    return [name for name in staged.source.header if name not in RESERVED]


def drop(staged: Staged) -> None:
    """Remove every table of this load."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE %s AND relnamespace IN "
            "(current_schema()::regnamespace, pg_my_temp_schema())",
            [f"import\\_{staged.batch.pk}\\_%"],
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f'DROP TABLE "{name}"')


def _copy(staged: Staged) -> None:
    names = ", ".join(f"c{n}" for n in range(len(staged.source.header)))
    with connection.cursor() as cursor:
        columns = ", ".join(f"c{n} text" for n in range(len(staged.source.header)))
        cursor.execute(f"CREATE {staged.table_kind} TABLE {staged.raw} (line bigint, {columns})")
        cursor.execute(
            f"CREATE {staged.table_kind} TABLE {staged.bad}"
            " (line bigint, column_name text, value text, reason text)"
        )
        with cursor.copy(f"COPY {staged.raw} (line, {names}) FROM STDIN") as copy:  # type: ignore[attr-defined]
            for block in staged.source.blocks():
                copy.write(block)
        if staged.source.unread:
            cursor.executemany(
                f"INSERT INTO {staged.bad} VALUES (%s, '', %s, %s)",
                [
                    (one.line, staged.source.delimiter.join(one.cells)[:200], one.reason)
                    for one in staged.source.unread
                ],
            )
        cursor.execute(f"ANALYZE {staged.raw}")


def _type(staged: Staged) -> None:
    """One pass over the raw cells: values, and whether any cell or required value is wanting.

    OFFSET 0 keeps the levels apart: flattened, each cell was trimmed and matched four times, and the
    statement took 8.1 s for a million rows of 8 columns instead of 2.6 s. It still runs in parallel.
    """
    trims, values, names, wanting = ["x.line"], ["t.line"], ["line"], []
    for column in staged.kind.columns:
        names.append(column.name)
        if column.name not in staged.mapping:
            values.append(f"NULL::{cells.TYPES[column.kind]} AS {column.name}")
            if column.required:
                wanting.append("true")
            continue
        trimmed = f"t{staged.mapping[column.name]}"
        trims.append(f"{cells.trimmed(staged.cell(column.name))} AS {trimmed}")
        values += [
            f"({cells.value(column, f't.{trimmed}')})::{cells.TYPES[column.kind]} AS {column.name}",
            f"t.{trimmed}",
        ]
        if column.required:
            wanting.append(f"{column.name} IS NULL")
        elif not cells.never_bad(column):
            wanting.append(f"({trimmed} IS NOT NULL AND {column.name} IS NULL)")
    if staged.kind.takes_other_columns:
        trims += [f"{cells.trimmed(f'x.c{n}')} AS t{n}" for n in staged.others.values()]
        values.append(f"{_extra(staged.others)} AS extra")
        names.append("extra")
    staged.execute(
        f"""CREATE {staged.table_kind} TABLE {{rows}} AS
        SELECT {", ".join(names)}, ({" OR ".join(wanting) or "false"}) AS broken
        FROM (SELECT {", ".join(values)} FROM (SELECT {", ".join(trims)} FROM {{raw}} x OFFSET 0) t OFFSET 0) v"""
    )


def _extra(others: Mapping[str, int]) -> str:
    """Columns that are none of ours, as a JSON object without the empty ones; NULL when there are none."""
    if not others:
        return "NULL::jsonb"
    pairs: Sequence[str] = [f"{cells.literal(name)}, t.t{n}" for name, n in others.items()]
    # A function takes 100 arguments at most.
    parts = [f"jsonb_build_object({', '.join(pairs[n : n + 50])})" for n in range(0, len(pairs), 50)]
    return f"nullif(jsonb_strip_nulls({' || '.join(parts)}), '{{}}'::jsonb)"
