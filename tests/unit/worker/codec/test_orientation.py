"""Eight orientations, compared by pixels."""

from typing import Any

import pytest
from PIL import ExifTags, Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from services.worker.codec import compress
from services.worker.codec.metadata import without_metadata
from shared.recipe import Recipe, TargetFormat
from tests.pictures import arrow, decode, encode
from tests.unit.worker.codec.measure import psnr

# How the upright picture is stored under each tag: the inverse of what a viewer does.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
FORMATS = ("jpeg", "png", "webp", "avif", "tiff")


def turned(orientation: int, image_format: str, upright: Image.Image, **options: Any) -> bytes:
    turn = STORED[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Secret Camera"
    return encode(upright if turn is None else upright.transpose(turn), image_format, exif=exif, **options)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("target", ["jpeg", "png"])
def test_each_orientation_comes_out_upright(orientation: int, image_format: str, target: str) -> None:
    source = turned(orientation, image_format, arrow(), **({"quality": 95} if image_format != "png" else {}))
    made = compress(source, Recipe(quality=90, format=TargetFormat(target)))
    image = decode(made.body)
    if made.kept_original:
        image = ImageOps.exif_transpose(image)
    assert psnr(image, arrow()) > 25
    assert made.kept_original or "exif" not in image.info


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("image_format", ["jpeg", "webp", "avif"])
def test_kept_original_stays_upright_by_its_tag_and_loses_the_rest(orientation: int, image_format: str) -> None:
    source = turned(orientation, image_format, arrow(), quality=1)
    made = compress(source, Recipe(quality=95))
    assert made.kept_original
    assert b"Secret" not in made.body
    kept = decode(made.body)
    assert psnr(ImageOps.exif_transpose(kept), ImageOps.exif_transpose(decode(source))) > 90
    tags = dict(kept.getexif())
    assert tags == ({} if orientation == 1 else {ExifTags.Base.Orientation: orientation})


@pytest.mark.parametrize("orientation", STORED)
def test_a_png_without_metadata_keeps_the_orientation_alone(orientation: int) -> None:
    stripped = without_metadata(turned(orientation, "png", arrow()), "png", orientation)
    assert stripped is not None
    kept = decode(stripped)
    assert psnr(ImageOps.exif_transpose(kept), arrow()) > 90
    assert dict(kept.getexif()) == ({} if orientation == 1 else {ExifTags.Base.Orientation: orientation})


def test_a_picture_that_shrinks_is_turned_too() -> None:
    source = turned(6, "jpeg", arrow(640, 480))
    made = compress(source, Recipe(max_side=64))
    assert (made.info.width, made.info.height) == (64, 48)
    assert psnr(decode(made.body), arrow()) > 20


def test_a_senseless_orientation_is_no_turn() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 99
    made = compress(encode(arrow(), "jpeg", exif=exif, quality=95), Recipe())
    assert psnr(decode(made.body), arrow()) > 20


def test_a_broken_exif_block_costs_nothing() -> None:
    source = encode(arrow(), "jpeg", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert psnr(decode(compress(source, Recipe()).body), arrow()) > 20


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp", "avif"])
def test_an_orientation_in_xmp_alone_turns_nothing_as_in_a_browser(image_format: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    options: dict[str, Any] = {"xmp": xmp}
    if image_format == "png":
        options = {"pnginfo": PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    made = compress(encode(arrow(), image_format, **options), Recipe(quality=90, format=TargetFormat.JPEG))
    assert psnr(decode(made.body), arrow()) > 20
