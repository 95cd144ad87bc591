"""A file, or rows of JSON, as lines for COPY; what is not even a row is told apart with its line.

A ``.csv`` (any common encoding and delimiter), a ``.csv.gz`` or an ``.xlsx``. Plain lines without quotes
are turned into COPY text by whole blocks; the csv module reads the others. A quote that is never closed
costs its own line only.
"""

import csv
import datetime as dt
import gzip
import hashlib
import io
import json
import re
import zipfile
import zlib
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

from django.utils.translation import gettext as _
from python_calamine import CalamineError, CalamineWorkbook

BLOCK = 1 << 20  # characters read at once
MAX_COLUMNS = 500
MAX_CELL = 131_072  # characters; the csv module's own limit
MAX_UNREAD = 100_000  # lines that are no rows, after which the file is not what it claims to be
MAX_REPAIRS = 2_000  # quotes never closed; each costs reading up to MAX_CELL characters again
MAX_UNPACKED = 4 << 30  # bytes of a .csv.gz
MAX_WORKBOOK = 60 << 20  # bytes of an .xlsx, and
MAX_WORKBOOK_UNPACKED = 1 << 30  # of what is inside it
DELIMITERS = ",\t;|"
RESERVED = ("import_line", "import_column", "import_error")
"""Headers that the file of bad rows adds; dropped when it is loaded again."""

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
UNREADABLE = "\ufffd"
_ODD = re.compile(f"[\"\\\\\r\0{UNREADABLE}]|'[=+\\-@]")


class UnreadableFile(ValueError):
    """The file as a whole cannot be read; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A line that is no row of the table: its number, why, and its cells as far as they were read."""

    line: int
    reason: str
    cells: list[str]


@dataclass
class Source:
    """Something with a header and rows. ``blocks`` may be run through once.

    ``blocks`` gives COPY text: the line number, then the cells, separated by tabs. The header is line 1
    (in JSON rows, the first row is line 1). Lines that are no rows are added to ``unread`` meanwhile.
    """

    header: list[str]
    encoding: str = ""
    delimiter: str = ""
    sha256: str = ""
    size: int = 0
    unread: list[Unread] = field(default_factory=list)
    rows_seen: int = 0

    @property
    def encoding_name(self) -> str:
        """What people call the encoding."""
        return {"utf-8-sig": "UTF-8", "gb18030": "GB 18030", "utf-16": "UTF-16"}.get(
            self.encoding, self.encoding
        )

    @property
    def few(self) -> bool:
        """Whether the rows are those of one call, and so no more than :data:`LARGEST_CALL` of batches."""
        return False

    def blocks(self) -> Iterator[str]:
        raise NotImplementedError

    def sample(self, n: int) -> list[list[str]]:
        """The first n rows, for a preview. Call it instead of ``blocks``, not before it."""
        found: list[list[str]] = []
        for block in self.blocks():
            for line in block.split("\n"):
                if line and len(found) < n:
                    found.append([_unescape(cell) for cell in line.split("\t")[1:]])
            if len(found) >= n:
                break
        return found

    def _refuse(self, line: int, reason: str, cells: Sequence[str]) -> None:
        self.unread.append(Unread(line, reason, list(cells)))
        if len(self.unread) > MAX_UNREAD:
            raise UnreadableFile(
                _(
                    "More than %(n)s lines do not fit the header. "
                    "Is it the right file, and is its delimiter one of , ; | or tab?"
                )
                % {"n": f"{MAX_UNREAD:,}"}
            )

    def _line(self, line: int, cells: list[str]) -> str | None:
        """COPY text of one row; None if it is blank or no row."""
        text = "\t".join(cells)
        if not text.strip():
            return None
        if len(cells) != len(self.header):
            self._refuse(
                line,
                _("has %(found)s cells where the header has %(wanted)s")
                % {"found": len(cells), "wanted": len(self.header)},
                cells,
            )
            return None
        # Most rows hold nothing that COPY would take for its own: seen at once over the whole row.
        if text.count("\t") >= len(cells) or _MARKED.search(text):
            text = "\t".join(map(_escape, cells))
        if UNREADABLE in text or "\0" in text:
            self._refuse(
                line,
                _("has characters that cannot be read"),
                [cell.replace("\0", UNREADABLE) for cell in cells],
            )
            return None
        self.rows_seen += 1
        return f"{line}\t{text}\n"


def open_file(file: IO[bytes], name: str) -> Source:
    """Look at a file and read its header. Raises :class:`UnreadableFile`."""
    sha256, size = _fingerprint(file)
    if not size:
        raise UnreadableFile(_("The file is empty."))
    head = file.read(8)
    file.seek(0)
    if head.startswith(b"PK\x03\x04") or name.lower().endswith((".xlsx", ".xlsm")):
        return _Workbook(*_sheet(file, size), sha256=sha256, size=size)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise UnreadableFile(_("This is an old Excel file (.xls). Save it as .xlsx or CSV."))
    if head.startswith(b"\x1f\x8b"):
        file = _Unpacked(file)  # type: ignore[assignment]
    return _text(file, sha256, size)


def from_rows(rows: Sequence[Mapping[str, Any]]) -> Source:
    """Rows of an API call. Raises :class:`UnreadableFile` when they are not objects."""
    header: dict[str, None] = {}
    forms: set[tuple[Any, ...]] = set()  # most rows of a call have the same keys
    for n, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise UnreadableFile(_("Row %(n)s is not an object.") % {"n": n})
        if (form := tuple(row)) not in forms:
            forms.add(form)
            header.update(dict.fromkeys(map(str, row)))
    if not header:
        raise UnreadableFile(_("There are no rows."))
    return _Rows(_named(list(header)), rows=rows)


# Text ------------------------------------------------------------------------------------------


def _text(file: IO[bytes], sha256: str, size: int) -> Source:
    encoding, exact = _encoding(file)
    stream = _Characters(file, encoding=encoding, errors="strict" if exact else "replace", newline="")
    first = ""
    before = 0
    while not first.strip(" ,;|\t\r\n"):
        line = stream.readline(MAX_CELL)
        if not line:
            raise UnreadableFile(_("The file has no header line."))
        first, before = line, before + 1
    if first.count('"') % 2:  # a header cell that goes over a line
        more = stream.readline(MAX_CELL)
        first, before = first + more, before + 1
    delimiter = max(DELIMITERS, key=_outside_quotes(first).count)
    try:
        header = next(csv.reader(io.StringIO(first, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UnreadableFile(_("The header line cannot be read: %(error)s.") % {"error": error}) from None
    return _Text(_named(header), encoding, delimiter, sha256, size, stream=stream, first_line=before + 1)


@dataclass
class _Text(Source):
    stream: Any = None
    first_line: int = 2
    repairs: int = 0

    def blocks(self) -> Iterator[str]:
        line = self.first_line
        while lines := self.stream.readlines(BLOCK):
            text = "".join(lines)
            if "\r\n" in text and not self._odd(plain := text.replace("\r\n", "\n")):
                text, lines = plain, _split(plain)
            block, line = (self._careful if self._odd(text) else self._plain)(lines, line)
            if block:
                yield block

    def _odd(self, text: str) -> bool:
        """Whether a block has anything that makes a cell more than the text between two delimiters."""
        return (self.delimiter != "\t" and "\t" in text) or bool(_ODD.search(text))

    def _plain(self, lines: list[str], line: int) -> tuple[str, int]:
        """Lines without quotes, tabs or escapes: COPY text by replacing the delimiter."""
        delimiter, wanted, found = self.delimiter, len(self.header) - 1, []
        for text in lines:
            if text.count(delimiter) == wanted and len(text) > wanted + 1:
                found.append(f"{line}\t{text}")
            elif text.strip("\n " + delimiter):
                one = self._line(line, text.rstrip("\n").split(delimiter))
                if one is not None:
                    self.rows_seen -= 1  # counted with the others
                    found.append(one)
            line += 1
        self.rows_seen += len(found)
        if found and not found[-1].endswith("\n"):
            found[-1] += "\n"
        return "".join(found).replace(delimiter, "\t"), line

    def _careful(self, lines: list[str], line: int) -> tuple[str, int]:
        """Lines with quotes and the like, read by the csv module; reads on to the end of the last row."""
        supply = _Lines(lines, self.stream)
        reader = csv.reader(supply, delimiter=self.delimiter, strict=True)
        found: list[str] = []
        while supply.inside:
            supply.seen.clear()
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                self._refuse(line, _csv_reason(error), [supply.seen[0].rstrip("\r\n")])
                self.repairs += len(supply.seen) > 1
                if self.repairs > MAX_REPAIRS:
                    raise UnreadableFile(
                        _("Quotes are opened and not closed on more than %(n)s lines.") % {"n": MAX_REPAIRS}
                    ) from None
                supply.waiting.extend(supply.seen[:0:-1])
                reader = csv.reader(supply, delimiter=self.delimiter, strict=True)
                line += 1
                continue
            if (text := self._line(line, cells)) is not None:
                found.append(text)
            line += len(supply.seen)
        return "".join(found), line


class _Lines:
    """Lines of a block, then of the stream; remembers those of the row being read.

    ``inside``: the block, or what was given back, is not used up yet.
    """

    def __init__(self, lines: list[str], stream: Any) -> None:
        self.waiting = lines[::-1]
        self.stream = stream
        self.seen: list[str] = []

    @property
    def inside(self) -> bool:
        return bool(self.waiting)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.waiting.pop() if self.waiting else next(self.stream)
        self.seen.append(line)
        return str(line)


def _encoding(file: IO[bytes]) -> tuple[str, bool]:
    """The encoding of the file, and whether all of it fits.

    A few faults do not make UTF-8 text GB 18030, in which nearly anything can be read as something.
    """
    head = file.read(4)
    file.seek(0)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", not _faults(file, "utf-16")[0]
    faults, good = _faults(file, "utf-8-sig")
    if not faults or faults * 10 < good:
        return "utf-8-sig", not faults
    others, _good = _faults(file, "gb18030")
    return ("gb18030", not others) if others < faults else ("utf-8-sig", False)


def _faults(file: IO[bytes], encoding: str) -> tuple[int, int]:
    """How many faults reading meets in this encoding, and how many characters beyond ASCII it reads."""
    file.seek(0)
    decoder = getincrementaldecoder(encoding)("replace")
    faults = good = 0
    while chunk := file.read(BLOCK):
        text = decoder.decode(chunk)
        if not text.isascii():
            faults += text.count(UNREADABLE)
            good += len(text) - len(text.encode("ascii", "ignore"))
    faults += len(decoder.decode(b"", True))
    file.seek(0)
    return faults, good - faults


def _csv_reason(error: csv.Error) -> str:
    if "unexpected end" in str(error) or "limit" in str(error):
        return _("a quote is opened and not closed")
    if "expected after" in str(error):
        return _("something stands between a closing quote and the delimiter")
    return _("cannot be read: %(error)s") % {"error": error}


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _split(text: str) -> list[str]:
    return [line + "\n" for line in text.split("\n")[:-1]] + (
        [tail] if (tail := text.rpartition("\n")[2]) else []
    )


# Workbooks and rows ------------------------------------------------------------------------------


def _sheet(file: IO[bytes], size: int) -> tuple[list[str], Iterator[list[Any]]]:
    """Header and rows of the first sheet. Raises :class:`UnreadableFile`."""
    if size > MAX_WORKBOOK:
        raise UnreadableFile(
            _("A workbook may have %(n)s MB; this one has more. Save it as CSV.") % {"n": MAX_WORKBOOK >> 20}
        )
    try:
        with zipfile.ZipFile(file) as parts:
            if sum(part.file_size for part in parts.infolist()) > MAX_WORKBOOK_UNPACKED:
                raise UnreadableFile(_("This workbook is too large inside. Save it as CSV."))
        file.seek(0)
        workbook = CalamineWorkbook.from_filelike(file)
        if not workbook.sheet_names:
            raise UnreadableFile(_("The workbook has no sheet."))
        rows = workbook.get_sheet_by_index(0).iter_rows()
        header = [_cell(cell).strip() for cell in next(rows, [])]
    except (CalamineError, zipfile.BadZipFile, OSError) as error:
        raise UnreadableFile(
            _("This is no workbook that can be read: %(error)s.") % {"error": error}
        ) from None
    while header and not header[-1]:
        header.pop()
    if not header:
        raise UnreadableFile(_("The first sheet has no header line."))
    return _named(header), rows


@dataclass
class _Workbook(Source):
    rows: Any = None

    def __init__(self, header: list[str], rows: Iterator[list[Any]], sha256: str, size: int) -> None:
        super().__init__(header, "xlsx", "", sha256, size)
        self.rows = rows

    def blocks(self) -> Iterator[str]:
        width, found = len(self.header), []
        for line, row in enumerate(self.rows, 2):
            cells = [_cell(cell) for cell in row]
            while len(cells) > width and not cells[-1]:
                cells.pop()  # the sheet is wider than its header, and empty there
            if not any(cells):
                continue
            cells += [""] * (width - len(cells))
            if (text := self._line(line, cells)) is not None:
                found.append(text)
            if len(found) >= 5000:
                yield "".join(found)
                found.clear()
        if found:
            yield "".join(found)


@dataclass
class _Rows(Source):
    rows: Sequence[Mapping[str, Any]] = ()

    @property
    def few(self) -> bool:
        return True

    def blocks(self) -> Iterator[str]:
        found, known = [], set(self.header)
        for line, row in enumerate(self.rows, 1):
            given = row if row.keys() <= known else {str(name).strip(): value for name, value in row.items()}
            cells = [value if type(value) is str else _cell(value) for value in map(given.get, self.header)]
            if (text := self._line(line, cells)) is not None:
                found.append(text)
        if found:
            yield "".join(found)


def _cell(value: Any) -> str:
    """A typed cell as the text a CSV file would have."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, dt.datetime):
        plain = value.time() == dt.time(0) and value.tzinfo is None
        return value.date().isoformat() if plain else value.isoformat(sep=" ")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


# Small things ------------------------------------------------------------------------------------


class _Characters(io.TextIOWrapper):
    """Text of a file that belongs to the caller: it is not closed when nobody needs the text any more."""

    def close(self) -> None:
        with suppress(ValueError):
            self.detach()


class _Unpacked(gzip.GzipFile):
    """A .gz that may be read up to a limit, and whose faults are told in words."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(fileobj=file, mode="rb")

    def read(self, size: int | None = -1) -> bytes:
        return self._limited(super().read(size))

    def read1(self, size: int = -1) -> bytes:
        return self._limited(super().read1(size))

    def _limited(self, data: bytes) -> bytes:
        if self.tell() > MAX_UNPACKED:
            raise UnreadableFile(_("The unpacked file is larger than %(n)s GB.") % {"n": MAX_UNPACKED >> 30})
        return data


def _fingerprint(file: IO[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(BLOCK):
        digest.update(chunk)
        size += len(chunk)
    file.seek(0)
    return digest.hexdigest(), size


def _named(header: Iterable[str]) -> list[str]:
    """Header cells, trimmed; one without a name is named by its place. Raises for a name twice."""
    names = [name.strip().lstrip("\ufeff") or f"column {n}" for n, name in enumerate(header, 1)]
    if len(names) > MAX_COLUMNS:
        raise UnreadableFile(_("The file has more than %(n)s columns.") % {"n": MAX_COLUMNS})
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UnreadableFile(_("The header has this column twice: %(name)s.") % {"name": ", ".join(twice)})
    if any("\0" in name or UNREADABLE in name for name in names):
        raise UnreadableFile(_("The header has characters that cannot be read. Save the file as UTF-8."))
    return names


def _escape(cell: str) -> str:
    """A cell as COPY text. The apostrophe a spreadsheet puts before = + - @ is dropped."""
    if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@"):
        cell = cell[1:]
    return cell.translate(_ESCAPES) if _SPECIAL.search(cell) else cell


def _unescape(cell: str) -> str:
    return _UNESCAPE.sub(lambda found: {"t": "\t", "n": "\n", "r": "\r"}.get(found[1], found[1]), cell)


_SPECIAL = re.compile(r"[\\\t\n\r]")
_MARKED = re.compile(r"[\\\n\r']")
_UNESCAPE = re.compile(r"\\(.)")

GZIP_FAULTS = (gzip.BadGzipFile, EOFError, zlib.error)
