"""What others published: its licence and version are beside it, and the pages that use it name no other host."""

import re

from services.status.assets import STATIC
from services.status.docs import POLICY

READER = STATIC / "swagger-ui"
PAGE = (STATIC / "docs.html").read_text(encoding="utf-8")
START = (STATIC / "docs.js").read_text(encoding="utf-8")
VENDOR = STATIC / "vendor"


def test_the_licence_is_beside_the_files() -> None:
    assert "Apache License" in (READER / "LICENSE").read_text(encoding="utf-8")
    assert "SmartBear" in (READER / "NOTICE").read_text(encoding="utf-8")
    assert (READER / "swagger-ui-bundle.js.LICENSE.txt").exists()


def test_swagger_ui_is_of_the_version_that_its_note_names() -> None:
    (version,) = re.findall(r"^Swagger UI ([\d.]+),", (READER / "README.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert f'"{version}"' in (READER / "swagger-ui-bundle.js").read_text(encoding="utf-8")


def test_the_page_names_no_other_host_and_its_files_exist() -> None:
    assert "//" not in PAGE
    assert "://" not in START
    assert "validatorUrl: null" in START  # the badge would send the document to another host
    named = re.findall(r'(?:src|rel="stylesheet" href)="/docs/([^"]+)"', PAGE)
    assert {"docs.js", "docs.css", "swagger-ui/swagger-ui-bundle.js", "swagger-ui/swagger-ui.css"} == set(named)
    assert all((STATIC / name).exists() for name in named)


def test_the_browser_is_told_to_run_no_other_script_and_to_ask_no_other_host() -> None:
    policy = dict(rule.strip().split(" ", 1) for rule in POLICY.split(";"))

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert not re.search(r"https?:|\*|unsafe", POLICY)


def test_lit_has_its_licences_and_the_versions_that_the_note_names() -> None:
    lit = STATIC / "vendor" / "lit"
    told = re.findall(
        r"^\| `([\w-]+)/` \| `[^`]+` ([\d.]+) ", (lit / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )

    assert [name for name, _ in told] == sorted(folder.name for folder in lit.iterdir() if folder.is_dir())
    for name, version in told:
        assert "BSD 3-Clause License" in (lit / name / "LICENSE").read_text(encoding="utf-8")
        assert f'.push("{version}")' in (lit / name / f"{name}.js").read_text(encoding="utf-8")


def test_uplot_is_of_the_version_that_its_note_names() -> None:
    note = (VENDOR / "uplot/README.md").read_text(encoding="utf-8")
    (version,) = re.findall(r"^uPlot ([\d.]+) ", note)

    assert f"(v{version})" in (VENDOR / "uplot/uPlot.esm.js").read_text(encoding="utf-8")[:400]
    assert "MIT License" in (VENDOR / "uplot/LICENSE").read_text(encoding="utf-8")
