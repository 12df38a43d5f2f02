"""The manifest: a stream of bytes to products and row errors, in order, in memory that does not grow with the file.

Only `Numbering` grows: some 25 bytes for each serial number.
"""

import io
from array import array
from collections.abc import Generator, Iterable, Iterator
from typing import IO, TextIO

from services.ingest.encoding import NotTextError, encoding_of
from services.ingest.header import HEAD, SERIAL_NUMBER, Header, find_header
from services.ingest.numbering import Numbering
from services.ingest.records import Broken, read_records
from services.ingest.row_errors import Code, RowError
from services.ingest.rows import Limits, Product, check, read_row

Found = Product | RowError


def read_manifest(file: IO[bytes], limits: Limits) -> Generator[Found, None, None]:
    """Good products and what is wrong with the others. Close it before the file if it is not read to its end.

    Raises:
        UnsupportedFileError: the file is a zip, a PDF, a spreadsheet or the like.

    """
    try:
        encoding = encoding_of(file)
    except NotTextError as error:
        yield RowError(code=Code.NOT_CSV, detail=str(error))
        return
    file.seek(0)
    text = io.TextIOWrapper(file, encoding, newline="")
    try:
        head = text.read(HEAD)
        if not head.strip() and len(head) < HEAD:
            yield RowError(code=Code.NO_ROWS, detail="The file is empty.")
            return
        header = find_header(head)
        if isinstance(header, Header):
            text.seek(0)
            yield from checked(_rows(text, header), limits, nothing="There are no products below the header.")
        else:
            yield from header
    finally:
        text.detach()  # the file stays open for its owner


def _rows(text: TextIO, header: Header) -> Iterator[Found]:
    row = 0
    for line, record in read_records(text, header.delimiter):
        if line <= header.line:
            continue
        if isinstance(record, Broken):
            row += 1
            yield _broken(record, row, line)
        elif product := read_row(record, header, row + 1, line):
            row += 1
            yield _stray_nul(record, product) or product


def checked(found: Iterable[Found], limits: Limits, *, nothing: str) -> Generator[Found, None, None]:
    """Each product that is right, else what is wrong with it; `no_rows`, told as `nothing`, if there was none."""
    serials = _Serials()
    empty = True
    for item in found:
        empty = False
        if isinstance(item, RowError):
            yield item
            continue
        errors = list(check(item, limits))
        if item.serial_number and (first := serials.first_row(item)) != item.row:
            errors.append(_duplicate(item, first))
        if errors:
            yield from errors
        else:
            yield item
    if empty:
        yield RowError(code=Code.NO_ROWS, detail=nothing)


class _Serials:
    def __init__(self) -> None:
        self._numbering = Numbering()
        self._rows = array("I")

    def first_row(self, product: Product) -> int:
        number = self._numbering.number(product.serial_number)
        if number > len(self._rows):
            self._rows.append(product.row)
        return self._rows[number - 1]


def _stray_nul(record: list[str], product: Product) -> RowError | None:
    """A NUL in a cell that is not read; `check` finds the others."""
    if "\0" not in "".join(record) or "\0" in "".join((product.serial_number, product.name, *product.urls)):
        return None
    return RowError(code=Code.NUL_BYTE, detail="The row contains a NUL character.", row=product.row, line=product.line)


def _duplicate(product: Product, first: int) -> RowError:
    return RowError(
        code=Code.DUPLICATE_SERIAL_NUMBER,
        detail=f"Row {first} has the same serial number.",
        row=product.row,
        line=product.line,
        column=SERIAL_NUMBER,
        value=product.serial_number,
    )


def _broken(record: Broken, row: int, line: int) -> RowError:
    if record.fatal:
        return RowError(code=Code.NOT_CSV, detail="Too many quotes are not closed.", line=line)
    if record.unterminated:
        detail = "A quote is not closed, or there is text after a closing quote."
        return RowError(code=Code.UNTERMINATED_QUOTE, detail=detail, row=row, line=line)
    return RowError(code=Code.NOT_CSV, detail="The line is too long.", row=row, line=line)
