"""`docs/operations.md` knows every metric and invents none."""

import importlib
import re

import pytest
from prometheus_client import REGISTRY

from tests.stack import ROOT

PAGE = ROOT / "docs" / "operations.md"


@pytest.fixture
def metrics() -> set[str]:
    """Of every module that defines one."""
    for path in (path for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py")):
        if "from prometheus_client import" in path.read_text():
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    found = [metric for metric in REGISTRY.collect() if metric.name.startswith("halftone_")]
    return {metric.name + ("_total" if metric.type == "counter" else "") for metric in found}


def test_every_metric_is_explained(metrics: set[str]) -> None:
    assert set(re.findall(r"`(halftone_\w+)`", PAGE.read_text(encoding="utf-8"))) == metrics
