"""What the quality means in each mode, and that a result is never bigger than its source."""

import pytest
from PIL import Image

from services.worker.codec import FileInfo, compress
from services.worker.codec.quality import best_fitting, jpeg_quality, scaled_table
from shared.recipe import Mode, Recipe, TargetFormat
from tests.pictures import cutout, decode, encode, photo
from tests.unit.worker.codec.measure import psnr

FORMATS = ("jpeg", "png", "webp", "avif")


def table(**options: int | str) -> list[int]:
    image = decode(encode(photo(32, 32), "jpeg", **options))
    found: dict[int, list[int]] = getattr(image, "quantization")  # noqa: B009 - not every image has it
    return found[0]


@pytest.mark.parametrize("quality", range(1, 101))
def test_the_quality_of_a_libjpeg_file_is_known_exactly(quality: int) -> None:
    found = table(quality=quality)
    assert jpeg_quality(found) == quality or scaled_table(jpeg_quality(found)) == tuple(found)


@pytest.mark.parametrize(("preset", "low", "high"), [("web_low", 5, 50), ("web_high", 65, 90), ("maximum", 92, 100)])
def test_photoshops_tables_get_the_quality_of_their_coarseness(preset: str, low: int, high: int) -> None:
    assert low <= jpeg_quality(table(qtables=preset)) <= high


@pytest.mark.parametrize("quality", [20, 50, 75, 90])
def test_a_table_that_is_a_little_off_gets_nearly_the_same_quality(quality: int) -> None:
    bent = [max(1, step + (1 if at % 2 else -1)) for at, step in enumerate(scaled_table(quality))]
    assert abs(jpeg_quality(bent) - quality) <= 3


def test_a_flat_table_is_judged_by_its_step() -> None:
    assert jpeg_quality([1] * 64) >= 98
    assert jpeg_quality([16] * 64) > jpeg_quality([40] * 64) > jpeg_quality([120] * 64)


@pytest.mark.parametrize(("own", "percent", "expected"), [(90, 50, 45), (40, 50, 20), (80, 95, 76), (3, 10, 1)])
def test_relative_is_a_part_of_the_sources_own_quality(own: int, percent: int, expected: int) -> None:
    source = encode(photo(96, 96), "jpeg", quality=own)
    made = compress(source, Recipe(mode=Mode.RELATIVE, quality=percent, format=TargetFormat.WEBP))
    assert made.quality == expected


def test_relative_takes_other_formats_for_perfect() -> None:
    assert compress(encode(photo(96, 96), "webp", quality=30), Recipe(mode=Mode.RELATIVE, quality=20)).quality == 20


def test_an_unknown_quality_is_still_estimated_for_a_table_by_another_name() -> None:
    source = encode(photo(96, 96), "jpeg", qtables="web_high")
    made = compress(source, Recipe(mode=Mode.RELATIVE, quality=50))
    assert made.quality is not None
    assert 30 <= made.quality <= 45


@pytest.mark.parametrize("image_format", FORMATS)
def test_bytes_finds_a_quality_that_fits(image_format: str) -> None:
    source = encode(photo(160, 120), image_format, **({} if image_format == "png" else {"quality": 95}))
    made = compress(source, Recipe(mode=Mode.BYTES, quality=30))
    assert len(made.body) <= len(source) * 0.30 or made.quality == 1


@pytest.mark.parametrize("percent", [5, 20, 40, 60, 80, 95])
@pytest.mark.parametrize("seed", [1, 2])
def test_bytes_finds_the_best_jpeg_that_fits(percent: int, seed: int) -> None:
    source = encode(photo(200, 150, seed), "jpeg", quality=90)
    made = compress(source, Recipe(mode=Mode.BYTES, quality=percent))
    target = len(source) * percent // 100
    sizes = {quality: compress(source, Recipe(quality=quality)).info.bytes for quality in range(1, 96)}
    fitting = [quality for quality, size in sizes.items() if size <= target]
    assert made.quality == max(fitting, default=1)


def test_bytes_that_cannot_be_met_fall_to_the_smallest_and_say_so() -> None:
    source = encode(photo(96, 96), "jpeg", quality=10)
    made = compress(source, Recipe(mode=Mode.BYTES, quality=1, format=TargetFormat.PNG))
    assert made.quality == 1
    assert len(made.body) > len(source) // 100


def test_bytes_keeps_the_original_where_metadata_were_all_the_weight() -> None:
    source = encode(photo(64, 64), "jpeg", quality=60, exif=b"Exif\0\0" + bytes(40_000))
    made = compress(source, Recipe(mode=Mode.BYTES, quality=50))
    assert made.kept_original
    assert psnr(decode(made.body), decode(source)) > 90


@pytest.mark.parametrize("target", [1_000, 3_000, 20_000, 31_000, 54_321, 10**9])
@pytest.mark.parametrize("growth", [1.01, 1.03, 1.06])
def test_the_search_is_exact_and_short(target: int, growth: float) -> None:
    tried: list[int] = []

    def encoder(quality: int) -> bytes:
        tried.append(quality)
        return bytes(int(2000 * growth**quality))

    quality, body = best_fitting(encoder, target)
    best = max((q for q in range(1, 96) if int(2000 * growth**q) <= target), default=1)
    assert (quality, len(body)) == (best, int(2000 * growth**best))
    assert len(tried) <= 7
    assert len(tried) == len(set(tried))


def test_the_search_stops_when_it_may_not_try_more() -> None:
    quality, body = best_fitting(lambda quality: bytes(quality * quality), 2_100, max_encodes=3)
    assert 1 <= quality <= 45
    assert len(body) <= 2_100


@pytest.mark.parametrize("image_format", [*FORMATS, "gif"])
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("quality", [1, 50, 95])
@pytest.mark.parametrize("original", [5, 95])
def test_a_result_is_never_bigger_than_its_source(image_format: str, mode: Mode, quality: int, original: int) -> None:
    options = {} if image_format in {"png", "gif"} else {"quality": original}
    image = photo(120, 90) if original > 50 or options else photo(120, 90).quantize(4)
    source = encode(image, image_format, **options)
    made = compress(source, Recipe(quality=quality, mode=mode))
    assert len(made.body) <= len(source)
    assert made.info.bytes == len(made.body)


@pytest.mark.parametrize("image_format", ["jpeg", "webp", "avif"])
def test_compressing_twice_does_not_grow_and_keeps_the_pixels(image_format: str) -> None:
    once = compress(encode(photo(120, 90), image_format, quality=90), Recipe()).body
    twice = compress(once, Recipe(quality=80))
    assert twice.kept_original
    assert twice.quality is None
    assert twice.body == once


@pytest.mark.parametrize("target", FORMATS)
def test_a_wanted_change_is_made_though_it_is_bigger(target: str) -> None:
    tiny = encode(photo(64, 64), "gif" if target != "gif" else "png")
    assert compress(tiny, Recipe(format=TargetFormat(target), quality=95)).info.format == target
    shrunk = compress(encode(photo(65, 65), target), Recipe(max_side=64, quality=95))
    assert (shrunk.info.width, shrunk.kept_original) == (64, False)


@pytest.mark.parametrize("max_side", [96, 97, 5000])
def test_a_max_side_that_shrinks_nothing_changes_nothing(max_side: int) -> None:
    source = encode(photo(96, 64), "jpeg", quality=5)
    assert compress(source, Recipe(max_side=max_side)).kept_original


def test_max_side_is_the_longer_one_and_keeps_the_proportions() -> None:
    for size, expected in (((400, 300), (100, 75)), ((300, 400), (75, 100)), ((1000, 3), (100, 1))):
        made = compress(encode(photo(*size), "jpeg", quality=90), Recipe(max_side=100))
        assert (made.info.width, made.info.height) == expected
        assert decode(made.body).size == expected


def test_shrinking_a_jpeg_is_as_good_as_shrinking_its_pixels() -> None:
    source = encode(photo(1200, 900), "jpeg", quality=95)
    made = compress(source, Recipe(max_side=300, format=TargetFormat.PNG, quality=95))
    reference = decode(source).resize((300, 225), Image.Resampling.LANCZOS)
    assert psnr(decode(made.body), reference) > psnr(reference.quantize(243), reference) - 1


def test_source_and_rendition_are_described() -> None:
    source = encode(cutout(80, 60), "png")
    made = compress(source, Recipe(format=TargetFormat.WEBP))
    assert made.source == FileInfo.of(source, "png", (80, 60))
    assert made.info == FileInfo.of(made.body, "webp", (80, 60))
