"""A cheap HTTP/1.1 client for many calls from one event loop; each belongs to an address of the loopback."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

ANSWERED_WITHIN = 60.0
_NOT_SENT = (ConnectionError, asyncio.IncompleteReadError, EOFError)


class NoAnswer(Exception):
    """The connection ended, or nothing came in ANSWERED_WITHIN seconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """A connection that is kept between calls and made anew where the server ended it."""

    def __init__(self, port: int, address: str, key: str) -> None:
        self._port = port
        self._address = address
        self.key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._streams:
            self._streams[1].transport.abort()
            self._streams = None

    async def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """The whole answer; `_` in the name of a header stands for `-`."""
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                return await self._call(method, path, body, headers)
        except (OSError, *_NOT_SENT) as error:  # a timeout too
            self.close()
            raise NoAnswer(f"{type(error).__name__} {error}".strip()) from None
        except BaseException:
            self.close()
            raise

    async def begin(self, method: str, path: str, **headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send the head alone, on a connection of its own."""
        reader, writer = self._streams = await self._connect()
        writer.write(self._head(method, path, headers))
        await writer.drain()
        return reader, writer

    async def _call(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        kept = self._streams is not None
        try:
            return await self._exchange(method, path, body, headers)
        except _NOT_SENT:
            if not kept:
                raise
            self.close()  # the server ended a kept connection as this call began, which any client repeats
            return await self._exchange(method, path, body, headers)

    async def _exchange(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        reader, writer = self._streams = self._streams or await self._connect()
        length = {"Content-Length": str(len(body))} if method == "POST" else {}
        writer.write(self._head(method, path, {**headers, **length}) + body)
        answer = await read_answer(reader)
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._address, 0))

    def _head(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", f"Authorization: Bearer {self.key}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    status, headers = await read_head(reader)
    if status in {204, 304}:
        return Answer(status, headers, b"")
    if headers.get("transfer-encoding") == "chunked":
        return Answer(status, headers, await _chunks(reader))
    if "content-length" in headers:
        return Answer(status, headers, await reader.readexactly(int(headers["content-length"])))
    return Answer(status, headers | {"connection": "close"}, await reader.read())


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines[1:] if line)
    return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in fields}


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return bytes(body)
