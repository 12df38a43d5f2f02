"""Remove the private metadata from a file without touching its image data.

Only listed parts are copied, so unknown parts and data after the end are dropped as well. An orientation other than 1
is written back as the only EXIF tag.
"""

import struct
from collections.abc import Callable
from typing import Final

from services.worker.codec.metadata.avif import strip_avif
from services.worker.codec.metadata.gif import strip_gif
from services.worker.codec.metadata.jpeg import strip_jpeg
from services.worker.codec.metadata.png import strip_png
from services.worker.codec.metadata.webp import strip_webp

STRIPPERS: Final[dict[str, Callable[[bytes, bytes], bytes]]] = {
    "jpeg": strip_jpeg,
    "png": strip_png,
    "webp": strip_webp,
    "avif": strip_avif,
    "gif": strip_gif,
}


def without_metadata(source: bytes, image_format: str, orientation: int) -> bytes | None:
    """None where the file breaks its format's rules, although a decoder accepted it, or may have more that is private.

    A stripper raises nothing but `ValueError`.
    """
    exif = _orientation_only(orientation) if orientation != 1 else b""
    try:
        return STRIPPERS[image_format](source, exif)
    except ValueError:
        return None


def _orientation_only(orientation: int) -> bytes:
    """A big-endian TIFF header and one directory with the tag 0x0112 alone (EXIF 2.3, 4.6.4)."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
