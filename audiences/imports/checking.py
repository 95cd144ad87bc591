"""Which rows are bad, and why: for every cell that cannot be read, in SQL over the whole load."""

from django.utils.translation import gettext as _

from audiences import identity
from audiences.imports import cells
from audiences.imports.staging import Staged
from audiences.registers import ImportColumn


def check(staged: Staged) -> int:
    """Fill ``{bad}`` and take the refused lines out of ``{rows}``; returns how many lines were refused."""
    for column in staged.kind.columns:
        if column.kind == "phone" and column.name in staged.mapping:
            _other_phones(staged, column)
    _cells(staged)
    staged.execute("ANALYZE {bad}")
    if staged.kind.check:
        # What cannot be read is out of the way first, so that a kind need not ask.
        staged.take_out()
        staged.kind.check(staged)
    staged.take_out()
    return int(staged.fetch("SELECT count(DISTINCT line) FROM {bad}")[0][0])


def _other_phones(staged: Staged, column: ImportColumn) -> None:
    """Landlines and numbers of other countries: each distinct one is looked at once, in Python."""
    cell = cells.trimmed(staged.cell(column.name))
    found = staged.fetch(
        f"SELECT DISTINCT {cell} FROM {{rows}} r JOIN {{raw}} x USING (line) "
        f"WHERE r.broken AND r.{column.name} IS NULL AND {cell} IS NOT NULL"
    )
    good: dict[str, str] = {}
    for (raw,) in found:
        try:
            good[raw] = identity.phone(raw)
        except ValueError:
            continue
    if good:
        staged.execute(
            f"UPDATE {{rows}} r SET {column.name} = n.number FROM {{raw}} x, "
            f"unnest(%(raws)s::text[], %(numbers)s::text[]) AS n(raw, number) "
            f"WHERE x.line = r.line AND r.broken AND r.{column.name} IS NULL AND {cell} = n.raw",
            raws=list(good),
            numbers=list(good.values()),
        )


def _cells(staged: Staged) -> None:
    """Cells that have no value of their column's kind, and required ones that are missing."""
    wrong: list[str] = []
    reasons: dict[str, str] = {"missing": _("missing")}
    for n, column in enumerate(staged.kind.columns):
        if column.name not in staged.mapping:
            if column.required:
                wrong.append(f"('{column.name}', NULL::text, true, %(missing)s)")
            continue
        cell = cells.trimmed(staged.cell(column.name))
        reasons[f"reason{n}"] = cells.reason(column)
        wrong.append(
            f"('{column.name}', {cell}, r.{column.name} IS NULL AND {cell} IS NOT NULL, %(reason{n})s)"
        )
        if column.required:
            wrong.append(f"('{column.name}', NULL, {cell} IS NULL, %(missing)s)")
    if wrong:
        staged.execute(
            "INSERT INTO {bad} SELECT r.line, w.column_name, coalesce(w.value, ''), w.reason "
            "FROM {rows} r JOIN {raw} x USING (line) "
            f"CROSS JOIN LATERAL (VALUES {', '.join(wrong)}) AS w(column_name, value, is_wrong, reason) "
            "WHERE r.broken AND w.is_wrong",
            **reasons,
        )
