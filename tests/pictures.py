"""Photo-like pictures for every test, from Pillow and `random` alone: the same seed gives the same pixels.

The trap: `Image.effect_noise` draws from the C library's unseeded generator, so noise here is `Random.randbytes`.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from deploy.demo.pictures import decode, encode

__all__ = ["animate", "arrow", "cutout", "decode", "encode", "film", "photo"]
BICUBIC = Image.Resampling.BICUBIC


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB picture with soft light, shapes with edges, texture and grain; about 190 kB a megapixel at JPEG q85."""
    random = Random(seed)
    size = (width, height)
    light = Image.merge("RGB", [_clouds(random, size, cells=5) for _ in "rgb"])
    picture = Image.blend(light, _shapes(random, size), 0.45)
    texture = Image.blend(_clouds(random, size, cells=40), _clouds(random, size, cells=160), 0.5)
    picture = ImageChops.soft_light(picture, Image.merge("RGB", [texture] * 3))
    grain = _noise(random, size).filter(ImageFilter.GaussianBlur(0.7)).point([112 + level // 8 for level in range(256)])
    return ImageChops.add(picture, Image.merge("RGB", [grain] * 3), scale=1, offset=-128)


def cutout(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGBA product shot: the photo within an ellipse with a soft edge, transparent around it."""
    mask = Image.new("L", (width, height), 0)
    inset = (width // 8, height // 8, width - width // 8, height - height // 8)
    ImageDraw.Draw(mask).ellipse(inset, fill=255)
    picture = photo(width, height, seed).convert("RGBA")
    picture.putalpha(mask.filter(ImageFilter.GaussianBlur(2)))
    return picture


def arrow(width: int = 64, height: int = 48) -> Image.Image:
    """An RGB picture whose four corners differ, so that the eight orientations can be distinguished."""
    picture = Image.new("RGB", (width, height), (230, 230, 230))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, width // 2 - 1, height // 2 - 1), fill=(200, 30, 30))
    draw.rectangle((width // 2, 0, width, height // 2 - 1), fill=(30, 160, 40))
    draw.rectangle((0, height // 2, width // 2 - 1, height), fill=(30, 60, 200))
    return picture


def film(width: int, height: int, count: int, seed: int = 0, *, alpha: bool = False) -> list[Image.Image]:
    """The frames of an animation: a square moves over a still photo, or over nothing where `alpha`."""
    still = Image.new("RGBA", (width, height)) if alpha else photo(width, height, seed).convert("RGBA")
    side = max(2, min(width, height) // 4)
    frames = []
    for number in range(count):
        frame = still.copy()
        left = (width - side) * number // max(1, count - 1)
        box = (left, height // 3, left + side - 1, height // 3 + side - 1)
        ImageDraw.Draw(frame).rectangle(box, fill=(220, 40 + 20 * (number % 8), 30, 255))
        frames.append(frame if alpha else frame.convert("RGB"))
    return frames


def animate(frames: Sequence[Image.Image], format: str, **options: Any) -> bytes:  # noqa: A002 - see encode
    """`frames` as one animated file of `format` (gif, png, webp, avif)."""
    return encode(frames[0], format, save_all=True, append_images=list(frames[1:]), **options)


def _noise(random: Random, size: tuple[int, int]) -> Image.Image:
    return Image.frombytes("L", size, random.randbytes(size[0] * size[1]))


def _clouds(random: Random, size: tuple[int, int], *, cells: int) -> Image.Image:
    """Smooth noise: `cells` random levels across the longer side, blown up."""
    longer = max(size)
    grid = (max(2, cells * size[0] // longer), max(2, cells * size[1] // longer))
    return _noise(random, grid).resize(size, BICUBIC)


def _shapes(random: Random, size: tuple[int, int]) -> Image.Image:
    """Thirty ellipses and boxes of random colours, blurred by less than a pixel as a lens does."""
    width, height = size
    picture = Image.new("RGB", size, (128, 128, 128))
    draw = ImageDraw.Draw(picture)
    for number in range(30):
        x, y = random.randrange(width), random.randrange(height)
        box = (x, y, x + random.randrange(1, 2 + width // 3), y + random.randrange(1, 2 + height // 3))
        colour = (random.randrange(256), random.randrange(256), random.randrange(256))
        (draw.ellipse if number % 2 else draw.rectangle)(box, fill=colour)
    return picture.filter(ImageFilter.GaussianBlur(0.6))
