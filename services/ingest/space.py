"""Room on disk for the uploads of a process together: what each spools is reserved first.

Uploads are refused before they fill the disk, and before their body is read where its length is known.
"""

import shutil
import tempfile
from collections.abc import Sequence
from threading import Lock
from typing import Self

from shared.http.places import TOO_MANY, Place
from shared.http.problems import Problem

STEP = 1_000_000
"""Bytes by which a reservation grows: an upload may be chunked, and its rows take more or less room than its body."""
KEPT_FREE = 500_000_000
"""Bytes of the disk that uploads leave to others; of a small disk a twentieth."""
SHARE = 4
"""The uploads of an account, or of an address, may reserve a fourth together; one alone may have all."""


class SpoolSpace:
    """Of at most `budget` bytes, and less than the disk of the temporary folder has free."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._lock = Lock()
        self._held = dict[Reservation, None]()
        self.reserved = 0

    def reservation(self, place: Place | None = None) -> "Reservation":
        """Of nothing yet; for the request that has this place."""
        return Reservation(self, place)

    def take(self, taker: "Reservation", size: int) -> None:
        """Reserve more bytes; slow uploads give way for them, oldest first.

        Raises:
            Problem: 429 for its account or address, 503.

        """
        disk = shutil.disk_usage(tempfile.gettempdir())
        with self._lock:
            for owner in taker.owners:
                own = [held for held in self._held if held is not taker and owner in held.owners]
                if own and not self._make_room(own, taker.size + size, self._budget // SHARE):
                    raise TOO_MANY
            if not self._make_room(list(self._held), size, self._budget):
                detail = "Too many uploads are being received; try again soon."
                raise Problem(503, "busy", detail, headers={"Retry-After": "30"})
            # What is reserved and written already is missing from `free` too: refuse rather too early than too late.
            if self.reserved + size > disk.free - min(KEPT_FREE, disk.total // 20):
                raise no_room()
            self._held[taker] = None
            taker.size += size
            self.reserved += size

    def give_back(self, held: "Reservation") -> None:
        with self._lock:
            self._forget(held)

    def _make_room(self, among: Sequence["Reservation"], size: int, limit: int) -> bool:
        """Whether `size` bytes more are within the limit, once slow ones have given way; none does in vain."""
        missing, leaving = size - limit, list[Reservation]()
        for held in among:
            missing += held.size
        for held in among:
            if missing > 0 and held.is_slow():
                missing -= held.size
                leaving.append(held)
        if missing > 0:
            return False
        for held in leaving:
            held.give_way()
            self._forget(held)
        return True

    def _forget(self, held: "Reservation") -> None:
        self._held.pop(held, None)
        self.reserved -= held.size
        held.size = 0


class Reservation:
    """What one upload has reserved, until the block ends. Not for several threads at once."""

    def __init__(self, space: SpoolSpace, place: Place | None) -> None:
        self.size = 0
        self.owners = place.owners if place else ()
        self._place = place
        self._space = space
        self._used = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._space.give_back(self)

    def is_slow(self) -> bool:
        return self._place is not None and self._place.is_slow()

    def give_way(self) -> None:
        if self._place:
            self._place.give_way()

    def expect(self, size: int) -> None:
        """So many bytes will be used. Raises Problem: 429, 503."""
        self._reserve(self._used + size)

    def use(self, size: int) -> None:
        """So many more bytes are to be written. Raises Problem: 429, 503."""
        self._used += size
        if self._used > self.size:
            self._reserve(max(self._used, self.size + STEP))

    def _reserve(self, size: int) -> None:
        if size > self.size:
            self._space.take(self, size - self.size)


def no_room() -> Problem:
    detail = "The server has no space to store the upload right now; try again later."
    return Problem(503, "no_room", detail, headers={"Retry-After": "60"})
