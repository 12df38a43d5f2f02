"""Keep Pillow within our limits, and turn whatever a decoder raises into the one error that it means."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from shared.errors import CorruptImage, ImageError, TooManyPixels


@contextmanager
def bounded(max_pixels: int) -> Iterator[None]:
    """Pillow checks some pictures while it opens them; it raises at twice its own limit, and warns above it.

    What else it warns of, the plan deals with or is no news (a wrong EXIF block, an APNG that is none).
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
    """Decoders raise anything from `SyntaxError` to `struct.error`: here, and only here, it all means a bad file.

    Lack of memory is no fault of the file, or may be none: the pool decides.
    """
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise TooManyPixels("the picture has too many pixels") from error
    except Exception as error:
        raise CorruptImage(f"the picture cannot be decoded: {error}") from error
