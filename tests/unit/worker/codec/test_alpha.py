"""Kinds of transparency, compared as a person sees them: on black and on white."""

import struct

import pytest
from PIL import Image

from services.worker.codec import compress
from shared.recipe import Recipe, TargetFormat
from tests.pictures import cutout, decode, encode, photo
from tests.unit.worker.codec.measure import looks_like, psnr


def colour_key() -> tuple[bytes, Image.Image]:
    image = photo(120, 90)
    image.paste((255, 0, 255), (20, 20, 60, 60))
    clear = image.convert("RGBA")
    clear.paste((0, 0, 0, 0), (20, 20, 60, 60))
    return encode(image, "png", transparency=(255, 0, 255)), clear


def translucent() -> Image.Image:
    image = photo(120, 90).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((120, 90)))
    return image


SOFT = cutout(120, 90)
PLAIN = {"soft": SOFT, "grey": SOFT.convert("LA"), "palette": SOFT.quantize(120), "translucent": translucent()}
KINDS = {kind: (encode(image, "png"), image) for kind, image in PLAIN.items()} | {"colour key": colour_key()}


@pytest.mark.parametrize("target", ["png", "webp", "avif"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_alpha_survives(kind: str, target: str) -> None:
    source, reference = KINDS[kind]
    made = compress(source, Recipe(quality=90, format=TargetFormat(target)))
    assert looks_like(decode(made.body), reference, decibels=25)


@pytest.mark.parametrize("kind", KINDS)
def test_jpeg_from_alpha_is_on_white(kind: str) -> None:
    source, reference = KINDS[kind]
    made = compress(source, Recipe(quality=90, format=TargetFormat.JPEG))
    white = Image.alpha_composite(Image.new("RGBA", reference.size, "white"), reference.convert("RGBA"))
    assert psnr(decode(made.body), white) > 25


def bmp_with_alpha(image: Image.Image) -> bytes:
    """With the header that has a mask for alpha (BITMAPV4); Pillow writes none and then reads the channel as unused."""
    masks = (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)
    rows = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGRA")
    head = struct.pack("<IiiHHIIiiII", 108, *image.size, 1, 32, 3, len(rows), 0, 0, 0, 0) + struct.pack("<4I", *masks)
    head += b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(rows), 0, 0, 14 + len(head)) + head + rows


def test_a_transparent_level_of_sixteen_bit_grey_is_exact() -> None:
    levels = b"".join((level * 64).to_bytes(2, "little") for level in range(1024))
    image = Image.frombytes("I;16", (32, 32), levels)
    made = compress(encode(image, "png", transparency=64 * 500), Recipe(format=TargetFormat.WEBP))
    alpha = decode(made.body).convert("RGBA").getchannel("A").tobytes()
    assert [at for at, level in enumerate(alpha) if level == 0] == [500]


def test_clear_pixels_leave_no_fringe_when_they_shrink() -> None:
    image = Image.new("RGBA", (200, 200), (0, 255, 0, 0))
    image.paste((200, 30, 30, 255), (50, 50, 150, 150))
    made = compress(encode(image, "png"), Recipe(quality=95, max_side=50))
    on_white = Image.alpha_composite(Image.new("RGBA", (50, 50), "white"), decode(made.body).convert("RGBA"))
    assert all(green <= red for red, green, _, _ in zip(*[iter(on_white.tobytes())] * 4, strict=True))
