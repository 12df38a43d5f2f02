"""The reader of requests: many callers share a statement, and the fault of one harms no other."""

import asyncio
from typing import Any
from uuid import UUID

import psycopg
import pytest

from services.status.queries import Found
from services.status.reader import RequestReader
from shared.ids import uuid7
from shared.schemas.api import Counts
from tests.unit.status.rows import request_row

FIRST, SECOND, UNKNOWN = uuid7(), uuid7(), uuid7()


class Server:
    """Connections to it know two requests; statements end when they may `go_on`."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.statements: list[list[UUID]] = []
        self.under_way, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()
        self.away = False
        self.reader = RequestReader(self.connect)

    async def connect(self) -> Any:
        if self.away:
            raise psycopg.OperationalError("away")
        self.connections.append(Connection(self))
        return self.connections[-1]


class Connection:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.error: psycopg.Error | None = None
        self.breaks = self.closed = False

    def cursor(self, **_: Any) -> "Connection":
        return self

    async def execute(self, _: bytes, values: dict[str, list[UUID]], **__: Any) -> None:
        self.asked = values["ids"]
        self.server.statements.append(self.asked)
        self.server.under_way.set()
        await self.server.go_on.wait()
        if self.error is not None:
            raise self.error
        if self.breaks:
            self.closed = True
            raise psycopg.OperationalError("terminated")

    async def fetchall(self) -> list[tuple[Any, ...]]:
        return [_row(one) for one in self.asked if one != UNKNOWN]

    async def close(self) -> None:
        self.closed = True


def _row(request_id: UUID) -> tuple[Any, ...]:
    return (*request_row(id=request_id), 3, 0, 0, 0, 0)


FOUND = Found(request_row(id=FIRST), Counts(completed=3))


def test_what_is_asked_meanwhile_is_one_statement_and_is_read_after_it_was_asked() -> None:
    async def scene() -> tuple[list[Found | None], list[list[UUID]]]:
        server = Server()
        server.go_on.clear()
        early = asyncio.create_task(server.reader.read(FIRST))
        await server.under_way.wait()
        late = [asyncio.create_task(server.reader.read(one)) for one in (FIRST, SECOND, FIRST, UNKNOWN)]
        await asyncio.sleep(0)
        server.go_on.set()
        return await asyncio.gather(early, *late), server.statements

    found, statements = asyncio.run(scene())

    assert [one and one.request.id for one in found] == [FIRST, FIRST, SECOND, FIRST, None]
    assert statements == [[FIRST], [FIRST, SECOND, UNKNOWN]]
    assert found[0] == FOUND


def test_read_all_is_one_statement_and_leaves_out_what_does_not_exist() -> None:
    async def scene() -> tuple[dict[UUID, Found], list[list[UUID]]]:
        server = Server()
        return await server.reader.read_all([FIRST, SECOND, UNKNOWN]), server.statements

    found, statements = asyncio.run(scene())

    assert found.keys() == {FIRST, SECOND}
    assert statements == [[FIRST, SECOND, UNKNOWN]]


def test_a_caller_that_leaves_takes_the_answer_from_no_other() -> None:
    async def scene() -> Found | None:
        server = Server()
        server.go_on.clear()
        leaving, staying = (asyncio.create_task(server.reader.read(FIRST)) for _ in range(2))
        await server.under_way.wait()
        leaving.cancel()
        await asyncio.sleep(0)
        server.go_on.set()
        return await staying

    assert asyncio.run(scene()) is not None


def test_a_connection_from_before_a_restart_is_replaced_and_the_caller_notices_nothing() -> None:
    async def scene() -> tuple[Found | None, int]:
        server = Server()
        await server.reader.read(FIRST)
        server.connections[0].breaks = True
        return await server.reader.read(FIRST), len(server.connections)

    assert asyncio.run(scene()) == (FOUND, 2)


def test_a_server_that_is_away_fails_all_who_ask_and_is_found_when_it_is_back() -> None:
    async def scene() -> tuple[list[Any], Found | None]:
        server = Server()
        await server.reader.read(FIRST)
        server.connections[0].breaks = server.away = True
        failed = await asyncio.gather(*(server.reader.read(FIRST) for _ in range(2)), return_exceptions=True)
        server.away = False
        return failed, await server.reader.read(FIRST)

    failed, found = asyncio.run(scene())

    assert [type(error) for error in failed] == [psycopg.OperationalError] * 2
    assert found == FOUND


def test_a_statement_that_took_too_long_is_not_repeated() -> None:
    async def scene() -> list[list[UUID]]:
        server = Server()
        await server.reader.read(FIRST)
        server.connections[0].error = psycopg.errors.QueryCanceled("statement timeout")
        with pytest.raises(psycopg.errors.QueryCanceled):
            await server.reader.read(FIRST)
        return server.statements

    assert asyncio.run(scene()) == [[FIRST]] * 2


def test_closing_ends_a_statement_under_way_and_its_connection() -> None:
    async def scene() -> bool:
        server = Server()
        server.go_on.clear()
        asking = asyncio.create_task(server.reader.read(FIRST))
        await server.under_way.wait()
        await server.reader.close()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return server.connections[0].closed

    assert asyncio.run(scene())
