"""Keep Pillow within our limits, and turn any exception of a decoder into the `ImageError` that it means."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from PIL import Image

from shared.errors import CorruptImage, ImageError, TooManyPixels

_IMPORTED_LATE = ("ImageCms", "ImageColor", "ImageFilter", "ImagePalette", "MpoImagePlugin", "TiffImagePlugin")
_KEPT_BLOCKS = 4  # of 16 MB each


def keep_freed_pixels() -> None:
    """Let Pillow use the pixel memory of one picture for the next: saves a quarter of a 1 MP JPEG's time."""
    Image.core.set_blocks_max(_KEPT_BLOCKS)  # type: ignore[attr-defined]


def import_all() -> None:
    """What Pillow would import when it needs it first: a confined child can open no file."""
    Image.preinit()
    for module in _IMPORTED_LATE:
        import_module(f"PIL.{module}")


@contextmanager
def bounded(max_pixels: int) -> Iterator[None]:
    """Apply our limit where Pillow checks the size while it opens a picture: it raises at twice its own limit.

    Its warnings are silenced: they are about that limit, a wrong EXIF block or an APNG without frames.
    """
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels // 2
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


@contextmanager
def decoding() -> Iterator[None]:
    """Decoders raise anything from `SyntaxError` to `struct.error`: within this block it all means a bad file.

    A `MemoryError` passes through: the file may be innocent, and the pool decides.
    """
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise TooManyPixels("the picture has too many pixels") from error
    except Exception as error:
        raise CorruptImage(f"the picture cannot be decoded: {error}") from error
