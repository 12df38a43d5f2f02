"""How far a request is: a bar on a terminal, a line every few seconds elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn
from rich.text import Text

from halftone_client.cli import amounts
from halftone_client.cli.screen import Screen
from halftone_client.shapes import Request

LINE_EVERY = 5.0


class Shown(Protocol):
    """What shows the states of a request."""

    def __call__(self, request: Request) -> object: ...


class Furthest:
    """Settled images of a request's run that never become fewer, whatever order the answers come in."""

    def __init__(self) -> None:
        self._run = self._done = 0

    def __call__(self, request: Request) -> int:
        done = request["images"]["total"] - request["images"]["pending"]
        if request["run"] > self._run:
            self._run, self._done = request["run"], done
        elif request["run"] == self._run:
            self._done = max(self._done, done)
        return self._done


@contextmanager
def watching(screen: Screen) -> Iterator[Shown]:
    """Something to call with each state of a request."""
    if is_live(screen):
        with _bar(screen) as progress:
            yield _Bar(progress)
    else:
        yield _Lines(screen)


@contextmanager
def counting(screen: Screen, doing: str, *, total: int | None, in_bytes: bool) -> Iterator[Progress]:
    """A bar of its own for an upload or a download; its one task takes `advance`."""
    amount = amounts.size if in_bytes else amounts.number
    with _bar(screen) as progress:
        progress.add_task(doing, total=total, amount=amount)
        yield progress


def is_live(screen: Screen) -> bool:
    """Whether a line can be written over."""
    return screen.err.is_terminal and not screen.err.is_dumb_terminal


def _bar(screen: Screen) -> Progress:
    return Progress(
        SpinnerColumn(style="cyan", finished_text=" "),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None, complete_style="cyan", finished_style="cyan"),
        _Figures(""),
        console=screen.err,
        expand=True,
        transient=True,
        disable=not is_live(screen),
    )


class _Figures(TextColumn):
    """`62%  1,860/3,000  41/s  28s left  3 failed`."""

    def render(self, task: Task) -> Text:
        amount = task.fields.get("amount", amounts.number)
        parts = [f"{task.percentage:3.0f}%"] if task.total else []
        parts.append(
            f"{amount(int(task.completed))}/{amount(int(task.total))}" if task.total else amount(int(task.completed))
        )
        if (speed := task.fields.get("speed") or task.speed) and not task.finished:
            parts.append(f"{speed:.1f}/s" if speed < 9.95 else f"{amount(round(speed))}/s")
        if (left := task.fields.get("left")) and not task.finished:
            parts.append(amounts.left(left))
        text = Text("  ".join(parts))
        if failed := task.fields.get("failed"):
            text.append(f"  {failed:,} failed", "red")
        return text


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._furthest = Furthest()
        self._task = progress.add_task("Waiting to start", total=None)

    def __call__(self, request: Request) -> None:
        counts = request["images"]
        self._progress.update(
            self._task,
            description="Waiting to start" if request["status"] == "pending" else "Compressing",
            total=counts["total"],
            completed=self._furthest(request),
            left=request["eta_seconds"],
            failed=counts["failed"],
            speed=request.get("images_per_second"),
        )


class _Lines:
    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._furthest = Furthest()
        self._last: tuple[int, int] | None = None
        self._next = 0.0

    def __call__(self, request: Request) -> None:
        counts, now = request["images"], time.monotonic()
        state = (self._furthest(request), counts["failed"])
        if state == self._last or (now < self._next and counts["pending"]):
            return
        self._last, self._next = state, now + LINE_EVERY
        left = f", {amounts.left(request['eta_seconds'])}" if request["eta_seconds"] else ""
        failed = f", {counts['failed']:,} failed" if counts["failed"] else ""
        self._screen.err.print(f"{state[0]:,} of {counts['total']:,} images{failed}{left}")
