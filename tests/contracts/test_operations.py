"""The manual knows every metric and every alert and invents none, and the number of series is bounded."""

import importlib
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.core import Metric

from tests.observability import CASES, expressions, rules
from tests.stack import ROOT

METRICS = ROOT / "docs" / "metrics.md"
ALERTS = ROOT / "docs" / "operations.md"
BOUNDED = {
    "actor": "a message class",
    "code": "an error class",
    "format": "an image format that we know",
    "how": "a constant",
    "kind": "a constant, or a quota",
    "limit": "a constant",
    "method": "of HTTP; others are one",
    "outcome": "a constant",
    "pool": "a constant",
    "queue": "a message class",
    "reason": "a constant",
    "route": "a path with its parameters' names",
    "state": "a constant",
    "status": "of HTTP, or of a delivery",
    "task": "a function's name",
}
"""Labels by what their values are: never an id, an address, or a client's text."""
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
UNIT = re.compile(r"_(total|seconds|bytes|messages|images|processes|deliveries|open|due|up|limit|in_\w+)$")
SUFFIX = {"counter": "_total"}


@pytest.fixture
def families() -> list[Metric]:
    """Of every module that defines one."""
    for path in (path for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py")):
        if "from prometheus_client import" in path.read_text():
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return [metric for metric in REGISTRY.collect() if metric.name.startswith("halftone_")]


def test_every_metric_is_explained(families: list[Metric]) -> None:
    metrics = {metric.name + ("_total" if metric.type == "counter" else "") for metric in families}
    assert _named(METRICS) == metrics
    assert _named(ALERTS) <= metrics


def test_every_metric_ends_in_its_unit_and_has_a_help_text(families: list[Metric]) -> None:
    assert [metric.name for metric in families if not re.search(UNIT, metric.name + SUFFIX.get(metric.type, ""))] == []
    assert [metric.name for metric in families if len(metric.documentation) < 20] == []


def test_every_label_has_a_bounded_set_of_values(families: list[Metric]) -> None:
    assert families
    collectors = {id(one): one for one in REGISTRY._names_to_collectors.values()}.values()
    labels = {name: getattr(one, "_labelnames", ()) for one in collectors if (name := getattr(one, "_name", None))}
    assert {label for name, its in labels.items() if name.startswith("halftone_") for label in its} == BOUNDED.keys()


def test_dashboard_and_rules_ask_for_metrics_that_there_are(families: list[Metric]) -> None:
    there = {metric.name + suffix for metric in families for suffix in SUFFIXES[metric.type]}
    asked = {name for expression in expressions() for name in re.findall(r"halftone_\w+", expression)}
    assert asked <= there


def test_every_alert_has_a_section_that_says_what_to_do() -> None:
    part = ALERTS.read_text(encoding="utf-8").partition("\n## Alerts\n")[2].partition("\n## ")[0]
    sections = re.findall(r"^### (.+)$", part, re.MULTILINE)
    anchors = {f"docs/operations.md#{section.lower().replace(' ', '-')}" for section in sections}
    assert sorted(rule["annotations"]["runbook_url"] for rule in rules()) == sorted(anchors)
    for rule in rules():
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]


def test_every_alert_is_tested_for_firing_and_for_not_firing() -> None:
    cases = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    alerts = {rule["alert"] for rule in rules()}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts


def _named(page: Path) -> set[str]:
    return set(re.findall(r"`(halftone_\w+)`", page.read_text(encoding="utf-8")))
