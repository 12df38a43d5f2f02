"""The header of a manifest: the delimiter, and the positions of the three columns."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from services.ingest.manifest.errors import Code, RowError
from services.ingest.manifest.records import Broken, parse_line, read_records

SERIAL_NUMBER = "S. No."
NAME = "Product Name"
URLS = "Input Image Urls"
COLUMNS = (SERIAL_NUMBER, NAME, URLS)
DELIMITERS = (",", ";", "\t")
HEAD = 200_000
"""The header must end within this many characters."""

_SPELLINGS = {
    "sno": SERIAL_NUMBER,
    "serialnumber": SERIAL_NUMBER,
    "productname": NAME,
    "inputimageurls": URLS,
}


@dataclass(frozen=True, slots=True)
class Header:
    """Positions of the three columns among `width` cells; the data begin after line `line`."""

    delimiter: str
    line: int
    width: int
    serial_number: int
    name: int
    urls: int


def find_header(head: str) -> Header | list[RowError]:
    """The header under the first delimiter that gives all three columns, or the errors under the best delimiter."""
    best: list[RowError] = []
    for delimiter in DELIMITERS:
        found = _read(head, delimiter)
        if isinstance(found, Header):
            return found
        if not best or len(found) < len(best):
            best = found
    return best


def _read(head: str, delimiter: str) -> Header | list[RowError]:
    for line, record in read_records(io.StringIO(head, newline=""), delimiter, limit=HEAD):
        if isinstance(record, Broken):
            return [_broken(line, unterminated=record.unterminated)]
        cells = unwrap(record, delimiter)
        if any(cell.strip() for cell in cells):
            return _columns(cells, line, delimiter)
    return _column_errors((), None)


def unwrap(record: list[str], delimiter: str, width: int = len(COLUMNS)) -> list[str]:
    """The cells of a line that was quoted as a whole; any other record unchanged."""
    if delimiter not in record[0] or any(record[1:]):
        return record
    inner = parse_line(record[0], delimiter)
    return inner if inner is not None and len(inner) >= width else record


def _columns(cells: Sequence[str], line: int, delimiter: str) -> Header | list[RowError]:
    if any("\0" in cell for cell in cells):
        return [RowError(code=Code.NUL_BYTE, detail="The header contains a NUL character.", line=line)]
    while cells and not cells[-1].strip():
        cells = cells[:-1]
    names = [_SPELLINGS.get(_normal(cell)) for cell in cells]
    if errors := _column_errors(names, line):
        return errors
    positions = [names.index(column) for column in COLUMNS]
    return Header(delimiter, line, len(cells), *positions)


def _normal(cell: str) -> str:
    return "".join(cell.casefold().replace(".", "").replace("\ufeff", "").split())


def _column_errors(names: Sequence[str | None], line: int | None) -> list[RowError]:
    errors = []
    for column in COLUMNS:
        detail = f"The header has the column “{column}” more than once."
        if column not in names:
            detail = f"The header has no column “{column}”. Expected columns: {', '.join(COLUMNS)}."
        if names.count(column) != 1:
            errors.append(RowError(code=Code.MISSING_HEADER, detail=detail, line=line, column=column))
    return errors


def _broken(line: int, *, unterminated: bool) -> RowError:
    if unterminated:
        return RowError(code=Code.UNTERMINATED_QUOTE, detail="A quote in the header is not closed.", line=line)
    return RowError(code=Code.NOT_CSV, detail="The first line is too long to be a header.", line=line)
