"""Seeds that once found a mistake; they run first, always."""

from typing import NamedTuple


class Regression(NamedTuple):
    """`faults` as the seed drew them then, by name: the draw changes when a kind is added."""

    seed: int
    faults: tuple[str, ...]
    found: str


REGRESSIONS: tuple[Regression, ...] = ()
