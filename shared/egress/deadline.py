"""A point in time after which nothing may go on; every wait asks it how long it may last."""

import time


class Deadline:
    """`Deadline(30)` ends in 30 seconds."""

    __slots__ = ("at",)

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the end; raises TimeoutError when there are none."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def over(self) -> bool:
        return time.monotonic() >= self.at

    def sooner(self, seconds: float) -> "Deadline":
        """A part of this time: in `seconds`, but never after this one."""
        part = Deadline(seconds)
        part.at = min(part.at, self.at)
        return part
