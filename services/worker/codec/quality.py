"""Quality from 1 to 95: the one a JPEG was saved at, and the best one whose output is small enough.

A JPEG's quality is estimated from its quantisation table for brightness. libjpeg scales one table (ITU T.81, table K.1)
by the quality, so the nearest scaled table gives it; Photoshop's, a camera's or mozjpeg's table gets the quality of
about the same coarseness.

The search takes few encodes: a size grows roughly exponentially with the quality, so the next try comes from a straight
line through the logarithms of the nearest known sizes, and from halving where that does not close in.
"""

from collections.abc import Callable, Sequence
from math import log
from typing import Final

# In natural order (row by row), as Pillow hands out the tables of a file.
_STANDARD: Final = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip


def scaled_table(quality: int) -> tuple[int, ...]:
    """The table that libjpeg makes for `quality` 1..100 (`jpeg_quality_scaling`, baseline: 1 to 255)."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(255, max(1, (step * percent + 50) // 100)) for step in _STANDARD)


_TOP: Final = 95
_CAREFUL: Final = 0.7
_FIRST_SLOPE: Final = 0.02  # of the logarithm, per step of quality: about what JPEG and WebP show around 50
_HALVE_EVERY: Final = 3  # a line that is wrong on one side would creep, so every third try halves
_TABLES: Final = {quality: scaled_table(quality) for quality in range(100, 0, -1)}
_KNOWN: Final = {table: quality for quality, table in _TABLES.items()}
_LOGS: Final = {quality: tuple(log(step) for step in table) for quality, table in _TABLES.items()}


def jpeg_quality(table: Sequence[int]) -> int:
    """1..100 for the 64 steps of a file's brightness table."""
    known = _KNOWN.get(tuple(table))
    if known is not None or len(table) != len(_STANDARD):
        return known or 75
    logs = [log(max(1, step)) for step in table]
    return min(_LOGS, key=lambda quality: sum(abs(a - b) for a, b in zip(logs, _LOGS[quality], strict=True)))


def best_fitting(encode: Callable[[int], bytes], target: int, *, max_encodes: int = 8) -> tuple[int, bytes]:
    """The highest quality 1..95 with at most `target` bytes, and its output; quality 1 where even that is too big.

    Where `max_encodes` are too few for that, the best quality seen. The last try before giving up aims well below.
    """
    sizes: dict[int, int] = {}
    fits: tuple[int, bytes] | None = None
    low, high = 0, _TOP + 1  # the highest known to fit, the lowest known not to
    smallest = b""
    guess = 50
    while high - low > 1 and len(sizes) < max_encodes - (fits is None):
        body = encode(guess)
        sizes[guess] = len(body)
        if len(body) <= target:
            low, fits = guess, (guess, body)
        else:
            high = guess
            smallest = body
        careful = fits is None and len(sizes) == max_encodes - 2
        guess = _next(low, high, sizes, target * _CAREFUL if careful else target)
    return fits or (1, smallest if high == 1 else encode(1))


def _next(low: int, high: int, sizes: dict[int, int], target: float) -> int:
    middle = (low + high) // 2
    if len(sizes) % _HALVE_EVERY == 0:
        return middle
    near = sorted(sizes, key=lambda quality: abs(quality - middle))[:2]
    slope = _FIRST_SLOPE
    if len(near) == 2:
        slope = (log(sizes[near[0]]) - log(sizes[near[1]])) / (near[0] - near[1])
    if slope <= 0:
        return middle
    step = (log(max(1, target)) - log(sizes[near[0]])) / slope
    return min(high - 1, max(low + 1, int(near[0] + step)))
