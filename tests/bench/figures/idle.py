"""What a stack without work uses, and how long it takes to start again."""

import time
from typing import Any

from tests.bench.bench import Bench
from tests.bench.journey import journey
from tests.bench.processes import OUTSIDE, Watched, spent
from tests.bench.samples import stopwatch, summary

CALM = 5.0


def measure(bench: Bench) -> dict[str, Any]:
    with bench.stack("idle") as stack:
        watched = Watched(stack)
        journey(stack, bench.origin, "tiny", 500)  # connections and pools are open as after some work
        time.sleep(CALM)
        seconds = bench.some(20, 5)
        before, begun = watched.cpu(), time.monotonic()
        time.sleep(seconds)
        used = spent(before, watched.cpu())
        percent = {
            role: value * 100 / (time.monotonic() - begun) for role, value in used.items() if role not in OUTSIDE
        }
        pss = watched.pss()
    bench.say(f"  idle: {sum(percent.values()):.1f}% of a core, {sum(pss.values()) / 1e6:.0f} MB")
    starts = []
    for _ in range(bench.some(3, 1)):
        with stopwatch() as passed, bench.stack("idle"):
            starts.append(passed())
        bench.say(f"  ready after {starts[-1]:.1f} s")
    return {"seconds": seconds, "cpu_percent": percent, "pss": pss, "start": summary(starts)}
