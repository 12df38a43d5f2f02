"""Downloads that are there whole or not at all, and the images of a ZIP as files."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from struct import Struct
from typing import IO, TypeVar
from zlib import crc32

import httpx

from halftone_client.errors import HalftoneError, Incomplete
from halftone_client.harmless import UNSAFE
from halftone_client.transport import Transport
from halftone_client.upload import Advance

HEADER = Struct("<4s5H3I2H")  # of a member: PKWARE's APPNOTE 4.3.7
MEMBER, DIRECTORY, EMPTY = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
STORED = 0
MISSING = "MISSING.txt"
PICTURES = (".jpg", ".png", ".webp", ".avif", ".gif")
ATTEMPTS = 3
T = TypeVar("T")


def downloaded(
    transport: Transport, target: str, write: Callable[[Iterator[bytes], Advance], T], advance: Advance
) -> T:
    """What `write` gives; one that breaks off is begun again, ATTEMPTS times in all."""
    for attempt in range(1, ATTEMPTS + 1):
        done = Tally(advance)
        try:
            with transport.stream("GET", target) as answer:
                return write(answer.iter_bytes(), done)
        except (httpx.HTTPError, Incomplete) as error:
            failure = Incomplete(f"the download broke off: {error}")
            if attempt == ATTEMPTS:
                raise failure from None
        advance(-done.total)
        transport.pause(float(attempt), failure)
    raise AssertionError("unreachable")


class Tally:
    """Progress that knows how far it came."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self.total = 0

    def __call__(self, amount: int) -> None:
        self.total += amount
        self._advance(amount)


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file beside `path` that takes its name if all goes well, and is gone otherwise.

    What is no file (`/dev/null`, a pipe) is written to: root could replace it, for the whole machine.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as special:
            yield special
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:40]}.", delete=False) as part:
        try:
            yield part
            part.flush()
            part.close()
            Path(part.name).chmod(0o666 & ~UMASK)  # temporary files are for their owner alone
            Path(part.name).replace(path)
        except BaseException:
            part.close()
            with suppress(OSError):
                Path(part.name).unlink()
            raise


def save(chunks: Iterator[bytes], path: Path, advance: Advance) -> int:
    """Write the chunks to `path`; the number of bytes."""
    size = 0
    with replaced(path) as part:
        for chunk in chunks:
            part.write(chunk)
            advance(len(chunk))
            size += len(chunk)
    return size


def unpack(chunks: Iterator[bytes], folder: Path, advance: Advance) -> list[str]:
    """Write the members of outputs.zip into `folder` while it comes; the names of the renditions that are missing.

    The service stores its members uncompressed with the sizes in front, so that this needs no temporary copy.
    `advance` is called with 1 for each file.

    Raises:
        Incomplete: the archive broke off; the files that were complete stay.
        HalftoneError: it is no archive of Halftone's, or a name in it leads out of the folder.

    """
    stream, missing = _Stream(chunks), list[str]()
    while (signature := stream.read(4)) == MEMBER:
        _, _, _, method, _, _, checksum, size, _, name_bytes, extra = HEADER.unpack(signature + stream.read(26))
        name = stream.read(name_bytes).decode()
        stream.read(extra)
        if method != STORED or size == 0xFFFFFFFF:
            raise HalftoneError(f"cannot unpack {name!r}; download the ZIP instead (--zip)")
        if name == MISSING:
            missing = stream.read(size).decode().splitlines()[1:]
        else:
            _write(stream, folder / safe_name(name), size, checksum)
            advance(1)
    if signature not in (DIRECTORY, EMPTY):
        raise HalftoneError("the service sent something else than a ZIP")
    stream.drain()
    return missing


def safe_name(name: str) -> str:
    """`name`, which comes from outside, if it is that of a picture in a folder and nothing else.

    Raises:
        HalftoneError: it would lead elsewhere, or take the place of something else than a picture.

    """
    one_part = all(path.name == name for path in (PurePosixPath(name), PureWindowsPath(name)))
    if not one_part or name.startswith(".") or not name.endswith(PICTURES) or ":" in name or UNSAFE.search(name):
        raise HalftoneError(f"the archive has a member with an unsafe name: {name!r}")
    return name


def _write(stream: "_Stream", path: Path, size: int, checksum: int) -> None:
    with replaced(path) as part:
        found = 0
        for block in stream.blocks(size):
            found = crc32(block, found)
            part.write(block)
        if found != checksum:
            raise Incomplete(f"{path.name} arrived damaged")


class _Stream:
    """Chunks of any size as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def blocks(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes in pieces."""
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    raise Incomplete("the archive broke off")
            block, self._rest = self._rest[:size], self._rest[size:]
            size -= len(block)
            yield block

    def read(self, size: int) -> bytes:
        return b"".join(self.blocks(size))

    def drain(self) -> None:
        for _ in self._chunks:
            pass


def _umask() -> int:
    """It can only be read by setting it, which is for the whole process: once, at the start."""
    current = os.umask(0o022)
    os.umask(current)
    return current


UMASK = _umask()
