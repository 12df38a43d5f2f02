"""Remove the private metadata from a file without touching its image data.

Only listed parts are copied, so unknown parts and data after the end are dropped as well. An orientation other than 1
is written back as the only EXIF tag.
"""

from collections.abc import Callable
from typing import Final

from services.worker.codec.metadata.avif import strip_avif
from services.worker.codec.metadata.gif import strip_gif
from services.worker.codec.metadata.jpeg import strip_jpeg
from services.worker.codec.metadata.png import strip_png
from services.worker.codec.metadata.webp import strip_webp

STRIPPERS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "jpeg": strip_jpeg,
    "png": strip_png,
    "webp": strip_webp,
    "avif": strip_avif,
    "gif": strip_gif,
}


def without_metadata(source: bytes, image_format: str, orientation: int) -> bytes | None:
    """None where the file breaks its format's rules, although a decoder accepted it."""
    try:
        return STRIPPERS[image_format](source, orientation)
    except (IndexError, ValueError):
        return None
