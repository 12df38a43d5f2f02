"""A manifest ready for `COPY`: parsing writes three temporary files, and the transaction only copies them.

So no transaction is open while a manifest is parsed, and no manifest is in memory as a whole.
"""

import tempfile
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import IO, Any
from uuid import UUID

import orjson

from services.ingest.manifest.errors import Code, RowError
from services.ingest.manifest.numbering import Numbering
from services.ingest.manifest.rows import ROWS_AT_ONCE, Found, Limits, Product
from services.ingest.space import Reservation

SHOWN = 100
"""Row errors that an answer shows."""
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Spool:
    """Rows of `product`, `image` and `rejected_row` in PostgreSQL's text format, with their counts and first errors."""

    def __init__(self, request_id: UUID, limits: Limits, room: Reservation) -> None:
        self.request_id = request_id
        self.products, self.images, self.rejected = (tempfile.TemporaryFile() for _ in range(3))  # noqa: SIM115
        self.product_count = 0
        self.error_count = 0
        self.shown: list[RowError] = []
        self.fatal: RowError | None = None
        self._limits = limits
        self._room = room
        self._numbering = Numbering()
        self._prefix = f"{request_id}\t"

    def close(self) -> None:
        for file in (self.products, self.images, self.rejected):
            file.close()

    @property
    def image_count(self) -> int:
        return len(self._numbering)

    @property
    def charged(self) -> int:
        """What it counts against the images of a day: rows that share an image are stored too, and rejected ones."""
        return max(self.image_count, self.product_count + self.error_count)

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
        """Write all rows; without `skip`, no more products after the first error.

        Raises:
            Problem: 503, there is no room for them.

        """
        rest = iter(found)
        while not self.fatal and (items := list(islice(rest, ROWS_AT_ONCE))):
            products = [item for item in items if isinstance(item, Product)]
            images = sum(len(product.urls) for product in products)
            most = max(self.image_count + images, self.product_count + len(products))
            if len(products) == len(items) and self.good and most <= self._limits.max_images:
                self._add(products)
            else:
                self._fill_singly(items, skip=skip)

    def _fill_singly(self, items: Iterable[Found], *, skip: bool) -> None:
        for item in items:
            if isinstance(item, RowError):
                self._reject(item)
            elif skip or self.good:
                self._add([item])
                self._limit(item)
            if self.fatal:
                return

    def _add(self, products: Sequence[Product]) -> None:
        prefix, newest, lines = self._prefix, self.image_count, []
        urls = list(chain.from_iterable([product.urls for product in products]))
        numbers = self._numbering.numbers(urls)
        for number, url in zip(numbers, urls, strict=True):
            if number > newest:
                newest = number
                lines.append(f"{prefix}{number}\t{url}\n")
        self._write(self.images, "".join(lines))
        lines, rest = [], map(str, numbers)
        for row, _, serial_number, name, its_urls in products:
            images = ",".join(islice(rest, len(its_urls)))
            lines.append(f"{prefix}{row}\t{_escaped(serial_number)}\t{_escaped(name)}\t{{{images}}}\n")
        self._write(self.products, "".join(lines))
        self.product_count += len(products)

    def _limit(self, product: Product) -> None:
        """Products too: a million may share one image, and all are stored."""
        most = self._limits.max_images
        if self.image_count > most or self.product_count > most:
            what = "distinct image URLs" if self.image_count > most else "products"
            self.product_count -= 1
            detail = f"Up to this row, the manifest has more than {most} {what}."
            self._reject(product.error(Code.TOO_MANY_IMAGES, detail))

    def _reject(self, error: RowError) -> None:
        self.error_count += 1
        if len(self.shown) == SHOWN and error.fatal:
            self.shown.pop()  # the error that explains the refusal must be among them
        if len(self.shown) < SHOWN:
            self.shown.append(error)
        if error.fatal or self.error_count >= self._limits.max_row_errors:
            self.fatal = error
        document = _escaped(orjson.dumps(error.document()).decode())
        self._write(self.rejected, f"{self._prefix}{self.error_count}\t{document}\n")

    def _write(self, file: IO[bytes], lines: str) -> None:
        data = lines.encode()
        self._room.use(len(data))
        file.write(data)


def _escaped(text: str) -> str:
    """Escaped for `COPY`; most texts need nothing."""
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPES)
