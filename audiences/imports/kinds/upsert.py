"""Rows with a key of their own: new ones are inserted, known ones changed where they differ."""

from collections.abc import Mapping, Sequence

from audiences.imports.staging import Staged


def upsert(
    staged: Staged,
    *,
    table: str,
    key: Sequence[str],
    values: Mapping[str, str],
    changes: Mapping[str, str],
    rows: str = "{rows}",
    row_key: Sequence[str] = (),
) -> dict[str, int]:
    """Insert or change the rows of ``table``; returns new, changed and same.

    ``values``: column → SQL over a row ``r`` for a new one; ``key`` are columns among them. ``changes``:
    column → SQL over ``r`` and the target ``t``; NULL means that the row says nothing. ``row_key``: the key
    as SQL over ``r``, when it is not the ``values`` of it. Of several rows with one key the last line counts
    and the others count as same.
    """
    keys = list(row_key) or [values[name] for name in key]
    staged.table(
        "last",
        f"SELECT DISTINCT ON ({', '.join(keys)}) r.* FROM {rows} r ORDER BY {', '.join(keys)}, r.line DESC",
    )
    total = int(staged.fetch(f"SELECT count(*) FROM {rows} r")[0][0])
    match = " AND ".join(f"t.{name} = {sql}" for name, sql in zip(key, keys, strict=True))
    sets = ", ".join(f"{name} = coalesce({sql}, t.{name})" for name, sql in changes.items())
    differs = " OR ".join(
        f"coalesce({sql}, t.{name}) IS DISTINCT FROM t.{name}" for name, sql in changes.items()
    )
    changed = staged.execute(
        f"UPDATE {table} t SET {sets} FROM {{work:last}} r WHERE {match} AND ({differs})"
    )
    new = staged.execute(
        f"""INSERT INTO {table} ({", ".join(values)}) SELECT {", ".join(values.values())} FROM {{work:last}} r
        WHERE NOT EXISTS (SELECT FROM {table} t WHERE {match})
        ORDER BY r.line ON CONFLICT DO NOTHING"""
    )
    staged.execute("DROP TABLE {work:last}")
    return {"new": new, "changed": changed, "same": total - new - changed}
