"""AVIF: items are found by their position in the file, so nothing may move.

Metadata are overwritten in place: the items' bytes with zeros, their type with one that readers skip. The orientation
is a property of the image item and stays.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_PRIVATE: Final = (b"Exif", b"mime", b"uri ")
_SKIPPED = b"skip"


@dataclass(frozen=True, slots=True)
class _Box:
    name: bytes
    start: int  # of its content
    end: int


def strip_avif(source: bytes, _exif: bytes) -> bytes:
    body = bytearray(source)
    for meta in (box for box in _boxes(source, 0, len(source)) if box.name == b"meta"):
        boxes = {box.name: box for box in _boxes(source, meta.start + 4, meta.end)}
        if b"iinf" not in boxes:
            continue
        private = dict(_private_items(source, boxes[b"iinf"]))
        for type_at in private.values():
            body[type_at : type_at + 4] = _SKIPPED
        inline = boxes[b"idat"].start if b"idat" in boxes else 0
        for item, start, length in _extents(source, boxes[b"iloc"], inline):
            if item in private:
                end = min(start + length, len(body)) if length else len(body)
                body[start:end] = bytes(max(0, end - start))
    return bytes(body)


def _boxes(source: bytes, at: int, end: int) -> Iterator[_Box]:
    while at + 8 <= end:
        size, name = struct.unpack_from(">I4s", source, at)
        start = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", source, start)
            start += 8
        stop = end if size == 0 else at + size
        if stop < start or stop > end:
            raise ValueError("a box that ends outside")
        yield _Box(name, start, stop)
        at = stop


def _private_items(source: bytes, iinf: _Box) -> Iterator[tuple[int, int]]:
    """The id of each private item, and the position of its type."""
    first = iinf.start + (6 if source[iinf.start] == 0 else 8)
    for box in _boxes(source, first, iinf.end):
        version = source[box.start]
        wide = version > 2
        id_at = box.start + 4
        type_at = id_at + (4 if wide else 2) + 2
        if version >= 2 and source[type_at : type_at + 4] in _PRIVATE:
            yield int.from_bytes(source[id_at : id_at + (4 if wide else 2)], "big"), type_at


class _Reader:
    """Big-endian numbers one after the other."""

    def __init__(self, source: bytes, at: int) -> None:
        self._source = source
        self._at = at

    def take(self, size: int) -> int:
        number = int.from_bytes(self._source[self._at : self._at + size], "big")
        self._at += size
        return number


def _extents(source: bytes, iloc: _Box, inline: int) -> Iterator[tuple[int, int, int]]:
    """Item id, start and length (0: to the end) of every piece of every item (ISO/IEC 14496-12, 8.11.3)."""
    read = _Reader(source, iloc.start)
    version = read.take(1)
    read.take(3)
    sizes = read.take(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    for _ in range(read.take(4 if version == 2 else 2)):
        item = read.take(4 if version == 2 else 2)
        construction = read.take(2) & 15 if version else 0
        read.take(2)
        base = read.take(base_size) + (inline if construction == 1 else 0)
        for _ in range(read.take(2)):
            read.take(index_size)
            offset = read.take(offset_size)
            yield item, base + offset, read.take(length_size)
