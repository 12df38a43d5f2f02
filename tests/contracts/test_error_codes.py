"""The words for what went wrong are the same wherever a reader meets them; ingest and status share no code for them."""

import re
from pathlib import Path

from services.ingest.manifest.errors import Code
from shared.errors import ImageError
from shared.schemas.api import ROW_ERROR_CODES, error_codes

DOCS = Path(__file__).parents[2] / "docs"


def test_the_public_shapes_know_the_row_errors_that_ingest_finds() -> None:
    assert set(ROW_ERROR_CODES) == {str(code) for code in Code}


def test_the_page_on_the_manifest_lists_each_row_error() -> None:
    assert _listed("manifest.md") == sorted(Code)


def test_the_page_on_images_lists_each_error_of_an_image() -> None:
    assert _listed("images.md") == sorted(error_codes(ImageError))


def _listed(page: str) -> list[str]:
    """The codes in the first column of the page's table of codes."""
    table = (DOCS / page).read_text(encoding="utf-8").partition("\n| code |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\|([^|]*`[^|]*)\|", table, re.MULTILINE)
    return sorted(re.findall(r"`(\w+)`", " ".join(cells)))
