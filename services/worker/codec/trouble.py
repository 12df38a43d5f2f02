"""Turn whatever a decoder raises into the one error that it means for the picture."""

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from shared.errors import CorruptImage, ImageError, TooManyPixels


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
