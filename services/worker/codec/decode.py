"""Decode a source into a picture: all frames where the rendition is animated, otherwise the first."""

from PIL import ExifTags, Image

from services.worker.codec.picture import Picture
from services.worker.codec.plan import Plan
from services.worker.codec.probe import Source
from services.worker.codec.steps.resize import fitting


def decode(source: Source, plan: Plan) -> Picture:
    image = source.image
    if plan.max_side is not None and source.format == "jpeg":
        width, height = fitting(source.size, plan.max_side)
        image.draft(None, (2 * width, 2 * height))  # libjpeg shrinks at no cost; the last half is for Lanczos
    if plan.animated:
        frames, durations = _frames(source)
    else:
        image.load()
        frames, durations = [image], [0.0]
    return Picture(
        frames=frames,
        durations=durations,
        plays=_plays(source.format, image),
        icc=image.info.get("icc_profile") or None,
        orientation=orientation_of(image),
    )


def _frames(source: Source) -> tuple[list[Image.Image], list[float]]:
    image = source.image
    frames: list[Image.Image] = []
    durations: list[float] = []
    first = 1 if getattr(image, "default_image", False) else 0  # an animated PNG's still picture for other viewers
    for number in range(first, source.frames):
        image.seek(number)
        image.load()
        frames.append(image.copy())  # the decoder draws the next frame over this one
        durations.append(float(image.info.get("duration", 0)))
    return [_within(frame, frames[0].size) for frame in frames], durations


def _within(frame: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A later frame of a GIF may leave the canvas: Pillow then enlarges the canvas, browsers cut the frame off."""
    return frame if frame.size == size else frame.crop((0, 0, *size))


def _plays(image_format: str, image: Image.Image) -> int:
    """GIF stores the number of repeats, and nothing for "once"; the others the number of plays, 0 for ever."""
    loop = image.info.get("loop")
    if image_format != "gif":
        return int(loop or 0)
    if loop is None:
        return 1
    return int(loop) + 1 if loop else 0


def orientation_of(image: Image.Image) -> int:
    """1 to 8 as in EXIF; an unreadable or absent tag is 1. A TIFF was turned by Pillow while it was loaded.

    The trap: Pillow's `getexif` would also take the tag from XMP, which no browser does.
    """
    block = image.info.get("exif")
    if not block:
        return 1
    exif = Image.Exif()
    try:
        exif.load(block)
        orientation = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - a broken EXIF block is no reason to refuse the pixels
        return 1
    return orientation if orientation in range(1, 9) else 1
