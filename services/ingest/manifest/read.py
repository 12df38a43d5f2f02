"""A manifest, CSV or JSON, to products and row errors, in order.

While a CSV is read, only `Numbering` grows: some 25 bytes for each serial number. JSON is in memory as a whole.
"""

import io
from collections.abc import Generator, Iterator, Mapping
from typing import IO, Any, TextIO

import orjson

from services.ingest.manifest.encoding import encoding_of
from services.ingest.manifest.errors import Code, RowError, shown
from services.ingest.manifest.header import HEAD, NAME, SERIAL_NUMBER, URLS, Header, find_header
from services.ingest.manifest.records import Broken, read_records
from services.ingest.manifest.rows import Found, Limits, Product, check_all, read_row


class MalformedJsonError(Exception):
    """Not JSON, or not an object with a list of products; the text says which."""


def read_manifest(file: IO[bytes], limits: Limits) -> Generator[Found, None, None]:
    """The valid products of a CSV and the errors of all others. If it is not read to its end, close it before the file.

    Raises:
        UnsupportedFileError: the file is a zip, a PDF, a spreadsheet or the like.

    """
    encoding = encoding_of(file)
    if encoding is None:
        detail = "The file is not text in UTF-8, UTF-16 with a byte order mark, or windows-1252."
        yield RowError(code=Code.NOT_CSV, detail=detail)
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
            yield from check_all(
                _rows(text, header, limits), limits, if_empty="There are no products below the header."
            )
        else:
            yield from header
    finally:
        text.detach()  # the file stays open for its owner


def _rows(text: TextIO, header: Header, limits: Limits) -> Iterator[Found]:
    row = 0
    for line, record in read_records(text, header.delimiter, limit=limits.max_row_length):
        if line <= header.line:
            continue
        if isinstance(record, Broken):
            row += 1
            yield _broken(record, row, line, limits)
        elif product := read_row(record, header, row + 1, line):
            row += 1
            yield _stray_nul(record, product) or product


def _stray_nul(record: list[str], product: Product) -> RowError | None:
    """The error of a NUL in a column that is ignored; `check` finds those in the other columns."""
    if "\0" not in "".join(record) or "\0" in "".join((product.serial_number, product.name, *product.urls)):
        return None
    return product.error(Code.NUL_BYTE, "The row contains a NUL character.")


def _broken(record: Broken, row: int, line: int, limits: Limits) -> RowError:
    if record.fatal:
        return RowError(code=Code.NOT_CSV, detail="Too many quotes are not closed.", line=line)
    if record.unterminated:
        detail = "A quote is not closed, or there is text after a closing quote."
        return RowError(code=Code.UNTERMINATED_QUOTE, detail=detail, row=row, line=line)
    most = (
        f"{limits.max_row_length:,} characters, which is more than {limits.max_urls_per_row} URLs and their names need"
    )
    return RowError(code=Code.ROW_TOO_LONG, detail=f"The row has over {most}.", row=row, line=line)


def parse_body(data: bytes) -> dict[str, Any]:
    """The body's object.

    Raises:
        MalformedJsonError.

    """
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedJsonError(f"The body is not JSON: {error}") from None
    if not isinstance(body, dict) or not isinstance(body.get("products"), list):
        raise MalformedJsonError("The body must be an object with a list “products”.")
    return body


def canonical(products: list[Any]) -> bytes:
    """The same bytes for equal products, whatever the order of their keys.

    Raises:
        MalformedJsonError: they are nested too deeply.

    """
    try:
        return orjson.dumps(products, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise MalformedJsonError(f"The body is nested too deeply: {error}") from None


def read_products(products: list[Any], limits: Limits) -> Generator[Found, None, None]:
    """The valid products and the errors of all others."""
    return check_all(_json_rows(products), limits, if_empty="The list of products is empty.")


def _json_rows(products: list[Any]) -> Iterator[Found]:
    for row, item in enumerate(products, start=1):
        yield _json_row(item, row) if isinstance(item, dict) else _wrong(Code.NO_URL, row, None, "an object", item)


def _json_row(item: Mapping[str, Any], row: int) -> Found:
    serial_number, name, urls = item.get("serial_number", ""), item.get("name", ""), item.get("image_urls", [])
    if isinstance(serial_number, int) and not isinstance(serial_number, bool):
        serial_number = str(serial_number)
    if not isinstance(serial_number, str):
        return _wrong(Code.EMPTY_SERIAL_NUMBER, row, SERIAL_NUMBER, "a string", serial_number)
    if not isinstance(name, str):
        return _wrong(Code.EMPTY_NAME, row, NAME, "a string", name)
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        return _wrong(Code.INVALID_URL, row, URLS, "a list of strings", urls)
    return Product(row, None, serial_number.strip(), name.strip(), [url.strip() for url in urls])


def _wrong(code: Code, row: int, column: str | None, wanted: str, value: Any) -> RowError:
    what = f"“{column}”" if column else "The product"
    return RowError(code=code, detail=f"{what} must be {wanted}.", row=row, column=column, value=shown(value))
