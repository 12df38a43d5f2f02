"""The output CSV's cells and lines."""

import csv
import io
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.status.output_csv import CHUNK, cell, csv_chunks, product_line
from services.status.views import ExportImage, ExportRow

REQUEST = UUID("01980000-0000-7000-8000-00000000002a")
PUBLIC_URL = "https://shop.example"
SHA = "ab" * 32
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def image(state: str = "completed", *, url: str = "https://x.example/1.jpg", error: str | None = None) -> ExportImage:
    detail = "why, so" if error else None
    rendition = ("webp", SHA) if state == "completed" else (None, None)
    return ExportImage(1, url, state, error, detail, *rendition)


def line(product: ExportRow, *, details: bool = False) -> str:
    return product_line(product, request_id=REQUEST, public_url=PUBLIC_URL, details=details)


@pytest.mark.parametrize("text", ["", "plain", "1-2", "a=b", " 1", "\u200bplain", "ü"])
def test_most_cells_stay_as_they_are(text: str) -> None:
    assert cell(text) == text


SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"
UNSEEN = (" ", "\xa0", "\u3000", "\u200b", "\ufeff", "\x00", " \u2060 ")
FORMULA_STARTS = (*SIGNS, "\t", *(unseen + sign for unseen in UNSEEN for sign in SIGNS))
FORMULAS = {start + "1+1": f"'{start}1+1" for start in FORMULA_STARTS} | {"\r=1": '"\'\r=1"'}
QUOTED = {'a"b': '"a""b"', "a,b": '"a,b"', "a\nb": '"a\nb"', "a\rb": '"a\rb"'}


@pytest.mark.parametrize(("text", "expected"), (FORMULAS | QUOTED).items())
def test_formulas_get_an_apostrophe_and_cells_quotes_where_needed(text: str, expected: str) -> None:
    assert cell(text) == expected


@given(
    st.lists(st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.text(max_size=5)), max_size=5)
)
def test_a_csv_reader_gets_back_what_went_in(names: list[tuple[str, str]]) -> None:
    page = [ExportRow(row, serial, name, [image()]) for row, (serial, name) in enumerate(names, start=1)]

    file = b"".join(csv_chunks([page], request_id=REQUEST, public_url=PUBLIC_URL, details=False))

    _, *rows = csv.reader(io.StringIO(file.decode(), newline=""), strict=True)
    assert [(row[0].removeprefix("'"), row[1].removeprefix("'")) for row in rows] == [
        (serial.removeprefix("'"), name.removeprefix("'")) for serial, name in names
    ]


def test_a_page_of_long_rows_comes_in_many_chunks() -> None:
    page = [ExportRow(row, str(row), "Lamp", [image(url="https://x.example/" + "x" * 2000)] * 100) for row in range(9)]

    chunks = list(csv_chunks([page], request_id=REQUEST, public_url=PUBLIC_URL, details=False))

    assert max(map(len, chunks)) < CHUNK + len(line(page[0]))
    assert b"".join(chunks).decode().splitlines(keepends=True)[1:] == [line(product) for product in page]


def test_a_page_of_short_rows_is_few_chunks() -> None:
    page = [ExportRow(row, str(row), "Lamp", [image("pending")]) for row in range(250)]

    assert len(list(csv_chunks([page], request_id=REQUEST, public_url=PUBLIC_URL, details=False))) == 1


def test_lists_are_aligned_by_position_in_one_quoted_cell() -> None:
    product = ExportRow(1, "1", "Lamp", [image("failed", error="timeout"), image(), image("pending")])
    output = f"https://shop.example/files/{REQUEST}/out/{SHA}.webp"
    urls = ",".join(["https://x.example/1.jpg"] * 3)

    assert line(product) == f'1,Lamp,"{urls}",",{output},"\r\n'
    assert line(product, details=True).endswith(',"failed,completed,pending","timeout: why; so,,"\r\n')


def test_single_values_are_quoted_too_and_names_are_no_formulas() -> None:
    written = line(ExportRow(1, "-1", '=HYPERLINK("x","y")\nnext', [image("failed")]))

    assert written == '\'-1,"\'=HYPERLINK(""x"",""y"")\nnext","https://x.example/1.jpg",""\r\n'
