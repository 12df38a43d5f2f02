"""A host of pictures for `make compose-test`, standard library only: `/<number>.png` is a noisy PNG of its own."""

import random
import struct
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIDE = 300
COARSE = bytes(value & 0b111 << 5 for value in range(256))


def picture(number: int) -> bytes:
    """A truecolour PNG, different for each number."""
    noise = random.Random(number).randbytes(3 * SIDE * SIDE).translate(COARSE)  # noqa: S311 - pictures, not secrets
    rows = b"".join(b"\0" + noise[3 * SIDE * row : 3 * SIDE * (row + 1)] for row in range(SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 1)) + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


class Pictures(BaseHTTPRequestHandler):
    """Answers every `/<number>.png`."""

    def do_GET(self) -> None:
        name = self.path.strip("/").removesuffix(".png")
        body = picture(int(name)) if name.isdigit() else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """One line for each picture would hide everything else."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8000), Pictures).serve_forever()
