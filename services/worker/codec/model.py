"""What goes into the codec and what comes out, as plain values that travel between processes."""

from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one picture may cost; all of it is checked before its pixels are decoded."""

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_frames: int = 500
    max_animation_pixels: int = 75_000_000  # of all frames together: they are in memory at the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One file. `width` and `height` are those of its header: an orientation tag is not applied to them."""

    bytes: int
    format: str
    width: int
    height: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """The compressed picture.

    `quality` is the one the encoder was given; None where `kept_original`, that is where the source's own image data
    was kept because no encoding of it was smaller. In the mode `bytes`, a `quality` of 1 with more bytes than asked
    for says that the target could not be met.
    """

    body: bytes
    facts: Facts
    source: Facts
    quality: int | None
    kept_original: bool


def facts_of(body: bytes, image_format: str, size: tuple[int, int]) -> Facts:
    return Facts(bytes=len(body), format=image_format, width=size[0], height=size[1], sha256=sha256(body).hexdigest())
