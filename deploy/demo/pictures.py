"""Draws product photos, encodes and decodes: the only module of deploy/ that imports Pillow.

The trap: `Image.effect_noise` draws from the C library's unseeded generator, so grain here is `Random.randbytes`.
"""

import io
from random import Random
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
OPTIONS: dict[str, dict[str, int]] = {
    "jpg": {"quality": 92},
    "webp": {"quality": 92, "method": 0},
    "png": {"compress_level": 4},
}
FORMATS = {"jpg": "JPEG", "webp": "WEBP", "png": "PNG"}


def draw(name: str, size: tuple[int, int]) -> bytes:
    """A thing on a backdrop, in soft light and with grain, as a file; its name decides the picture and the format."""
    random = Random(name)  # noqa: S311 - pictures, not secrets
    picture = _backdrop(random, size)
    box = _box(random, size)
    shadow = _soft_ellipse(size, (box[0], box[3] - (box[3] - box[1]) // 6, box[2], box[3] + (box[3] - box[1]) // 12))
    picture.paste(Image.new("RGB", size, (40, 36, 34)), mask=shadow.point([level * 5 // 10 for level in range(256)]))
    picture.paste(_material(random, size), mask=_outline(random, size, box))
    shine = _soft_ellipse(size, (box[0] + (box[2] - box[0]) // 5, box[1], box[0] + (box[2] - box[0]) // 2, box[3]))
    picture.paste(Image.new("RGB", size, (255, 252, 244)), mask=shine.point([level // 5 for level in range(256)]))
    suffix = name.rpartition(".")[2]
    return encode(_with_grain(random, picture), FORMATS[suffix], **OPTIONS[suffix])


def encode(image: Image.Image, format: str, **options: Any) -> bytes:  # noqa: A002 - Pillow's own word for it
    """`image` as a file of `format` (jpeg, png, webp, avif, gif, bmp, tiff), with Pillow's own options."""
    stream = io.BytesIO()
    image.save(stream, format.upper(), **options)
    return stream.getvalue()


def decode(body: bytes) -> Image.Image:
    """The (first) picture of a file, its pixels loaded.

    Raises:
        OSError: it is not an image, or its pixels do not decode.

    """
    try:
        image = Image.open(io.BytesIO(body))
        image.load()
    except SyntaxError as error:  # Pillow's error for a broken PNG
        raise OSError(str(error)) from error
    return image


def _colour(random: Random, low: int, high: int) -> Colour:
    return (random.randint(low, high), random.randint(low, high), random.randint(low, high))


def _backdrop(random: Random, size: tuple[int, int]) -> Image.Image:
    wall = ImageOps.colorize(
        Image.linear_gradient("L").resize(size), black=_colour(random, 205, 250), white=_colour(random, 140, 205)
    )
    vignette = ImageOps.invert(Image.radial_gradient("L").resize(size)).point(
        [170 + level // 3 for level in range(256)]
    )
    return ImageChops.multiply(wall, Image.merge("RGB", [vignette] * 3))


def _material(random: Random, size: tuple[int, int]) -> Image.Image:
    """A colour, lit from one side, with the threads or the grain of a surface."""
    light = Image.linear_gradient("L").rotate(random.choice((90, 270))).resize(size)
    body = ImageOps.colorize(light, black=_colour(random, 20, 90), white=_colour(random, 120, 240))
    draw = ImageDraw.Draw(body, "RGBA")
    step = random.randint(6, 28)
    for offset in range(-size[1], size[0], step):
        shade = (*_colour(random, 0, 255), random.randint(10, 50))
        draw.line((offset, 0, offset + random.randint(0, size[1]), size[1]), fill=shade, width=1 + step // 5)
    return body


def _box(random: Random, size: tuple[int, int]) -> Box:
    width, height = size
    left, top = width * random.randint(16, 30) // 100, height * random.randint(14, 28) // 100
    return (left, top, width - left, height * random.randint(78, 88) // 100)


def _outline(random: Random, size: tuple[int, int], box: Box) -> Image.Image:
    mask = Image.new("L", size, 0)
    draw = ImageDraw.Draw(mask)
    left, top, right, bottom = box
    inset = (right - left) // random.randint(5, 9)
    match random.randrange(4):
        case 0:
            draw.rounded_rectangle(box, radius=inset // 2, fill=255)
        case 1:
            draw.ellipse(box, fill=255)
        case 2:
            draw.polygon([(left + inset, top), (right - inset, top), (right, bottom), (left, bottom)], fill=255)
        case _:
            draw.rounded_rectangle((left + inset, (top + bottom) // 2, right - inset, bottom), radius=inset, fill=255)
            draw.ellipse((left, top, right, (top + 2 * bottom) // 3), fill=255)
    return mask.filter(ImageFilter.BoxBlur(1))


def _soft_ellipse(size: tuple[int, int], box: Box) -> Image.Image:
    """A blurred ellipse; blurred at an eighth of the size, which looks the same and is 64 times as fast."""
    small = Image.new("L", (size[0] // 8, size[1] // 8), 0)
    left, top, right, bottom = (edge // 8 for edge in box)
    ImageDraw.Draw(small).ellipse((left, top, right, bottom), fill=255)
    return small.filter(ImageFilter.GaussianBlur(max(size) / 200)).resize(size, Image.Resampling.BICUBIC)


def _with_grain(random: Random, picture: Image.Image) -> Image.Image:
    noise = Image.frombytes("L", picture.size, random.randbytes(picture.width * picture.height))
    grain = noise.filter(ImageFilter.BoxBlur(1)).point([118 + level // 13 for level in range(256)])
    return ImageChops.add(picture, Image.merge("RGB", [grain] * 3), scale=1, offset=-128)
