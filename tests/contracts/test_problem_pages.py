"""Every error code that an answer may have is explained, with its status; and nothing else is."""

import ast
import re
from collections.abc import Iterator

import pytest

from services.ingest.manifest.errors import Code
from services.status.assets import STATIC
from services.status.problems.pages import HEADERS, PAGES
from services.status.problems.registry import IMAGE_ERRORS, PROBLEM_TYPES, ROW_ERRORS, Explained
from shared.errors import ImageError
from shared.http.problems import TITLES, Problem
from shared.schemas.api import error_codes
from tests.stack import ROOT

CADDYFILE = (ROOT / "deploy/gateway/Caddyfile").read_text(encoding="utf-8")
ANY_STATUS = {"http_error", "malformed", "method_not_allowed"}
"""Codes that Starlette's own errors get too, in `shared.http.app._http_exception`."""
ALL: dict[str, Explained] = {**PROBLEM_TYPES, **ROW_ERRORS, **IMAGE_ERRORS}


def raised() -> Iterator[tuple[str, int]]:
    """The codes in the source, each with its status."""
    for folder in ("services", "shared"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(
                        func=ast.Name(id="Problem"),
                        args=[ast.Constant(value=int(status)), ast.Constant(value=code), *_],
                    ):
                        yield str(code), status
                    case ast.Call(func=ast.Name(id="_unauthorized"), args=[ast.Constant(value=code), *_]):
                        yield str(code), 401


def from_the_gateway() -> set[tuple[str, int]]:
    return {(code, int(status)) for status, code in re.findall(r"import problem (\d+) (\w+) ", CADDYFILE)}


def test_every_code_of_the_services_is_explained_with_its_status_and_nothing_else() -> None:
    found = set(raised()) | {("http_error", PROBLEM_TYPES["http_error"].status)}

    assert found == {(code, known.status) for code, known in PROBLEM_TYPES.items()}


def test_every_code_of_the_gateway_is_explained() -> None:
    older = {("too_large", 400)}  # the two older contracts have 400 for every refusal
    found = from_the_gateway()

    assert older < found
    assert found - older <= {(code, known.status) for code, known in PROBLEM_TYPES.items()}


def test_the_gateway_s_documents_are_those_of_the_services() -> None:
    assert '"type":"/docs/problems/{args[1]}"' in CADDYFILE
    assert Problem(404, "not_found", "").document()["type"] == "/docs/problems/not_found"
    for status, title in re.findall(r'import problem (\d+) \w+ "([^"]+)"', CADDYFILE):
        assert title == TITLES[int(status)]


def test_every_error_of_a_row_and_of_an_image_is_explained() -> None:
    assert ROW_ERRORS.keys() == {str(code) for code in Code}
    assert IMAGE_ERRORS.keys() == error_codes(ImageError)


def test_every_code_has_a_page_or_a_place_on_one() -> None:
    assert PAGES.keys() == {"", "row-errors", "image-errors", *PROBLEM_TYPES}
    for name, known in (("row-errors", ROW_ERRORS), ("image-errors", IMAGE_ERRORS)):
        assert re.findall(r'<section id="(\w+)">', PAGES[name]) == list(known)
    assert set(re.findall(r'href="/docs/problems/(\w+)"', PAGES[""])) == PROBLEM_TYPES.keys()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_under_its_own_policy(name: str) -> None:
    assert not re.search(r"<script|<style|<[^>]* (?:style|on\w+)=|(?:href|src)=\"\w+://", PAGES[name])
    assert "`" not in PAGES[name].partition("<pre")[0]
    for link in re.findall(r'(?:href|src)="(/[^"]*)"', PAGES[name]):
        page, _, _ = link.removeprefix("/docs/problems/").partition("#")
        assert link in {"/", "/docs", "/docs/problems.css", "/app/mark.svg"} or page in PAGES


def test_the_policy_lets_nothing_in_but_the_style_sheet() -> None:
    assert not re.search(r"https?:|\*|unsafe|script", HEADERS["Content-Security-Policy"])
    sheet = (STATIC / "problems.css").read_text(encoding="utf-8")
    assert not re.search(r"@import|url\(", sheet)


@pytest.mark.parametrize("code", ALL)
def test_a_text_is_sentences(code: str) -> None:
    known = ALL[code]
    assert not known.title.endswith(".")
    for text in (known.happened, known.to_do):
        assert re.fullmatch(r"[A-Z0-9`].*[.]", text)
