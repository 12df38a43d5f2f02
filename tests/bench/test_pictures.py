"""The drawn pictures have the bytes of photographs, and each other's only where they should."""

import io

import pytest
from PIL import Image

from tests.bench.pictures import CLASSES, JPEG, Q92, PictureClass, Variants, encoded, photograph

MEASURED = [CLASSES["jpeg-0.3"], CLASSES["jpeg-1"], CLASSES["jpeg-4"]]


@pytest.mark.parametrize("kind", MEASURED, ids=lambda kind: kind.name)
def test_bytes_per_pixel_are_those_of_photographs(kind: PictureClass) -> None:
    body = encoded(photograph(kind.size, kind.bytes, seed=3), **Q92)
    pixels = kind.size[0] * kind.size[1]
    assert len(body) / pixels == pytest.approx(kind.bytes / pixels, rel=0.05)


def test_at_quality_50_they_shrink_as_photographs_do() -> None:
    """To between a quarter and two fifths: the photograph at hand gives 0.38, smooth drawings far less."""
    body = encoded(photograph((640, 480), 73_000, seed=1), **Q92)
    with Image.open(io.BytesIO(body)) as picture:
        assert 0.25 < len(encoded(picture, **JPEG)) / len(body) < 0.42


@pytest.mark.parametrize("name", ["tiny", "jpeg-0.3", "jpeg-1"])
def test_the_variants_of_a_picture_are_different_sources_and_different_renditions(name: str) -> None:
    """The blob store writes equal files of a request once: a journey of equal pictures would be too cheap."""
    kind = CLASSES[name]
    body = encoded(photograph(kind.size, kind.bytes, seed=0), **Q92)
    sources = [b"".join(Variants(body, kind.retouched).parts(number)) for number in range(60)]
    renditions = []
    for source in sources:
        with Image.open(io.BytesIO(source)) as picture:
            renditions.append(encoded(picture, **kind.limit))
    assert sources[0] == body
    assert len(set(sources)) == len(set(renditions)) == 60
    if name != "tiny":
        assert max(map(len, renditions)) < 1.03 * min(map(len, renditions))


def test_the_same_seed_gives_the_same_file_and_another_seed_another() -> None:
    first, again, other = (encoded(photograph((320, 240), 20_000, seed), **Q92) for seed in (1, 1, 2))
    assert first == again
    assert first != other
