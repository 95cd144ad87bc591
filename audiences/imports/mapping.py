"""Which column of a file is which of ours: recognised by its header, or told by the user."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from audiences.imports.reading import RESERVED, UnreadableFile
from audiences.registers import ImportColumn, ImportKind

IGNORE = "-"
"""In a mapping, ``{"city": "-"}``: leave our column empty whatever the header says."""
_FILLING = re.compile(r"[\s_\-()（）:：*#]+")


@dataclass(frozen=True, slots=True)
class Recognised:
    """Our columns → positions; the other headers → positions."""

    mapping: dict[str, int]
    others: dict[str, int]


def recognise(kind: ImportKind, header: Sequence[str]) -> dict[str, str]:
    """Our column → header, for the headers that name one of our columns in any of its ways."""
    known: dict[str, str] = {}
    for column in kind.columns:
        for name in names(column):
            known.setdefault(_plain(name), column.name)
    own = {column.name for column in kind.columns}
    found: dict[str, str] = {}
    for name in sorted(header, key=lambda name: name not in own):  # our own names before other words for them
        ours = known.get(_plain(name))
        if ours is not None and ours not in found and name not in RESERVED:
            found[ours] = name
    return found


def names(column: ImportColumn) -> list[str]:
    """What a header may say for a column."""
    return [column.name, str(column.label), *column.aliases]


def place(kind: ImportKind, header: Sequence[str], mapping: Mapping[str, str]) -> Recognised:
    """Positions by what the user said, then by what is recognised. Raises :class:`UnreadableFile`.

    ``mapping``: our column → header. A header that is mapped serves nothing else.
    """
    ours = {column.name for column in kind.columns}
    if unknown := sorted(set(mapping) - ours):
        raise UnreadableFile(
            _("%(columns)s: no such column. Known: %(known)s.")
            % {"columns": ", ".join(unknown), "known": ", ".join(column.name for column in kind.columns)}
        )
    told = {column: name for column, name in mapping.items() if name and name != IGNORE}
    if missing := sorted(name for name in told.values() if name not in header):
        raise UnreadableFile(
            _("The file has no column %(columns)s. Its columns: %(header)s.")
            % {"columns": ", ".join(missing), "header": ", ".join(header)}
        )
    found = {
        column: name
        for column, name in recognise(kind, header).items()
        if column not in mapping and name not in told.values()
    } | told
    missing = [column.name for column in kind.columns if column.required and column.name not in found]
    if missing:
        raise UnreadableFile(
            _("The file has no column for %(columns)s. Its columns: %(header)s. Say which is which.")
            % {"columns": ", ".join(missing), "header": ", ".join(header)}
        )
    position = {name: n for n, name in enumerate(header)}
    ignored = {name for column, name in recognise(kind, header).items() if mapping.get(column) == IGNORE}
    return Recognised(
        {column: position[name] for column, name in found.items()},
        {
            name: n
            for name, n in position.items()
            if name not in found.values() and name not in RESERVED and name not in ignored
        },
    )


def _plain(name: str) -> str:
    return _FILLING.sub("", name.strip().lower())
