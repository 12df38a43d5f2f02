"""The pages name only files that exist, and the README's table names every path of the API."""

import re
from pathlib import Path

from shared.http.paths import METHODS
from tests.stack import ROOT

PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]
LINKING = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "client/README.md", ROOT / "deploy/k8s/README.md"]
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


def test_every_link_leads_to_a_file_and_a_heading_in_it() -> None:
    dead = set()
    for page in LINKING:
        for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text(encoding="utf-8")):
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in _anchors(target)):
                dead.add((page.name, f"{path}#{anchor}"))
    assert dead == set()


def _anchors(page: Path) -> set[str]:
    """As GitHub and others make them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_s_table_names_every_path() -> None:
    table = re.findall(r"^\| `.*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    told = {path.replace("…", PREFIX) for line in table for path in re.findall(r"[/…][^\s`?]*/?", line.split(" | ")[0])}
    written = {
        re.sub(r"\{(?:\w+_id)\}", "{id}", path).replace("{number}", "{n}").replace(":path", "") for path in METHODS
    }
    for_browsers = {"/", "/app/{name}", "/vendor/{name}", *(path for path in written if path.startswith("/docs"))}
    assert written - told <= for_browsers | {"/status/{id}/", "/api/check-status/{id}", "/openapi.json"}
