"""Files made to take time: each is so large that anything worse than linear would not end."""

import io

import pytest

from services.ingest.manifest.read import read_manifest
from services.ingest.manifest.rows import Limits
from tests.unit.ingest.manifest.reading import HEADER, A

SIZE = 2_000_000
HOSTILE = {
    "blank lines": "\n" * SIZE,
    "one line of spaces": " " * SIZE,
    "spaces inside a URL cell": f'1,Shirt,"a{" " * SIZE}b"\n',
    "line feeds inside a URL cell": f'1,Shirt,"a{chr(10) * SIZE}b"\n',
    "commas": "," * SIZE,
    "commas inside a cell": f'1,Shirt,"{"," * SIZE}x"\n',
    "URLs without end": f'1,Shirt,"{"http://," * (SIZE // 8)}"\n',
    "schemes without end": f'1,Shirt,"http://a{",ab+" * (SIZE // 4)}"\n',
    "schemes after spaces": f'1,Shirt,"{"a:// " * (SIZE // 5)}"\n',
    "quotes": '"' * SIZE,
    "lines that open a quote": 'x",""",\n' * (SIZE // 8),
    "a quoted line of lines that open a quote": '"' + 'x"",""""""",\n' * (SIZE // 12) + '"\n',
    "a long host": f"1,Shirt,https://{'a-' * 900}/x.jpg\n" * (SIZE // 1800),
    "a host of dots": f"1,Shirt,https://{'a.' * 900}/x.jpg\n" * (SIZE // 1800),
}


@pytest.mark.parametrize("rows", HOSTILE.values(), ids=HOSTILE.keys())
def test_reading_takes_linear_time(rows: str) -> None:
    found = read_manifest(io.BytesIO((HEADER + rows + f"\n2,Hat,{A}\n").encode()), Limits())
    assert sum(1 for _ in found) > 0


def test_a_file_of_blank_lines_has_no_header() -> None:
    assert sum(1 for _ in read_manifest(io.BytesIO(b"\r" * SIZE), Limits())) == 3
