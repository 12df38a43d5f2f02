"""One record to one product, and a product to everything that is wrong with it."""

import re
from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

from pydantic import BaseModel, PositiveInt

from services.ingest.manifest.errors import Code, RowError
from services.ingest.manifest.header import NAME, SERIAL_NUMBER, URLS, Header, unwrap
from services.ingest.manifest.numbering import Numbering
from shared.urls import are_plain, refusal

ROWS_AT_ONCE = 32
"""Rows that are checked and stored together: a call for each is a third of the work. At most 6.5 MB of URLs."""
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

    @property
    def max_row_length(self) -> int:
        """Characters of a CSV row: every URL it may have, with quotes and spaces between, and 100,000 for all else."""
        return self.max_urls_per_row * (self.max_url_length + 4) + 100_000


class Product(NamedTuple):
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
    if len(cells) != header.width:
        cells = _fitted(cells, header)
    serial_number, name = cells[header.serial_number].strip(), cells[header.name].strip()
    if not serial_number and not name and not any(cell.strip() for cell in cells):
        return None
    return Product(row, line, serial_number, name, split_urls(cells[header.urls], header.delimiter))


def _fitted(cells: list[str], header: Header) -> list[str]:
    """As many cells as the header has.

    Extra ones are URLs in columns of their own, or pieces of one unquoted URL with commas in it: all join the URLs.
    """
    while len(cells) > header.width and not cells[-1].strip():
        cells.pop()
    after = header.urls + 1 + max(0, len(cells) - header.width)
    urls = header.delimiter.join(cells[header.urls : after])
    fitted = [*cells[: header.urls], urls, *cells[after:]]
    return fitted + [""] * (header.width - len(fitted))


def split_urls(text: str, delimiter: str = ",") -> list[str]:
    """The URLs of one cell: white space is removed, and a comma (or delimiter) divides only before `scheme://` or `//`.

    So a URL of a wrong scheme is judged by itself, and a comma inside a URL stays.
    """
    if " " in text or not text.isprintable():  # as all white space is, and nearly no URL: quicker than a search
        text = "".join(_without_space(text, delimiter))
    text = text.strip("," + delimiter)
    if not text:
        return []
    if "," not in text and delimiter not in text:
        return [text]
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
    rest = iter(found)
    while items := list(islice(rest, ROWS_AT_ONCE)):
        empty = False
        yield from _checked(items, serials, limits)
    if empty:
        yield RowError(code=Code.NO_ROWS, detail=if_empty)


def _checked(items: Sequence[Found], serials: "_SerialNumbers", limits: Limits) -> Iterator[Found]:
    products = [item for item in items if isinstance(item, Product)]
    good = bool(products) and _are_good(products, limits)
    first_rows = iter(serials.first_rows(products))
    for item in items:
        if isinstance(item, RowError):
            yield item
            continue
        errors = [] if good else list(check(item, limits))
        if (first := next(first_rows)) != item.row and item.serial_number:
            detail = f"Row {first} has the same serial number."
            errors.append(item.error(Code.DUPLICATE_SERIAL_NUMBER, detail, SERIAL_NUMBER, item.serial_number))
        if errors:
            yield from errors
        else:
            yield item


class _SerialNumbers:
    def __init__(self) -> None:
        self._numbering = Numbering()
        self._rows = array("I")

    def first_rows(self, products: Sequence[Product]) -> list[int]:
        """For each product the row that had its serial number first."""
        numbers = self._numbering.numbers([product.serial_number for product in products])
        for number, product in zip(numbers, products, strict=True):
            if number > len(self._rows):
                self._rows.append(product.row)
        return [self._rows[number - 1] for number in numbers]


def _are_good(products: Sequence[Product], limits: Limits) -> bool:
    """Whether `check` has nothing to say about any of them, at a first glance."""
    names = [text for product in products for text in (product.serial_number, product.name)]
    counts = [len(product.urls) for product in products]
    urls = list(chain.from_iterable([product.urls for product in products]))
    return (
        all(names)
        and "\0" not in "".join(names)
        and min(counts) > 0
        and max(counts) <= limits.max_urls_per_row
        and len(max(urls, key=len)) <= limits.max_url_length
        and are_plain(urls)
    )


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
    else:
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
