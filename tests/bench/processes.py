"""CPU time and memory of the stack's processes, from the operating system's accounting."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.stack import Stack

CODEC, CLIENT, ORIGIN, SUPERVISOR = "codec children", "client", "origin", "supervisor"
OUTSIDE = (CLIENT, ORIGIN)
"""The measurement's own processes."""


class Watched:
    """The processes of a stack by role: every descendant of a worker is a codec child, of PostgreSQL a backend."""

    def __init__(self, stack: Stack, origin: int | None = None) -> None:
        self._stack = stack
        self._origin = origin

    def main(self) -> dict[str, list[int]]:
        """The pid of each named process; workers together."""
        found = defaultdict(list)
        for name, process in self._stack.state()["processes"].items():
            if process["pid"]:
                found[name.partition("-")[0]].append(int(process["pid"]))
        return dict(found)

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, with the descendants that ended; a worker's ended descendants were codec children."""
        seconds: dict[str, float] = defaultdict(float)
        for role, pids in self.main().items():
            for pid in pids:
                below = CODEC if role == "worker" else role
                own, ended = _cpu(pid)
                seconds[role] += own
                seconds[below] += ended + sum(sum(_cpu(child)) for child in _descendants(pid))
        seconds[CLIENT] = sum(_cpu(os.getpid())[:1])
        if self._origin:
            seconds[ORIGIN] = sum(_cpu(self._origin))
        if supervisor := self._stack.state().get("pid"):
            seconds[SUPERVISOR] = _cpu(int(supervisor))[0]
        return dict(seconds)

    def pss(self) -> dict[str, int]:
        """Proportional set size in bytes: pages shared by several processes are divided among them."""
        sizes = self._by_role(_pss)
        if supervisor := self._stack.state().get("pid"):
            sizes[SUPERVISOR] = _pss(int(supervisor))
        return sizes

    def written(self) -> dict[str, int]:
        """Bytes that the processes made the file system write so far."""
        return self._by_role(_written)

    def _by_role(self, size: Callable[[int], int]) -> dict[str, int]:
        """The sizes of a role's processes together; what a worker has below it are codec children."""
        sizes: dict[str, int] = defaultdict(int)
        for role, pids in self.main().items():
            for pid in pids:
                sizes[role] += size(pid)
                sizes[CODEC if role == "worker" else role] += sum(map(size, _descendants(pid)))
        return dict(sizes)

    def forget_peaks(self) -> None:
        """Begin anew with the peaks of memory."""
        for pids in self.main().values():
            for pid in pids:
                with suppress(OSError):
                    Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peaks(self) -> dict[str, int]:
        """The highest resident size in bytes of each named process; of several workers, the highest."""
        return {role: max(map(peak_rss, pids)) for role, pids in self.main().items()}


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was added, by role."""
    return {role: after[role] - before.get(role, 0.0) for role in after}


def peak_rss(pid: int) -> int:
    """The highest resident size in bytes since the start, or since `forget_peaks`."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) << 10


@contextmanager
def machine_use() -> Iterator[dict[str, float]]:
    """Within the block: how busy all cores of the machine were, as a share."""
    used: dict[str, float] = {}
    before, begun = psutil.cpu_times(), time.monotonic()
    yield used
    after = psutil.cpu_times()
    idle = (after.idle - before.idle) + (getattr(after, "iowait", 0) - getattr(before, "iowait", 0))
    used["busy"] = 1 - idle / ((time.monotonic() - begun) * (psutil.cpu_count() or 1))


def _cpu(pid: int) -> tuple[float, float]:
    """The process's own CPU seconds, and those of its children that have ended."""
    with suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system, times.children_user + times.children_system
    return 0.0, 0.0


def _descendants(pid: int) -> list[int]:
    with suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def _pss(pid: int) -> int:
    with suppress(OSError):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) << 10
    return 0


def _written(pid: int) -> int:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
    return 0
