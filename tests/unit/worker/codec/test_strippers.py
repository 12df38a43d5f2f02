"""The strippers against the decoder: whatever it takes they take in linear time, or refuse; no pixel changes."""

import struct
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.worker.codec import Limits, Rendition, compress
from services.worker.codec.guards import bounded, decoding
from services.worker.codec.metadata import STRIPPERS, without_metadata
from services.worker.codec.probe import probe
from shared.errors import ImageError
from shared.recipe import Mode, Recipe
from tests.pictures import decode, encode, photo
from tests.unit.worker.codec.mutants import mutant, real
from tests.unit.worker.codec.test_metadata import SECRET, avif, exif

FORMATS = sorted(STRIPPERS)
MUTANTS = 200
STEPS_A_BYTE, STEPS_AT_LEAST = 8, 5_000


@pytest.mark.parametrize("image_format", FORMATS)
def test_stripping_a_mutant_that_decodes_is_cheap_and_changes_no_pixel(image_format: str) -> None:
    taken = stripped = 0
    for seed in range(MUTANTS):
        outcome = check(image_format, mutant(image_format, seed))
        taken += outcome != "refused"
        stripped += outcome == "stripped"
    assert taken > 2
    assert stripped > 0


@pytest.mark.parametrize("image_format", FORMATS)
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_stripping_what_hypothesis_makes_of_a_file(image_format: str, data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from(real(image_format))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(len(body), 1_000)))
        body[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=12))
    check(image_format, bytes(body))


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def second_meta(count: int) -> bytes:
    """An iloc of which only the count is there, in a box that the decoder never sees: 358 bytes cost 20 s."""
    iloc = box(b"iloc", b"\2\0\0\0\0\0" + struct.pack(">I", count))
    iinf = box(b"iinf", bytes(6))
    return encode(photo(16, 16), "avif") + box(b"meta", bytes(4) + iinf + iloc)


def without(name: bytes) -> bytes:
    """A second meta that lacks a box."""
    parts = {b"iloc": box(b"iloc", bytes(8)), b"iinf": box(b"iinf", bytes(6))}
    del parts[name]
    return encode(photo(16, 16), "avif") + box(b"meta", bytes(4) + b"".join(parts.values()))


@pytest.mark.parametrize(
    "source",
    [
        second_meta(2**32 - 1),
        without(b"iloc"),
        without(b"iinf"),
        encode(photo(16, 16), "avif") + b"\0\0\0\1meta",
        encode(photo(16, 16), "avif") + b"\0\0\0\1",
    ],
)
def test_what_the_avif_decoder_does_not_see_costs_nothing(source: bytes) -> None:
    assert check("avif", source) != "refused"
    made = compress(source, Recipe(quality=95, mode=Mode.BYTES))
    assert isinstance(made, Rendition)


def test_what_no_item_of_an_avif_refers_to_goes() -> None:
    source = avif() + box(b"uuid", SECRET) + box(b"free", SECRET) + box(b"mdat", SECRET) + box(b"meta", SECRET)
    stripped = without_metadata(source, "avif", 1)
    assert stripped is not None
    assert SECRET not in stripped
    assert decode(stripped).tobytes() == decode(source).tobytes()


@pytest.mark.parametrize("name", [b"udes", b"uuid", b"xml "])
def test_an_avif_with_an_unknown_part_is_encoded_again(name: bytes) -> None:
    source = encode(photo(64, 48), "avif", quality=20, exif=exif())
    (size,) = struct.unpack_from(">I", source, source.index(b"meta") - 4)
    at = source.index(b"meta") - 4 + size
    extra = box(name, SECRET)
    body = bytearray(source[:at] + extra + source[at:])
    struct.pack_into(">I", body, source.index(b"meta") - 4, size + len(extra))
    assert without_metadata(bytes(body), "avif", 1) is None


def check(image_format: str, source: bytes) -> str:
    """`refused` by the decoder, `unsure` the stripper, or `stripped`."""
    before = pixels(image_format, source)
    if before is None:
        return "refused"
    steps = Steps()
    sys.settrace(steps)
    try:
        stripped = without_metadata(source, image_format, 6)
    finally:
        sys.settrace(None)
    assert steps.count < STEPS_AT_LEAST + STEPS_A_BYTE * len(source)
    if stripped is None:
        return "unsure"
    assert pixels(image_format, stripped) == before
    return "stripped"


class Steps:
    """Counts the lines that Python runs."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _frame: FrameType, event: str, _argument: Any) -> "Steps":
        self.count += event == "line"
        assert self.count < 10_000_000
        return self


def pixels(image_format: str, source: bytes) -> tuple[int, bytes] | None:
    """How many frames, and the pixels of the first few; None where the codec's decoder refuses."""
    frames = []
    try:
        with bounded(1_000_000), decoding():
            opened = probe(source, Limits(max_pixels=1_000_000))
            for number in range(min(opened.frames, 8)):
                opened.image.seek(number)
                opened.image.load()
                frames.append(opened.image.tobytes())
    except (ImageError, MemoryError):
        return None
    return (opened.frames, b"".join(frames)) if opened.format == image_format else None
