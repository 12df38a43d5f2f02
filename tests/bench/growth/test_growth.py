"""A step costs what its own rows cost, however many are kept: buffers are counted, so that a busy machine does no harm.

`pytest -m bench tests/bench/growth` compares 10 million images with 100,000 (a minute, 6 GB of disk).
"""

import pytest

from shared.db import Database
from tests.bench.growth.kept import keep
from tests.bench.growth.steps import buffers_of_steps
from tests.stack import Stack

FEW = 100_000
DEEPER = 2
"""An index of a table that is a hundred times as large has one level more: so much more is read to find a row."""
SPARE = 40
"""Buffers that a step may differ by chance: whether a page of an index is split, and where a new row finds room."""


def _measured(servers: Stack, images: int) -> dict[str, int]:
    with servers.database(f"growth_{images}") as url:
        database = Database(url, pool_size=1)
        try:
            keep(database, images)
            return buffers_of_steps(database)
        finally:
            database.close()


@pytest.mark.parametrize("many", [5 * FEW, pytest.param(100 * FEW, marks=pytest.mark.bench)])
def test_every_step_costs_the_same_however_much_is_kept(servers: Stack, many: int) -> None:
    before, after = _measured(servers, FEW // 5), _measured(servers, many)

    for step, buffers in after.items():
        print(f"{step:40} {before[step]:8} {buffers:8}")
    grown = {step: (before[step], after[step]) for step in after if after[step] > DEEPER * before[step] + SPARE}
    assert grown == {}
