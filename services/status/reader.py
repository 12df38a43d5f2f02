"""Reads requests for all callers together: one connection, one statement at a time for however many ask meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg

from services.status.queries import FIND, Found, found_of

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class RequestReader:
    """`connect` must give a connection in autocommit mode: a read is one round trip.

    A caller that comes while a statement is under way waits for the next one, so that nothing it gets was read
    before it asked. Belongs to one event loop.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._asked: dict[UUID, asyncio.Future[Found | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def read(self, request_id: UUID) -> Found | None:
        """The request, whoever owns it.

        Raises:
            psycopg.Error: also if the server is away.

        """
        return await asyncio.shield(self._ask(request_id))  # one caller that leaves must not cancel the others

    async def read_all(self, request_ids: Iterable[UUID]) -> dict[UUID, Found]:
        """Those that exist. Raises what `read` raises."""
        asked = [self._ask(request_id) for request_id in request_ids]
        found = await asyncio.gather(*map(asyncio.shield, asked))
        return {one.request.id: one for one in found if one is not None}

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._connection is not None:
            await self._connection.close()

    def _ask(self, request_id: UUID) -> asyncio.Future[Found | None]:
        future = self._asked.get(request_id)
        if future is None:
            future = self._asked[request_id] = asyncio.get_running_loop().create_future()
            if self._task is None:
                self._task = asyncio.create_task(self._answer())
        return future

    async def _answer(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                await self._answer_batch(asked)
        finally:
            self._task = None

    async def _answer_batch(self, asked: dict[UUID, asyncio.Future[Found | None]]) -> None:
        try:
            found = await self._read(list(asked))
        except asyncio.CancelledError:
            for future in asked.values():
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is for those who asked
            for future in asked.values():
                future.set_exception(error)
        else:
            for request_id, future in asked.items():
                future.set_result(found.get(request_id))

    async def _read(self, request_ids: list[UUID]) -> dict[UUID, Found]:
        try:
            return await self._read_once(request_ids)
        except psycopg.OperationalError:
            if self._connection is None or not self._connection.closed:
                raise
        return await self._read_once(request_ids)  # the connection was left from before the server restarted

    async def _read_once(self, request_ids: list[UUID]) -> dict[UUID, Found]:
        if self._connection is None or self._connection.closed:
            self._connection = None
            self._connection = await self._connect()
        cursor = self._connection.cursor(binary=True)
        await cursor.execute(FIND, {"ids": request_ids}, prepare=True)
        return {found.request.id: found for found in map(found_of, await cursor.fetchall())}
