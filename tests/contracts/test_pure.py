"""Every module that calls itself pure is in the import contract for pure modules."""

import ast
import configparser
import re
from pathlib import Path

from tests.stack import ROOT


def test_every_module_that_says_it_is_pure_is_in_the_contract() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    held = tuple(contracts["importlinter:contract:pure"]["source_modules"].split())
    says = [path for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py") if _says_pure(path)]
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in says]
    assert modules
    assert [name for name in modules if not f"{name}.".startswith(tuple(f"{module}." for module in held))] == []


def _says_pure(path: Path) -> bool:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.search(r"\bpure\b", docstring.partition("\n")[0], re.IGNORECASE) is not None
