"""Each error code of the codec, produced. (`codec_crashed` and `codec_timeout` need the pool: test_codec_pool.py.)"""

import pytest

from services.worker.codec import Limits, compress
from services.worker.codec.sniff import sniff
from shared.errors import (
    CorruptImage,
    ImageError,
    NotAnImage,
    TooLarge,
    TooManyFrames,
    TooManyPixels,
    UnsupportedFormat,
)
from shared.recipe import Recipe, TargetFormat
from tests.pictures import animate, encode, film, photo

SMALL = photo(64, 48)
SVG = b'<?xml version="1.0"?>\n<!-- a comment -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'


def refuse(source: bytes, kind: type[ImageError], limits: Limits = Limits(), recipe: Recipe = Recipe()) -> str:  # noqa: B008
    with pytest.raises(kind) as caught:
        compress(source, recipe, limits)
    return caught.value.detail


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"hello",
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"\n\n  <HTML><body><svg></svg></body></html>",
        b"%PDF-1.7\n",
        b'{"error": "gone"}',
        b"PK\3\4" + bytes(40),
        b"\0\0\0\x18ftypmp42" + bytes(40),
        b"RIFF\0\0\0\0WAVEfmt ",
        b"BM, said the cow, is no bitmap",
        b"\x1f\x8b\x08" + bytes(40),
    ],
)
def test_a_file_that_is_no_picture_is_not_an_image(source: bytes) -> None:
    refuse(source, NotAnImage)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (SVG, "SVG"),
        (b"\xef\xbb\xbf" + SVG, "SVG"),
        (SVG.decode().encode("utf-16"), "SVG"),
        (b"<svg:svg>", "SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\1\0\1\0", "ICO"),
        (b"8BPS\0\1", "PSD"),
        (b"\xff\x0a\xfa", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"P6 10 10 255\n", "Netpbm"),
        (b"qoif\0\0", "QOI"),
    ],
)
def test_a_picture_of_another_kind_is_an_unsupported_format(source: bytes, name: str) -> None:
    assert name in refuse(source, UnsupportedFormat)


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp", "avif", "gif", "bmp", "tiff"])
def test_a_truncated_file_is_corrupt(image_format: str) -> None:
    body = encode(SMALL, image_format)
    refuse(body[: len(body) // 2], CorruptImage)


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp", "avif", "gif", "bmp", "tiff"])
def test_too_many_pixels_are_refused_before_they_are_decoded(image_format: str) -> None:
    body = encode(SMALL, image_format)
    limits = Limits(max_pixels=64 * 48 - 1)
    refuse(body, TooManyPixels, limits)
    refuse(body[: len(body) * 3 // 4], (TooManyPixels if image_format not in {"webp", "avif"} else ImageError), limits)
    assert compress(body, Recipe(), Limits(max_pixels=64 * 48)).source.width == 64


@pytest.mark.parametrize("image_format", ["png", "webp", "avif", "gif"])
def test_too_many_frames_are_refused(image_format: str) -> None:
    body = animate(film(32, 24, 5), image_format, duration=50)
    refuse(body, TooManyFrames, Limits(max_frames=4))
    assert compress(body, Recipe(), Limits(max_frames=5)).source.width == 32


@pytest.mark.parametrize("image_format", ["png", "webp", "avif", "gif"])
def test_frames_that_add_up_to_too_many_pixels_are_refused(image_format: str) -> None:
    body = animate(film(32, 24, 5), image_format, duration=50)
    refuse(body, TooManyPixels, Limits(max_animation_pixels=5 * 32 * 24 - 1))


def test_too_many_bytes_are_refused() -> None:
    body = encode(SMALL, "png")
    refuse(body, TooLarge, Limits(max_bytes=len(body) - 1))


def test_a_side_that_the_wanted_format_cannot_hold_is_too_many_pixels() -> None:
    wide = encode(SMALL.resize((20_000, 2)), "png")
    assert "16383" in refuse(wide, TooManyPixels, recipe=Recipe(format=TargetFormat.WEBP))
    shrunk = compress(wide, Recipe(format=TargetFormat.WEBP, max_side=1000))
    assert (shrunk.info.width, shrunk.info.height) == (1000, 1)


def test_a_picture_is_known_by_its_bytes_and_not_by_a_name() -> None:
    for image_format in ("jpeg", "png", "webp", "avif", "gif", "bmp", "tiff"):
        assert sniff(encode(SMALL, image_format)) == image_format
    assert sniff(animate(film(32, 24, 2), "avif", duration=50)) == "avif"
