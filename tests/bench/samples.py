"""Repeated measurements: their median and their spread."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def summary(values: Iterable[float]) -> dict[str, Any]:
    """Median, least and greatest, and how many there are; the values themselves stay in the results."""
    found = list(values)
    return {
        "median": statistics.median(found),
        "min": min(found),
        "max": max(found),
        "n": len(found),
        "values": found,
    }


def ratios(above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    """The ratio of the medians, and the spread of the pairs' own ratios."""
    pairs = [one / other for one, other in zip(above, below, strict=True)]
    return summary(pairs) | {"median": statistics.median(above) / statistics.median(below)}


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """A function that gives the seconds since the beginning; within the block, and its length after it."""
    begun, ended = time.monotonic(), list[float]()
    yield lambda: (ended[0] if ended else time.monotonic()) - begun
    ended.append(time.monotonic())


def within(budget: float, most: int) -> Iterator[int]:
    """Numbers from 0, at most `most`, and no new one where the longest round so far would exceed `budget` seconds."""
    begun, longest = time.monotonic(), 0.0
    for number in range(most):
        at = time.monotonic()
        if number and at - begun + longest > budget:
            return
        yield number
        longest = max(longest, time.monotonic() - at)
