"""What holds for any table and any bytes."""

import csv
import io
import re
from typing import Any

import orjson
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.ingest.manifest.encoding import UnsupportedFileError
from services.ingest.manifest.errors import RowError
from services.ingest.manifest.rows import Product
from tests.unit.ingest.manifest.reading import HEADER, read

COLUMNS = ("S. No.", "Product Name", "Input Image Urls")
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30).filter(
    lambda text: text.strip() != ""
)
PATH = st.text("abcXYZ019-._~%!$&'()*+,;=:@/?é", max_size=30).filter(
    lambda path: not re.search(r"[,;]$|[,;]([a-z][a-z0-9+.-]*:)?//", path, re.IGNORECASE)  # another URL begins there
)
URL = st.builds(
    "{}://{}/{}".format,
    st.sampled_from(["http", "https", "HTTPS"]),
    st.sampled_from(["a.example", "10.0.0.1:81"]),
    PATH,
)
ROWS = st.lists(
    st.tuples(TEXT, TEXT, st.lists(URL, min_size=1, max_size=4)),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row[0].strip(),
)
DIALECT = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from([",", ";", "\t"]),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
        "lineterminator": st.sampled_from(["\r\n", "\n", "\r"]),
    }
)
ENCODING = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "windows-1252"])


@settings(max_examples=200)
@given(
    rows=ROWS,
    dialect=DIALECT,
    encoding=ENCODING,
    order=st.permutations(COLUMNS),
    blank=st.booleans(),
    separator=st.sampled_from([",", ", ", ",\n", " \r\n"]),
)
def test_any_table_that_csv_writes_reads_back_as_the_same_products(
    rows: list[Any],
    dialect: dict[str, Any],
    encoding: str,
    order: list[str],
    blank: bool,  # noqa: FBT001
    separator: str,
) -> None:
    assume(_quotes_line_ends(dialect) or not any(end in str((rows, separator)) for end in ("\\r", "\\n")))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, order, **dialect)
    writer.writeheader()
    for serial_number, name, urls in rows:
        text.write(dialect["lineterminator"] if blank else "")
        writer.writerow(dict(zip(COLUMNS, (serial_number, name, separator.join(urls)), strict=True)))
    found = read(_encoded(text.getvalue(), encoding))
    assert [(item.serial_number, item.name, list(item.urls)) for item in found if isinstance(item, Product)] == [
        (serial_number.strip(), name.strip(), urls) for serial_number, name, urls in rows
    ]
    assert not any(isinstance(item, RowError) for item in found)


def _quotes_line_ends(dialect: dict[str, Any]) -> bool:
    """Python 3.11 writes a bare line feed without quotes where the line terminator is CR, and the other way round."""
    return bool(dialect["quoting"] != csv.QUOTE_MINIMAL or dialect["lineterminator"] == "\r\n")


def _encoded(text: str, encoding: str) -> bytes:
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError:
        assume(False)
        raise
    if encoding == "windows-1252" and not text.isascii():
        assume(not _is_utf_8(data))  # then the two cannot be told apart
    return data


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@settings(max_examples=500)
@given(
    head=st.sampled_from([b"", HEADER.encode(), HEADER.encode("utf-16")]),
    tail=st.binary(max_size=400) | st.text('",;\t\r\n\0 1ah:/.htps', max_size=300).map(str.encode),
)
def test_no_bytes_raise_anything_but_the_refusal_of_the_file(head: bytes, tail: bytes) -> None:
    try:
        found = read(head + tail)
    except UnsupportedFileError:
        return
    assert found
    for item in found:
        if isinstance(item, RowError):
            assert item.document()["code"]
            assert "\\u0000" not in orjson.dumps(item.document()).decode()  # jsonb refuses it
