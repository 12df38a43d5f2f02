"""Periodic tasks: none of them holds up the others, neither by failing nor by endless work."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread
from typing import TypeVar

from prometheus_client import Counter
from sqlmodel import Session

from shared.db import Database
from shared.log import get_logger

T = TypeVar("T")
log = get_logger(__name__)
ROWS = Counter(
    "halftone_periodic_task_rows_total", "Rows that a task of the sweeper or of housekeeping took.", ["task"]
)
BATCH_ROWS = 50
"""Rows that a task takes at a time; it takes more at once while it finds as many and has time left."""


class TimeBudget:
    """The time that a task has; it is spent at once when the process is to stop."""

    def __init__(self, seconds: float, stop: Event) -> None:
        self._until = time.monotonic() + seconds
        self._stop = stop

    def is_spent(self) -> bool:
        return self._stop.is_set() or time.monotonic() >= self._until


Task = Callable[[TimeBudget], int]
"""Returns how many rows it took. A task that took any with its budget spent is taken to have more to do."""


def run_tasks(tasks: Sequence[Task], *, seconds: float, stop: Event) -> bool:
    """Run the tasks one after another, each with `seconds` to spend; True if one of them has more to do."""
    unfinished = False
    for task in tasks:
        budget, name = TimeBudget(seconds, stop), task.__name__
        try:
            rows = task(budget)
        except Exception:  # it is tried again next time
            log.exception("task_failed", task=name)
            continue
        if rows:
            ROWS.labels(name).inc(rows)
            log.info("task_acted", task=name, rows=rows)
            unfinished |= budget.is_spent()
    return unfinished


def repeat(
    run_once: Callable[[], bool], *, name: str, seconds: float, seconds_if_unfinished: float, stop: Event
) -> Thread:
    """Call `run_once` in a daemon thread until `stop` is set, sooner again while it says that there is more to do."""

    def loop() -> None:
        unfinished = True
        while not stop.wait(seconds_if_unfinished if unfinished else seconds):
            unfinished = run_once()

    thread = Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread


def for_each(
    database: Database,
    take: Callable[[Session, int], Sequence[T]],
    act: Callable[[T], bool | None],
    budget: TimeBudget,
    *,
    give_back: Callable[..., None] | None = None,
) -> int:
    """Act on each row that `take` returns, batch after batch, until none is left, time is up or `act` returns False.

    Rows that were taken and not acted on go to `give_back`, so that they are due at once for the next run.
    """
    acted, full = 0, True
    while full and not budget.is_spent():
        rows = database.transact(lambda session: take(session, BATCH_ROWS))
        done = _act_on(rows, act, budget)
        if give_back and done < len(rows):
            database.transact(partial(give_back, rows=rows[done:]))
        acted += done
        full = done == len(rows) == BATCH_ROWS
    return acted


def _act_on(rows: Sequence[T], act: Callable[[T], bool | None], budget: TimeBudget) -> int:
    """Returns how many rows it acted on: one at least, or a slow `take` would end in nothing."""
    for done, row in enumerate(rows, start=1):
        try:
            if act(row) is False:
                return done - 1
        except Exception:
            log.exception("row_failed", row=str(row))
        if budget.is_spent():
            return done
    return len(rows)
