"""Two transactions at once: in a chosen order, one waiting for the other's locks, or in whatever order comes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from sqlmodel import Session

from shared.db import Database, execute
from tests.integration.seed import sql
from tests.stack import until

A = TypeVar("A")
B = TypeVar("B")


def overtaken(database: Database, first: Callable[[Session], A], second: Callable[[Session], B]) -> tuple[A, B]:
    """Run `first`, and commit it only when `second`, begun after it on another connection, waits for it or is done.

    Whatever `second` read before it waited, it read from before `first`: the case that a check outside the database
    gets wrong.
    """
    with ThreadPoolExecutor(1) as pool:
        with Session(database.engine) as session, session.begin():
            begun = first(session)
            execute(session, "SELECT 1")
            following = pool.submit(lambda: database.transact(second))
            until(lambda: following.done() or _waiting(database), every=0.002)
        return begun, following.result(timeout=10)


def together(calls: Sequence[Callable[[], A]]) -> list[A]:
    """Run the calls at the same moment in a thread each; returns their answers in order."""
    start = Barrier(len(calls))

    def run(call: Callable[[], A]) -> A:
        start.wait(timeout=10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def _waiting(database: Database) -> bool:
    """Whether some connection to this database waits for a lock."""
    rows = sql(
        database,
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    return bool(rows)
