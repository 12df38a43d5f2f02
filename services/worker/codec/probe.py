"""Open a source without decoding it, and refuse too many pixels or frames by what its header claims.

The trap: Pillow's WebP plugin allocates the canvas while opening, and its GIF plugin grows the canvas while decoding;
both check `Image.MAX_IMAGE_PIXELS`, which `guards.bounded` therefore sets from our own limit.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from services.worker.codec.metadata import gif, png
from services.worker.codec.model import Limits
from services.worker.codec.sniff import sniff
from shared.errors import TooLarge, TooManyFrames, TooManyPixels

_PLUGINS: Final[dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,  # `Image.open` would make an "animation" of a phone's depth map (MPO)
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "avif": AvifImagePlugin.AvifImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
}
_ANIMATED: Final = frozenset({"png", "webp", "avif"})  # a TIFF's further pages are no frames
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the pool has a process per core already


@dataclass(frozen=True, slots=True)
class Source:
    """An opened source. `size`, `mode` and `frames` are its header's; `image` has no pixels yet."""

    body: bytes
    image: ImageFile.ImageFile
    format: str
    size: tuple[int, int]
    mode: str
    frames: int


def probe(body: bytes, limits: Limits) -> Source:
    """Raises the `ImageError` that names what is wrong."""
    if len(body) > limits.max_bytes:
        raise TooLarge(f"the file has more than {limits.max_bytes} bytes")
    image_format = sniff(body)
    if image_format == "gif":  # counted by our own scan: Pillow's takes seconds where there are a million frames
        size, frames = gif.extent(body, stop_at=limits.max_frames + 1)
        _check(size, frames, limits)
        image = _open(body, image_format)
    else:
        image = _open(body, image_format)
        frames = int(getattr(image, "n_frames", 1)) if image_format in _ANIMATED else 1
        _check(image.size, frames, limits)
    return Source(body, image, image_format, image.size, image.mode, frames)


def _open(body: bytes, image_format: str) -> ImageFile.ImageFile:
    try:
        return _PLUGINS[image_format](io.BytesIO(body))
    except (ValueError, SyntaxError):
        if image_format != "png":
            raise
        return _PLUGINS[image_format](io.BytesIO(png.without_text(body)))  # perhaps its text alone is a bomb


def _check(size: tuple[int, int], frames: int, limits: Limits) -> None:
    pixels = size[0] * size[1]
    if pixels > limits.max_pixels:
        raise TooManyPixels(f"{size[0]} x {size[1]} pixels are more than {limits.max_pixels}")
    if frames > limits.max_frames:
        raise TooManyFrames(f"the animation has more than {limits.max_frames} frames")
    if frames > 1 and pixels * frames > limits.max_animation_pixels:
        raise TooManyPixels(
            f"{frames} frames of {size[0]} x {size[1]} pixels are more than {limits.max_animation_pixels}"
        )
