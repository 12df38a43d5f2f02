"""Growth goes to the biggest file: this is where it stops."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("services", "shared", "deploy", "client", "tests")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
LINES_A_FILE = 300
LINES_A_FUNCTION = 40
PRODUCT_FILES = 195
"""145 before there were accounts, keys and limits."""
NOUNLESS = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "base", "misc"}

each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))


def test_the_product_has_no_more_files_than_the_cap() -> None:
    product = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in {"services", "shared"}]
    assert len(product) <= PRODUCT_FILES


@each_source
def test_no_file_is_longer_than_the_cap(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_A_FILE


@each_source
def test_no_function_is_longer_than_the_cap(path: Path) -> None:
    too_long = {name: lines for name, lines in _functions(path) if lines > LINES_A_FUNCTION}
    assert not too_long


@each_source
def test_every_file_is_named_for_what_it_holds(path: Path) -> None:
    assert path.stem not in NOUNLESS


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
