"""Tell by the first bytes what a file is: one of our formats, a picture of another kind, or no picture at all.

The trap: names and media types lie, and Pillow would try forty decoders; only the formats listed here reach one.
"""

import re
from typing import Final

from shared.errors import NotAnImage, UnsupportedFormat

_MAGIC: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
)
_OTHER_PICTURES: Final = (
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\2\0", "CUR"),
    (b"8BPS", "PSD"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"II\xbc", "JPEG XR"),
    (b"\x8aMNG\r\n\x1a\n", "MNG"),
    (b"\x8bJNG\r\n\x1a\n", "JNG"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"icns", "ICNS"),
    (b"FLIF", "FLIF"),
    (b"gimp xcf", "XCF"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"SIMPLE  =", "FITS"),
    (b"%!PS", "PostScript"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
)
_AVIF_BRANDS: Final = (b"avif", b"avis")
_BMP_HEADERS: Final = (12, 16, 40, 52, 56, 64, 108, 124)  # the sizes that BMP's second header may have
_SVG: Final = re.compile(rb"<(?:[a-zA-Z]+:)?svg[\s>/]")
_NETPBM: Final = re.compile(rb"P[1-7]\s")


def sniff(source: bytes) -> str:
    """The format's name; raises `NotAnImage` or `UnsupportedFormat`."""
    if not source:
        raise NotAnImage("the file is empty")
    for magic, image_format in _MAGIC:
        if source.startswith(magic):
            return image_format
    if source.startswith(b"RIFF") and source[8:12] == b"WEBP":
        return "webp"
    if source[4:8] == b"ftyp":
        return _by_brand(source)
    if source.startswith(b"BM") and int.from_bytes(source[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    raise _refusal(source)


def _by_brand(source: bytes) -> str:
    """ISO media files name their brands in the first box: AVIF and HEIC differ in nothing else at this point."""
    box = source[8 : min(int.from_bytes(source[:4], "big"), 256)]
    brands = {box[at : at + 4] for at in range(0, len(box), 4)}
    if brands.intersection(_AVIF_BRANDS):
        return "avif"
    if brands.intersection((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"jxl ", b"crx ")):
        raise UnsupportedFormat("HEIC pictures are not supported")
    raise NotAnImage("the file is a video or another media file")


def _refusal(source: bytes) -> Exception:
    for magic, name in _OTHER_PICTURES:
        if source.startswith(magic):
            return UnsupportedFormat(f"{name} pictures are not supported")
    if _NETPBM.match(source):
        return UnsupportedFormat("Netpbm pictures are not supported")
    return _refusal_of_text(source)


def _refusal_of_text(source: bytes) -> Exception:
    start = source[:4096].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").lower()
    svg = _SVG.search(start)
    html = re.search(rb"<(?:!doctype html|html|head|body)\b", start)
    if svg and start.startswith(b"<") and not (html and html.start() < svg.start()):
        return UnsupportedFormat("SVG pictures are not supported")
    if html:
        return NotAnImage("the file is an HTML page")
    if start.startswith(b"%pdf"):
        return NotAnImage("the file is a PDF")
    return NotAnImage("the file is not a picture of a known format")
