import io

import pytest

from halftone_client.cli.carets import cells, lines_of, mark
from halftone_client.shapes import RowError

HEADER = "S. No.,Product Name,Input Image Urls"
WIDE = 200


def error(column: str | None, value: str | None, *, url_index: int | None = None, row: int | None = 1) -> RowError:
    return RowError(row=row, line=2, column=column, url_index=url_index, code="c", detail="d", value=value)


def marked(found: RowError, line: str, *, header: str = HEADER, width: int = WIDE) -> str:
    shown = mark(found, line, header, width=width)
    return shown.text[shown.begin : shown.begin + shown.length]


def test_the_caret_is_under_the_url_and_not_under_its_equal_in_another_cell() -> None:
    line = '1,ftp://x,"https://a/b.jpg,ftp://x"'
    shown = mark(error("Input Image Urls", "ftp://x", url_index=2), line, HEADER, width=WIDE)
    assert (shown.begin, shown.length) == (line.rindex("ftp://x"), 7)


def test_the_serial_number_is_found_in_its_own_column() -> None:
    shown = mark(error("S. No.", "2"), "Hat 2;2;http://a", "Product Name;Serial Number;Input Image Urls", width=WIDE)
    assert (shown.begin, shown.length) == (6, 1)


def test_an_empty_cell_has_one_caret_where_it_begins() -> None:
    shown = mark(error("Product Name", ""), '1,,"http://a"', HEADER, width=WIDE)
    assert (shown.begin, shown.length) == (2, 1)


def test_a_cell_that_is_not_there_is_marked_behind_the_line() -> None:
    assert mark(error("Input Image Urls", ""), "3,Bag", HEADER, width=WIDE).begin == len("3,Bag")


def test_a_wide_character_takes_two_columns() -> None:
    assert mark(error("Input Image Urls", "x", url_index=1), "1,日本,x", HEADER, width=WIDE).begin == 7


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_long_line_is_cut_and_still_shows_its_error(width: int) -> None:
    line = f'1,{"shoe " * 30},"http://{"a" * 100}/b.jpg,htp:x,http://{"c" * 300}/d.jpg"'
    shown = mark(error("Input Image Urls", "htp:x", url_index=2), line, HEADER, width=width)
    assert len(shown.text) <= width
    if width > 30:
        assert shown.text[shown.begin : shown.begin + shown.length] == "htp:x"


def test_the_header_is_marked_whole_where_a_column_is_missing() -> None:
    assert marked(error("S. No.", None, row=None), "Name,Url", header="Name,Url") == "Name,Url"


def test_quoted_cells_keep_their_delimiters() -> None:
    line = '1,"Shoe, red",x'
    assert [line[begin:end] for begin, end in cells(line, ",")] == ["1", "Shoe, red", "x"]


def test_a_cell_behind_a_line_break_is_found() -> None:
    file = io.BytesIO(f'{HEADER}\n1,"Shoe\nin ""red""","http://a\nftp://x"\n2,"open,y\n'.encode())
    lines = lines_of(file, [2, 5])
    assert marked(error("Input Image Urls", "ftp://x", url_index=2), lines[2]) == "ftp://x"
    assert "\n" not in mark(error("Input Image Urls", "ftp://x", url_index=2), lines[2], HEADER, width=WIDE).text
    assert lines[5] == '2,"open,y'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_the_service_does(encoding: str, end: str) -> None:
    file = io.BytesIO(end.join(["é", "b", "ü", ""]).encode(encoding))
    assert lines_of(file, [3]) == {1: "é", 3: "ü"}
