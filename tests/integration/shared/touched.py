"""Counts the buffers that a step touches, however it is planned."""

from collections.abc import Callable
from typing import TypeVar

from sqlmodel import Session

from shared.db import Connection, Database, Transaction, execute

T = TypeVar("T")
MOST = 1000
"""Buffers that a step may touch; a plan that reads all images of a huge request touches 26,000 here."""
FEW = 60


class Touched:
    """Runs steps, and counts the buffers of our tables that each of them touches; `most` is how many it may."""

    most = MOST

    def __init__(self, database: Database) -> None:
        self.buffers: dict[str, int] = {}
        self._database = database

    def few(self, name: str, step: Callable[[Session], T]) -> T:
        """A step that clients repeat every second."""
        result = self(name, step)
        assert self.buffers[name] <= FEW, name
        return result

    def __call__(self, name: str, step: Callable[[Session], T]) -> T:
        def measured(session: Session) -> T:
            before = _buffers(session)
            result = step(session)
            session.flush()
            self.buffers[name] = _buffers(session) - before
            return result

        return self._database.transact(measured)

    def run(self, name: str, statement: Callable[[Connection], T]) -> T:
        """With a plan that is kept; in a transaction with the counting."""

        def measured(connection: Connection) -> T:
            with connection.transaction():
                before = _buffers(connection)
                result = statement(connection)
                self.buffers[name] = _buffers(connection) - before
            return result

        return self._database.run(measured)


def _buffers(session: Transaction) -> int:
    statement = """
        SELECT sum(pg_stat_get_xact_blocks_fetched(oid))::int AS buffers
        FROM pg_class WHERE relnamespace = 'public'::regnamespace
    """
    return int(execute(session, statement)[0]["buffers"])
