"""A JSON manifest to products and row errors: the same as from a CSV, without line numbers."""

from collections.abc import Generator, Iterator, Mapping
from typing import Any

import orjson

from services.ingest.manifest.errors import Code, RowError, shown
from services.ingest.manifest.header import NAME, SERIAL_NUMBER, URLS
from services.ingest.manifest.rows import Found, Limits, Product, check_all


class MalformedJsonError(Exception):
    """Not JSON, or not an object with a list of products; the text says which."""


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
    return check_all(_rows(products), limits, if_empty="The list of products is empty.")


def _rows(products: list[Any]) -> Iterator[Found]:
    for row, item in enumerate(products, start=1):
        yield _row(item, row) if isinstance(item, dict) else _wrong(Code.NO_URL, row, None, "an object", item)


def _row(item: Mapping[str, Any], row: int) -> Found:
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
