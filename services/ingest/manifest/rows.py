"""One record to one product, and a product to everything that is wrong with it."""

import re
from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, PositiveInt

from services.ingest.manifest.errors import Code, RowError
from services.ingest.manifest.header import NAME, SERIAL_NUMBER, URLS, Header, unwrap
from services.ingest.manifest.numbering import Numbering
from shared.urls import are_plain, refusal

_SPACE = re.compile(r"[ \t\r\n\xa0]+")
_URL = r"(?:[a-z][a-z0-9+.-]*:)?//"  # how a URL begins, of whatever scheme
_URL_BEGINS = re.compile(_URL, re.IGNORECASE)
_HTTP_BEGINS = re.compile(r"https?://", re.IGNORECASE)
_SPLIT = {delimiter: re.compile(rf"[,{delimiter}](?={_URL})", re.IGNORECASE) for delimiter in (",", ";", "\t")}


class Limits(BaseModel):
    """What one manifest may hold; part of the settings of ingest."""

    max_images: PositiveInt = 1_000_000
    max_urls_per_row: PositiveInt = 100
    max_url_length: PositiveInt = 2048
    max_row_errors: PositiveInt = 100_000


@dataclass(frozen=True, slots=True)
class Product:
    """One row of the manifest; `line` is None where the manifest was JSON."""

    row: int
    line: int | None
    serial_number: str
    name: str
    urls: Sequence[str]

    def error(
        self, code: Code, detail: str, column: str | None = None, value: str | None = None, url_index: int | None = None
    ) -> RowError:
        """An error at this row."""
        return RowError(
            code=code, detail=detail, row=self.row, line=self.line, column=column, url_index=url_index, value=value
        )


Found = Product | RowError


def read_row(record: list[str], header: Header, row: int, line: int) -> Product | None:
    """The product in a record, not yet checked; None if all cells are empty."""
    cells = unwrap(record, header.delimiter, header.width)
    if not any(cells) or not any(cell.strip() for cell in cells):
        return None
    while len(cells) > header.width and not cells[-1].strip():
        cells.pop()
    # Extra cells are URLs in columns of their own, or pieces of one unquoted URL with commas in it: all join the URLs.
    extra = max(0, len(cells) - header.width)
    cells.extend([""] * (header.width - len(cells)))
    last = header.urls + extra
    urls = cells[header.urls] if not extra else header.delimiter.join(cells[header.urls : last + 1])
    serial_number = cells[header.serial_number + extra * (header.serial_number > header.urls)]
    name = cells[header.name + extra * (header.name > header.urls)]
    return Product(row, line, serial_number.strip(), name.strip(), split_urls(urls, header.delimiter))


def split_urls(text: str, delimiter: str = ",") -> list[str]:
    """The URLs of one cell: white space is removed, and a comma (or delimiter) divides only before `scheme://` or `//`.

    So a URL of a wrong scheme is judged by itself, and a comma inside a URL stays.
    """
    if " " in text or not text.isprintable():  # as all white space is, and nearly no URL: quicker than a search
        text = "".join(_without_space(text, delimiter))
    text = text.strip("," + delimiter)
    if not text:
        return []
    return [part.rstrip("," + delimiter) for part in _SPLIT[delimiter].split(text)]


def _without_space(text: str, delimiter: str) -> Iterator[str]:
    """White space before a URL becomes a comma, unless it stands within the `https://` of that URL."""
    scheme = ""  # at most the first 8 characters of the current URL
    for part in _SPACE.split(text):
        if _URL_BEGINS.match(part) and ("//" in scheme or not _HTTP_BEGINS.match(scheme + part)):
            yield ","
            scheme = ""
        yield part
        begun = max(part.rfind(","), part.rfind(delimiter))
        scheme = (scheme + part if begun < 0 else part[begun + 1 :])[:8]


def check_all(found: Iterable[Found], limits: Limits, *, if_empty: str) -> Generator[Found, None, None]:
    """Each valid product, or else its errors; `no_rows` with the text `if_empty` if there were none."""
    serials = _SerialNumbers()
    empty = True
    for item in found:
        empty = False
        if isinstance(item, RowError):
            yield item
            continue
        errors = list(check(item, limits))
        if item.serial_number and (first := serials.first_row(item)) != item.row:
            detail = f"Row {first} has the same serial number."
            errors.append(item.error(Code.DUPLICATE_SERIAL_NUMBER, detail, SERIAL_NUMBER, item.serial_number))
        if errors:
            yield from errors
        else:
            yield item
    if empty:
        yield RowError(code=Code.NO_ROWS, detail=if_empty)


class _SerialNumbers:
    def __init__(self) -> None:
        self._numbering = Numbering()
        self._rows = array("I")

    def first_row(self, product: Product) -> int:
        number = self._numbering.number(product.serial_number)
        if number > len(self._rows):
            self._rows.append(product.row)
        return self._rows[number - 1]


def check(product: Product, limits: Limits) -> Iterator[RowError]:
    """Everything that is wrong with the product by itself."""
    for code, column, value in (
        (Code.EMPTY_SERIAL_NUMBER, SERIAL_NUMBER, product.serial_number),
        (Code.EMPTY_NAME, NAME, product.name),
    ):
        if not value:
            yield product.error(code, f"“{column}” is empty.", column, value)
        elif "\0" in value:
            yield product.error(Code.NUL_BYTE, _has_nul(column), column, value)
    if not product.urls:
        yield product.error(Code.NO_URL, "The row has no image URL.", URLS, "")
    elif len(product.urls) > limits.max_urls_per_row:
        detail = f"The row has {len(product.urls)} image URLs; at most {limits.max_urls_per_row} are allowed."
        yield product.error(Code.TOO_MANY_URLS, detail, URLS)
    elif len(max(product.urls, key=len)) > limits.max_url_length or not are_plain(product.urls):
        yield from _check_urls(product, limits)


def _check_urls(product: Product, limits: Limits) -> Iterator[RowError]:
    for index, url in enumerate(product.urls, start=1):
        reason = refusal(url, max_length=limits.max_url_length)
        if reason is None:
            continue
        if "\0" in url:
            yield product.error(Code.NUL_BYTE, _has_nul(URLS), URLS, url, index)
        else:
            code = Code.URL_TOO_LONG if len(url) > limits.max_url_length else Code.INVALID_URL
            yield product.error(code, reason, URLS, url, index)


def _has_nul(column: str) -> str:
    return f"“{column}” contains a NUL character."
