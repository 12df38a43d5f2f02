"""Every hostile file ends as a rendition or with its error, in time, and the child is as small as before."""

import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from services.worker.codec import Rendition, compress
from services.worker.codec_pool import CodecPool
from shared.errors import CodecCrashed, ImageError
from shared.recipe import Recipe, TargetFormat
from tests.pictures import decode
from tests.unit.worker.codec import hostile
from tests.unit.worker.planted import outcomes

FILES = hostile.everything()
SECONDS = 30.0
SPARE = 120_000_000  # bytes; a child keeps four blocks of pixels for the next picture


@pytest.fixture(scope="module")
def pool() -> Iterator[CodecPool]:
    made = CodecPool(1)
    yield made
    made.close()


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_ends_with_an_answer(pool: CodecPool, name: str) -> None:
    began = time.monotonic()
    (result,) = outcomes(pool, [FILES[name]])
    assert time.monotonic() - began < SECONDS
    if isinstance(result, Rendition):
        assert len(result.body) <= len(FILES[name]) or result.source.format in {"bmp", "tiff"}
        assert b"<script>" not in result.body
        assert decode(result.body).size == (result.info.width, result.info.height)
    else:
        assert isinstance(result, ImageError)
        assert not isinstance(result, CodecCrashed), result.detail


def test_the_worker_is_as_small_after_all_of_them_as_before(pool: CodecPool) -> None:
    good = hostile.good("png")
    outcomes(pool, [good])
    before = _resident()
    outcomes(pool, list(FILES.values()), Recipe(format=TargetFormat.WEBP))
    outcomes(pool, [good])
    assert _resident() - before < SPARE


def test_a_large_picture_leaves_no_large_child(pool: CodecPool) -> None:
    outcomes(pool, [hostile.good("png")])
    before = _resident()
    (made,) = outcomes(pool, [FILES["png bomb of 49 megapixels"]])
    assert isinstance(made, Rendition)
    assert _resident() - before < SPARE


@pytest.mark.parametrize("mode", ["webp", "jpeg", "png"])
def test_no_hostile_file_makes_anything_but_an_image_error(mode: str) -> None:
    for name, body in FILES.items():
        if "megapixels" in name or "MB" in name or "tower" in name:
            continue  # seen above, within the pool's limits
        with suppress(ImageError):
            compress(body, Recipe(format=TargetFormat(mode)))


def _resident() -> int:
    return sum(process.memory_info().rss for process in psutil.Process().children(recursive=True))
