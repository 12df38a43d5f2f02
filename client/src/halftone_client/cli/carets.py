"""Row errors with the line of the file, and a caret under the cell. Pure but for reading the file."""

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import IO

from rich.cells import cell_len

from halftone_client.harmless import in_place
from halftone_client.shapes import RowError

MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
DELIMITERS = ",;\t"
HEADER_ALIASES = {"serialnumber": "sno"}
LINES_A_ROW = 20
"""A row of more lines is shown by its first alone."""
BESIDE = 24
"""Characters that are shown before the mark of a line that is too long."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A line, cut to the width, and the columns under which the carets stand."""

    text: str
    begin: int
    length: int


def lines_of(file: IO[bytes], wanted: Iterable[int]) -> dict[int, str]:
    """Rows of a text file by the number of their first line, from 1; reads little further than the last one."""
    numbers = {1, *wanted}
    file.seek(0)
    head = file.read(4)
    marked = next((name for mark, name in MARKS if head.startswith(mark)), None)
    for encoding in (marked,) if marked else ("utf-8", "cp1252"):
        file.seek(0)
        try:
            return _picked(file, encoding, numbers, errors="strict" if encoding == "utf-8" else "replace")
        except UnicodeDecodeError:
            continue
    return {}


def _picked(file: IO[bytes], encoding: str, numbers: set[int], *, errors: str) -> dict[int, str]:
    blocks = codecs.iterdecode(iter(lambda: file.read(1 << 16), b""), encoding, errors)
    near = {number + more for number in numbers for more in range(LINES_A_ROW)}
    lines = islice(_lines(blocks), max(near))
    found = {number: line for number, line in enumerate(lines, start=1) if number in near}
    return {number: _row(found, number) for number in numbers & found.keys()}


def _row(lines: Mapping[int, str], number: int) -> str:
    """The row that begins at a line, which may hold line breaks in quotes; the line alone if they do not end."""
    row = lines[number]
    for more in range(number + 1, number + LINES_A_ROW):
        if row.count('"') % 2 == 0:
            return row
        row += "\n" + lines.get(more, "")
    return lines[number]


def _lines(blocks: Iterable[str]) -> Iterator[str]:
    """As a CSV counts them: CRLF, LF or CR."""
    rest = ""
    for block in blocks:
        rest += block
        *whole, rest = re.split(r"\r\n|\n|\r(?!\Z)", rest)
        yield from whole
    yield rest.removesuffix("\r")


def mark(error: RowError, line: str, header: str, *, width: int) -> Marked:
    """Where in its line the error is; the whole cell if the value is not found in it."""
    begin, end = _place(error, line, header)
    line = in_place(line)
    shown, before = line, line[:begin]
    if cell_len(shown) > width:
        start = max(0, begin - BESIDE) if cell_len(shown[:end]) >= width - 1 else 0
        shown, before = ("…" if start else "") + shown[start:], ("…" if start else "") + before[start:]
        while cell_len(shown) > width:
            shown = shown[: min(len(shown) - 1, width)].rstrip("…")[:-1] + "…"
    carets = max(1, cell_len(line[begin:end]))
    return Marked(shown, cell_len(before), max(1, min(carets, cell_len(shown) - cell_len(before))))


def _place(error: RowError, line: str, header: str) -> tuple[int, int]:
    delimiter = max(DELIMITERS, key=header.count)
    names = [_plain(header[begin:end]) for begin, end in cells(header, delimiter)]
    spans = cells(line, delimiter)
    wanted, value = _plain(error["column"] or ""), error["value"] or ""
    index = names.index(wanted) if wanted in names else None
    if error["row"] is None or index is None:
        found = line.find(value) if value else -1
        return (found, found + len(value)) if found >= 0 else (0, len(line))
    if index >= len(spans):  # the row ends before this cell
        return len(line), len(line)
    begin, end = spans[index]
    if error["url_index"] is not None:
        end = len(line)  # more URLs may stand in cells of their own
    found = line.find(value, begin, end) if value else -1
    return (found, found + len(value)) if found >= 0 else (begin, end)


def cells(line: str, delimiter: str) -> list[tuple[int, int]]:
    """Begin and end of each cell, without its quotes."""
    spans, begin, quoted = [], 0, False
    for place, one in enumerate(line + delimiter):
        if one == '"':
            quoted = not quoted
        elif one == delimiter and (not quoted or place == len(line)):
            inside = place - begin >= 2 and line[begin] == line[place - 1] == '"'
            spans.append((begin + inside, place - inside))
            begin = place + 1
    return spans


def _plain(name: str) -> str:
    plain = re.sub(r"[^a-z]", "", name.lower())
    return HEADER_ALIASES.get(plain, plain)
