"""Files as people have them: encodings, delimiters, quotes, ragged rows, workbooks, damage."""

import gzip
import io
from typing import Any

import pytest
import xlsxwriter

from audiences.imports import reading
from audiences.imports.reading import UnreadableFile


def read(data: bytes, name: str = "file.csv") -> tuple[list[str], list[list[str]], list[tuple[int, str]]]:
    """Header, rows (the line first) and (line, reason) of what is no row."""
    source = reading.open_file(io.BytesIO(data), name)
    rows = [
        [reading._unescape(cell) for cell in line.split("\t")]
        for block in source.blocks()
        for line in block.split("\n")
        if line
    ]
    assert source.rows_seen == len(rows)
    return source.header, rows, [(one.line, one.reason) for one in source.unread]


def workbook(*rows: list[Any]) -> bytes:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    sheet = book.add_worksheet()
    for n, row in enumerate(rows):
        for m, cell in enumerate(row):
            sheet.write(n, m, cell)
    book.close()
    return file.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_is_the_same_in_any_encoding_delimiter_and_line_end(
    encoding: str, delimiter: str, end: str
) -> None:
    lines = [["姓名", "手机"], ["王小明", "138"], ["李,四;五|六", '说"好"'], ["赵", ""]]
    text = end.join(
        delimiter.join(
            '"' + cell.replace('"', '""') + '"' if set(cell) & set(',;|\t"') else cell for cell in line
        )
        for line in lines
    )
    header, rows, unread = read(text.encode(encoding))
    assert header == lines[0]
    assert [row[1:] for row in rows] == lines[1:]
    assert [row[0] for row in rows] == ["2", "3", "4"]
    assert unread == []


def test_a_cell_may_hold_lines_tabs_and_backslashes() -> None:
    _header, rows, unread = read(b'a,b\n"one\ntwo\tthree",\\N\nx,y\n')
    assert rows == [["2", "one\ntwo\tthree", "\\N"], ["4", "x", "y"]]
    assert unread == []


def test_a_ragged_row_is_refused_with_its_line_and_the_others_are_read() -> None:
    _header, rows, unread = read(b"a,b\n1,2\n3\n4,5,6\n\n,\n7,8\n")
    assert [row[0] for row in rows] == ["2", "7"]
    assert [line for line, _reason in unread] == [3, 4]
    assert "1 cells" in unread[0][1]


@pytest.mark.parametrize(
    "broken",
    [
        b'"never closed,1',
        b'"closed"too early,1',
    ],
)
def test_a_broken_quote_costs_its_own_line_only(broken: bytes) -> None:
    good = b"".join(b"%d,ok\n" % n for n in range(50))
    _header, rows, unread = read(b"a,b\n" + good + broken + b"\n" + good + b'"q",2\n' + good)
    assert len(rows) == 151
    assert [line for line, _reason in unread] == [52]


def test_a_file_whose_quotes_are_all_broken_is_refused_not_ground_through() -> None:
    with pytest.raises(UnreadableFile, match="not closed on more than"):
        read(b"a,b\n" + b'"x,1\n' * 5000)


def test_a_few_bad_bytes_refuse_their_rows_only() -> None:
    data = "名,号\n".encode() + "王,1\n".encode() * 30 + b"\xff\xfe,2\n" + "李,3\n".encode()
    _header, rows, unread = read(data)
    assert len(rows) == 31
    assert [line for line, _reason in unread] == [32]


def test_a_nul_refuses_its_row_only() -> None:
    _header, rows, unread = read(b"a,b\nx\0y,1\nz,2\n")
    assert rows == [["3", "z", "2"]]
    assert [line for line, _reason in unread] == [2]


def test_the_apostrophe_that_hides_a_formula_is_dropped() -> None:
    _header, rows, _unread = read(b"a,b\n'+861381234,'=1+1\nO'Brien,'quoted'\n")
    assert [row[1:] for row in rows] == [["+861381234", "=1+1"], ["O'Brien", "'quoted'"]]


def test_a_compressed_file_is_read_and_a_damaged_one_told() -> None:
    packed = gzip.compress(b"a,b\n1,2\n")
    assert read(packed, "file.csv.gz")[1] == [["2", "1", "2"]]
    with pytest.raises(reading.GZIP_FAULTS):
        read(packed[:-6], "file.csv.gz")


def test_a_workbook_gives_what_people_see_in_it() -> None:
    data = workbook(
        ["name", "phone", "rate", "yes", ""],
        ["Ann", 13812345678, 1.5, True],
        [],
        ["Bob", "013", 2.0, False],
    )
    header, rows, unread = read(data, "book.xlsx")
    assert header == ["name", "phone", "rate", "yes"]
    assert rows == [["2", "Ann", "13812345678", "1.5", "true"], ["4", "Bob", "013", "2", "false"]]
    assert unread == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\n \n", "no header"),
        (b"a,b,a\n1,2,3\n", "twice: a"),
        (b"PK\x03\x04 this is no workbook", "no workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel"),
        (b'"a,b\n1,2\n', "header line cannot be read"),
        (b",".join(b"c%d" % n for n in range(600)) + b"\n", "more than 500 columns"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_what_to_do(data: bytes, says: str) -> None:
    with pytest.raises(UnreadableFile, match=says):
        read(data)


def test_a_workbook_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_WORKBOOK_UNPACKED", 1000)
    with pytest.raises(UnreadableFile, match="too large inside"):
        read(workbook(["a"], *[["x" * 100]] * 200), "book.xlsx")


def test_a_packed_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_UNPACKED", 100_000)
    with pytest.raises(UnreadableFile, match="unpacked file is larger"):
        read(gzip.compress(b"a\n" + b"x\n" * 1_000_000))


def test_a_file_of_another_sort_is_refused_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_UNREAD", 100)
    with pytest.raises(UnreadableFile, match="do not fit the header"):
        read(b"a,b\n" + b"1,2,3\n" * 200)


def test_rows_of_an_api_call_read_like_a_file() -> None:
    source = reading.from_rows([{"a": 1, "b": {"x": "乙"}}, {"b": None, "c": True, "a": 2.5}])
    assert source.header == ["a", "b", "c"]
    assert "".join(source.blocks()) == '1\t1\t{"x": "乙"}\t\n2\t2.5\t\ttrue\n'
    with pytest.raises(UnreadableFile, match="Row 2 is not an object"):
        reading.from_rows([{"a": 1}, 5])  # type: ignore[list-item]
