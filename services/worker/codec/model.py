"""The codec's input limits and its result: plain values."""

import builtins
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one picture may cost; all of it is checked before its pixels are decoded."""

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_frames: int = 500
    max_animation_pixels: int = 75_000_000  # of all frames together: they are in memory at the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """One image file. `width` and `height` are those of its header: an orientation tag is not applied to them."""

    bytes: int
    format: str
    width: int
    height: int

    @classmethod
    def of(cls, body: builtins.bytes, image_format: str, size: tuple[int, int]) -> Self:
        return cls(bytes=len(body), format=image_format, width=size[0], height=size[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """The compressed picture.

    `quality` is the one given to the encoder, or None where `kept_original`: no encoding was smaller, so the source's
    own image data stay. In mode `bytes`, quality 1 with more bytes than asked for means the target cannot be met.
    """

    body: bytes
    info: FileInfo
    source: FileInfo
    quality: int | None
    kept_original: bool
