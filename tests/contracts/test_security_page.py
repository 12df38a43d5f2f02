"""SECURITY.md names only files and tests that exist, and each rule of its threat model has both."""

import ast
import re
from functools import cache

from tests.stack import ROOT

PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
RULES = re.findall(r"^\| (?!door )(.+?) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
NAMED = re.findall(r"`((?:services|shared|deploy|tests|docs)/[\w./-]+\w)(?:::(\w+))?`|\]\(([\w./-]+)\)", PAGE)
TESTS = re.compile(r"`tests/[\w/]+\.py::test_\w+`(?:, `tests/[\w/]+\.py::test_\w+`)*")


@cache
def functions_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_file_that_it_names_is_there() -> None:
    paths = {path or link for path, _, link in NAMED}
    assert len(paths) > 50
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_every_test_that_it_names_is_there() -> None:
    tests = {(path, name) for path, name, _ in NAMED if name and (ROOT / path).exists()}
    assert sorted(f"{path}::{name}" for path, name in tests if name not in functions_of(path)) == []


def test_each_rule_is_a_sentence_with_its_code_and_its_test() -> None:
    assert len(RULES) == len(re.findall(r"^\| (?!door )", PAGE, re.MULTILINE))
    wrong = [sentence for _, sentence, _, tests in RULES if not (sentence.endswith(".") and TESTS.fullmatch(tests))]
    assert wrong == []
    assert [path for rule in RULES for path in re.findall(r"`([^`]+)`", rule[2]) if not (ROOT / path).is_file()] == []
