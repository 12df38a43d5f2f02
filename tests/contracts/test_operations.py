"""`docs/operations.md` knows every metric and invents none."""

import re
from pathlib import Path

from prometheus_client import REGISTRY

import services.notifier.deliver
import services.notifier.metrics
import services.notifier.periodic
import services.worker.codec_pool
import services.worker.settle
import shared.broker.metrics
import shared.http.app

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
DEFINED = (
    services.notifier.deliver,
    services.notifier.metrics,
    services.notifier.periodic,
    services.worker.codec_pool,
    services.worker.settle,
    shared.broker.metrics,
    shared.http.app,
)


def test_every_metric_is_explained() -> None:
    assert all(DEFINED)
    metrics = [metric for metric in REGISTRY.collect() if metric.name.startswith("halftone_")]
    names = {metric.name + ("_total" if metric.type == "counter" else "") for metric in metrics}
    assert set(re.findall(r"`(halftone_\w+)`", PAGE.read_text(encoding="utf-8"))) == names
