"""JPEG: a list of segments, then scans, then possibly data that belongs to no picture."""

import re
import struct
from collections.abc import Iterator
from typing import Final

_APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_SOS, _EOI = 0xDA, 0xD9
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0..7, SOI: markers without a length
_NEXT_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # within a scan, 0xFF is stuffed and RSTn belong to it
_JFIF_WITHOUT_THUMBNAIL = 14


def strip_jpeg(source: bytes, exif: bytes) -> bytes:
    parts = [b"\xff\xd8"]
    for marker, segment in _segments(source):
        if exif and marker != _APP0:  # JFIF must come first, EXIF right after it
            parts.append(_segment(_APP1, b"Exif\0\0" + exif))
            exif = b""
        parts.append(_kept(marker, segment))
    return b"".join([*parts, b"\xff\xd9"])


def _segments(source: bytes) -> Iterator[tuple[int, bytes]]:
    """Each marker with its whole segment; a scan's entropy-coded data belongs to its SOS. EOI ends it all."""
    at = 2
    while at + 4 <= len(source):
        if source[at] != 0xFF:
            raise ValueError("no marker")
        marker = source[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == _EOI:
            return
        end = at + 2 if marker in _ALONE else at + 2 + int.from_bytes(source[at + 2 : at + 4], "big")
        if marker == _SOS:
            found = _NEXT_MARKER.search(source, end)
            end = found.start() if found else len(source)
        yield marker, source[at:end]
        at = end


def _kept(marker: int, segment: bytes) -> bytes:
    """The segment, if the pixels or their colours depend on it."""
    if marker == _APP0:
        return _without_thumbnail(segment) if segment[4:9] == b"JFIF\0" else b""
    if marker == _APP2:
        return segment if segment[4:16] == b"ICC_PROFILE\0" else b""
    if marker == _APP14:
        return segment if segment[4:9] == b"Adobe" else b""
    return b"" if _APP1 <= marker <= _APP15 or marker == _COM else segment


def _without_thumbnail(jfif: bytes) -> bytes:
    return _segment(_APP0, jfif[4 : 4 + _JFIF_WITHOUT_THUMBNAIL - 2] + b"\0\0")


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body
