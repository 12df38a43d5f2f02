"""What every figure needs: a folder, an origin, how much to do, and a way to say how far it has come."""

import shutil
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
    """`quick` does a little of everything, so that it only shows that a figure works."""

    folder: Path
    pictures: Path
    origin: Origin
    quick: bool = False
    pairs: int = PAIRS
    _begun: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """A line of progress."""
        print(f"[{time.monotonic() - self._begun:6.1f} s] {text}", file=sys.stderr, flush=True)

    def some(self, whole: int, quick: int) -> int:
        """How many: all, or just enough to see that it works."""
        return quick if self.quick else whole

    @contextmanager
    def stack(self, name: str, *, workers: int = 1, keep: bool = False, **env: str) -> Iterator[Stack]:
        """A fresh stack, or with `keep` one whose data stays for a next start; its logs stay if it fails."""
        folder = self.folder / name
        try:
            with running(folder, self.origin, workers=workers, **env) as stack:
                yield stack
        except BaseException:
            keep_logs(self.folder, "bench-logs")
            raise
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)
