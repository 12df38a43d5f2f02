"""A decoded picture: its frames, its colour profile, how often it plays."""

from dataclasses import dataclass, replace
from typing import Self

from PIL import Image

_FLAT_COLOURS = 128  # as many as a PNG's palette has at the default quality


@dataclass(slots=True)
class Picture:
    """`durations` in milliseconds, one per frame; `plays` is how often an animation runs, 0 for ever."""

    frames: list[Image.Image]
    durations: list[float]
    plays: int
    icc: bytes | None
    orientation: int = 1

    @property
    def animated(self) -> bool:
        return len(self.frames) > 1

    @property
    def size(self) -> tuple[int, int]:
        return self.frames[0].size

    @property
    def pixels(self) -> int:
        """Of all frames together."""
        return self.size[0] * self.size[1] * len(self.frames)

    def with_frames(self, frames: list[Image.Image]) -> Self:
        return replace(self, frames=frames)


def has_transparency(image: Image.Image) -> bool:
    """Whether any pixel of `image` is less than opaque; an alpha channel that is all opaque does not count."""
    if not image.has_transparency_data:
        return False
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    return rgba.getchannel("A").getextrema() != (255, 255)


def is_flat(image: Image.Image) -> bool:
    """Whether `image` is 1 bit or a palette, or has so few colours that it is a drawing rather than a photograph."""
    if image.mode in {"1", "P"}:
        return True
    return image.mode in {"L", "RGB", "RGBA"} and image.getcolors(_FLAT_COLOURS) is not None
