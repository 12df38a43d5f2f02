"""One request of tiny images on 1 to 16 worker processes, from an origin that takes 500 ms for each answer."""

from typing import Any

from tests.bench.bench import Bench
from tests.bench.journey import journey
from tests.bench.processes import OUTSIDE, Watched, machine_use, spent
from tests.bench.samples import summary

DELAY_MS = 500
IMAGES = {1: 1_200, 2: 2_400, 4: 4_000, 8: 6_000, 16: 8_000}
RUNS = 3
BUSY = 0.92
"""A machine with less idle time than the rest limits the fleet by its cores, not by its protocol."""


def measure(bench: Bench) -> dict[str, Any]:
    sizes = (1, 2) if bench.quick else tuple(IMAGES)
    return {"delay_ms": DELAY_MS, "workers": {str(workers): _fleet(bench, workers) for workers in sizes}}


def _fleet(bench: Bench, workers: int) -> dict[str, Any]:
    images, rates, busy, cpu = bench.some(IMAGES[workers], 300 * workers), [], [], []
    with bench.stack(f"fleet-{workers}", workers=workers) as stack:
        watched = Watched(stack, bench.origin.pid)
        journey(stack, bench.origin, "tiny", 64 * workers)  # a warm-up
        for _ in range(bench.some(RUNS, 1)):
            before = watched.cpu()
            with machine_use() as used:
                rates.append(journey(stack, bench.origin, "tiny", images, delay_ms=DELAY_MS))
            ours = sum(value for role, value in spent(before, watched.cpu()).items() if role not in OUTSIDE)
            busy.append(used["busy"])
            cpu.append(ours * 1000 / images)
            bench.say(f"  {workers} workers: {rates[-1]:.0f}/s, the cores {busy[-1]:.0%} busy")
    return {"images": images, "rate": summary(rates), "busy": summary(busy), "cpu_ms": summary(cpu)}
