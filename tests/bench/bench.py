"""What every figure needs: a folder, an origin, how much to do, and a way to say how far it has come."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.journey import running
from tests.bench.origin import Origin
from tests.stack import Stack, keep_logs

PAIRS = 5


@dataclass(frozen=True, kw_only=True)
class Bench:
    """`quick` does a little of everything, so that it only shows that a figure works; `keys`: `huge` sends API keys."""

    folder: Path
    pictures: Path
    origin: Origin
    quick: bool = False
    keys: bool = False
    pairs: int = PAIRS
    _begun: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """A line of progress."""
        print(f"[{time.monotonic() - self._begun:6.1f} s] {text}", file=sys.stderr, flush=True)

    def some(self, whole: int, quick: int) -> int:
        """How many: all, or just enough to see that it works."""
        return quick if self.quick else whole

    @contextmanager
    def stack(self, name: str, *, workers: int = 1, **env: str) -> Iterator[Stack]:
        """A fresh stack, or one of that name with the data of its last start; its logs stay if it fails.

        Nothing is removed until all figures are measured. Where thousands of files were just removed, ext4 without a
        journal looks at each of them whenever a file is made, for a minute: up to 2 ms of an image's CPU in our worker.
        """
        try:
            with running(self.folder / name, self.origin, workers=workers, **env) as stack:
                yield stack
        except BaseException:
            keep_logs(self.folder, "bench-logs")
            raise
