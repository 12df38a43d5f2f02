"""Every shape of manifest that is refused, with its exact place (docs/manifest.md)."""

import io
import tracemalloc

import pytest

from services.ingest.manifest.encoding import UnsupportedFileError
from services.ingest.manifest.errors import Code, RowError
from services.ingest.manifest.read import read_manifest
from services.ingest.manifest.rows import Limits, Product
from tests.unit.ingest.manifest.reading import HEADER, A, B, C, errors, read

SERIAL_NUMBER, NAME, URLS = "S. No.", "Product Name", "Input Image Urls"
LONG_URL = "https://a.example/" + "x" * 2030


def wrong(code: Code, row: int | None = None, line: int | None = None, **place: object) -> RowError:
    return RowError(code=code, detail="", row=row, line=line, **place)  # type: ignore[arg-type]


LONGEST = Limits().max_row_length


@pytest.mark.parametrize("text", ["", "\n \n", "\r\n\t\r\n"])
def test_an_empty_file_is_said_to_be_empty(text: str) -> None:
    assert errors(text) == [wrong(Code.NO_ROWS)]
    (found,) = read(text.encode())
    assert isinstance(found, RowError)
    assert found.detail == "The file is empty."


ONE_ERROR = {
    "a missing column": (
        f"\nS. No.,Name,Input Image Urls\n1,Shirt,{A}\n",
        wrong(Code.MISSING_HEADER, line=2, column=NAME),
    ),
    "a missing column under the delimiter that fits": (
        f"S. No.;Name;Input Image Urls\n1;Shirt;{A}\n",
        wrong(Code.MISSING_HEADER, line=1, column=NAME),
    ),
    "a column that is there twice": (
        f"S. No.,{HEADER}1,1,Shirt,{A}\n",
        wrong(Code.MISSING_HEADER, line=1, column=SERIAL_NUMBER),
    ),
    "only a header": (HEADER, wrong(Code.NO_ROWS)),
    "only empty rows": (HEADER + "\n,,\n", wrong(Code.NO_ROWS)),
    "an empty serial number": (
        HEADER + f"1,Shirt,{A}\n  ,Hat,{B}\n",
        wrong(Code.EMPTY_SERIAL_NUMBER, 2, 3, column=SERIAL_NUMBER, value=""),
    ),
    "an empty name": (HEADER + f'1," ",{A}\n', wrong(Code.EMPTY_NAME, 1, 2, column=NAME, value="")),
    "a NUL in the header": (f"S. No.,Product Name,Input Image Urls\0\n1,Shirt,{A}\n", wrong(Code.NUL_BYTE, line=1)),
    "a NUL in an ignored column": (f"Price,{HEADER}\0,1,Shirt,{A}\n", wrong(Code.NUL_BYTE, 1, 2)),
    "an open quote at the end": (HEADER + f'1,Shirt,{A}\n2,Hat,"{B}\n', wrong(Code.UNTERMINATED_QUOTE, 2, 3)),
    "only an open quote": (HEADER + f'1,Shirt,{A}\n"', wrong(Code.UNTERMINATED_QUOTE, 2, 3)),
    "text after a closing quote": (
        HEADER + f'1,"Shirt" red,{A}\n2,Hat,{B}\n',
        wrong(Code.UNTERMINATED_QUOTE, 1, 2),
    ),
    "an open quote in the header": (
        f'S. No.,"Product Name,Input Image Urls\n1,Shirt,{A}\n',
        wrong(Code.UNTERMINATED_QUOTE, line=1),
    ),
    "bytes that are not text": (b"\x81\x8d\x8f\xff" * 100, wrong(Code.NOT_CSV)),
    "UTF-8 with a BOM and a broken end": (HEADER.encode("utf-8-sig") + b"1,Gr\xf6\xdfe,\n", wrong(Code.NOT_CSV)),
    "a URL that is too long": (
        HEADER + f"1,Shirt,{LONG_URL}x\n2,Hat,{LONG_URL}\n",
        wrong(Code.URL_TOO_LONG, 1, 2, column=URLS, url_index=1, value=LONG_URL + "x"),
    ),
}


@pytest.mark.parametrize(("text", "error"), ONE_ERROR.values(), ids=ONE_ERROR.keys())
def test_the_error_and_its_place(text: bytes | str, error: RowError) -> None:
    assert errors(text) == [error]


def test_data_without_a_header() -> None:
    assert {error.code for error in errors(f"1,Shirt,{A}\n")} == {Code.MISSING_HEADER}


@pytest.mark.parametrize("row", ["1,Shirt,", "1,Shirt", '1,Shirt," , "', "1,Shirt,,,,"])
def test_no_url(row: str) -> None:
    assert errors(f"{HEADER}{row}\n") == [wrong(Code.NO_URL, 1, 2, column=URLS, value="")]


def test_everything_that_is_wrong_with_a_row_is_listed() -> None:
    assert [error.code for error in errors(HEADER + ",,ftp://a.example/a.jpg\n")] == [
        Code.EMPTY_SERIAL_NUMBER,
        Code.EMPTY_NAME,
        Code.INVALID_URL,
    ]


@pytest.mark.parametrize("between", [",", " , ", ",\n", " ", "\r\n"])
@pytest.mark.parametrize(
    "bad",
    [
        "https://user:secret@a.example/a.jpg",
        "ftp://a.example/a.jpg",
        "//a.example/a.jpg",
        "S3://bucket/a.jpg",
        "git+ssh://a.example/a.jpg",
        "file:///a.jpg",
    ],
)
def test_an_invalid_url_is_reported_with_its_index(bad: str, between: str) -> None:
    urls = between.join([A, bad, B])
    assert errors(HEADER + f'1,Shirt,"{urls}"\n') == [
        wrong(Code.INVALID_URL, 1, 2, column=URLS, url_index=2, value=bad)
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_column_with_a_url_of_another_scheme_is_invalid_by_itself(delimiter: str) -> None:
    bad = "ftp://a.example/a.jpg"
    assert errors((HEADER + f"1,Shirt,{A},{bad},{B}\n").replace(",", delimiter)) == [
        wrong(Code.INVALID_URL, 1, 2, column=URLS, url_index=2, value=bad)
    ]


def test_duplicate_serial_number_names_the_first_row() -> None:
    error = read(HEADER + f"1,Shirt,{A}\n2,Hat,{B}\n 1 ,Shoe,{C}\n")[-1]
    assert isinstance(error, RowError)
    assert (error.code, error.row, error.line, error.value) == (Code.DUPLICATE_SERIAL_NUMBER, 3, 4, "1")
    assert "Row 1" in error.detail


@pytest.mark.parametrize(
    ("row", "column", "index"),
    [
        (f"1\0,Shirt,{A}", SERIAL_NUMBER, None),
        (f"1,Sh\0irt,{A}", NAME, None),
        (f"1,Shirt,{A}\0", URLS, 1),
        (f'1,Shirt,"{A},https://a.example/\0"', URLS, 2),
    ],
)
def test_nul(row: str, column: str, index: int | None) -> None:
    [error] = errors(f"{HEADER}{row}\n")
    assert (error.code, error.row, error.column, error.url_index) == (Code.NUL_BYTE, 1, column, index)
    assert "\N{SYMBOL FOR NULL}" in error.document()["value"]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (f'1,Shirt,"{A}\n2,Hat,"{B}"\n3,Shoe,{C}\n', Code.UNTERMINATED_QUOTE),
        ("1,Shirt," + "x" * 9_000_000 + f"\n2,Hat,{B}\n3,Shoe,{C}\n", Code.ROW_TOO_LONG),
        ("1,Shirt," + "x" * LONGEST + f"\n2,Hat,{B}\n3,Shoe,{C}\n", Code.ROW_TOO_LONG),
    ],
    ids=["an open quote", "a line without end", "a line that is a little too long"],
)
def test_a_broken_line_costs_its_own_row_only(row: str, code: Code) -> None:
    error, *others = read(HEADER + row)
    assert isinstance(error, RowError)
    assert (error.code, error.row, error.line) == (code, 1, 2)
    assert [(item.row, item.line, isinstance(item, RowError)) for item in others] == [(2, 3, False), (3, 4, False)]


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04\x14", b"%PDF-1.7", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"\x1f\x8b\x08", b"\x89PNG\r\n\x1a\n"]
)
def test_another_kind_of_file(data: bytes) -> None:
    with pytest.raises(UnsupportedFileError):
        next(read_manifest(io.BytesIO(data), Limits()))


def test_too_many_urls() -> None:
    assert errors(HEADER + f'1,Shirt,"{A},{B},{C}"\n', Limits(max_urls_per_row=2)) == [
        wrong(Code.TOO_MANY_URLS, 1, 2, column=URLS)
    ]


def test_utf_16_without_a_bom() -> None:
    assert errors(HEADER.encode("utf-16-le"))[0].code is Code.NUL_BYTE


def test_the_value_shown_is_short() -> None:
    [error] = errors(HEADER + f"1,Shirt,{'x' * 5000}\n")
    assert len(error.document()["value"]) == 200


def test_a_file_of_broken_quotes_is_refused_in_linear_time() -> None:
    found = errors(HEADER + 'x",""",\n' * 600_000)
    assert (found[-1].code, found[-1].row) == (Code.NOT_CSV, None)
    assert len(found) < 150


def test_the_widest_row_is_read() -> None:
    url = "https://a.example/".ljust(Limits().max_url_length, "x")
    name = "\N{LATIN SMALL LETTER A WITH DIAERESIS}" * 90_000
    [product] = read(HEADER + f'1,{name},"{", ".join([url] * 100)}"\n')
    assert isinstance(product, Product)
    assert (product.name, product.urls) == (name, [url] * 100)


def test_a_row_that_is_too_long_is_refused_before_it_is_read_as_a_whole() -> None:
    file = io.BytesIO((HEADER + "1,Shirt," + "\N{GRINNING FACE}" * 4_000_000 + f"\n2,Hat,{B}\n").encode())
    tracemalloc.start()
    found = [item.row for item in read_manifest(file, Limits())]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [1, 2]
    assert peak < 12_000_000  # the row has 16 MB
