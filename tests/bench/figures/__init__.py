"""The figures: each measures one thing on stacks of its own and returns what `results.json` keeps."""

from collections.abc import Callable
from typing import Any

from tests.bench.bench import Bench
from tests.bench.figures import counts, fleet, huge, idle, latency, size, speed

FIGURES: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "speed": speed.measure,
    "counts": counts.measure,
    "size": size.measure,
    "huge": huge.measure,
    "latency": latency.measure,
    "idle": idle.measure,
    "fleet": fleet.measure,
}
