"""Colour kinds, compared by pixels with what a viewer shows."""

from collections.abc import Callable

import pytest
from PIL import Image, ImageChops

from services.worker.codec import compress
from shared.recipe import Recipe, TargetFormat
from tests.pictures import arrow, decode, encode, photo
from tests.unit.worker.codec.interlaced import interlaced
from tests.unit.worker.codec.measure import psnr
from tests.unit.worker.codec.profiles import dark_grey, orange_cyan_cmyk, swapped_rgb

TARGETS = ("jpeg", "png", "webp", "avif")


def grey16() -> tuple[bytes, Image.Image]:
    grey = photo(96, 96).convert("L")
    levels = b"".join((257 * level).to_bytes(2, "little") for level in grey.tobytes())
    return encode(Image.frombytes("I;16", grey.size, levels), "png"), grey


def float_tiff() -> tuple[bytes, Image.Image]:
    ramp = Image.linear_gradient("L").resize((96, 96))
    return encode(ramp.convert("F").point(lambda level: level * (1 / 255) + 0), "tiff"), ramp


PHOTO = photo(96, 96)
ONE_BIT = PHOTO.convert("1", dither=Image.Dither.NONE)
PLAIN = {"rgb": PHOTO, "grey": PHOTO.convert("L"), "palette": PHOTO.quantize(200), "one bit": ONE_BIT}
KINDS = {kind: (encode(image, "png"), image) for kind, image in PLAIN.items()} | {
    "16-bit grey": grey16(),
    "cmyk": (encode(arrow().convert("CMYK"), "jpeg", quality=95), arrow()),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_colour_kind_looks_the_same_in_each_format(kind: str, target: str) -> None:
    source, reference = KINDS[kind]
    made = compress(source, Recipe(quality=90, format=TargetFormat(target)))
    assert psnr(decode(made.body), reference) > (24 if kind == "one bit" else 29)


@pytest.mark.parametrize("make", [grey16, float_tiff])
def test_deep_grey_is_scaled_and_not_clipped(make: Callable[[], tuple[bytes, Image.Image]]) -> None:
    source, reference = make()
    assert psnr(decode(compress(source, Recipe(quality=90)).body), reference) > 40


def test_big_endian_sixteen_bit_tiff_is_scaled() -> None:
    ramp = Image.linear_gradient("L").resize((96, 96))
    levels = b"".join((257 * level).to_bytes(2, "big") for level in ramp.tobytes())
    source = encode(Image.frombytes("I;16B", ramp.size, levels), "tiff")
    assert psnr(decode(compress(source, Recipe(quality=90)).body), ramp) > 40


def test_cmyk_without_adobes_marker_is_not_inverted() -> None:
    inverted = encode(ImageChops.invert(arrow().convert("CMYK")), "jpeg", quality=95)
    at = inverted.index(b"\xff\xee")
    plain = inverted[:at] + inverted[at + 2 + int.from_bytes(inverted[at + 2 : at + 4], "big") :]
    assert psnr(decode(compress(plain, Recipe(quality=90)).body), arrow()) > 28


def test_cmyk_goes_through_its_profile() -> None:
    image = Image.new("CMYK", (64, 64), (255, 0, 0, 0))
    made = compress(encode(image, "jpeg", quality=95, icc_profile=orange_cyan_cmyk()), Recipe())
    red, green, blue = decode(made.body).convert("RGB").resize((1, 1)).tobytes()
    assert red > 200
    assert 100 < green < 180
    assert blue < 90
    assert "icc_profile" not in decode(made.body).info


def test_cmyk_with_a_broken_profile_still_has_colours() -> None:
    made = compress(encode(arrow().convert("CMYK"), "jpeg", quality=95, icc_profile=b"nonsense"), Recipe(quality=90))
    assert psnr(decode(made.body), arrow()) > 28


def test_a_cmyk_jpeg_is_always_made_anew() -> None:
    source = encode(arrow().convert("CMYK"), "jpeg", quality=1)
    made = compress(source, Recipe(quality=95))
    assert not made.kept_original
    assert decode(made.body).mode == "RGB"


@pytest.mark.parametrize("target", TARGETS)
def test_an_rgb_profile_is_kept(target: str) -> None:
    source = encode(PHOTO, "png", icc_profile=swapped_rgb())
    made = compress(source, Recipe(format=TargetFormat(target)))
    assert decode(made.body).info["icc_profile"] == swapped_rgb()


@pytest.mark.parametrize("target", ["jpeg", "png", "webp"])
def test_a_large_profile_is_applied_and_left_out(target: str) -> None:
    icc = swapped_rgb()
    padded = (len(icc) + 30_000).to_bytes(4, "big") + icc[4:] + bytes(30_000)
    source = encode(Image.new("RGB", (64, 64), (250, 0, 0)), "png", icc_profile=padded)
    image = decode(compress(source, Recipe(format=TargetFormat(target), max_side=32)).body)
    assert "icc_profile" not in image.info
    red, green, _blue = image.convert("RGB").resize((1, 1)).tobytes()
    assert green > 200 > red


def test_a_grey_profile_is_applied_where_the_format_has_no_grey() -> None:
    source = encode(Image.new("L", (64, 64), 128), "png", icc_profile=dark_grey())
    image = decode(compress(source, Recipe(format=TargetFormat.WEBP)).body)
    assert "icc_profile" not in image.info
    assert image.convert("L").resize((1, 1)).tobytes()[0] < 80


def test_a_profile_for_another_kind_of_colour_is_dropped() -> None:
    source = encode(PHOTO.convert("L"), "jpeg", quality=95, icc_profile=swapped_rgb())
    assert "icc_profile" not in decode(compress(source, Recipe()).body).info


def test_lab_colours_are_converted() -> None:
    source = encode(Image.new("LAB", (64, 64), (136, 80 + 128, 67 + 128)), "tiff")  # pure red
    red, green, blue = decode(compress(source, Recipe(quality=90)).body).convert("RGB").resize((1, 1)).tobytes()
    assert red > 220
    assert green < 60
    assert blue < 60


def test_grey_with_more_levels_than_the_palette_keeps_its_levels() -> None:
    ramp = Image.linear_gradient("L").resize((96, 256))
    assert psnr(decode(compress(encode(ramp, "jpeg", quality=95), Recipe(format=TargetFormat.PNG)).body), ramp) > 35


@pytest.mark.parametrize("target", TARGETS)
def test_interlaced_and_progressive_input_is_read_whole(target: str) -> None:
    grey = photo(97, 61).convert("L")
    for source in (interlaced(grey), encode(grey, "jpeg", quality=95, progressive=True)):
        assert psnr(decode(compress(source, Recipe(quality=90, format=TargetFormat(target))).body), grey) > 29
