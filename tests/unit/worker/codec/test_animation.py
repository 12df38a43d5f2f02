"""Animations, compared frame by frame with what a viewer shows."""

from typing import Any

import pytest
from PIL import Image, ImageSequence

from services.worker.codec import compress
from shared.recipe import Recipe, TargetFormat
from tests.pictures import animate, decode, encode, film, photo
from tests.unit.worker.codec.measure import looks_like

FORMATS = ("gif", "webp", "png", "avif")
DURATIONS = [100, 200, 300, 400, 500]
ENOUGH = 24.0


def frames_of(body: bytes) -> tuple[list[Image.Image], list[int]]:
    frames, durations = [], []
    for frame in ImageSequence.Iterator(decode(body)):
        frame.load()
        frames.append(frame.convert("RGBA"))
        durations.append(round(frame.info["duration"]))
    return frames, durations


def made_of(image_format: str, frames: list[Image.Image], **options: Any) -> bytes:
    per_format: dict[str, dict[str, Any]] = {
        "webp": {"lossless": True},
        "avif": {"quality": 95},
        "gif": {"disposal": 2},
    }
    return animate(frames, image_format, duration=DURATIONS, **(per_format.get(image_format, {}) | options))


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("target", FORMATS[1:])
def test_every_frame_and_its_time_survive_a_conversion(image_format: str, target: str, *, alpha: bool) -> None:
    source = made_of(image_format, film(96, 64, 5, alpha=alpha))
    reference, _ = frames_of(source)
    frames, durations = frames_of(compress(source, Recipe(quality=90, format=TargetFormat(target))).body)
    assert durations == DURATIONS
    assert all(looks_like(a, b, decibels=ENOUGH) for a, b in zip(frames, reference, strict=True))


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("quality", [50, 90])
def test_every_frame_and_its_time_survive_compression(image_format: str, quality: int, *, alpha: bool) -> None:
    source = made_of(image_format, film(96, 64, 5, alpha=alpha))
    reference, _ = frames_of(source)
    made = compress(source, Recipe(quality=quality))
    frames, durations = frames_of(made.body)
    assert made.info.format == image_format
    assert durations == DURATIONS
    assert all(looks_like(a, b, decibels=ENOUGH) for a, b in zip(frames, reference, strict=True))


@pytest.mark.parametrize("image_format", FORMATS)
def test_an_animation_shrinks_in_every_frame(image_format: str) -> None:
    source = made_of(image_format, film(96, 64, 5))
    reference = [frame.resize((48, 32), Image.Resampling.LANCZOS) for frame in frames_of(source)[0]]
    frames, durations = frames_of(compress(source, Recipe(quality=90, max_side=48)).body)
    assert durations == DURATIONS
    assert all(looks_like(a, b, decibels=ENOUGH) for a, b in zip(frames, reference, strict=True))


@pytest.mark.parametrize(("stored", "plays"), [({}, 1), ({"loop": 0}, 0), ({"loop": 2}, 3)])
def test_a_gif_plays_as_often_as_before(stored: dict[str, int], plays: int) -> None:
    source = made_of("gif", film(96, 64, 5), **stored)
    assert decode(compress(source, Recipe(quality=90)).body).info.get("loop") == stored.get("loop")
    for target in (TargetFormat.WEBP, TargetFormat.PNG):
        assert decode(compress(source, Recipe(format=target)).body).info["loop"] == plays


@pytest.mark.parametrize("image_format", ["webp", "png"])
@pytest.mark.parametrize("plays", [0, 1, 3])
def test_webp_and_png_play_as_often_as_before(image_format: str, plays: int) -> None:
    source = made_of(image_format, film(96, 64, 5), loop=plays)
    assert decode(compress(source, Recipe(quality=50)).body).info["loop"] == plays


def test_jpeg_of_an_animation_is_its_first_frame() -> None:
    source = made_of("gif", film(96, 64, 5))
    made = compress(source, Recipe(quality=90, format=TargetFormat.JPEG))
    assert looks_like(decode(made.body), frames_of(source)[0][0], decibels=ENOUGH)


def test_gif_frames_that_only_differ_in_a_part_are_put_together() -> None:
    source = animate(film(96, 64, 5), "gif", duration=DURATIONS, disposal=1)
    reference, _ = frames_of(source)
    frames, _ = frames_of(compress(source, Recipe(format=TargetFormat.WEBP, quality=90)).body)
    assert all(looks_like(a, b, decibels=ENOUGH) for a, b in zip(frames, reference, strict=True))


def test_a_pngs_still_picture_for_old_viewers_is_no_frame() -> None:
    source = animate([photo(96, 64, 9), *film(96, 64, 5)], "png", duration=DURATIONS, default_image=True)
    frames, durations = frames_of(compress(source, Recipe(quality=90)).body)
    assert durations == DURATIONS
    assert all(looks_like(a, b, decibels=ENOUGH) for a, b in zip(frames, film(96, 64, 5), strict=True))


def test_a_still_gif_keeps_its_pixels_where_it_has_few_colours() -> None:
    image = photo(96, 64).quantize(16)
    made = compress(encode(image, "gif", comment="a secret"), Recipe())
    assert b"secret" not in made.body
    assert decode(made.body).convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_a_clear_canvas_around_opaque_frames_stays_clear() -> None:
    frames = [Image.new("RGBA", (64, 48)) for _ in range(2)]
    frames[0].paste((250, 0, 0, 255), (0, 0, 32, 24))
    frames[1].paste((250, 0, 0, 255), (32, 24, 64, 48))
    source = animate(frames, "gif", duration=[100, 100], disposal=2)
    made = frames_of(compress(source, Recipe(format=TargetFormat.WEBP, quality=95)).body)[0]
    assert all(looks_like(a, b, decibels=ENOUGH) for a, b in zip(made, frames, strict=True))


def test_a_gifs_frame_that_leaves_the_canvas_is_cut_off() -> None:
    source = bytearray(animate(film(64, 48, 3), "gif", duration=100, disposal=2))
    source[6:10] = (32).to_bytes(2, "little") * 2  # the canvas, smaller than the frames
    made = compress(bytes(source), Recipe(format=TargetFormat.AVIF))
    assert decode(made.body).size == (made.info.width, made.info.height)
