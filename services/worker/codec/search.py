"""Find the best quality whose output is small enough, in few encodes.

The size grows with the quality, roughly like an exponential; so the next try comes from a straight line through the
logarithms of the nearest known sizes, and from halving when the line does not close in.
"""

from collections.abc import Callable
from math import log

_TOP = 95
_CAREFUL = 0.7
_FIRST_SLOPE = 0.02  # of the logarithm, per step of quality: about what JPEG and WebP show around 50
_HALVE_EVERY = 3  # a line that is wrong on one side would creep: every third try halves


def best_fitting(encode: Callable[[int], bytes], target: int, *, max_encodes: int = 8) -> tuple[int, bytes]:
    """The highest quality 1..95 with at most `target` bytes, and its output; quality 1 where even that is too big.

    With fewer `max_encodes` than needed it is the best one seen; the last try before giving up is a careful one.
    """
    sizes: dict[int, int] = {}
    fits: tuple[int, bytes] | None = None
    low, high = 0, _TOP + 1  # fits, does not fit: as far as known
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
