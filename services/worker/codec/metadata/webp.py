"""WebP: a RIFF list of chunks; the flags in VP8X announce which of them are present."""

import struct
from collections.abc import Iterator
from typing import Final

_NEEDED: Final = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_OF_A_FRAME: Final = frozenset({b"VP8 ", b"VP8L", b"ALPH"})
_FRAME_HEADER = 16
_HAS_XMP, _HAS_EXIF = 0x04, 0x08


def strip_webp(source: bytes, exif: bytes) -> bytes:
    """Raises `ValueError` for an empty header, or a frame with a part that may be private."""
    parts: list[bytes] = []
    extended = False
    end = min(len(source), 8 + int.from_bytes(source[4:8], "little"))
    for name, body in _chunks(source, 12, end):
        if name not in _NEEDED:
            continue
        if name == b"ANMF" and not _OF_A_FRAME.issuperset(dict(_chunks(body, _FRAME_HEADER, len(body)))):
            raise ValueError("a frame with a part that may be private")
        if name == b"VP8X":
            if not body:
                raise ValueError("an empty header")
            extended = True
            flags = body[0] & ~(_HAS_XMP | _HAS_EXIF) | (_HAS_EXIF if exif else 0)
            parts.append(_chunk(name, bytes([flags]) + body[1:]))
        else:
            parts.append(_chunk(name, body))
    if exif and extended:  # without VP8X there is no EXIF to have been read from
        parts.append(_chunk(b"EXIF", exif))
    content = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _chunks(source: bytes, at: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    while at + 8 <= end:
        length = int.from_bytes(source[at + 4 : at + 8], "little")
        yield source[at : at + 4], source[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
