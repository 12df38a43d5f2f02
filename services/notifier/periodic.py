"""Periodic tasks. One that fails or has endless work holds up no other, and a row that fails holds up no neighbour.

A row whose action fails is backed off; one that cannot even be taken is found by halving the batch, and left out.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread
from typing import Any, TypeVar

import psycopg
from prometheus_client import Counter
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from shared.db import Database, is_down
from shared.log import get_logger

T = TypeVar("T")
log = get_logger(__name__)
ROWS = Counter(
    "halftone_periodic_task_rows_total", "Rows that a task of the sweeper or of housekeeping took.", ["task"]
)
FAILURES = Counter(
    "halftone_periodic_task_failures_total", "Failures of a task of the sweeper or of housekeeping.", ["task"]
)
FIRST_BACK_OFF = 60.0
LONGEST_BACK_OFF = 3600.0
BATCH_ROWS = 50
"""Rows that a task takes at a time; it takes more at once while it finds as many and has time left."""


class TimeBudget:
    """The time that a task has; it is spent at once when the process is to stop."""

    def __init__(self, seconds: float, stop: Event, *, task: str = "") -> None:
        self.task = task
        self._until = time.monotonic() + seconds
        self._stop = stop

    def is_spent(self) -> bool:
        return self._stop.is_set() or time.monotonic() >= self._until


@dataclass(slots=True)
class BackOff:
    """Keys that failed in this process: exponential back-off, from FIRST_BACK_OFF to LONGEST_BACK_OFF seconds."""

    _until: dict[Hashable, tuple[float, float]] = field(default_factory=dict)  # the end, and the delay

    def failed(self, key: Hashable) -> None:
        _, delay = self._until.get(key, (0.0, FIRST_BACK_OFF / 2))
        delay = min(delay * 2, LONGEST_BACK_OFF)
        self._until[key] = (time.monotonic() + delay, delay)

    def left_alone(self) -> list[Any]:
        """Keys whose time has not come; those whose time is long over are forgotten."""
        now = time.monotonic()
        self._until = {key: (end, delay) for key, (end, delay) in self._until.items() if now < end + LONGEST_BACK_OFF}
        return [key for key, (end, _) in self._until.items() if now < end]


Task = Callable[[TimeBudget], int]
"""Returns how many rows it took. A task that took any with its budget spent is taken to have more to do."""


def run_tasks(tasks: Sequence[Task], *, seconds: float, stop: Event) -> bool:
    """Run the tasks one after another, each with `seconds` to spend; True if one of them has more to do."""
    unfinished = False
    for task in tasks:
        name = task.__name__
        budget = TimeBudget(seconds, stop, task=name)
        try:
            rows = task(budget)
        except Exception:  # it is tried again next time
            FAILURES.labels(name).inc()
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
    take: Callable[[Session, int, int], Sequence[T]],
    act: Callable[[T], bool | None],
    budget: TimeBudget,
    *,
    give_back: Callable[..., None] | None = None,
    back_off: Callable[[Session, T], None] | None = None,
) -> int:
    """Act on each row that `take` returns, batch after batch, until none is left, time is up or `act` returns False.

    `take` is given how many rows to take and how many to leave out, in its order. Rows that were taken and not acted on
    go to `give_back`, so that they are due at once for the next run; a row whose action fails goes to `back_off`.
    """
    acted, limit, bad = 0, BATCH_ROWS, 0
    while not budget.is_spent():
        try:
            rows = database.transact(partial(_take, take, limit, bad))
        except (DBAPIError, psycopg.Error) as error:
            if is_down(error):
                raise
            limit, bad = _around_bad_row(error, limit, bad, budget)
            continue
        done = _act_on(database, rows, act, budget, back_off)
        if give_back and done < len(rows):
            database.transact(partial(give_back, rows=rows[done:]))
        acted += done
        if done < len(rows) or len(rows) < limit:
            break
    return acted


def _take(take: Callable[[Session, int, int], T], limit: int, bad: int, session: Session) -> T:
    return take(session, limit, bad)


def _around_bad_row(error: Exception, limit: int, bad: int, budget: TimeBudget) -> tuple[int, int]:
    """The next `limit` and `bad`: half as many rows, or, once it is known to be the first, all rows but that one."""
    if limit > 1:
        return limit // 2, bad
    FAILURES.labels(budget.task).inc()
    log.error("row_not_taken", task=budget.task, error=str(error)[:500])
    return BATCH_ROWS, bad + 1


def _act_on(
    database: Database,
    rows: Sequence[T],
    act: Callable[[T], bool | None],
    budget: TimeBudget,
    back_off: Callable[[Session, T], None] | None,
) -> int:
    """Returns how many rows it acted on: one at least, or a slow `take` would end in nothing."""
    for done, row in enumerate(rows, start=1):
        try:
            if act(row) is False:
                return done - 1
        except Exception as error:
            FAILURES.labels(budget.task).inc()
            log.exception("row_failed", task=budget.task, row=str(row))
            if back_off and not is_down(error):
                with suppress(DBAPIError, psycopg.Error):  # its row was moved a little when it was taken
                    database.transact(partial(_back_off, back_off, row))
        if budget.is_spent():
            return done
    return len(rows)


def _back_off(back_off: Callable[[Session, T], None], row: T, session: Session) -> None:
    back_off(session, row)
