"""Thousands of mutants of every format through the real pool: each one an answer, and no process too many or left."""

from collections import Counter
from contextlib import suppress

import psutil
import pytest

from services.worker.codec import Rendition
from services.worker.codec_pool import CodecPool
from shared.errors import CodecCrashed, CodecTimeout, ImageError
from shared.recipe import Mode, Recipe, TargetFormat
from tests.pictures import decode
from tests.stack import until
from tests.unit.worker.codec.mutants import FORMATS, mutant
from tests.unit.worker.planted import outcomes

CHILDREN = 2
BATCH = 100
RECIPES = (
    Recipe(),
    Recipe(quality=95, mode=Mode.BYTES),  # which keeps the original of whatever decodes
    Recipe(format=TargetFormat.WEBP, max_side=100),
)


@pytest.mark.parametrize("count", [1_050, pytest.param(10_500, marks=pytest.mark.bench)])
def test_every_mutant_is_answered_and_costs_no_process(count: int) -> None:
    before = _descendants()
    found: Counter[str] = Counter()
    most = 0
    pool = CodecPool(CHILDREN)
    try:
        for first in range(0, count, BATCH):
            files = [mutant(FORMATS[number % 7], number // 7) for number in range(first, min(first + BATCH, count))]
            results = outcomes(pool, files, RECIPES[first // BATCH % 3])
            assert len(results) == len(files)
            for number, (file, result) in enumerate(zip(files, results, strict=True), first):
                found[_outcome(result, file, number)] += 1
            most = max(most, len(_descendants() - before))
    finally:
        pool.close()
    print(f"{count} mutants: {dict(found.most_common())}; at most {most} processes")  # noqa: T201
    assert found.total() == count
    assert found["rendition"] > count / 20
    assert most <= CHILDREN + 2  # the fork server, and what watches the resources of multiprocessing
    until(lambda: not [process for process in _descendants() - before if _is_child(process)])


def _outcome(result: Rendition | ImageError, file: bytes, number: int) -> str:
    if isinstance(result, ImageError):
        assert not isinstance(result, CodecCrashed | CodecTimeout), (number, result.detail)
        assert "not permitted" not in result.detail, (number, result.detail)
        return result.code
    assert decode(result.body).size == (result.info.width, result.info.height), number
    assert result.source.bytes == len(file)
    return "kept original" if result.kept_original else "rendition"


def _descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _is_child(process: psutil.Process) -> bool:
    """Two steps below this process: forked from the fork server."""
    with suppress(psutil.NoSuchProcess):
        return process.ppid() != psutil.Process().pid
    return False
