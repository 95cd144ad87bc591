"""A file of customers with three identities each, against a bare COPY of it into a table with three unique indexes.

The floor is COPY … (FORMAT csv) of the whole file into one table of text columns with a unique index on phone,
on e-mail and on member number, committed. Ours reads, checks and types every cell, resolves each identity,
and writes customers, contact states and identities. Three loads: into an empty installation, the same file
again (nothing may change), and as many new customers beside them.
"""

import random
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from django.db import connection, transaction

from audiences.imports import batches
from audiences.models import ImportBatch

HEADER = "name,phone,email,member_number,city,gender,birth_date,stage\n"
FLOOR = (
    "DROP TABLE IF EXISTS floor",
    "CREATE TABLE floor (name text, phone text, email text, member_number text, city text, gender text, "
    "birth_date text, stage text)",
    *(f"CREATE UNIQUE INDEX ON floor ({column})" for column in ("phone", "email", "member_number")),
)
# The ledger's own triggers refuse that anybody empties it, even when there is nothing in it.
EMPTY = (
    "SET session_replication_role = replica",
    "TRUNCATE audiences_customer, audiences_importbatch RESTART IDENTITY CASCADE",
    "SET session_replication_role = origin",
)
CITIES = ("上海", "北京", "广州", "成都", "杭州")


def run(*, customers: int = 1_000_000, rounds: int = 3) -> dict[str, Any]:
    """Seconds and ratios, medians of ``rounds``; each round measures the floor again."""
    with tempfile.TemporaryDirectory() as folder:
        first, more = Path(folder, "first.csv"), Path(folder, "more.csv")
        _write(first, 0, customers)
        _write(more, customers, customers)
        taken: dict[str, list[float]] = {"floor": [], "first": [], "again": [], "more": []}
        for _round in range(rounds):
            with connection.cursor() as cursor:
                for statement in EMPTY:
                    cursor.execute(statement)
            taken["floor"].append(_floor(first))
            for name, file, wanted in (
                ("first", first, (customers, 0, 0)),
                ("again", first, (0, 0, customers)),
                ("more", more, (customers, 0, 0)),
            ):
                seconds, counts = _load(file)
                assert counts == wanted, (name, counts, wanted)
                taken[name].append(seconds)
        size = first.stat().st_size
    seconds = {f"{name}_s": round(median(values), 2) for name, values in taken.items()}
    ratios = {
        f"{name}_ratio": round(median(a / b for a, b in zip(taken[name], taken["floor"], strict=True)), 2)
        for name in ("first", "again", "more")
    }
    return {
        "customers": customers,
        "mb": round(size / 1e6, 1),
        "rounds": rounds,
        **seconds,
        **ratios,
        "first_per_s": round(customers / median(taken["first"])),
        "reach": "first_ratio <= 3",
        "reached": ratios["first_ratio"] <= 3,
    }


def _write(path: Path, start: int, n: int) -> None:
    """Phones and e-mails in no order, member numbers in order, as an export has them."""
    order = list(range(start, start + n))
    random.Random(1).shuffle(order)
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        for line, k in enumerate(order, start):
            file.write(
                f"客户{k},1{30 + k // 10**8:02d}{k % 10**8:08d},u{k}@example.com,M{line:09d},{CITIES[k % 5]},"
                f"{'female' if k % 2 else 'male'},19{60 + k % 40}-0{k % 9 + 1}-{k % 28 + 1:02d},member\n"
            )


def _floor(path: Path) -> float:
    with connection.cursor() as cursor:
        for statement in FLOOR:
            cursor.execute(statement)
        cursor.execute("CHECKPOINT")
        began = time.perf_counter()
        with transaction.atomic(), path.open("rb") as file:
            with cursor.copy("COPY floor FROM STDIN (FORMAT csv, HEADER)") as copy:
                while chunk := file.read(1 << 20):
                    copy.write(chunk)
        seconds = time.perf_counter() - began
        cursor.execute("DROP TABLE floor")
    return seconds


def _load(path: Path) -> tuple[float, tuple[int, int, int]]:
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
    with path.open("rb") as file:
        began = time.perf_counter()
        batch = batches.load_file("customers", path.name, file, mapping={}, options={})
        seconds = time.perf_counter() - began
    assert batch.state == ImportBatch.State.DONE, batch.error
    assert batch.rows_bad == 0
    return seconds, (batch.rows_new, batch.rows_changed, batch.rows_same)
