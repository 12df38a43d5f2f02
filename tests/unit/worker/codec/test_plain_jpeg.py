"""The short way of a plain JPEG: which pictures take it, that it loses nothing, and that it accepts no more files."""

from dataclasses import replace
from random import Random

import pytest
from PIL import Image

from services.worker.codec import Limits, Rendition, compress
from services.worker.codec.plain_jpeg import PlainJpeg
from services.worker.codec.plan import plans_for
from services.worker.codec.probe import Source, probe
from shared.errors import CorruptImage, ImageError
from shared.recipe import Recipe, TargetFormat
from tests.pictures import decode, encode, photo
from tests.unit.worker.codec.measure import psnr
from tests.unit.worker.codec.profiles import orange_cyan_cmyk, swapped_rgb

PHOTO = photo(203, 151)
GREY = PHOTO.convert("L")


def jpeg(image: Image.Image = PHOTO, **options: object) -> bytes:
    return encode(image, "jpeg", **{"quality": 92, **options})


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(exif=exif)


def plain(source: Source, recipe: Recipe = Recipe()) -> PlainJpeg | None:  # noqa: B008
    return PlainJpeg.of(source, plans_for(source, recipe)[0])


def opened(body: bytes) -> Source:
    return probe(body, Limits())


@pytest.mark.parametrize(
    "source",
    [
        jpeg(),
        jpeg(subsampling="4:2:2"),
        jpeg(subsampling="4:4:4"),
        jpeg(progressive=True),
        jpeg(GREY),
        jpeg(icc_profile=swapped_rgb()),
        jpeg() + b"after the end",
    ],
)
def test_a_plain_jpeg_takes_the_short_way(source: bytes) -> None:
    assert plain(opened(source)) is not None


@pytest.mark.parametrize(
    "source",
    [
        turned(),
        jpeg(keep_rgb=True),
        jpeg(PHOTO.convert("CMYK")),
        jpeg(PHOTO.convert("CMYK"), icc_profile=orange_cyan_cmyk()),
        jpeg(icc_profile=swapped_rgb() + bytes(20_000)),
        jpeg()[:-2],
        jpeg()[:3000],
        encode(PHOTO, "png"),
    ],
)
def test_what_needs_more_than_a_quality_takes_the_long_way(source: bytes) -> None:
    assert plain(opened(source)) is None


@pytest.mark.parametrize("recipe", [Recipe(max_side=100), Recipe(format=TargetFormat.WEBP)])
def test_a_recipe_that_asks_for_more_takes_the_long_way(recipe: Recipe) -> None:
    assert plain(opened(jpeg()), recipe) is None


def test_a_size_that_libjpeg_reads_otherwise_than_the_probe_takes_the_long_way() -> None:
    """The limits were applied to the probe's size."""
    source = opened(jpeg())
    assert plain(replace(source, size=(10, 10))) is None


@pytest.mark.parametrize("quality", [30, 50, 80])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:2:2", "4:4:4"])
@pytest.mark.parametrize("size", [(203, 151), (64, 48), (17, 1), (1, 9)])
def test_the_rendition_is_as_near_to_the_source_as_pillows(
    size: tuple[int, int], subsampling: str, quality: int
) -> None:
    """With 4:2:0 it is nearer: the chroma is the source's own."""
    source = jpeg(photo(*size, 5), subsampling=subsampling)
    pixels = decode(source).convert("RGB")
    ours = compress(source, Recipe(quality=quality))
    its = encode(pixels, "jpeg", quality=quality)
    slack = 0.0 if (subsampling, size) == ("4:2:0", (203, 151)) else 0.15
    assert psnr(decode(ours.body), pixels) >= psnr(decode(its), pixels) - slack
    assert ours.info.bytes <= 1.03 * len(its) + 20
    assert (decode(ours.body).size, decode(ours.body).mode) == (size, "RGB")


def test_grey_stays_grey_and_a_profile_stays_as_it_is() -> None:
    assert decode(compress(jpeg(GREY), Recipe()).body).mode == "L"
    made = compress(jpeg(icc_profile=swapped_rgb()), Recipe())
    assert (made.kept_original, decode(made.body).info["icc_profile"]) == (False, swapped_rgb())


def test_a_broken_file_gets_the_verdict_that_pillow_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """libjpeg goes on after a warning; Pillow says what is still a picture."""
    random = Random(7)
    files = [_broken(random, jpeg(progressive=number % 3 == 0)) for number in range(150)]
    verdicts = [_verdict(file) for file in files]
    monkeypatch.setattr(PlainJpeg, "of", lambda _source, _plan: None)
    assert verdicts == [_verdict(file) for file in files]
    assert len(set(verdicts)) > 1


def _broken(random: Random, body: bytes) -> bytes:
    at = random.randrange(2, len(body))
    kind = random.randrange(4)
    if kind == 0:
        return body[:at]
    if kind == 1:
        return body[:at] + body[at + random.randrange(1, 50) :]
    return body[:at] + random.randbytes(kind * 2) + body[at + kind * 2 :]


def _verdict(body: bytes) -> str:
    try:
        made: Rendition = compress(body, Recipe())
    except ImageError as error:
        return error.code
    return f"{made.info.width}x{made.info.height}"


@pytest.mark.parametrize("part", range(1, 10))
def test_a_file_that_ends_early_is_corrupt(part: int) -> None:
    body = jpeg()
    with pytest.raises(CorruptImage):
        compress(body[: len(body) * part // 10], Recipe())
