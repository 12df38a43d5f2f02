"""The memory of a browser's tabs at its most, and now."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from playwright.sync_api import Browser

EVERY_SECONDS = 0.05


class Peak:
    """`bytes` of the tab that held the most so far, with its part of what processes share (PSS)."""

    def __init__(self, tabs: list[int]) -> None:
        self._tabs = tabs
        self.bytes = 0

    def now(self) -> int:
        """Of the tab that holds the most now."""
        return max(map(pss, self._tabs))


@contextmanager
def watched(browser: Browser) -> Iterator[Peak]:
    """Sample the tabs that are open now. Nothing is collected for it; what Playwright leaves in them counts too."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    tabs = [process["id"] for process in processes if process["type"] == "renderer"]
    peak, stop = Peak(tabs), Event()

    def sample() -> None:
        while not stop.wait(EVERY_SECONDS):
            peak.bytes = max(peak.bytes, peak.now())

    sampler = Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        stop.set()
        sampler.join()


def pss(pid: int) -> int:
    """0 of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
