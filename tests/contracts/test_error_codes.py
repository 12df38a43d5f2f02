"""Error codes and error documents are the same in ingest, in the public shapes and on the pages."""

import re
from pathlib import Path

from services.ingest.accounts.quotas import _used_up
from services.ingest.manifest.errors import Code, RowError
from shared.errors import ImageError
from shared.http.problems import Problem
from shared.schemas import api
from shared.schemas.api import ROW_ERROR_CODES, error_codes

DOCS = Path(__file__).parents[2] / "docs"


def test_the_public_shapes_know_the_row_errors_that_ingest_finds() -> None:
    assert set(ROW_ERROR_CODES) == {str(code) for code in Code}


def test_the_documents_of_errors_have_the_public_shapes() -> None:
    row_error = RowError(code=Code.NO_URL, detail="There is no URL.").document()

    assert list(row_error) == list(api.RowError.model_fields)
    refused = Problem(422, "invalid", "", errors=[row_error], error_count=1).document()
    used_up = _used_up("open_requests", 1, 1, "", retry_after=1).document()
    assert list(refused | used_up) == list(api.Problem.model_fields)


def test_the_page_on_the_manifest_lists_each_row_error() -> None:
    assert _listed("manifest.md") == sorted(Code)


def test_the_page_on_images_lists_each_error_of_an_image() -> None:
    assert _listed("images.md") == sorted(error_codes(ImageError))


def _listed(page: str) -> list[str]:
    """The codes in the first column of the page's table of codes."""
    table = (DOCS / page).read_text(encoding="utf-8").partition("\n| code |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\|([^|]*`[^|]*)\|", table, re.MULTILINE)
    return sorted(re.findall(r"`(\w+)`", " ".join(cells)))
