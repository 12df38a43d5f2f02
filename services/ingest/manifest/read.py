"""A CSV manifest to products and row errors, in order, in memory that does not grow with the file.

The only thing that grows is `Numbering`: some 25 bytes for each serial number.
"""

import io
from collections.abc import Generator, Iterator
from typing import IO, TextIO

from services.ingest.manifest.encoding import NotTextError, encoding_of
from services.ingest.manifest.errors import Code, RowError
from services.ingest.manifest.header import HEAD, Header, find_header
from services.ingest.manifest.records import Broken, read_records
from services.ingest.manifest.rows import Found, Limits, Product, check_all, read_row


def read_manifest(file: IO[bytes], limits: Limits) -> Generator[Found, None, None]:
    """The valid products and the errors of all others. If it is not read to its end, close it before the file.

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
            yield from check_all(_rows(text, header), limits, if_empty="There are no products below the header.")
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


def _stray_nul(record: list[str], product: Product) -> RowError | None:
    """The error of a NUL in a column that is ignored; `check` finds those in the other columns."""
    if "\0" not in "".join(record) or "\0" in "".join((product.serial_number, product.name, *product.urls)):
        return None
    return product.error(Code.NUL_BYTE, "The row contains a NUL character.")


def _broken(record: Broken, row: int, line: int) -> RowError:
    if record.fatal:
        return RowError(code=Code.NOT_CSV, detail="Too many quotes are not closed.", line=line)
    if record.unterminated:
        detail = "A quote is not closed, or there is text after a closing quote."
        return RowError(code=Code.UNTERMINATED_QUOTE, detail=detail, row=row, line=line)
    return RowError(code=Code.NOT_CSV, detail="The line is too long.", row=row, line=line)
