"""Write an interlaced PNG, which Pillow reads but cannot write."""

import struct
import zlib

from PIL import Image

from tests.unit.worker.codec.hostile import chunk

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def interlaced(grey: Image.Image) -> bytes:
    """An "L" image in Adam7's seven passes (PNG specification, 8.2), without filters."""
    width, height = grey.size
    raw = grey.tobytes()
    rows = [raw[at : at + width] for at in range(0, len(raw), width)]
    passes = [
        b"\0" + rows[y][left::right]
        for left, top, right, down in _ADAM7
        for y in range(top, height, down)
        if rows[y][left::right]
    ]
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(passes))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, body) for name, body in chunks)
