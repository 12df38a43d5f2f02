"""A manifest ready for `COPY`: parsing writes three temporary files, and the transaction only copies them.

So no transaction is open while a manifest is parsed, and no manifest is in memory as a whole.
"""

import tempfile
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import orjson

from services.ingest.manifest.errors import Code, RowError
from services.ingest.manifest.numbering import Numbering
from services.ingest.manifest.rows import Found, Limits, Product

SHOWN = 100
"""Row errors that an answer shows."""
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Spool:
    """Rows of `product`, `image` and `rejected_row` in PostgreSQL's text format, with their counts and first errors."""

    def __init__(self, request_id: UUID, limits: Limits) -> None:
        self.request_id = request_id
        self.products, self.images, self.rejected = (tempfile.TemporaryFile() for _ in range(3))  # noqa: SIM115
        self.product_count = 0
        self.error_count = 0
        self.shown: list[RowError] = []
        self.fatal: RowError | None = None
        self._limits = limits
        self._numbering = Numbering()
        self._prefix = f"{request_id}\t"

    def close(self) -> None:
        for file in (self.products, self.images, self.rejected):
            file.close()

    @property
    def image_count(self) -> int:
        return len(self._numbering)

    @property
    def good(self) -> bool:
        """Whether there were no errors at all."""
        return self.error_count == 0

    @property
    def usable(self) -> bool:
        """Whether `on_invalid=skip` can take it."""
        return self.fatal is None and self.product_count > 0

    def findings(self) -> dict[str, Any]:
        """The first errors and how many there are."""
        return {"errors": [error.document() for error in self.shown], "error_count": self.error_count}

    def fill(self, found: Iterable[Found], *, skip: bool) -> None:
        """Write all rows; without `skip`, no more products after the first error."""
        for item in found:
            if isinstance(item, RowError):
                self._reject(item)
            elif skip or self.good:
                self._add(item)
            if self.fatal:
                return

    def _add(self, product: Product) -> None:
        newest, prefix, lines = len(self._numbering), self._prefix, []
        numbers = self._numbering.numbers(product.urls)
        for number, url in zip(numbers, product.urls, strict=True):
            if number > newest:
                newest = number
                lines.append(f"{prefix}{number}\t{url}\n")
        self.images.write("".join(lines).encode())
        if len(self._numbering) > self._limits.max_images:
            detail = f"Up to this row, the manifest has more than {self._limits.max_images} distinct image URLs."
            self._reject(product.error(Code.TOO_MANY_IMAGES, detail))
            return
        self.product_count += 1
        texts = f"{_escaped(product.serial_number)}\t{_escaped(product.name)}"
        self.products.write(f"{self._prefix}{product.row}\t{texts}\t{{{','.join(map(str, numbers))}}}\n".encode())

    def _reject(self, error: RowError) -> None:
        self.error_count += 1
        if len(self.shown) == SHOWN and error.fatal:
            self.shown.pop()  # the error that explains the refusal must be among them
        if len(self.shown) < SHOWN:
            self.shown.append(error)
        if error.fatal or self.error_count >= self._limits.max_row_errors:
            self.fatal = error
        document = _escaped(orjson.dumps(error.document()).decode())
        self.rejected.write(f"{self._prefix}{self.error_count}\t{document}\n".encode())


def _escaped(text: str) -> str:
    """Escaped for `COPY`; most texts need nothing."""
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPES)
