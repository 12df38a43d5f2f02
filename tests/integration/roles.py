"""Runs what a service sends to the database as the service's role, so that a missing grant fails a test."""

from collections.abc import Callable
from functools import partial
from typing import Any, LiteralString, TypeVar

import pytest
from sqlalchemy import event
from sqlmodel import Session

from deploy.migrations.roles import GRANTS
from shared.db import Connection, Database

T = TypeVar("T")


def apply_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of a test's own runs as the owner of the tables."""
    transact, run = Database.transact, Database.run

    def transact_as_role(database: Database, work: Callable[[Session], T]) -> T:
        def as_role(session: Session) -> T:
            # Not at once: `work` may still choose the isolation level.
            event.listen(session, "after_begin", lambda _s, _t, connection: connection.exec_driver_sql(becoming))
            return work(session)

        becoming = _becoming("SET LOCAL ROLE", work)

        return transact(database, as_role if service_of(work) else work)

    def run_as_role(database: Database, work: Callable[[Connection], T]) -> T:
        def as_role(connection: Connection) -> T:
            connection.execute(_becoming("SET ROLE", work))
            try:
                return work(connection)
            finally:
                if not connection.closed:
                    connection.execute("RESET ROLE")

        return run(database, as_role if service_of(work) else work)

    monkeypatch.setattr(Database, "transact", transact_as_role)
    monkeypatch.setattr(Database, "run", run_as_role)


def service_of(work: Callable[..., Any]) -> str | None:
    """The service in whose module `work` is defined."""
    while isinstance(work, partial):
        work = work.func
    room, _, rest = getattr(work, "__module__", "").partition(".")
    service = rest.partition(".")[0]
    return service if room == "services" and service in GRANTS else None


def _becoming(command: LiteralString, work: Callable[..., Any]) -> Any:
    return f"{command} halftone_{service_of(work)}"
