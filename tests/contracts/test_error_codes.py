"""The words for what went wrong are the same wherever a reader meets them; ingest and status share no code for them."""

import re
from pathlib import Path

from services.ingest.row_errors import Code
from services.status.openapi.shapes import ROW_ERROR_CODES

DOCS = Path(__file__).parents[2] / "docs"


def test_the_openapi_document_knows_the_row_errors_that_ingest_finds() -> None:
    assert set(ROW_ERROR_CODES) == {str(code) for code in Code}


def test_the_page_on_the_manifest_lists_each_row_error() -> None:
    page = (DOCS / "manifest.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\|([^|]*`[^|]*)\|", page.partition("| code |")[2].partition("\n\n")[0], re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(Code)
