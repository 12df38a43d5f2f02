"""Names the commands that a client sends to Redis or PostgreSQL, from the bytes that pass through the proxy.

Only what the faults need: a command's first word, and PostgreSQL's COMMIT.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

COMMIT = b"COMMIT\x00"  # in a query, and in the tag of its CommandComplete
NOTHING = (b"*0\r\n", b"*-1\r\n", b"$-1\r\n", b"_\r\n")  # an empty list, and a nil as each version spells it


class Spy(Protocol):
    """One for each connection."""

    def feed(self, data: bytes) -> list[str]:
        """The names of the commands that end in `data`, bytes from the client."""
        ...

    def matters(self, reply: bytes) -> bool:
        """Whether losing this reply loses anything."""
        ...


class RedisSpy:
    """Names each command by its first word, in small letters."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[str]:
        self._buffer += data
        return list(self._commands())

    def matters(self, reply: bytes) -> bool:
        """A wait that found nothing is most of the traffic, and an error means that nothing was done."""
        return not reply.startswith((*NOTHING, b"-"))

    def _commands(self) -> Iterator[str]:
        with suppress(ValueError):
            while True:
                arguments, end = _request(self._buffer)
                del self._buffer[:end]
                yield arguments[0].decode("latin-1").lower()


class PostgresSpy:
    """Knows `commit` alone, as a simple query or inside a pipeline."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        seen = self._rest + data
        _, found, rest = seen.rpartition(COMMIT)
        self._rest = rest[-len(COMMIT) + 1 :]
        return ["commit"] if found else []

    def matters(self, reply: bytes) -> bool:
        return COMMIT in reply  # it did commit; a failed transaction says ROLLBACK


def _request(buffer: bytearray) -> tuple[list[bytes], int]:
    """The first request of the buffer, an array of bulk strings, and where it ends; ValueError if it is not whole."""
    count, position = _number(buffer, 0)
    arguments = []
    for _ in range(count):
        length, start = _number(buffer, position)
        arguments.append(bytes(buffer[start : start + length]))
        position = buffer.index(b"\r\n", start + length) + 2
    return arguments, position


def _number(buffer: bytearray, start: int) -> tuple[int, int]:
    """The number of a line such as `*3` or `$5`, and where the next line begins."""
    end = buffer.index(b"\r\n", start)
    return int(buffer[start + 1 : end]), end + 2
