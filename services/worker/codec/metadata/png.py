"""PNG: a list of chunks, each with a length, a name and a checksum."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_TEXT: Final = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})
_NEEDED: Final = frozenset(
    b"IHDR PLTE IDAT tRNS gAMA cHRM sRGB iCCP sBIT bKGD hIST pHYs cICP mDCV cLLI acTL fcTL fdAT".split()
)


def strip_png(source: bytes, exif: bytes) -> bytes:
    parts = [_SIGNATURE]
    for name, chunk in _chunks(source):
        if name in _NEEDED:
            parts.append(chunk)
        if name == b"IHDR" and exif:
            parts.append(_chunk(b"eXIf", exif))
    return b"".join([*parts, _chunk(b"IEND", b"")])


def without_text(source: bytes) -> bytes:
    """Without text and profile: Pillow refuses the whole picture where one of them unpacks to too much."""
    kept = [chunk for name, chunk in _chunks(source) if name not in _TEXT]
    return b"".join([_SIGNATURE, *kept, _chunk(b"IEND", b"")])


def _chunks(source: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each chunk's name and its whole bytes, up to IEND or the end of the file."""
    at = len(_SIGNATURE)
    while at + 12 <= len(source):
        end = at + 12 + int.from_bytes(source[at : at + 4], "big")
        name = source[at + 4 : at + 8]
        if name == b"IEND":
            return
        yield name, source[at:end]
        at = end


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
