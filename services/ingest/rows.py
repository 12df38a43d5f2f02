"""One record to one product, or to everything that is wrong with it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.ingest.header import NAME, SERIAL_NUMBER, URLS, Header, unwrap
from services.ingest.row_errors import Code, RowError
from shared.urls import refusal

_SPACE = re.compile(r"[ \t\r\n\xa0]+")
_URL_BEGINS = re.compile(r"https?://", re.IGNORECASE)
_SPLIT = {
    delimiter: re.compile(rf"[,{delimiter}](?=https?://)", re.IGNORECASE) for delimiter in (",", ";", "\t")
}  # a comma or delimiter inside a URL is part of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one manifest may hold."""

    images: int = 1_000_000
    urls_per_row: int = 100
    url_length: int = 2048
    row_errors: int = 100_000


@dataclass(frozen=True, slots=True)
class Product:
    """One row of the manifest; `line` is None where the manifest was JSON."""

    row: int
    line: int | None
    serial_number: str
    name: str
    urls: Sequence[str]


def read_row(record: list[str], header: Header, row: int, line: int) -> Product | None:
    """The product that a record spells, not yet checked; None for one of empty cells only."""
    cells = unwrap(record, header.delimiter, header.width)
    if not any(cells) or not any(cell.strip() for cell in cells):
        return None
    while len(cells) > header.width and not cells[-1].strip():
        cells.pop()
    # URLs that spread over columns of their own, or one URL cut at its commas: what the row has too many, belongs here.
    extra = max(0, len(cells) - header.width)
    cells.extend([""] * (header.width - len(cells)))
    last = header.urls + extra
    urls = cells[header.urls] if not extra else header.delimiter.join(cells[header.urls : last + 1])
    serial_number = cells[header.serial_number + extra * (header.serial_number > header.urls)]
    name = cells[header.name + extra * (header.name > header.urls)]
    return Product(row, line, serial_number.strip(), name.strip(), split_urls(urls, header.delimiter))


def split_urls(text: str, delimiter: str = ",") -> list[str]:
    """The URLs of one cell: white space goes, and only a comma (or delimiter) before http:// or https:// divides."""
    if _SPACE.search(text):
        text = "".join("," + part if _URL_BEGINS.match(part) else part for part in _SPACE.split(text))
    text = text.strip("," + delimiter)
    if not text:
        return []
    return [part.rstrip("," + delimiter) for part in _SPLIT[delimiter].split(text)]


def check(product: Product, limits: Limits) -> Iterator[RowError]:
    """Everything that is wrong with the product by itself."""
    row, line = product.row, product.line
    for code, column, value in (
        (Code.EMPTY_SERIAL_NUMBER, SERIAL_NUMBER, product.serial_number),
        (Code.EMPTY_NAME, NAME, product.name),
    ):
        if not value:
            yield RowError(code=code, detail=f"“{column}” is empty.", row=row, line=line, column=column, value=value)
        elif "\0" in value:
            yield _nul(product, column, value)
    if not product.urls:
        yield RowError(code=Code.NO_URL, detail="The row has no image URL.", row=row, line=line, column=URLS, value="")
    elif len(product.urls) > limits.urls_per_row:
        detail = f"The row has {len(product.urls)} image URLs; at most {limits.urls_per_row} are allowed."
        yield RowError(code=Code.TOO_MANY_URLS, detail=detail, row=row, line=line, column=URLS)
    else:
        yield from _check_urls(product, limits)


def _check_urls(product: Product, limits: Limits) -> Iterator[RowError]:
    for index, url in enumerate(product.urls, start=1):
        reason = refusal(url, max_length=limits.url_length)
        if reason is None:
            continue
        if "\0" in url:
            yield _nul(product, URLS, url, index)
            continue
        yield RowError(
            code=Code.URL_TOO_LONG if len(url) > limits.url_length else Code.INVALID_URL,
            detail=reason,
            row=product.row,
            line=product.line,
            column=URLS,
            url_index=index,
            value=url,
        )


def _nul(product: Product, column: str, value: str, url_index: int | None = None) -> RowError:
    return RowError(
        code=Code.NUL_BYTE,
        detail=f"“{column}” contains a NUL character.",
        row=product.row,
        line=product.line,
        column=column,
        url_index=url_index,
        value=value,
    )
