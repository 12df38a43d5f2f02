"""Room on disk for the uploads of a process together: what each spools is reserved first.

Uploads are refused before they fill the disk, and before their body is read where its length is known.
"""

import shutil
import tempfile
from threading import Lock
from typing import Self

from shared.http.problems import Problem

STEP = 1_000_000
"""Bytes by which a reservation grows: an upload may be chunked, and its rows take more or less room than its body."""
KEPT_FREE = 500_000_000
"""Bytes of the disk that uploads leave to others; of a small disk a twentieth."""


class SpoolSpace:
    """Of at most `budget` bytes, and less than the disk of the temporary folder has free."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._lock = Lock()
        self.reserved = 0

    def reservation(self) -> "Reservation":
        return Reservation(self)

    def take(self, size: int) -> None:
        """Reserve more bytes.

        Raises:
            Problem: 503.

        """
        disk = shutil.disk_usage(tempfile.gettempdir())
        with self._lock:
            if self.reserved + size > self._budget:
                detail = "Too many uploads are being received; try again soon."
                raise Problem(503, "busy", detail, headers={"Retry-After": "30"})
            # What is reserved and written already is missing from `free` too: refuse rather too early than too late.
            if self.reserved + size > disk.free - min(KEPT_FREE, disk.total // 20):
                raise no_room()
            self.reserved += size

    def give_back(self, size: int) -> None:
        with self._lock:
            self.reserved -= size


class Reservation:
    """What one upload has reserved, until the block ends. Not for several threads at once."""

    def __init__(self, space: SpoolSpace) -> None:
        self._space = space
        self._reserved = 0
        self._used = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._space.give_back(self._reserved)
        self._reserved = 0

    def expect(self, size: int) -> None:
        """So many bytes will be used. Raises Problem: 503."""
        self._reserve(self._used + size)

    def use(self, size: int) -> None:
        """So many more bytes are to be written. Raises Problem: 503."""
        self._used += size
        if self._used > self._reserved:
            self._reserve(max(self._used, self._reserved + STEP))

    def _reserve(self, size: int) -> None:
        more = size - self._reserved
        if more > 0:
            self._space.take(more)
            self._reserved = size


def no_room() -> Problem:
    detail = "The server has no space to store the upload right now; try again later."
    return Problem(503, "no_room", detail, headers={"Retry-After": "60"})
