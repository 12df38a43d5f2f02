"""A manifest as it is sent: from disk in blocks, and from the start again for each attempt."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

Advance = Callable[[int], object]


@contextmanager
def opened(manifest: str | Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """A path as an open file; a file (seekable) stays open."""
    if isinstance(manifest, str | Path):
        with Path(manifest).open("rb") as file:
            yield file
    else:
        yield manifest


class Counted:
    """A file whose reader is watched: `advance` gets the bytes of each block, and less than 0 at a new start.

    httpx asks for `seek` and `tell` to learn the length, and reads blocks of 64 kB.
    """

    def __init__(self, file: IO[bytes], advance: Advance) -> None:
        self._file = file
        self._advance = advance
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._read += len(block)
        self._advance(len(block))
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset == 0 and whence == 0 and self._read:
            self._advance(-self._read)
            self._read = 0
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
