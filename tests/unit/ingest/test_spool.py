"""A manifest as files for `COPY`."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import IO
from unittest.mock import Mock
from uuid import UUID

import pytest

from services.ingest.manifest.errors import Code, RowError
from services.ingest.manifest.rows import ROWS_AT_ONCE, Found, Limits, Product
from services.ingest.space import SpoolSpace
from services.ingest.spool import SHOWN, Spool

ID = UUID(int=7)
ROOM = SpoolSpace(10**9).reservation()
A, B = "https://a.example/a.jpg", "https://a.example/b.jpg"


@pytest.fixture
def spool() -> Iterator[Spool]:
    with closing(Spool(ID, Limits(max_images=3, max_row_errors=1000), ROOM)) as spool:
        yield spool


def fill(spool: Spool, found: Iterable[Found], *, skip: bool = True) -> tuple[list[str], list[str], list[str]]:
    spool.fill(found, skip=skip)
    return _lines(spool.products), _lines(spool.images), _lines(spool.rejected)


def _lines(file: IO[bytes]) -> list[str]:
    file.seek(0)
    return file.read().decode().splitlines()


def product(row: int, *urls: str, name: str = "n") -> Product:
    return Product(row, row + 1, f"s{row}", name, urls)


def error(row: int | None = 1, code: Code = Code.EMPTY_NAME) -> RowError:
    return RowError(code=code, detail="d", row=row)


def test_images_are_numbered_by_first_appearance(spool: Spool) -> None:
    products, images, _ = fill(spool, [product(1, A, B, A), product(2, B)])
    assert images == [f"{ID}\t1\t{A}", f"{ID}\t2\t{B}"]
    assert products == [f"{ID}\t1\ts1\tn\t{{1,2,1}}", f"{ID}\t2\ts2\tn\t{{2}}"]
    assert (spool.product_count, spool.image_count, spool.good) == (2, 2, True)


def test_text_is_escaped_for_copy(spool: Spool) -> None:
    [line], _, _ = fill(spool, [product(1, A, name="a\tb\\c\r\n")])
    assert line == f"{ID}\t1\ts1\ta\\tb\\\\c\\r\\n\t{{1}}"


def test_nothing_is_written_after_an_error_unless_rows_are_skipped(spool: Spool) -> None:
    products, _, _ = fill(spool, [product(1, A), error(2), product(3, B)], skip=False)
    assert len(products) == 1
    assert not spool.good


def test_skipping_keeps_the_good_rows(spool: Spool) -> None:
    products, _, rejected = fill(spool, [product(1, A), error(2), product(3, B)])
    assert (len(products), len(rejected), spool.usable) == (2, 1, True)


def test_an_error_without_a_row_refuses_everything(spool: Spool) -> None:
    fill(spool, [product(1, A), error(None, Code.NOT_CSV), product(3, B)])
    assert not spool.usable
    assert spool.product_count == 1


def test_the_limit_of_images_refuses_everything(spool: Spool) -> None:
    fill(spool, [product(row, f"https://a.example/{row}") for row in range(1, 9)])
    assert not spool.usable
    assert [(found.code, found.row) for found in spool.shown] == [(Code.TOO_MANY_IMAGES, 4)]


def test_the_limit_of_images_holds_for_products_that_share_one_too(spool: Spool) -> None:
    fill(spool, [product(row, A) for row in range(1, 9)])
    assert not spool.usable
    assert [(found.code, found.row) for found in spool.shown] == [(Code.TOO_MANY_IMAGES, 4)]


def test_rows_that_share_an_image_are_charged_and_rejected_ones_too(spool: Spool) -> None:
    fill(spool, [product(1, A), product(2, A), error(3)])
    assert (spool.image_count, spool.charged) == (1, 3)


def test_what_refuses_everything_is_always_shown(spool: Spool) -> None:
    fill(spool, [*(error(row) for row in range(1, SHOWN + 50)), error(None, Code.NOT_CSV)])
    assert (len(spool.shown), spool.shown[-1].code, spool.error_count) == (SHOWN, Code.NOT_CSV, SHOWN + 50)


def test_reading_stops_after_too_many_errors(spool: Spool) -> None:
    fill(spool, (error(row) for row in range(1, 5000)))
    assert (spool.error_count, spool.usable) == (1000, False)


def test_rows_are_stored_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Spool(ID, Limits(), ROOM)) as spool:
        numbers = Mock(wraps=spool._numbering.numbers)
        monkeypatch.setattr(spool._numbering, "numbers", numbers)
        fill(spool, [product(row, A, B) for row in range(1, 321)])
        assert spool.product_count == 320
        assert numbers.call_count == 320 / ROWS_AT_ONCE, "a million rows must not be a million calls"


def test_an_error_among_many_rows_spoils_no_other() -> None:
    found = [error(row) if row == 50 else product(row, A, B) for row in range(1, 101)]
    with closing(Spool(ID, Limits(), ROOM)) as spool:
        products, images, rejected = fill(spool, found)
        assert [line.split("\t")[1] for line in products] == [str(row) for row in range(1, 101) if row != 50]
        assert (len(images), len(rejected), spool.good, spool.usable) == (2, 1, False, True)
