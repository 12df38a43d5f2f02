"""The pages name only files that exist, and the README's table names every path of the API."""

import re

from shared.http.paths import METHODS
from tests.stack import ROOT

PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]
PREFIX = "/v1/requests/{id}"


def test_every_file_that_a_page_names_is_there() -> None:
    named = set()
    for page in PAGES:
        text = re.sub(r"`(ingest|worker|notifier|status)/", r"`services/\1/", page.read_text(encoding="utf-8"))
        named |= {
            (page, path) for path in re.findall(r"(?<![\s`}]/)(?:services|shared|deploy|tests|docs)/[\w./-]*\w", text)
        }
    assert named
    assert {(page, path) for page, path in named if not (ROOT / path).exists()} == set()


def test_the_readme_s_table_names_every_path() -> None:
    table = re.findall(r"^\| `.*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    told = {path.replace("…", PREFIX) for line in table for path in re.findall(r"[/…][^\s`?]*/?", line.split(" | ")[0])}
    written = {
        re.sub(r"\{(?:\w+_id)\}", "{id}", path).replace("{number}", "{n}").replace(":path", "") for path in METHODS
    }
    for_browsers = {"/", "/app/{name}", "/vendor/{name}", *(path for path in written if path.startswith("/docs"))}
    assert written - told <= for_browsers | {"/status/{id}/", "/api/check-status/{id}", "/openapi.json"}
