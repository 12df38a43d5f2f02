"""What quality a JPEG was saved at, told from its quantisation table for brightness.

libjpeg scales one table (ITU T.81, table K.1) by the quality; the scale whose table is nearest to the one in the file
is the estimate. Tables of another make (Photoshop, cameras, mozjpeg) get the quality of about the same coarseness.
"""

from collections.abc import Sequence
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
