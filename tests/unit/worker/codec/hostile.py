"""Malicious and damaged files, made by the tests."""

import struct
import zlib
from collections.abc import Iterator
from random import Random

from tests.pictures import animate, cutout, encode, film, photo

FORMATS = ("jpeg", "png", "webp", "avif", "gif", "bmp", "tiff")
HUGE = 65_000


def good(image_format: str) -> bytes:
    return encode(photo(160, 120), image_format)


def moving(image_format: str) -> bytes:
    return animate(film(64, 48, 4), image_format, duration=50)


def truncated() -> Iterator[tuple[str, bytes]]:
    for image_format in FORMATS:
        body = good(image_format)
        for part in (0.02, 0.3, 0.6, 0.99):
            yield f"{image_format} cut off at {part:.0%}", body[: int(len(body) * part)]


def flipped() -> Iterator[tuple[str, bytes]]:
    """Single bits, and runs of them, at places that the seed decides; more of them near the header."""
    for image_format in FORMATS:
        for seed in range(6):
            random = Random(seed)
            body = bytearray(
                moving(image_format) if seed % 3 == 2 and image_format in "gif webp png avif" else good(image_format)
            )
            for _ in range(1 << seed):
                at = int(len(body) * random.random() ** 3)
                body[at] ^= 1 << random.randrange(8)
            yield f"{image_format} with {1 << seed} flipped bits", bytes(body)


def lying() -> Iterator[tuple[str, bytes]]:
    """Headers that claim far more than there is."""
    jpeg = bytearray(good("jpeg"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", HUGE, HUGE)
    yield "jpeg of 4 gigapixels", bytes(jpeg)
    yield "png of 4 gigapixels", png(HUGE, HUGE)
    yield "png as wide as a number can say", png(2**31 - 1, 2**31 - 1)
    yield "png of no width", png(0, 10)
    yield "gif of 4 gigapixels", b"GIF89a" + struct.pack("<HHBBB", HUGE, HUGE, 0, 0, 0) + good("gif")[13:]
    yield "gif whose frame leaves the canvas", gif_frame_at(HUGE, HUGE)
    bmp = bytearray(good("bmp"))
    bmp[18:26] = struct.pack("<ii", HUGE, HUGE)
    yield "bmp of 4 gigapixels", bytes(bmp)
    bmp[18:26] = struct.pack("<ii", 7000, 7000)
    yield "bmp of 49 megapixels and 60 kB", bytes(bmp)
    yield "webp of 268 megapixels", webp_canvas(16_384, 16_384)
    tiff = bytearray(good("tiff"))
    yield "tiff with every number at its largest", bytes(tiff[:8]) + b"\xff" * (len(tiff) - 8)
    avif = bytearray(good("avif"))
    at = avif.index(b"ispe")
    avif[at + 8 : at + 16] = struct.pack(">II", HUGE, HUGE)
    yield "avif of 4 gigapixels", bytes(avif)
    yield "apng that claims four billion frames", with_chunk(good("png"), b"acTL", struct.pack(">II", 2**31, 0))
    yield "apng that claims frames it has not", with_chunk(good("png"), b"acTL", struct.pack(">II", 30, 0))


def bombs() -> Iterator[tuple[str, bytes]]:
    """Few bytes that unpack to many."""
    yield "png bomb of 49 megapixels", png(7000, 7000, zlib.compress(bytes(7000 * 7001), 9))
    yield "png bomb of 400 megapixels", png(20_000, 20_000, zlib.compress(bytes(2**24), 9))
    deep = zlib.compress(bytes(200_000_000), 9)
    yield "png with 200 MB of zTXt", with_chunk(good("png"), b"zTXt", b"k\0\0" + deep)
    yield "png with 200 MB of iTXt", with_chunk(good("png"), b"iTXt", b"k\0\1\0\0\0" + deep)
    yield "png with 200 MB of iCCP", with_chunk(good("png"), b"iCCP", b"k\0\0" + deep)
    many = b"".join(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(900_000), 9)) for _ in range(500))
    yield "png with 500 texts of 1 MB", good("png")[:33] + many + good("png")[33:]
    yield "gif of 200,000 frames", frames_of_one_pixel(200_000)
    yield (
        "gif of 499 large frames",
        b"GIF89a" + struct.pack("<HHBBB", 3000, 3000, 0x80, 0, 0) + bytes(6) + ONE_PIXEL * 499,
    )
    tall = animate(film(40, 30, 3), "webp", duration=10)
    yield "webp with a canvas beyond its frames", tall[:24] + struct.pack("<I", 16_000)[:3] * 2 + tall[30:]


def polyglots() -> Iterator[tuple[str, bytes]]:
    """Two kinds of file in one."""
    archive = b"PK\3\4" + bytes(26) + b"PK\5\6" + bytes(18)
    for image_format in FORMATS:
        yield f"{image_format} that is a zip too", good(image_format) + archive
        yield f"{image_format} with a script after it", good(image_format) + b"<script>alert(1)</script>"
    yield "gif that is a script", b"GIF89a/*" + good("gif")[8:] + b"*/=1;alert(1)"
    yield "html that begins like a gif", b"GIF89a<html><script>alert(1)</script></html>"
    yield "jpeg within a png's name", b"\x89PNG\r\n\x1a\n" + good("jpeg")
    yield "two magics", b"\xff\xd8\xff" + good("png")


def oddities() -> Iterator[tuple[str, bytes]]:
    yield "nothing", b""
    yield "one byte", b"\xff"
    yield "zeros", bytes(100_000)
    yield "noise", Random(1).randbytes(100_000)
    yield "jpeg of markers alone", b"\xff\xd8" + b"\xff\xd0" * 50_000 + b"\xff\xd9"
    yield "jpeg with an endless tower of scans", jpeg_tower()
    exif = b"Exif\0\0II*\0\x08\0\0\0" + b"\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0" + bytes(4)
    yield "jpeg whose exif points to itself", encode(photo(64, 48), "jpeg", exif=exif)
    tiff = bytearray(good("tiff"))
    yield (
        "tiff whose directory points to itself",
        bytes(tiff[:4]) + struct.pack("<I", 8) + b"\0\0" + struct.pack("<I", 8),
    )
    yield "png of chunks that end nowhere", b"\x89PNG\r\n\x1a\n" + b"\xff\xff\xff\xffIHDR" + bytes(64)
    yield "cutout with every chunk doubled", cutout_doubled()


def everything() -> dict[str, bytes]:
    kinds = (truncated, flipped, lying, bombs, polyglots, oddities)
    return {name: body for kind in kinds for name, body in kind()}


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(body: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk after its header."""
    return body[:33] + chunk(name, content) + body[33:]


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


ONE_PIXEL = b"!\xf9\4\4\1\0\0\0" + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"


def frames_of_one_pixel(count: int) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + ONE_PIXEL * count + b";"


def gif_frame_at(left: int, top: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", left, top, 1, 1, 0) + b"\2\2\x44\1\0"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + ONE_PIXEL + frame + b";"


def webp_canvas(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + good("webp")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_tower() -> bytes:
    """A progressive file whose first scan is said over and over: each costs a pass over the whole picture."""
    body = encode(photo(1000, 1000).convert("L"), "jpeg", progressive=True, quality=30)
    start = body.index(b"\xff\xda")
    end = body.index(b"\xff\xc4", start)
    return body[:end] + body[start:end] * (2_000_000 // (end - start)) + body[end:]


def cutout_doubled() -> bytes:
    body = encode(cutout(64, 48), "png")
    return body[:33] + body[8:33] + body[33:-12] + body[33:-12] + body[-12:]
