"""What one image costs, in counts and in CPU time by process."""

import time
from collections import defaultdict
from typing import Any

from tests.bench.bench import Bench
from tests.bench.counters import Counters, per_image
from tests.bench.journey import journey
from tests.bench.processes import CODEC, OUTSIDE, Watched, spent
from tests.bench.samples import summary

CLASSES = {"jpeg-1": 1000, "jpeg-0.3": 1500}
SECONDS_OF_TAIL = 0.5
"""After the request is terminal: acknowledgements, the webhook's absence, the last commits."""


def measure(bench: Bench) -> dict[str, Any]:
    return {name: _class(bench, name, bench.some(images, 160)) for name, images in CLASSES.items()}


def _class(bench: Bench, name: str, images: int) -> dict[str, Any]:
    runs = bench.pairs
    with bench.stack(f"counts-{name}") as stack:
        watched = Watched(stack, bench.origin.pid)
        cpu, rates = defaultdict[str, list[float]](list), list[float]()
        journey(stack, bench.origin, name, images // 2)  # a warm-up

        def work() -> None:
            for run in range(runs):
                before = watched.cpu()
                rates.append(journey(stack, bench.origin, name, images))
                time.sleep(SECONDS_OF_TAIL)
                for role, seconds in spent(before, watched.cpu()).items():
                    cpu[role].append(seconds * 1000 / images)
                bench.say(f"  {name} {run + 1}/{runs}: {_all(cpu, -1):.2f} ms of CPU an image")

        counts, background = per_image(Counters(stack, watched), runs * images, work)
    outside = [_all(cpu, run) - cpu[CODEC][run] for run in range(runs)]
    return {
        "images": images,
        "runs": runs,
        "counts": counts,
        "background": background,
        "cpu_ms": {role: summary(values) for role, values in cpu.items()},
        "outside_codec_ms": summary(outside),
        "rate": summary(rates),
    }


def _all(cpu: dict[str, list[float]], run: int) -> float:
    """CPU of the whole stack in a run, without the measurement's own processes."""
    return sum(values[run] for role, values in cpu.items() if role not in OUTSIDE)
