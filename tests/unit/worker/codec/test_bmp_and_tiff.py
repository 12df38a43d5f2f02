"""BMP and TIFF are no formats for the web: which one they become, and at what size."""

from dataclasses import replace
from random import Random

import pytest
from PIL import Image, ImageDraw

from services.worker.codec import compress
from services.worker.codec.encode import ENCODERS
from services.worker.codec.picture import is_flat
from shared.recipe import Mode, Recipe, TargetFormat
from tests.pictures import cutout, decode, encode, photo
from tests.unit.worker.codec.kinds import PAGE
from tests.unit.worker.codec.measure import looks_like, psnr
from tests.unit.worker.codec.test_alpha import bmp_with_alpha


def page(mode: str = "L") -> Image.Image:
    """Black text on white, as a scanner gives it."""
    image = Image.new("L", (600, 400), 255)
    draw = ImageDraw.Draw(image)
    for line in range(18):
        draw.text((20, 10 + 21 * line), f"{line:02} Sphinx of black quartz, judge my vow. " * 2, fill=0, font_size=15)
    return image.convert(mode, dither=Image.Dither.NONE)


def chart() -> Image.Image:
    """Eight plain colours with hard edges."""
    image = Image.new("RGB", (600, 400), "white")
    draw = ImageDraw.Draw(image)
    for bar in range(7):
        draw.rectangle((20 + 80 * bar, 380 - 45 * (bar + 1), 80 + 80 * bar, 380), fill=(30 * bar, 255 - 30 * bar, 90))
    return image


FLAT = {
    "1 bit": page("1"),
    "palette": chart().quantize(16),
    "few colours": chart(),
    "few greys": page().point([level // 16 * 17 for level in range(256)]),
}
GRAIN = Image.frombytes("L", (200, 150), Random(1).randbytes(200 * 150)).convert("1", dither=Image.Dither.NONE)
EITHER = {**FLAT, "palette of a photo": photo(200, 150).quantize(200), "grain": GRAIN}


@pytest.mark.parametrize("source", [bmp_with_alpha(cutout(120, 90)), encode(cutout(120, 90), "tiff")])
def test_where_something_is_transparent_it_becomes_a_png(source: bytes) -> None:
    made = compress(source, Recipe(quality=90))
    assert made.info.format == "png"
    assert looks_like(decode(made.body), cutout(120, 90), decibels=25)


@pytest.mark.parametrize("image_format", ["bmp", "tiff"])
def test_an_opaque_photo_becomes_a_jpeg_and_no_png_is_tried(image_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ENCODERS, "png")
    for opaque in (photo(120, 90), photo(120, 90).convert("RGBA"), photo(120, 90).convert("L")):
        made = compress(encode(opaque, image_format), Recipe(quality=90))
        assert made.info.format == "jpeg"
        assert psnr(decode(made.body), opaque) > 28


@pytest.mark.parametrize("image_format", ["bmp", "tiff"])
@pytest.mark.parametrize("kind", FLAT)
def test_a_flat_picture_becomes_a_png_without_loss(kind: str, image_format: str) -> None:
    source = encode(FLAT[kind], image_format)
    made = compress(source, Recipe())
    assert made.info.format == "png"
    assert decode(made.body).convert("RGB").tobytes() == FLAT[kind].convert("RGB").tobytes()
    assert made.info.bytes < compress(source, Recipe(format=TargetFormat.JPEG)).info.bytes / 2


@pytest.mark.parametrize("recipe", [Recipe(quality=5), Recipe(quality=90), Recipe(max_side=100)])
@pytest.mark.parametrize("kind", EITHER)
def test_of_two_possible_formats_the_smaller_is_taken(kind: str, recipe: Recipe) -> None:
    source = encode(EITHER[kind], "tiff")
    both = [compress(source, replace(recipe, format=wanted)) for wanted in (TargetFormat.PNG, TargetFormat.JPEG)]
    assert compress(source, recipe).body == min((made.body for made in both), key=len)


@pytest.mark.parametrize("percent", [5, 30, 90])
@pytest.mark.parametrize("kind", EITHER)
def test_by_bytes_the_format_with_the_higher_quality_is_taken(kind: str, percent: int) -> None:
    source = encode(EITHER[kind], "bmp")
    recipe = Recipe(mode=Mode.BYTES, quality=percent)
    both = [compress(source, replace(recipe, format=wanted)) for wanted in (TargetFormat.PNG, TargetFormat.JPEG)]
    made = compress(source, recipe)
    assert made.quality == max(each.quality or 0 for each in both)
    assert made.info.bytes <= len(source) * percent // 100 or made.quality == 1


def test_a_tiffs_texts_do_not_get_into_its_png() -> None:
    made = compress(encode(page("1"), "tiff", tiffinfo={270: "SECRET", 315: "SECRET"}), Recipe())
    assert made.info.format == "png"
    assert b"SECRET" not in made.body


@pytest.mark.parametrize(("colours", "flat"), [(128, True), (129, False)])
def test_flat_is_as_many_colours_as_the_page_says(colours: int, flat: bool) -> None:  # noqa: FBT001
    image = Image.frombytes("RGB", (colours, 1), b"".join(bytes((level, 0, 9)) for level in range(colours)))
    assert is_flat(image) is flat
    assert "at most 128 colours" in PAGE.read_text()
