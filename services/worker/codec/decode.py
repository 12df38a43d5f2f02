"""Decode a source into a picture: all frames where the rendition can move, otherwise the first."""

from PIL import ExifTags, Image

from services.worker.codec.picture import Picture
from services.worker.codec.plan import Plan
from services.worker.codec.probe import Source
from services.worker.codec.resize import fitting


def decode(source: Source, plan: Plan) -> Picture:
    image = source.image
    if plan.max_side is not None and source.format == "jpeg":
        width, height = fitting(source.size, plan.max_side)
        image.draft(None, (2 * width, 2 * height))  # libjpeg shrinks for nothing; half of it is left to Lanczos
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
        orientation=_orientation(image),
    )


def _frames(source: Source) -> tuple[list[Image.Image], list[float]]:
    image = source.image
    frames: list[Image.Image] = []
    durations: list[float] = []
    first = 1 if getattr(image, "default_image", False) else 0  # a PNG's still picture for those who cannot animate
    for number in range(first, source.frames):
        image.seek(number)
        image.load()
        frames.append(image.copy())  # the decoder draws the next frame over this one
        durations.append(float(image.info.get("duration", 0)))
    return [_within(frame, frames[0].size) for frame in frames], durations


def _within(frame: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A GIF's later frame may leave the canvas, and Pillow makes the canvas grow; browsers cut it off."""
    return frame if frame.size == size else frame.crop((0, 0, *size))


def _plays(image_format: str, image: Image.Image) -> int:
    """GIF says how often to repeat, and nothing for "once"; the others say how often to play, 0 for ever."""
    loop = image.info.get("loop")
    if image_format != "gif":
        return int(loop or 0)
    if loop is None:
        return 1
    return int(loop) + 1 if loop else 0


def _orientation(image: Image.Image) -> int:
    """1 to 8 as in EXIF; an unreadable or absent tag is 1. Pillow has turned a TIFF already.

    Pillow's `getexif` would take the tag from XMP too, which no browser does.
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
