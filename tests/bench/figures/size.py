"""Throughput and memory over the number of images in a request: both should be flat."""

from collections import defaultdict
from typing import Any

from tests.bench.bench import Bench
from tests.bench.journey import journey
from tests.bench.processes import Watched
from tests.bench.samples import summary


def measure(bench: Bench) -> dict[str, Any]:
    """Sizes ascend, so that a peak of memory is never that of a larger run before; the smallest comes again after."""
    small, middle, large = (200, 400, 800) if bench.quick else (1_000, 10_000, 100_000)
    before, after = (bench.pairs + 1) // 2, bench.pairs // 2
    order = [small] * before + [middle] * min(3, before) + [large] + [small] * after
    rates, peaks = defaultdict[int, list[float]](list), defaultdict[int, dict[str, int]](dict)
    with bench.stack("size") as stack:
        watched = Watched(stack)
        journey(stack, bench.origin, "tiny", small)  # a warm-up
        for images in order:
            watched.forget_peaks()
            rates[images].append(journey(stack, bench.origin, "tiny", images))
            if large not in rates or images == large:
                for role, size in watched.peaks().items():
                    peaks[images][role] = max(size, peaks[images].get(role, 0))
            shown = peaks[images].get("worker", 0) / 1e6
            bench.say(f"  {images:,} tiny images: {rates[images][-1]:.0f}/s, worker's peak {shown:.0f} MB")
    return {"sizes": {str(images): {"rate": summary(rates[images]), "peak_rss": peaks[images]} for images in rates}}
