"""Take the private metadata out of a file without touching its image data.

Everything is copied by a list of what a picture needs, so what nobody thought of (and whatever is appended after the
end) goes too. An orientation other than 1 is written back as the only EXIF tag.
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
    """None where the file's structure is not what its format says, though a decoder made a picture of it."""
    try:
        return STRIPPERS[image_format](source, orientation)
    except (IndexError, ValueError):
        return None
