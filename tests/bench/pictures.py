"""Pictures like photographs: leaves that hide each other, soft light, and texture of which some regions have more.

Photographs have a power spectrum near 1/f², which dead leaves (Lee, Mumford and Huang 2001: discs of power-law sizes,
one over the other) share with them. The strength of the texture is found by bisection for each picture, so that the
file has the bytes that real photographs of the size have. The same seed gives the same pixels.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Plane = npt.NDArray[np.float64]
DRAWN = 8
"""Pictures drawn for a class. No two images of a request may be the same: the blob store writes equal files once."""
TABLE = b"\xff\xdb\x00\x43\x00"
"""Begins a JPEG's first quantization table, of 64 bytes."""
LEAVES = 700
Q92 = {"format": "JPEG", "quality": 92, "subsampling": "4:2:0"}


@dataclass(frozen=True, slots=True)
class PictureClass:
    """`bytes` is the mean size of real photographs as JPEG at quality 92, 4:2:0 (from the issue's measurement).

    `limit` are Pillow's own options for the same result: quality 50, everything else its default.
    """

    name: str
    title: str
    size: tuple[int, int]
    bytes: int
    source: dict[str, Any]
    limit: dict[str, Any]
    suffix: str
    files: int = DRAWN
    retouched: range = range(28, 38)
    """The places of a JPEG's quantization table in which `Variants` differ; other formats have more files instead."""


JPEG = {"format": "JPEG", "quality": 50}
CLASSES = {
    one.name: one
    for one in (
        PictureClass("jpeg-0.3", "0.3 MP JPEG", (640, 480), 73_000, Q92, JPEG, "jpg"),
        PictureClass("jpeg-1", "1 MP JPEG", (1200, 833), 225_000, Q92, JPEG, "jpg"),
        PictureClass("jpeg-4", "4 MP JPEG", (2400, 1667), 636_000, Q92, JPEG, "jpg"),
        PictureClass("png-1", "1 MP PNG", (1200, 833), 225_000, {"format": "PNG"}, {"format": "PNG"}, "png", files=96),
        PictureClass(
            "webp-1",
            "1 MP WebP",
            (1200, 833),
            225_000,
            {"format": "WEBP", "quality": 92},
            {"format": "WEBP", "quality": 50},
            "webp",
            files=96,
        ),
        PictureClass("tiny", "tiny JPEG", (64, 48), 1_700, Q92, JPEG, "jpg", retouched=range(1, 11)),
    )
}


def pictures_of(kind: PictureClass, folder: Path) -> list[bytes]:
    """The files of a class, kept in `folder` from one run to the next."""
    version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    place = folder / version / kind.name
    place.mkdir(parents=True, exist_ok=True)
    bodies = []
    for number in range(kind.files):
        path = place / f"{number}.{kind.suffix}"
        if not path.exists():
            drawn = photograph(kind.size, kind.bytes, number % DRAWN)
            turned = ImageChops.offset(drawn, 8 * (number // DRAWN), 0)  # further ones are shifted sideways
            path.write_bytes(encoded(turned, **kind.source))
        bodies.append(path.read_bytes())
    return bodies


class Variants:
    """A JPEG as many different ones, for nothing: some entries of its quantization table differ by one.

    So every source and every rendition is a different file of about the same size, as in a catalogue.
    """

    def __init__(self, body: bytes, places: range) -> None:
        at = body.index(TABLE) + len(TABLE)
        self._before, self._table, self._after = body[:at], body[at : at + 64], body[at + 64 :]
        self._places = places

    def __len__(self) -> int:
        return len(self._before) + len(self._table) + len(self._after)

    def parts(self, number: int) -> tuple[bytes, bytes, bytes]:
        """The file, in three parts; `number` counts in base 3 from the table as it is."""
        table = bytearray(self._table)
        for place in self._places:
            table[place] += number % 3
            number //= 3
        return self._before, bytes(table), self._after


def encoded(picture: Image.Image, **options: Any) -> bytes:
    """The picture as a file, with Pillow's options."""
    stream = io.BytesIO()
    picture.save(stream, **options)
    return stream.getvalue()


def photograph(size: tuple[int, int], wanted: int, seed: int) -> Image.Image:
    """An RGB picture that has `wanted` bytes (within 2%) as JPEG at quality 92, 4:2:0."""
    random = np.random.default_rng(seed)
    scene = _scene(random, size)
    texture = _texture(random, size)
    low, high = 0.0, 80.0
    for _ in range(14):
        strength = (low + high) / 2
        picture = _developed(scene, texture * strength)
        found = len(encoded(picture, **Q92))
        if abs(found - wanted) < 0.02 * wanted:
            break
        low, high = (strength, high) if found < wanted else (low, strength)
    return picture


def _scene(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Leaves in YCbCr, each with its own colour, under a light that changes slowly; as sharp as a lens is."""
    width, height = size
    picture = Image.new("YCbCr", size, (120, 128, 128))
    draw = ImageDraw.Draw(picture)
    for radius in _radii(random, size):
        x, y = random.integers(0, width), random.integers(0, height)
        across = radius * random.uniform(0.4, 1)
        colour = (int(random.normal(125, 45)), int(random.normal(126, 12)), int(random.normal(130, 12)))
        draw.ellipse((x - radius, y - across, x + radius, y + across), fill=colour)
    luma, *chroma = (plane.filter(ImageFilter.GaussianBlur(0.8)) for plane in picture.split())
    lit = np.asarray(luma, np.float64) + _cloud(random, size, slope=1.8) * 18
    return Image.merge("YCbCr", [_plane(lit), *chroma])


def _radii(random: np.random.Generator, size: tuple[int, int]) -> Iterator[float]:
    """Large leaves first, so that none is hidden by all others; sizes follow 1/r³."""
    smallest, largest = max(size) / 150, max(size) / 4
    share = random.random(LEAVES)
    radii = 1 / np.sqrt((1 - share) / smallest**2 + share / largest**2)
    yield from sorted(radii, reverse=True)


def _texture(random: np.random.Generator, size: tuple[int, int]) -> Plane:
    """Surface and grain: 1/f noise where a slow mask lets it through, and a little of it everywhere."""
    mask = 1 / (1 + np.exp(-2.5 * _cloud(random, size, slope=1.6)))
    return _cloud(random, size, slope=0.9) * (0.15 + mask)


def _cloud(random: np.random.Generator, size: tuple[int, int], *, slope: float) -> Plane:
    """Noise with amplitude 1/f^slope, mean 0, deviation 1."""
    width, height = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(random.standard_normal((height, width))) / frequency**slope
    spectrum[0, 0] = 0
    plane: Plane = np.fft.irfft2(spectrum, (height, width))
    return plane / float(plane.std())


def _developed(scene: Image.Image, texture: Plane) -> Image.Image:
    luma, blue, red = scene.split()
    return Image.merge("YCbCr", [_plane(np.asarray(luma, np.float64) + texture), blue, red]).convert("RGB")


def _plane(levels: Plane) -> Image.Image:
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))
