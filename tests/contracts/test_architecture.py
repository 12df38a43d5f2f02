"""docs/architecture.md names the files to open to follow one image; each must hold the function named beside it."""

import ast
import re

import pytest

from tests.stack import ROOT

PAGE = (ROOT / "docs/architecture.md").read_text()
STEPS = re.findall(r"^\| \d+ \| `([^`]+\.py)` \| `(\w+)` \|", PAGE, re.MULTILINE)
MOST_FILES = 15


@pytest.mark.parametrize(("path", "name"), STEPS)
def test_each_named_function_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    assert name in {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }


def test_a_reader_follows_one_image_through_at_most_fifteen_files() -> None:
    assert len(STEPS) >= 10
    assert len({path for path, _ in STEPS}) <= MOST_FILES
