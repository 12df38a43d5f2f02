"""What can be wrong with a manifest: codes, and one error with its place."""

import reprlib
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

VALUE_SHOWN = 200
"""Characters of the wrong value that an error repeats."""


class Code(StrEnum):
    MISSING_HEADER = "missing_header"
    NO_ROWS = "no_rows"
    EMPTY_NAME = "empty_name"
    EMPTY_SERIAL_NUMBER = "empty_serial_number"
    DUPLICATE_SERIAL_NUMBER = "duplicate_serial_number"
    NO_URL = "no_url"
    INVALID_URL = "invalid_url"
    URL_TOO_LONG = "url_too_long"
    TOO_MANY_URLS = "too_many_urls"
    TOO_MANY_IMAGES = "too_many_images"
    NUL_BYTE = "nul_byte"
    UNTERMINATED_QUOTE = "unterminated_quote"
    ROW_TOO_LONG = "row_too_long"
    NOT_CSV = "not_csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """`row` counts data rows from 1, `line` is where the record starts, `column` the canonical header name."""

    row: int | None = None
    line: int | None = None
    column: str | None = None
    url_index: int | None = None
    code: Code
    detail: str
    value: str | None = None

    @property
    def fatal(self) -> bool:
        """Whether it refuses the whole upload, even with `on_invalid=skip`."""
        return self.row is None or self.code is Code.TOO_MANY_IMAGES

    def document(self) -> dict[str, Any]:
        """The JSON of the error, without NUL, which jsonb refuses."""
        value = None if self.value is None else self.value[:VALUE_SHOWN].replace("\0", "\N{SYMBOL FOR NULL}")
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"value": value}

    def sentence(self) -> str:
        """The error for a person, with its place."""
        places = (f"row {self.row}" if self.row else "", f"line {self.line}" if self.line else "")
        place = ", ".join(filter(None, places)).capitalize()
        return f"{place}: {self.detail}" if place else self.detail


def shown(value: Any) -> str:
    """Any JSON value as text for a person; `str` would fail on a deeply nested one."""
    return value if isinstance(value, str) else reprlib.repr(value)
