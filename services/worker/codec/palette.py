"""Reduce pictures to a palette of at most 256 colours, one palette for all frames of an animation.

Pillow's own `quantize` takes half a second a megapixel and has no good method for transparency. Here the palette
comes from a sample of the pixels, refined by k-means (3 dB better in a fifth of the time), and every pixel is mapped to
it. Transparency has its own entries: one for fully clear, a few levels times a few colours for soft edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Self

from PIL import Image, ImageChops

_SAMPLE = 16_384  # pixels; four times as many gain 0.1 dB
_LEVELS = 8  # of partial transparency
_NEAREST = Image.Resampling.NEAREST


def colours_for(quality: int) -> int:
    """The number of colours for a quality of 1..95."""
    return max(2, min(256, round(quality * 2.56)))


@dataclass(frozen=True, slots=True)
class Palette:
    """Entries in this order: `solid` colours; `soft` colours, once for each of `levels`; one clear entry."""

    solid: Image.Image | None
    soft: Image.Image | None
    levels: tuple[int, ...]

    @classmethod
    def of(cls, frames: Sequence[Image.Image], colours: int, *, partial: bool = True) -> Self:
        """`partial`: the target has partial transparency; otherwise each pixel is either clear or opaque."""
        solid, soft = _samples(frames, partial=partial)
        clear = frames[0].mode == "RGBA"
        room = max(2, colours - clear)
        histogram = _partial_histogram(frames) if soft else []
        share = len(soft) / max(1, len(soft) + len(solid))
        soft_room = 0 if not soft else room if not solid else max(2, min(room - 2, round(room * max(share, 0.15))))
        levels = _pick_levels(histogram, min(_LEVELS, max(1, soft_room // 4))) if soft else ()
        return cls(
            solid=_palette(solid, room - soft_room) if solid or not soft else None,
            soft=_palette(soft, max(1, soft_room // len(levels))) if levels else None,
            levels=levels,
        )

    @property
    def entries(self) -> list[tuple[int, int, int, int]]:
        solid = [(*colour, 255) for colour in _colours(self.solid)]
        soft = [(*colour, level) for level in self.levels for colour in _colours(self.soft)]
        return [*solid, *soft]

    def apply(self, image: Image.Image) -> Image.Image:
        """The "P" image; its last entry is the clear one where `image` has an alpha channel."""
        rgb = image if image.mode == "RGB" else image.convert("RGB")  # Pillow maps "L" by index, not by colour
        entries = self.entries
        indexes = _mapped(rgb, self.solid) if self.solid is not None else Image.new("L", image.size)
        if image.mode == "RGBA":
            alpha = image.getchannel("A")
            if self.soft is not None:
                indexes.paste(
                    self._soft_indexes(rgb, alpha), mask=alpha.point([255 * (0 < a < 255) for a in range(256)])
                )
            least = 1 if self.soft is not None else 128
            indexes.paste(len(entries), mask=alpha.point([255 * (a < least) for a in range(256)]))
            entries = [*entries, (0, 0, 0, 0)]
        return _indexed(indexes, entries, alpha=image.mode == "RGBA")

    def _soft_indexes(self, rgb: Image.Image, alpha: Image.Image) -> Image.Image:
        assert self.soft is not None
        colours = len(_colours(self.soft))
        first = len(_colours(self.solid))
        nearest = [min(range(len(self.levels)), key=lambda n: abs(self.levels[n] - a)) for a in range(256)]
        offsets = alpha.point([first + colours * level for level in nearest])
        return ImageChops.add(_mapped(rgb, self.soft), offsets)


def exact(image: Image.Image, colours: int) -> Image.Image | None:
    """`image` with a palette, without loss; None where it has more than `colours` colours."""
    if image.mode not in {"RGB", "L"} or image.getcolors(colours) is None:
        return None
    return image.quantize(colours)


def _samples(frames: Sequence[Image.Image], *, partial: bool) -> tuple[list[bytes], list[bytes]]:
    """Samples of the opaque and of the partly transparent pixels, three bytes each."""
    solid: list[bytes] = []
    soft: list[bytes] = []
    side = sqrt(_SAMPLE / len(frames) / (frames[0].width * frames[0].height))
    for frame in frames:
        size = (
            max(1, min(frame.width, round(frame.width * side))),
            max(1, min(frame.height, round(frame.height * side))),
        )
        raw = frame.resize(size, _NEAREST).convert("RGBA").tobytes()
        for at in range(0, len(raw), 4):
            alpha = raw[at + 3]
            if alpha == 255 or (alpha >= 128 and not partial):
                solid.append(raw[at : at + 3])
            elif alpha and partial:
                soft.append(raw[at : at + 3])
    return solid, soft


def _partial_histogram(frames: Sequence[Image.Image]) -> list[int]:
    total = [0] * 256
    for frame in frames:
        total = [a + b for a, b in zip(total, frame.getchannel("A").histogram(), strict=True)]
    return [0, *total[1:255], 0]


def _pick_levels(histogram: Sequence[int], count: int) -> tuple[int, ...]:
    """The levels themselves where they are at most `count`, otherwise the middles of `count` equal ranges."""
    used = [level for level, pixels in enumerate(histogram) if pixels]
    if len(used) <= count:
        return tuple(used)
    low, width = used[0], (used[-1] - used[0]) / count
    return tuple(round(low + width * (number + 0.5)) for number in range(count))


def _palette(pixels: Sequence[bytes], colours: int) -> Image.Image:
    """A "P" image of one pixel that carries the palette, without duplicates."""
    row = Image.frombytes("RGB", (len(pixels), 1), b"".join(pixels)) if pixels else Image.new("RGB", (1, 1))
    found = row.quantize(colours, kmeans=1).getpalette() or [0, 0, 0]
    entries = dict.fromkeys(tuple(found[at : at + 3]) for at in range(0, min(len(found), 3 * colours), 3))
    holder = Image.new("P", (1, 1))
    holder.putpalette([channel for entry in entries for channel in entry])
    return holder


def _colours(palette: Image.Image | None) -> list[tuple[int, int, int]]:
    flat = [] if palette is None else palette.getpalette() or []
    return [(flat[at], flat[at + 1], flat[at + 2]) for at in range(0, len(flat), 3)]


def _mapped(rgb: Image.Image, palette: Image.Image | None) -> Image.Image:
    assert palette is not None
    mapped = rgb.quantize(palette=palette, dither=Image.Dither.NONE)
    return Image.frombytes("L", mapped.size, mapped.tobytes())


def _indexed(indexes: Image.Image, entries: Sequence[tuple[int, int, int, int]], *, alpha: bool) -> Image.Image:
    image = Image.frombytes("P", indexes.size, indexes.tobytes())
    channels = 4 if alpha else 3
    image.putpalette([channel for entry in entries for channel in entry[:channels]], "RGBA" if alpha else "RGB")
    return image
