"""AVIF: items are found by their position in the file, so nothing may move.

What is known to belong to the picture is copied over zeros, each byte at its old place; the types of private items are
overwritten with one that readers skip. Of two boxes of a kind the decoder reads the first. The orientation is a
property of the image item and stays. Every number is bounded by its box: the work is linear in the file's bytes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_SKIPPED = b"skip"
_EMPTY = b"free"
_PICTURES: Final = frozenset({b"av01", b"grid", b"iovl", b"iden", b"tmap"})  # types of items
_CONTAINERS: Final = frozenset({b"iprp", b"ipco", b"moov", b"trak", b"edts", b"mdia", b"minf", b"dinf", b"stbl"})
_LEAVES: Final = frozenset(
    b"hdlr pitm iloc iinf iref idat ipma ispe pixi av1C colr irot imir pasp clap auxC a1op lsel a1lx clli mdcv cclv "
    b"mvhd tkhd elst mdhd vmhd dref stsd stts stsc stsz stco co64 stss sdtp ctts tref".split()
)
_DEEPEST = 6
_WIDTHS: Final = (0, 4, 8)  # of the numbers in iloc, in bytes


@dataclass(frozen=True, slots=True)
class _Box:
    name: bytes
    at: int
    start: int  # of its content
    end: int


class _Reader:
    """Big-endian numbers one after the other; raises `ValueError` at the end of their box."""

    def __init__(self, source: bytes, at: int, end: int) -> None:
        self._source = source
        self._end = end
        self.at = at

    def take(self, size: int) -> int:
        if self.at + size > self._end:
            raise ValueError("a box is too short for its numbers")
        number = int.from_bytes(self._source[self.at : self.at + size], "big")
        self.at += size
        return number


def strip_avif(source: bytes, _exif: bytes) -> bytes:
    """Raises `ValueError` for a file with a part of which we do not know whether it is private."""
    top = list(_boxes(source, 0, len(source)))
    first = {box.name: box for box in reversed(top)}
    if not {b"ftyp", b"meta"} <= first.keys():
        raise ValueError("no picture")
    body = bytearray(len(source))
    for box in top:
        known = box is first[box.name] if box.name in {b"ftyp", b"meta", b"moov"} else box.name == b"mdat"
        if box.name == b"moov" and known:
            _check_parts(source, box.start, box.end)
        content = box.name != b"mdat" and known
        body[box.at : box.start] = source[box.at : box.start]
        if content:
            body[box.start : box.end] = source[box.start : box.end]
        if not known:
            body[box.at + 4 : box.at + 8] = _EMPTY
    _keep_items(source, body, first[b"meta"], [box for box in top if box.name == b"mdat" and b"moov" in first])
    return bytes(body)


def _keep_items(source: bytes, body: bytearray, meta: _Box, of_frames: list[_Box]) -> None:
    """Copy what the items of the picture refer to, and leave out the others.

    `of_frames`: an animation's frames are not items, so of their boxes all stays but what private items refer to.
    """
    _check_parts(source, meta.start + 4, meta.end)
    boxes = {box.name: box for box in _boxes(source, meta.start + 4, meta.end)}
    if not {b"iinf", b"iloc"} <= boxes.keys():
        raise ValueError("no items")
    private = dict(_private_items(source, boxes[b"iinf"]))
    for type_at in private.values():
        body[type_at : type_at + 4] = _SKIPPED
    inline = boxes.get(b"idat", _Box(b"idat", 0, 0, 0))
    body[inline.start : inline.end] = bytes(inline.end - inline.start)
    for box in of_frames:
        body[box.start : box.end] = source[box.start : box.end]
    extents = [(item in private, start, end) for item, start, end in _extents(source, boxes[b"iloc"], inline)]
    if sum(end - start for _, start, end in extents) > 2 * len(source):
        raise ValueError("items share their bytes")
    for is_private, start, end in sorted(extents, reverse=True):  # the private ones first
        if start < meta.end and end > meta.at and not inline.start <= start <= end <= inline.end:
            raise ValueError("an item within the list of items")
        body[start:end] = bytes(end - start) if is_private else source[start:end]


def _boxes(source: bytes, at: int, end: int) -> Iterator[_Box]:
    while at < end:
        if at + 8 > end:
            raise ValueError("a box is cut off")
        size, name = struct.unpack_from(">I4s", source, at)
        start = at + 8
        if size == 1:
            size, start = _Reader(source, start, end).take(8), start + 8
        stop = end if size == 0 else at + size
        if stop < start or stop > end:
            raise ValueError("a box that ends outside")
        yield _Box(name, at, start, stop)
        at = stop


def _check_parts(source: bytes, at: int, end: int, depth: int = 0) -> None:
    """Raises `ValueError` where anything is not known to be about pixels, or stands there twice in `meta`."""
    seen: set[bytes] = set()
    for box in _boxes(source, at, end):
        if box.name not in _LEAVES | _CONTAINERS or depth > _DEEPEST:
            raise ValueError("a part that may be private")
        if box.name in seen and box.name in {b"iinf", b"iloc", b"idat", b"pitm", b"iprp", b"iref"}:
            raise ValueError("a part that is there twice")
        seen.add(box.name)
        if box.name in _CONTAINERS:
            _check_parts(source, box.start, box.end, depth + 1)


def _private_items(source: bytes, iinf: _Box) -> Iterator[tuple[int, int]]:
    """The id of each item that is no picture, and the position of its type."""
    read = _Reader(source, iinf.start, iinf.end)
    version = read.take(1)
    read.take(3)
    read.take(4 if version else 2)
    for box in _boxes(source, read.at, iinf.end):
        entry = _Reader(source, box.start, box.end)
        version = entry.take(1)
        if box.name != b"infe" or version not in {2, 3}:
            raise ValueError("an item of unknown kind")
        entry.take(3)
        item = entry.take(4 if version == 3 else 2)
        entry.take(2)
        type_at = entry.at
        entry.take(4)
        if source[type_at : type_at + 4] not in _PICTURES:
            yield item, type_at


def _extents(source: bytes, iloc: _Box, inline: _Box) -> Iterator[tuple[int, int, int]]:
    """Item id, start and end of every piece of every item (ISO/IEC 14496-12, 8.11.3)."""
    read = _Reader(source, iloc.start, iloc.end)
    version = read.take(1)
    read.take(3)
    sizes = read.take(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    if version > 2 or not {offset_size, length_size, base_size, index_size} <= set(_WIDTHS) or not length_size:
        raise ValueError("positions of unknown kind")
    for _ in range(read.take(4 if version == 2 else 2)):
        item = read.take(4 if version == 2 else 2)
        construction = read.take(2) & 15 if version else 0
        read.take(2)
        base, limit = read.take(base_size), len(source)
        if construction:
            base, limit = base + inline.start, inline.end
        for _ in range(read.take(2)):
            read.take(index_size)
            start = base + read.take(offset_size)
            end = start + read.take(length_size)
            if construction > 1 or end > limit or end == start:  # a length of 0 would mean "to the end"
                raise ValueError("an item that is somewhere else")
            yield item, start, end
