"""Damaged files without end: real ones with bytes changed, cut, doubled and moved; a seed makes the same again."""

import struct
from collections.abc import Callable
from functools import cache
from random import Random

from tests.unit.worker.codec import hostile, test_metadata

FORMATS = hostile.FORMATS
_NUMBERS = [struct.pack(">I", number) for number in (0, 1, 2**31 - 1, 2**31, 2**32 - 1)]


@cache
def real(image_format: str) -> tuple[bytes, ...]:
    """Small, so that a mutant costs milliseconds: a still, an animation, one with metadata."""
    files = [hostile.good(image_format)]
    if image_format in {"gif", "webp", "png", "avif"}:
        files.append(hostile.moving(image_format))
    if image_format in test_metadata.KINDS:
        files.append(test_metadata.KINDS[image_format]())
    return tuple(files)


def mutant(image_format: str, seed: int) -> bytes:
    random = Random(f"{image_format} {seed}")
    body = bytearray(random.choice(real(image_format)))
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        if len(body) > 1:
            random.choice(_CHANGES)(body, random)
    return bytes(body)


def _place(body: bytearray, random: Random) -> int:
    """Most often near the start, where the headers are."""
    return int((len(body) - 1) * random.random() ** random.choice((1, 3, 6)))


def _flip(body: bytearray, random: Random) -> None:
    body[_place(body, random)] ^= 1 << random.randrange(8)


def _overwrite(body: bytearray, random: Random) -> None:
    at, many = _place(body, random), random.choice((1, 2, 4, 16))
    body[at : at + many] = random.randbytes(many)


def _number(body: bytearray, random: Random) -> None:
    at = _place(body, random)
    body[at : at + 4] = random.choice(_NUMBERS)


def _cut(body: bytearray, random: Random) -> None:
    del body[_place(body, random) + 1 :]


def _remove(body: bytearray, random: Random) -> None:
    at = _place(body, random)
    del body[at : at + random.randrange(1, 64)]


def _double(body: bytearray, random: Random) -> None:
    at = _place(body, random)
    part = body[at : at + random.randrange(1, 512)]
    body[_place(body, random) : 0] = part * random.choice((1, 1, 2, 50))


_CHANGES: tuple[Callable[[bytearray, Random], None], ...] = (_flip, _flip, _overwrite, _number, _cut, _remove, _double)
