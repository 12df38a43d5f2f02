"""A manifest made ready for `COPY`: one pass writes three temporary files, which the transaction only has to pour in.

So parsing holds no transaction open, and neither products nor images nor errors are ever in memory as a whole.
"""

import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import IO, Any, Self
from uuid import UUID

import orjson

from services.ingest.manifest import Found
from services.ingest.numbering import Numbering
from services.ingest.row_errors import Code, RowError
from services.ingest.rows import Limits, Product

SHOWN = 100
"""Row errors that an answer shows."""
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Spool:
    """Rows of `product`, `image` and `rejected_row` in PostgreSQL's text format, and what is to be said of them."""

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for file in (self.products, self.images, self.rejected):
            file.close()

    @property
    def image_count(self) -> int:
        return len(self._numbering)

    @property
    def good(self) -> bool:
        """Whether nothing at all was wrong."""
        return self.error_count == 0

    @property
    def usable(self) -> bool:
        """Whether `on_invalid=skip` can take it."""
        return self.fatal is None and self.product_count > 0

    def findings(self) -> dict[str, Any]:
        """The first errors and how many there are."""
        return {"errors": [error.document() for error in self.shown], "error_count": self.error_count}

    def fill(self, found: Iterable[Found], *, skip: bool) -> None:
        """Write everything down; without `skip`, only count once there has been an error."""
        for item in found:
            if isinstance(item, RowError):
                self._reject(item)
            elif skip or self.good:
                self._add(item)
            if self.fatal:
                return

    def _add(self, product: Product) -> None:
        numbers = []
        for url in product.urls:
            before = len(self._numbering)
            numbers.append(number := self._numbering.number(url))
            if number > before:
                self.images.write(f"{self._prefix}{number}\t{url}\n".encode())
        if len(self._numbering) > self._limits.images:
            self._reject(_too_many_images(product, self._limits.images))
            return
        self.product_count += 1
        texts = f"{_escaped(product.serial_number)}\t{_escaped(product.name)}"
        self.products.write(f"{self._prefix}{product.row}\t{texts}\t{{{','.join(map(str, numbers))}}}\n".encode())

    def _reject(self, error: RowError) -> None:
        self.error_count += 1
        if len(self.shown) == SHOWN and error.fatal:
            self.shown.pop()  # the one error that explains the refusal must be seen
        if len(self.shown) < SHOWN:
            self.shown.append(error)
        if error.fatal or self.error_count >= self._limits.row_errors:
            self.fatal = error
        document = _escaped(orjson.dumps(error.document()).decode())
        self.rejected.write(f"{self._prefix}{self.error_count}\t{document}\n".encode())


def _escaped(text: str) -> str:
    """As `COPY` wants it; most texts are so already."""
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPES)


def blocks(file: IO[bytes], size: int = 1 << 18) -> Iterator[bytes]:
    """The file from its beginning."""
    file.seek(0)
    while block := file.read(size):
        yield block


def _too_many_images(product: Product, limit: int) -> RowError:
    return RowError(
        code=Code.TOO_MANY_IMAGES,
        detail=f"With this row there are more than {limit} distinct image URLs.",
        row=product.row,
        line=product.line,
    )
