"""outputs.zip: every rendition, stored uncompressed, made while it is sent.

A rendition that is gone is left out and listed in `MISSING.txt`, the last member. Any other error ends the stream
before the central directory, so no client takes a part for a complete archive.
"""

import re
import tempfile
import unicodedata
from array import array
from collections.abc import Iterable, Iterator
from contextlib import closing
from stat import S_IFREG
from uuid import UUID
from zlib import compressobj, crc32, decompressobj

from zipstream import ZipStream, ZipStreamInfo

from services.status.views import ExportRow
from shared.blobs import BlobMissing, Blobs, output_key
from shared.formats import EXTENSIONS

CHUNK = 256 * 1024
READS_AT_ONCE = 32
"""Renditions that are read for one chunk at most: tiny ones, or some that are gone, do not fill one soon."""
MISSING = "MISSING.txt"
STEM_BYTES = 180
"""Below the 255 bytes of a name on Linux, and short enough for Windows' 260 characters of path."""
FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]+')
SPACES = re.compile(r"\s+")
# Windows reserves these whatever the extension, also with superscript digits.
RESERVED = re.compile(r"(?:CON|PRN|AUX|NUL|CLOCK\$|CONIN\$|CONOUT\$|COM[0-9¹²³]|LPT[0-9¹²³])(?:[ .].*)?", re.IGNORECASE)


def zip_chunks(pages: Iterable[list[ExportRow]], blobs: Blobs, *, request_id: UUID) -> Iterator[bytes]:
    """The archive in chunks of about CHUNK bytes, and an empty one wherever so much work was done without filling one.

    Holds one rendition in memory, a few chunks, and up to 48 bytes of each product.
    """
    chunk = bytearray()
    with closing(Directory()) as directory, closing(Missing()) as missing:
        for piece in _pieces(pages, blobs, directory, missing, request_id=request_id):
            chunk += piece
            if not piece:
                yield b""
            elif len(chunk) >= CHUNK:
                yield bytes(chunk)
                chunk.clear()
    yield bytes(chunk)


def _pieces(
    pages: Iterable[list[ExportRow]], blobs: Blobs, directory: "Directory", missing: "Missing", *, request_id: UUID
) -> Iterator[bytes]:
    """Pieces of at most CHUNK bytes; an empty one after each page, and after READS_AT_ONCE renditions."""
    archive = ZipStream()
    archive._filelist = directory  # noqa: SLF001
    for number, found in enumerate(_named(pages), start=1):
        if found is None or number % READS_AT_ONCE == 0:
            yield b""
        if found is None:
            continue
        name, sha256, extension = found
        try:
            content = blobs.get(output_key(request_id, sha256, extension))
        except BlobMissing:
            missing.append(name)
        else:
            yield from _member(archive, name, _slices(content), size=len(content), crc=crc32(content))
            del content  # before the next one is read
    if missing.size:
        yield from _member(archive, MISSING, missing.blocks(), size=missing.size, crc=missing.crc)
    yield from archive.footer()


def _slices(content: bytes) -> Iterator[bytes]:
    """Copies: a view of the last one would keep all of the content while the next rendition is read."""
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]


class Spooled:
    """Text of each member, deflated in a temporary file: it takes no memory, and a fourth of its size on disk."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=CHUNK)  # noqa: SIM115
        self._deflated = compressobj(level=1)

    def write(self, data: bytes) -> None:
        self._file.write(self._deflated.compress(data))

    def blocks(self) -> Iterator[bytes]:
        """All of it, once: nothing may be written afterwards."""
        self._file.write(self._deflated.flush())
        self._file.seek(0)
        inflated = decompressobj()
        while block := self._file.read(CHUNK // 8):
            while block:
                yield inflated.decompress(block, CHUNK)
                block = inflated.unconsumed_tail

    def close(self) -> None:
        self._file.close()


class Missing(Spooled):
    """The text of MISSING.txt; `size` is 0 if none is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.size = self.crc = 0

    def append(self, name: str) -> None:
        title = "" if self.size else "These files could not be found any more:\r\n"
        line = f"{title}{name}\r\n".encode()
        self.size += len(line)
        self.crc = crc32(line, self.crc)
        self.write(line)


class Directory(Spooled):
    """The central directory, in place of zipstream's list of objects of 550 bytes.

    A record of 80 bytes takes some 20 of disk. zipstream asks for their number, and writes what it is given without
    looking at it: blocks of many records do as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, record: bytes) -> None:
        self._count += 1
        self.write(record)

    def __iter__(self) -> "Iterator[_Block]":
        return map(_Block, self.blocks())


class _Block(bytes):
    """Many records, for zipstream like one of its own."""

    __slots__ = ()

    def _central_directory_header_data(self) -> bytes:
        return self


def _member(archive: ZipStream, name: str, content: Iterable[bytes], *, size: int, crc: int) -> Iterator[bytes]:
    """A stored member with mode 0644, its size and checksum in front.

    `archive.add` would set 0600, and write them behind the content (a data descriptor): a program that unpacks while it
    downloads cannot tell then where a stored member ends.
    """
    info = ZipStreamInfo(name)
    info.external_attr = (S_IFREG | 0o644) << 16
    info.file_size = info.compress_size = size
    info.CRC = crc
    info.header_offset = archive._pos  # noqa: SLF001
    yield archive._track(info.FileHeader(zip64=False))  # noqa: SLF001
    for piece in content:
        yield archive._track(piece)  # noqa: SLF001
    archive._filelist.append(info._central_directory_header_data())  # noqa: SLF001


def _named(pages: Iterable[list[ExportRow]]) -> Iterator[tuple[str, str, str] | None]:
    """Name, hash and extension of each rendition, and None after each page; an image at two positions is two files."""
    names = UniqueNames()
    for page in pages:
        for product in page:
            stem = names.stem(row=product.row, serial_number=product.serial_number, name=product.name)
            for position, image in enumerate(product.images, start=1):
                if image.rendition_sha256 and image.rendition_format:
                    extension = EXTENSIONS[image.rendition_format]
                    yield f"{stem}_{position}.{extension}", image.rendition_sha256, extension
        yield None


class UniqueNames:
    """Gives each product a file name stem that no other product of the archive has.

    Two stems differ even where a file system ignores case or compares compatibility forms, or unpacking would lose a
    file. Different stems are enough: the position follows behind the last underscore.
    """

    def __init__(self) -> None:
        # Hashes instead of names: 1,000,000 names would take 100 MB. Equal hashes cost a suffix, never a file.
        self._taken = _Hashes()

    def stem(self, *, row: int, serial_number: str, name: str) -> str:
        wanted = safe(f"{serial_number}_{name}")
        stem, suffix = wanted, 0
        while not self._taken.add(hash(fold(stem))):
            suffix += 1
            stem = f"{wanted}~{row}" if suffix == 1 else f"{wanted}~{row}.{suffix}"
        return stem


class _Hashes:
    """A set of hashes in a flat array with open addressing: 16 to 32 bytes each, where a `set` takes up to 100."""

    def __init__(self) -> None:
        self._slots = array("q", bytes(8 << 10))  # 0: free
        self._count = 0

    def add(self, key: int) -> bool:
        """Whether it is new."""
        key = key or 1
        slot = self._slot_of(self._slots, key)
        if self._slots[slot]:
            return False
        self._slots[slot] = key
        self._count += 1
        if 2 * self._count > len(self._slots):
            slots = array("q", bytes(16 * len(self._slots)))
            for each in filter(None, self._slots):
                slots[self._slot_of(slots, each)] = each
            self._slots = slots
        return True

    @staticmethod
    def _slot_of(slots: "array[int]", key: int) -> int:
        """Where it is, or the free slot where it belongs."""
        mask = len(slots) - 1
        slot = key & mask
        while slots[slot] not in (0, key):
            slot = (slot + 1) & mask
        return slot


def safe(text: str) -> str:
    """`text` as the beginning of a file name: no separators, no control characters, no device name, not too long."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())
    text = SPACES.sub(" ", FORBIDDEN.sub("-", SPACES.sub(" ", text)))
    # A leading dot hides a file, a leading dash reads as an option, a trailing dot or space is dropped by Windows.
    text = text.encode()[:STEM_BYTES].decode(errors="ignore").lstrip(" .-~").rstrip(" .")
    return f"_{text}" if RESERVED.fullmatch(text) else text or "_"


def fold(name: str) -> str:
    """What case-insensitive and normalising file systems compare, and a little more."""
    return unicodedata.normalize("NFKC", name.upper().casefold())
