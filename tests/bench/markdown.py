"""Small pieces of Markdown."""

from collections.abc import Iterable
from typing import Any

Data = dict[str, Any]


def spread(samples: Data, show: str = "{:.0f}", *, times: float = 1) -> str:
    """`median (least..greatest)`."""
    middle, low, high = (show.format(samples[key] * times) for key in ("median", "min", "max"))
    return f"{middle} ({low}..{high})"


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    columns = list(head)
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""])
