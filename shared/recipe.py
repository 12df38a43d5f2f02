"""The recipe: how one image is to be compressed."""

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What `quality` means."""

    ABSOLUTE = "absolute"  # the encoder's quality
    RELATIVE = "relative"  # percent of the source's own quality
    BYTES = "bytes"  # percent of the source's bytes, at the best quality that fits


class TargetFormat(StrEnum):
    """The format of the rendition."""

    KEEP = "keep"
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """`quality` 1..95; `max_side` in pixels, or None to keep the size."""

    quality: int = 50
    mode: Mode = Mode.ABSOLUTE
    format: TargetFormat = TargetFormat.KEEP
    max_side: int | None = None
